"""relocate: a VM is where it was to be, or where it was, or a message says what mends it."""

from typing import Any, Callable, Iterator, List

import pytest
from managed_pool import OTHER_SLOTS, Pool
from moved_vms import (
    MAC,
    SHUTDOWN,
    VF,
    Fault,
    begins_late,
    cancelled_too_late,
    commands,
    full,
    place,
    running,
)
from sriovctl import terminal
from sriovctl.connection import Remote

pytestmark = [pytest.mark.story, pytest.mark.usefixtures("impatient")]

Ctl = Callable[..., Any]


@pytest.fixture
def web(pool: Pool) -> str:
    return running(pool)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    with monkeypatch.context() as patch:
        yield Fault(patch)


@OTHER_SLOTS
def test_running_vm_moves_with_its_vfs(pool: Pool, ctl: Ctl, web: str) -> None:
    before = place(pool, web)
    would = ctl("relocate", "web", "host2", "--dry-run")
    assert (would.status, place(pool, web)) == (0, before)
    assert "Would shut VM web down cleanly, give it VFs of host host2, start it on host host2." in would.err
    assert would.rows[1][:3] == ["web", "1", "host2"]

    said = ctl("relocate", "web", "host2", "--yes")
    assert said.status == 0, said.err
    state, host, (vf,), lease, asked = place(pool, web)
    assert (state, host, lease, asked) == ("Running", pool.other.ref, pool.other.uuid, before[4])
    assert said.rows[1] == ["web", "1", "host2", vf, VF]
    assert pool.settings(pool.other, vf) == (MAC, 12)
    assert pool.settings(pool.one, VF)[0] != MAC
    assert "VM web runs on host host2, where it came from host host1." in said.err
    again = ctl("relocate", "web", "host2", "--yes")
    assert (again.status, "already" in again.err) == (0, True)


def test_running_vm_moves_while_it_runs_where_that_can_be(pool: Pool, ctl: Ctl, web: str) -> None:
    for host in pool.hosts:
        pool.box.add_vlan(host, "eth1", 12, "lan12")
    (network,) = pool.box.xapi.database.by_name_label("network", "lan12")
    vif = {"VM": pool.ref(web), "network": network, "currently_attached": True}
    pool.box.xapi.database.create("VIF", vif)
    refused = ctl("relocate", "web", "host2", "--dry-run")
    assert "VM web cannot be moved while it runs: Host host1 runs" in refused.err
    assert "Would shut VM web down cleanly" in refused.err
    would = ctl("relocate", "web", "host2", "--unconfirmed", "--dry-run")
    assert "Would move VM web to host host2 while it runs, with VFs there." in would.err
    begun = pool.record(web)["metrics"]
    said = ctl("relocate", "web", "host2", "--unconfirmed", "--no-input")
    assert said.status == 0, said.err
    assert "is being shut down" not in said.err
    assert (pool.record(web)["metrics"], place(pool, web)[1]) == (begun, pool.other.ref)
    assert said.rows[1][:3] == ["web", "1", "host2"]


def test_nobody_shuts_a_vm_down_unasked(pool: Pool, ctl: Ctl, web: str) -> None:
    before = place(pool, web)
    said = ctl("relocate", "web", "host2", "--no-input")
    assert (said.status, place(pool, web)) == (1, before)
    assert "--yes" in said.err


