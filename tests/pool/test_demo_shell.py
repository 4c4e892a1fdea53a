"""`make demo-shell`: what a newcomer types in it is answered by the pool of the documents."""

import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.story

SCRIPT = """
sriovctl assign web --network xenbr1
xe vif-create vm-uuid=$WEB network-uuid=$XENBR1 device=0 mac=5e:00:00:00:00:01
xe vm-start uuid=$WEB on=host2
sriovctl wait web --for running-with-vfs --within 60
sriovctl detach web
sriovctl suspend web
xe vm-param-get uuid=$WEB param-name=other-config param-key=XenCenter.CustomFields.sriov
xe vm-start name=web
xe vm-start web
xe vm-start uuid=$NIC
"""


def shell(*command: str, typed: str = "") -> Any:
    return subprocess.run(
        [sys.executable, os.path.abspath(f"{__file__}/../demo_shell.py"), *command],
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )


def test_what_the_documents_show_can_be_typed() -> None:
    done = shell("sh", "-c", SCRIPT)
    assert "web   1        host2  0000:07:10.0  yes" in done.stdout
    assert "web: the VM runs" in done.stdout
    assert "VM web is suspended." in done.stdout
    assert "SRIOV_NEEDED_BY_DOM0" in done.stdout
    assert done.returncode == 1  # of the last command
    for mistake in ("Key XenCenter.CustomFields.sriov not", "not found: uuid", "web is not NAME=VALUE"):
        assert mistake in done.stdout
    assert "Traceback" not in done.stdout


def test_the_shell_ends_well_whatever_its_last_command_did() -> None:
    done = shell(typed="cat /no/such; exit\n")
    assert "/no/such" in done.stdout
    assert done.returncode == 0
