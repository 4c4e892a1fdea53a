"""The pool in a box: clients reach the real plugin on each host, and its Python is that of a dom0."""

import json
import os
import subprocess
import sys
from typing import Dict, Iterator, Set

import pytest
from box import PoolInABox

PRINT_ENVIRONMENT = """#!/usr/bin/python3
import json, os, sys
import XenAPIPlugin
def given(session, args):
    return json.dumps({"environment": dict(os.environ), "python": sys.version})
XenAPIPlugin.dispatch({"given": given})
"""
LIST_MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"


@pytest.fixture(scope="module")
def box() -> Iterator[PoolInABox]:
    with PoolInABox(interpreter=sys.executable) as box:
        yield box


def test_a_plugin_is_started_with_what_xapi_gives_and_nothing_more(box: PoolInABox) -> None:
    host = box.hosts[0]
    path = host.machine.path("/etc/xapi.d/plugins/probe")
    with open(path, "w") as file:
        file.write(PRINT_ENVIRONMENT)
    os.chmod(path, 0o755)
    with box.session() as session:
        told = json.loads(session.xenapi.host.call_plugin(host.ref, "probe", "given", {}))
    assert told["python"] == sys.version
    assert told["environment"].pop("PATH") == "/sbin:/usr/sbin:/bin:/usr/bin"
    told["environment"].pop("LC_CTYPE", None)  # Python's own doing, from 3.7 on
    assert told["environment"] == {}


def test_a_program_that_imports_nothing_of_ours_is_left_alone(box: PoolInABox) -> None:
    def modules(environment: Dict[str, str]) -> Set[str]:
        told = subprocess.check_output([sys.executable, "-c", LIST_MODULES], env=environment)
        return set(json.loads(told.decode()))

    assert modules(box.hosts[0].environment) - modules({}) <= {"sitecustomize"}


def test_nothing_is_left_of_a_closed_box() -> None:
    with PoolInABox() as box:
        box.add_vm("web1", other_config={"pci": "0/0000:07:10.0"})
        assert os.path.isdir(box.folder)
    assert not os.path.exists(box.folder)
    with pytest.raises(OSError, match="refused"):
        box.call(box.hosts[0], "status")