def test_halted_vm_stays_halted_unless_it_is_to_start(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web")
    said = ctl("relocate", "web", "host2")
    assert said.status == 0
    assert place(pool, web)[0::3][:2] == ("Halted", pool.other.uuid)
    assert ctl("relocate", "web", "host1", "--start").status == 0
    assert place(pool, web)[:4] == ("Running", pool.one.ref, [VF], pool.one.uuid)


def test_in_dom0(pool: Pool, ctl_of: Ctl, web: str) -> None:
    said = ctl_of(pool.other, "relocate", "web", "host2", "--yes")
    assert (said.status, place(pool, web)[1]) == (0, pool.other.ref), said.err


def test_home_server_elsewhere_is_told(pool: Pool, ctl: Ctl, web: str) -> None:
    pool.api("VM.set_affinity", pool.ref(web), pool.one.ref)
    said = ctl("relocate", "web", "host2", "--yes")
    assert f"affinity={pool.other.uuid}" in said.err


def disabled(pool: Pool) -> None:
    pool.api("host.disable", pool.other.ref)


def blocked(pool: Pool) -> None:
    pool.box.xapi.database.add_to(
        "VM", pool.ref(named(pool, "web")), "blocked_operations", "start_on", "mine"
    )


def parked(pool: Pool) -> None:
    pool.shut_down(named(pool, "web"))
    pool.call("park_vm", vm=named(pool, "web"))


def named(pool: Pool, name: str) -> str:
    (ref,) = pool.box.xapi.database.find("VM", name_label=name)
    return pool.uuid(ref)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        (full, ["SRIOV_NO_FREE_VF"]),
        (disabled, ["HOST_DISABLED"]),
        (blocked, ["start_on", "mine"]),
        (parked, ["sriovctl unpark"]),
    ],
)
def test_what_is_in_the_way_is_seen_before(
    pool: Pool, ctl: Ctl, web: str, obstacle: Callable[[Pool], None], words: List[str], dry_run: bool
) -> None:
    obstacle(pool)
    before = place(pool, web)
    said = ctl("relocate", "web", "host2", "--yes", *(["--dry-run"] if dry_run else []))
    assert (said.status, place(pool, web)) == (1, before)
    assert all(word in said.err for word in words), said.err


def test_vm_without_requests(pool: Pool, ctl: Ctl) -> None:
    pool.vm("db")
    pool.vm("old", pci="0/0000:07:10.6")
    assert "xe vm-migrate" in ctl("relocate", "db", "host2").err
    assert "sriovctl adopt" in ctl("relocate", "old", "host2").err


def test_start_that_is_refused_there(pool: Pool, ctl: Ctl, web: str) -> None:
    """By a hook of somebody else's: the VM runs again where it was."""
    before = place(pool, web)
    with pool.hook(pool.other, "#!/bin/sh\necho not here\nexit 2\n"):
        said = ctl("relocate", "web", "host2", "--yes")
    assert (said.status, place(pool, web)) == (1, before)
    assert "not here" in said.err
    assert "VM web runs on host host1 again." in said.err


def test_target_is_lost(pool: Pool, ctl: Ctl, web: str) -> None:
    before = place(pool, web)
    pool.box.lose(pool.other)
    said = ctl("relocate", "web", "host2", "--yes")
    assert (said.status, place(pool, web)[:4]) == (1, before[:4])
    assert said.err.startswith("error: Host host2 is not live.")


