"""Steps of a setup that a whole story does not come to."""

from typing import Any, Iterator, List

import pytest
from box import PoolInABox
from setup_stories import Direct
from sriovctl.errors import Failed
from sriovctl.pool import Pool
from sriovctl.rollout import pinned_vms, steps
from sriovctl.rollout.plan import RELOCATE


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    with PoolInABox() as made:
        yield made


@pytest.fixture
def pool(box: PoolInABox) -> Pool:
    return Pool(Direct(box))


def silent(_text: str) -> None:
    pass


def code(act: Any) -> str:
    with pytest.raises(Failed) as failed:
        act()
    return failed.value.code


def test_a_boot_is_told_from_a_restart_of_the_toolstack(pool: Pool, box: PoolInABox) -> None:
    host, before, down = pool.hosts[1], 1000000.0, 2000000.0
    for boot_time, is_one in (
        ("", False),  # an xapi that does not tell
        ("1000000.", False),
        ("1000004.", False),  # its clock was corrected a little, and its toolstack restarted
        ("2000040.", True),
        ("1900000.", True),  # it forgot the time, and has none of the network yet
        ("0.", True),
    ):
        box.xapi.database.set("host", host.ref, "other_config", {"boot_time": boot_time} if boot_time else {})
        assert steps.has_booted(pool, host, before if boot_time else 0.0, down) is is_one, boot_time


def test_what_xapi_does_with_vms_is_waited_for(pool: Pool, box: PoolInABox) -> None:
    """An evacuation that a killed program began, and somebody's backup."""
    host, database = pool.hosts[1], box.xapi.database
    vm = box.add_vm("mail")
    box.start(vm, box.hosts[1])
    database.add_to("VM", vm, "current_operations", "OpaqueRef:1", "snapshot")
    database.add_to("host", host.ref, "current_operations", "OpaqueRef:2", "evacuate")
    told: List[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if len(told) == 2:
            database.set("VM", vm, "current_operations", {})
        if len(told) == 4:
            database.set("host", host.ref, "current_operations", {})

    steps.wait_for_operations(pool, host, 60, tell)
    assert (
        told == ["waiting for what xapi does with mail"] * 2 + ["waiting for what xapi does with its VMs"] * 2
    )
    database.add_to("VM", vm, "current_operations", "OpaqueRef:1", "snapshot")
    assert code(lambda: steps.wait_for_operations(pool, host, 0, silent)) == "TIMED_OUT"


def test_silence_is_borne_and_a_refusal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: List[str] = []

    def act() -> str:
        said = answers.pop(0)
        if said.isupper():
            raise Failed(said, f"{said}.")
        return said

    def asked(*said: str) -> List[str]:
        answers[:] = said
        return answers

    asked("NO_ANSWER", "REFUSED", "HOST_STILL_BOOTING", "done")
    assert steps.patiently(act) == "done"
    asked("NO_ANSWER", "CANNOT_CONTACT_HOST", "HOST_OFFLINE", "done")
    assert steps.until("something", act, 60, silent) == "done"
    for refused in (lambda: steps.patiently(act), lambda: steps.until("something", act, 60, silent)):
        asked("NO_ANSWER", "RBAC_PERMISSION_DENIED")
        assert code(refused) == "RBAC_PERMISSION_DENIED"
    asked("NO_ANSWER", "NO_ANSWER")
    monkeypatch.setattr(steps, "PATIENCE", 0.0)
    assert code(lambda: steps.patiently(act)) == "NO_ANSWER"
    asked("HOST_OFFLINE")
    with pytest.raises(Failed) as failed:
        steps.until("host web1 reboots", act, 0, silent)
    assert failed.value.message == "Waited 0 minutes in vain: host web1 reboots (HOST_OFFLINE)."


def test_vms_that_are_gone(pool: Pool) -> None:
    """Somebody has destroyed them meanwhile."""
    gone = "00000000-0000-4000-8000-000000000000"
    pinned_vms.shut_down(pool, [gone], silent)
    pinned_vms.start(pool, gone, pool.hosts[0], silent)
    pinned_vms.leave(pool, gone, RELOCATE, pool.hosts[0], pool.hosts, {}, silent)
