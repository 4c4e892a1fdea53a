"""What a start hook says of failures that nobody foresaw, and whether it judges a start or a reboot."""

from typing import Any
from unittest.mock import Mock

import pytest
from sriovlib.machine.host import RUN_FOLDER, Host
from sriovlib.starts import hooks, reboot
from sriovlib.vf import start_notes
from sriovlib.xapi.session import XapiFailure, XapiSilent


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError(2, "No such file or directory", "/sys/class/net"), "SRIOV_INTERNAL_ERROR"),
        (OSError(28, "No space left on device"), "SRIOV_INTERNAL_ERROR"),
        (XapiSilent("timed out"), "SRIOV_XAPI_SILENT"),
        (XapiFailure(["HOST_OFFLINE"]), "SRIOV_XAPI_SILENT"),
    ],
)
@pytest.mark.usefixtures("fs")
def test_xapi_is_not_blamed_for_files(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: Any, error: Exception, code: str
) -> None:
    monkeypatch.setattr(hooks, "pre_start", Mock(side_effect=error))
    assert hooks.run("vm-pre-start", ["hook", "-vmuuid", "a-vm"]) == hooks.REFUSED
    first, message = capsysbinary.readouterr().out.decode().splitlines()[:2]
    assert first == f"{code} a-vm -"
    assert str(error) in message


@pytest.mark.parametrize(
    ("power_state", "judged_as"), [("Running", "reboot"), ("Paused", "reboot"), ("Halted", "start")]
)
def test_a_start_soon_after_a_reboot_that_came_to_nothing_is_judged_as_a_start(
    fs: Any, monkeypatch: pytest.MonkeyPatch, power_state: str, judged_as: str
) -> None:
    """The mark of the reboot is still there; what the VM had then is not what it plugs now."""
    vm_uuid, judged = "d58d9323-dddc-4624-a482-9f6ceb10670c", []
    fs.create_dir(RUN_FOLDER)
    start_notes.write(Host(), vm_uuid, ["0000:07:10.0"], {}, {})
    start_notes.mark_reboot(Host(), vm_uuid)
    vm = {"power_state": power_state, "other_config": {"pci": "0/0000:07:10.2"}}
    monkeypatch.setattr(hooks, "_ask", lambda *_args, **_more: (None, "ref", vm))
    monkeypatch.setattr(hooks, "_start", lambda *_args: judged.append("start"))
    monkeypatch.setattr(reboot, "reboot", lambda *_args: judged.append("reboot"))
    hooks.pre_start(Host(), vm_uuid, "none")
    assert judged == [judged_as]
    assert not start_notes.reboots(Host(), vm_uuid)
