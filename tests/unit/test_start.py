"""What the start hook makes of the master's answer to a start that is wrong, or only leased elsewhere."""

from types import SimpleNamespace
from typing import Any, Dict, List, Sequence

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


class Master:
    """Answers as it is told, and keeps how it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        self.asked: List[Sequence[Any]] = []

        def act(*args: Any) -> Any:
            self.asked.append(args)
            if isinstance(answer, SriovError):
                raise answer
            return answer

        monkeypatch.setattr(master, "act", act)

    def is_asked(self, refusals: Sequence[Refusal]) -> None:
        start._ask_master(Host(), None, VIEW, refusals)


NOTHING_TO_DO = {"pci_changed": False}


def test_wrong_start_that_the_master_finds_right_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has put it right meanwhile, or the master has not noticed it yet: the next start will tell. It
    waits for the master as long as it takes."""
    asked = Master(monkeypatch, NOTHING_TO_DO)
    with pytest.raises(SriovError) as refused:
        asked.is_asked([WRONG])
    assert (refused.value.code, refused.value.message) == (judge.IN_USE, "Another VM has it.")
    assert start.LEASE_SECONDS not in asked.asked[0]


def test_start_whose_lease_is_elsewhere_waits_for_the_master_but_not_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Master(monkeypatch, NOTHING_TO_DO)
    asked.is_asked([])
    ((*_, arguments, _function, seconds),) = asked.asked
    assert arguments == {"vm_uuid": UUID, "host_uuid": HERE.uuid, "starting": "true"}
    assert seconds == start.LEASE_SECONDS


@pytest.mark.parametrize(
    ("said", "code"),
    [("SRIOV_NO_FREE_VF", "SRIOV_NO_FREE_VF"), ("SRIOV_XAPI_SILENT", judge.NOT_PLACED)],
)
def test_why_the_master_does_not_help_is_said(monkeypatch: pytest.MonkeyPatch, said: str, code: str) -> None:
    asked = Master(monkeypatch, SriovError(said, "It cannot.", "Do this."))
    with pytest.raises(SriovError) as refused:
        asked.is_asked([WRONG])
    assert (refused.value.code, refused.value.hint) == (code, "Do this.")
    assert refused.value.message == "It cannot. Another VM has it."


def test_the_start_that_is_queued_is_no_paused_one_and_forces_nothing() -> None:
    """HA's and the pool's own checks count for it as for the one that it stands for."""
    asked: Dict[str, Sequence[Any]] = {}
    answers = {
        "VM.get_other_config": {"pci": "0/0000:07:10.2"},
        "VM.get_current_operations": {},
        "Async.VM.start_on": "OpaqueRef:task",
        "task.get_uuid": "the task",
        "message.create": "OpaqueRef:message",
    }

    def call(method: str, *params: Any) -> Any:
        asked[method] = params
        return answers[method]

    xapi: Any = SimpleNamespace(call=call)
    with pytest.raises(start.Restarting) as queued:
        start._start_again(Host(), xapi, VIEW)
    assert queued.value.task == "the task"
    assert queued.value.message == (
        "VM web had no VFs on host1 and has been given 0000:07:10.2. This start is stopped; a new one is "
        "queued on this host."
    )
    assert asked["Async.VM.start_on"] == ("OpaqueRef:web", HERE.ref, False, False)
