"""scripts/measure-dom0-cost in dom0 of a lab host, run as an administrator runs it: the bytes go by hand."""

import os
import re
import subprocess
from typing import Callable, List, NamedTuple

from lab import image
from lab.host import LabHost, say
from lab.vms import Vm

SCRIPT = os.path.join(image.REPOSITORY, "scripts", "measure-dom0-cost")
IN_DOM0 = "/opt/lab"


def bring_script(host: LabHost) -> None:
    """And keeps quiet what looks every five minutes, for tenths of seconds that a round by VF shows."""
    host.push(IN_DOM0, SCRIPT)
    host.run("systemctl stop sriov-alerts.timer sriov-alerts.service")


class Measured(NamedTuple):
    status: int
    stdout: str
    last: str  # line of stderr


def measure(host: LabHost, vm: Vm, mib: int, *options: str, move: Callable[[str], None]) -> Measured:
    """Runs the script in dom0, and moves the bytes of a way when it asks for them."""
    words = [f"{IN_DOM0}/measure-dom0-cost", vm.name, "--gib", str(mib / 1024), *options]
    script = subprocess.Popen(
        [*host.ssh(), " ".join(words)],
        cwd=host.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with script:
        assert script.stdin is not None
        assert script.stdout is not None
        assert script.stderr is not None
        line = ""
        for line in script.stderr:
            say(line.strip())
            if "press Enter when" in line:
                move(re.findall(r"(v\w+-\w+):", line)[0])
            if "press Enter" in line:
                script.stdin.write("\n")
                script.stdin.flush()
        return Measured(script.wait(), script.stdout.read(), line)


def by_hand(*ways: str) -> List[str]:
    return [word for way in ways for word in (f"--{way}", "hand")]
