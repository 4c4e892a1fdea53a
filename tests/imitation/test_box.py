"""The Python of the pool in a box is that of a dom0. What a plugin is given is in transcripts/plugin.json."""

import json
import subprocess
import sys
from typing import Dict, Set

from box import PoolInABox

LIST_MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def test_a_program_that_imports_nothing_of_ours_is_left_alone(box: PoolInABox) -> None:
    def modules(environment: Dict[str, str]) -> Set[str]:
        told = subprocess.check_output([sys.executable, "-c", LIST_MODULES], env=environment)
        return set(json.loads(told.decode()))

    assert modules(box.hosts[0].environment) - modules({}) <= {"sitecustomize"}