def test_target_is_lost_meanwhile(pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = place(pool, web), Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if method == "Async.VM.start_on" and params[1] == pool.other.ref:
            pool.box.lose(pool.other)
        return real(connection, method, *params)

    monkeypatch.setattr(Remote, "call", call)
    said = ctl("relocate", "web", "host2", "--yes")
    assert (said.status, place(pool, web)[:4]) == (1, before[:4]), said.err
    assert "runs on host host1 again" in said.err


@OTHER_SLOTS
def test_start_that_is_replaced(pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes the entries meanwhile: our hook stops that start, and the next one is waited for."""
    begun: List[str] = []
    real = Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if method == "Async.VM.start_on" and not begun:
            begun.append(method)
            pool.set_pci(web, f"0/{VF}")
        return real(connection, method, *params)

    monkeypatch.setattr(Remote, "call", call)
    said = ctl("relocate", "web", "host2", "--yes")
    assert (said.status, place(pool, web)[0::3][:2]) == (0, ("Running", pool.other.uuid)), said.err
    assert "with other VFs" in said.err


@pytest.mark.parametrize("number", [1, 2])
def test_ctrl_c(pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """While it is shut down, and while it is started there: what goes on is awaited, then it goes back."""
    before, real, looks = place(pool, web), Remote.call, []

    def call(connection: Remote, method: str, *params: Any) -> Any:
        answer = real(connection, method, *params)
        looks.extend([params[0]] if method == "task.get_record" and params[0] not in looks else [])
        if len(looks) == number and method == "task.get_record":
            looks.append("interrupted")
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Remote, "call", call)
    said = ctl("relocate", "web", "host2", "--yes")
    assert said.status == 1
    assert "Interrupted. VM web runs on host" in said.err
    state, host, _, lease, asked = place(pool, web)
    assert (state, asked) == ("Running", before[4])
    assert (host, lease) in ((pool.one.ref, pool.one.uuid), (pool.other.ref, pool.other.uuid))


def test_ctrl_c_while_it_is_said_that_xapi_was_asked(
    pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow terminal: xapi has the call, but has not begun with it, so the VM looks as before."""
    before, real, shown = place(pool, web), terminal.Progress.say, []
    cancelled_too_late(monkeypatch, pool, SHUTDOWN)

    def say(progress: terminal.Progress, text: str) -> None:
        real(progress, text)
        shown.append(text)
        if shown == ["VM web is being shut down"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(terminal.Progress, "say", say)
    said = ctl("relocate", "web", "host2", "--yes")
    assert said.status == 1
    assert "Interrupted. VM web runs on host host1 again" in said.err
    assert place(pool, web) == before


CALLS = [  # the name of a call, which of them, and when it fails
    (SHUTDOWN, 1, "before"),
    (SHUTDOWN, 1, "after"),
    ("task.get_record", 1, "before"),
    ("reinstate_vfs", 2, "before"),
    ("reinstate_vfs", 2, "after"),
    ("Async.VM.start_on", 1, "before"),
    ("Async.VM.start_on", 1, "after"),
    ("list_assignments", 2, "before"),
    ("list_vfs", 1, "before"),
]


@pytest.mark.parametrize(("call", "number", "when"), CALLS)
def test_call_that_fails_once(
    pool: Pool, ctl: Ctl, web: str, fault: Fault, call: str, number: int, when: str
) -> None:
    """The VM runs where it was, or where it was to be; the message says which."""
    before = place(pool, web)
    fault.set(call, number, when, lasts=False)
    said = ctl("relocate", "web", "host2", "--yes")
    assert fault.clear()
    now = place(pool, web)
    if said.status == 0:
        assert now[:4] == ("Running", pool.other.ref, [VF], pool.other.uuid)
        assert "runs on host host2" in said.err
    else:
        assert (said.status, now) == (1, before)
        assert "runs on host host1 again" in said.err or "runs as before" in said.err


@pytest.mark.parametrize("command", ["relocate web host2 --yes", "suspend web"])
def test_xapi_begins_after_its_answer_was_lost(
    pool: Pool, ctl: Ctl, web: str, fault: Fault, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """xapi answers an Async call before it begins with it: until then the VM looks as before."""
    what, ends = {
        "relocate": ("Async.VM.start_on", "VM web runs on host host2"),
        "suspend": ("Async.VM.suspend", "VM web is suspended"),
    }[command.split()[0]]
    looked, real = begins_late(monkeypatch, what), Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        answer = real(connection, method, *params)
        if "hit" in fault.at and method == "task.get_record":
            looked.set()
        return answer

    pool.box.xapi.database.set("VM", pool.ref(web), "suspend_SR", "OpaqueRef:a repository")
    monkeypatch.setattr(Remote, "call", call)
    fault.set(what, 1, "after", lasts=False)
    said = ctl(*command.split())
    assert fault.clear()
    looked.set()
    assert said.status == 0, said.err
    assert ends in said.err
    assert pool.power_state(web) == ("Suspended" if "suspend" in command else "Running")


@pytest.mark.parametrize(("call", "number", "when"), CALLS)
def test_pool_that_does_not_answer_any_more(
    pool: Pool, ctl: Ctl, web: str, fault: Fault, call: str, number: int, when: str
) -> None:
    """The message has the command that brings the VM back, and the one that brings it there."""
    before = place(pool, web)
    fault.set(call, number, when, lasts=True)
    said = ctl("relocate", "web", "host2", "--yes")
    assert fault.clear()
    assert said.status == 1
    assert "It is not known whether VM web runs" in said.err
    back, there = commands(said.err)
    assert pool.box.wait_for_calls()
    assert ctl(*there, "--yes").status == 0
    assert place(pool, web)[:4] == ("Running", pool.other.ref, [VF], pool.other.uuid)
    assert ctl(*back, "--yes").status == 0
    assert place(pool, web) == before


def test_no_way_back(pool: Pool, ctl: Ctl, web: str) -> None:
    """Neither host takes it."""
    hook = "#!/bin/sh\necho not here\nexit 2\n"
    with pool.hook(pool.other, hook), pool.hook(pool.one, hook):
        said = ctl("relocate", "web", "host2", "--yes")
    assert said.status == 1
    assert "VM web is halted, with VFs of host host1." in said.err
    back, there = commands(said.err)
    assert ctl(*there).status == 0
    assert ctl(*back, "--yes").status == 0
    assert place(pool, web)[:3] == ("Running", pool.one.ref, [VF])
