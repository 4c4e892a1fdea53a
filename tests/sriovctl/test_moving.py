"""relocate, park, unpark: a VM is where it was to be, or where it was, or a message says what mends it."""

import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
from typing import Any, Callable, Dict, Iterator, List

import pytest
from checks import until
from managed_pool import OTHER_SLOTS, Pool
from sriovctl import tasks, undone
from sriovctl.connection import Remote
from sriovctl.errors import Unreachable

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]
PROGRAM = os.path.abspath(f"{__file__}/../../../scripts/sriovctl")
VF, MAC = "0000:07:10.0", "02:16:3e:00:00:05"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(tasks, "SILENT_SECONDS", 0.1)


def place(pool: Pool, vm: str) -> Any:
    """Whether the VM runs, where, with which VFs; the host of its lease, and its requests."""
    record = pool.record(vm)
    devices = pool.devices(vm) if record["power_state"] == "Running" else None
    row = pool.listed(vm)
    asked = [(one["request"], one["by"], one["value"], one["settings"]) for one in row["requests"]]
    return record["power_state"], record["resident_on"], devices, row["host_uuid"], asked


@pytest.fixture
def web(pool: Pool) -> str:
    """It runs on host1 with a VF there."""
    web = pool.with_vf("web", mac=MAC, vlan="12")
    pool.start(web, pool.one)
    return web


