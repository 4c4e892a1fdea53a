"""What the start hook makes of the master's answer to a start that is wrong, or only leased elsewhere."""

from typing import Any, Dict
from unittest.mock import Mock

import pytest
from sriovlib.errors import SriovError
from sriovlib.machine.host import Host
from sriovlib.machine.vgpus import UNTOLD
from sriovlib.pool import master
from sriovlib.pool.hosts import Member, OwnHost
from sriovlib.pool.placement import Held
from sriovlib.pool.state import Pool, PoolState, Vm
from sriovlib.starts import judge, start
from sriovlib.starts.judge import Refusal, View
from sriovlib.xapi.own_session import OwnSession

UUID = "d58d9323-dddc-4624-a482-9f6ceb10670c"
HERE = Member("OpaqueRef:host1", "11111111-0000-4000-8000-000000000001", "host1", True, {})
VM = Vm("OpaqueRef:web", UUID, "web", "Halted", ("start",), None, None, "0/0000:07:10.0", None, {})
NOTHING: Any = None
VIEW = View(
    VM,
    Pool(OwnHost(HERE, {}, UNTOLD, {}), PoolState("", "", {}, {}, {}, {UUID: VM})),
    Held({}, {}),
    NOTHING,
    [],
    {},
    {},
    {},
)
WRONG = Refusal(judge.IN_USE, "0000:07:10.0", "Another VM has it.", "Take another.", True)


def cannot(code: str) -> Dict[str, Any]:
    return {"side_effect": SriovError(code, "It cannot.", "Do this.")}


def ask_master(monkeypatch: pytest.MonkeyPatch, answer: Mock, *refusals: Refusal) -> None:
    monkeypatch.setattr(master, "act", answer)
    start._ask_master(Host(), OwnSession("none"), VIEW, refusals)


def test_start_whose_lease_is_elsewhere_waits_for_the_master_but_not_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = Mock(return_value={"pci_changed": False})
    ask_master(monkeypatch, answer)
    ((*_, arguments, _function, seconds),) = (call[0] for call in answer.call_args_list)
    assert arguments == {"vm_uuid": UUID, "host_uuid": HERE.uuid, "starting": "true"}
    assert seconds == start.LEASE_SECONDS


@pytest.mark.parametrize(
    ("answer", "code", "message", "hint"),
    [
        # put right meanwhile, or not noticed yet: the next start will tell
        ({"return_value": {"pci_changed": False}}, judge.IN_USE, WRONG.message, WRONG.hint),
        (cannot("SRIOV_NO_FREE_VF"), "SRIOV_NO_FREE_VF", f"It cannot. {WRONG.message}", "Do this."),
        (cannot("SRIOV_XAPI_SILENT"), judge.NOT_PLACED, f"It cannot. {WRONG.message}", "Do this."),
    ],
)
def test_wrong_start_that_the_master_does_not_put_right_ends_and_waits_as_long_as_it_takes(
    monkeypatch: pytest.MonkeyPatch, answer: Dict[str, Any], code: str, message: str, hint: str
) -> None:
    asked = Mock(**answer)
    with pytest.raises(SriovError) as refused:
        ask_master(monkeypatch, asked, WRONG)
    assert (refused.value.code, refused.value.message, refused.value.hint) == (code, message, hint)
    assert start.LEASE_SECONDS not in asked.call_args[0]


def test_the_start_that_is_queued_is_no_paused_one_and_forces_nothing() -> None:
    """HA's and the pool's own checks count for it as for the one that it stands for."""
    answers = {
        "VM.get_other_config": {"pci": "0/0000:07:10.2"},
        "VM.get_current_operations": {},
        "Async.VM.start_on": "OpaqueRef:task",
        "task.get_uuid": "the task",
        "message.create": "OpaqueRef:message",
    }
    xapi = Mock(**{"call.side_effect": lambda method, *_params: answers[method]})
    with pytest.raises(start.Restarting) as queued:
        start._start_again(Host(), xapi, VIEW)
    assert queued.value.task == "the task"
    assert queued.value.message == (
        "VM web had no VFs on host1 and has been given 0000:07:10.2. This start is stopped; a new one is "
        "queued on this host."
    )
    xapi.call.assert_any_call("Async.VM.start_on", "OpaqueRef:web", HERE.ref, False, False)