class Fault:
    """A call of the client's that fails: `when` says before xapi gets it, or after it has done it, when only
    the answer is lost; `lasts`: all later ones too."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: List[str] = []
        self.at: Dict[str, Any] = {}
        real = Remote.call

        def call(connection: Remote, method: str, *params: Any) -> Any:
            name = params[2] if method == "host.call_plugin" else method
            self.calls.append(name)
            at = self.at
            if at.get("hit") and at["lasts"] and method != "session.logout":
                raise Unreachable("the network is gone")
            if at and not at.get("hit") and self.calls.count(name) == at["number"] and name == at["name"]:
                at["hit"] = True
                if at["when"] == "after":
                    real(connection, method, *params)
                raise Unreachable("the network is gone")
            return real(connection, method, *params)

        patch.setattr(Remote, "call", call)

    def set(self, name: str, number: int, when: str, lasts: bool) -> None:
        self.calls.clear()
        self.at = {"name": name, "number": number, "when": when, "lasts": lasts}

    def clear(self) -> bool:
        hit = bool(self.at.get("hit"))
        self.at = {}
        return hit


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    with monkeypatch.context() as patch:
        yield Fault(patch)


def commands(text: str) -> List[List[str]]:
    """The commands of sriovctl in a message."""
    return [shlex.split(words) for words in re.findall("`sriovctl ([^`]*)`", text)]


# -- relocate ----------------------------------------------------------------------------------------------


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


def full(pool: Pool) -> None:
    for vf in pool.vfs(pool.other, state="free"):
        pool.assign(pool.vm("other"), vf=vf["address"], on=pool.other)


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


CALLS = [  # the name of a call, which of them, and when it fails
    ("Async.VM.clean_shutdown", 1, "before"),
    ("Async.VM.clean_shutdown", 1, "after"),
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


# -- park, unpark ------------------------------------------------------------------------------------------


def test_parked_and_back(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", on=pool.other, mac=MAC, vlan="12")
    db = pool.with_vf("db")
    before = place(pool, web)
    assert ctl("park", "web", "--dry-run").status == 0
    assert place(pool, web) == before
    said = ctl("park", "web", "db")
    assert said.status == 0
    assert [row[:3] for row in said.rows[1:]] == [["web", "1", "host2"], ["db", "1", "host1"]]
    assert (pool.pci(web), pool.pci(db)) == (None, None)
    assert "parked already" in ctl("park", "web").err
    assert "is parked" in ctl("vms", "web").err

    assert "Would" in ctl("unpark", "web", "--dry-run").err
    back = ctl("unpark", "web", "db")
    assert (back.status, place(pool, web)) == (0, before)
    assert "VM web has VFs of host host2 from its next start." in back.err
    again = ctl("unpark", "web")
    assert (again.status, again.out, "not parked" in again.err) == (0, "", True)


def test_some_cannot_be_parked(pool: Pool, ctl: Ctl) -> None:
    pool.with_vf("db")
    pool.start(pool.with_vf("web"), pool.one)
    said = ctl("park", "web", "db", "--yes")
    assert (said.status, [row[0] for row in said.rows[1:]]) == (4, ["db"])
    assert "error: VM web (" in said.err
    assert "(SRIOV_VM_NOT_HALTED)" in said.err


def test_no_vf_is_free_to_unpark(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", on=pool.other, mac=MAC)
    asked = place(pool, web)[4]
    ctl("park", "web")
    full(pool)
    said = ctl("unpark", "web")
    assert said.status == 1
    assert "The VM stays parked; its requests are kept." in said.err
    assert place(pool, web)[4] == asked
    assert ctl("unpark", "web", "--on", "host1").status == 0
    assert place(pool, web)[3:] == (pool.one.uuid, asked)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("words", "call"), [(["park", "web"], "park_vm"), (["unpark", "web"], "reinstate_vfs")]
)
def test_answer_that_is_lost(
    pool: Pool, ctl: Ctl, fault: Fault, words: List[str], call: str, when: str
) -> None:
    """It is done, or not; the same command again does the rest."""
    web = pool.with_vf("web", mac=MAC)
    before = place(pool, web)
    if words[0] == "unpark":
        pool.call("park_vm", vm=web)
    fault.set(call, 1, when, lasts=True)
    assert ctl(*words).status == 1
    assert fault.clear()
    assert ctl(*words).status == 0
    assert pool.listed(web)["parked"] == (words[0] == "park")
    assert ctl("unpark", "web").status == 0
    assert place(pool, web) == before


def relocating(pool: Pool) -> "subprocess.Popen[str]":
    """A program that has begun to shut the VM web down, to have it on host2."""
    program = subprocess.Popen(
        [sys.executable, PROGRAM, "relocate", "web", "host2", "--yes"],
        env={**os.environ, "SRIOVCTL_HOST": pool.box.url, "SRIOVCTL_PASSWORD": pool.box.xapi.password},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert program.stderr
    assert "is being shut down" in program.stderr.readline()
    return program


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_relocate_that_is_killed_or_whose_terminal_closes(pool: Pool, web: str, number: Any) -> None:
    before = place(pool, web)
    program = relocating(pool)
    program.send_signal(number)
    _, said = program.communicate()
    assert "error: Interrupted. VM web runs on host host1" in said
    assert place(pool, web) == before


def test_relocate_whose_messages_nobody_reads_any_more(pool: Pool, web: str) -> None:
    """As `sriovctl relocate ... 2>&1 | head -1` has it."""
    program = relocating(pool)
    assert program.stderr
    program.stderr.close()
    assert program.wait() == 0
    assert (pool.power_state(web), pool.lease(web)["host"]) == ("Running", pool.other.uuid)


@pytest.mark.parametrize("way", [0, 1])
def test_relocate_that_is_killed_for_good(pool: Pool, ctl: Ctl, web: str, way: int) -> None:
    """By kill -9 nothing is put back: the next command tells of the VM, whatever it is, and how to go on."""
    before = place(pool, web)
    program = relocating(pool)
    program.kill()
    program.communicate()
    until(lambda: pool.power_state(web) == "Halted")
    told = ctl("pfs", "host1")
    assert told.status == 0
    assert f"VM web was shut down by {undone.who()}, to run on host host2, and is halted" in told.err
    assert ctl(*commands(told.err)[way]).status == 0
    there = ("Running", pool.other.ref, [VF], pool.other.uuid)
    assert place(pool, web)[:4] == (there, before[:4])[way]
    assert not [key for key in pool.pool_keys() if key.startswith(undone.KEY)]
    assert "was shut down by" not in ctl("pfs", "host1").err


def test_record_of_a_move_that_is_over(pool: Pool, ctl: Ctl, web: str) -> None:
    """Somebody has started the VM meanwhile, or destroyed it: nothing is said, and nothing is left to be said
    when she shuts it down another day. One that was edited is named."""
    keys = [f"{undone.KEY}{uuid}" for uuid in (web, pool.other.uuid, "x")]
    (ref,) = pool.api("pool.get_all")
    text = json.dumps({"who": "alice@ws", "since": 1.0, "from": pool.one.uuid, "to": pool.other.uuid})
    for key in keys[:2]:
        pool.api("pool.add_to_other_config", ref, key, text)
    assert "alice" not in ctl("pfs").err
    assert not set(keys) & set(pool.pool_keys())
    pool.api("pool.add_to_other_config", ref, keys[2], "[" * 100000)
    told = ctl("pfs")
    assert (told.status, f"param-key={keys[2]}`" in told.err) == (0, True)


def test_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert undone.who().partition("@")[0] == str(os.getuid())
