"""relocate as a program that is ended on the way: what is put back, and what the pool remembers."""

import json
import os
import pwd
import signal
import subprocess
from typing import Any, Callable

import pytest
from as_program import begun
from checks import until
from managed_pool import Pool
from moved_vms import SHUTDOWN, VF, begins_late, cancelled_too_late, commands, place, running
from sriovctl import undone

pytestmark = [pytest.mark.story, pytest.mark.usefixtures("impatient")]

Ctl = Callable[..., Any]


@pytest.fixture
def web(pool: Pool) -> str:
    return running(pool)


def relocating(pool: Pool) -> "subprocess.Popen[str]":
    """A program that has begun to shut the VM web down, to have it on host2."""
    program = begun(pool, "relocate", "web", "host2", "--yes")
    assert program.stderr
    assert "cannot be moved while it runs" in program.stderr.readline()
    assert "is being shut down" in program.stderr.readline()
    return program


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_relocate_that_is_killed_or_whose_terminal_closes(
    pool: Pool, web: str, number: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place(pool, web)
    cancelled_too_late(monkeypatch, pool, SHUTDOWN)
    program = relocating(pool)
    program.send_signal(number)
    _, said = program.communicate()
    assert "error: Interrupted. VM web runs on host host1 again" in said
    assert place(pool, web) == before


def test_relocate_whose_messages_nobody_reads_any_more(pool: Pool, web: str) -> None:
    """As `sriovctl relocate ... 2>&1 | head -1` has it."""
    program = relocating(pool)
    assert program.stderr
    program.stderr.close()
    assert program.wait() == 0
    assert (pool.power_state(web), pool.lease(web)["host"]) == ("Running", pool.other.uuid)


@pytest.mark.parametrize("way", [0, 1])
def test_relocate_that_is_killed_for_good(
    pool: Pool, ctl: Ctl, web: str, way: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By kill -9 nothing is put back: the next command tells of the VM, whatever it is, and how to go on."""
    before = place(pool, web)
    shutdown = begins_late(monkeypatch, SHUTDOWN)
    program = relocating(pool)
    program.kill()
    program.communicate()
    shutdown.set()
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
    for odd in ("[" * 100000, text.replace("1.0", "1" * 400)):
        pool.api("pool.add_to_other_config", ref, keys[2], odd)
        told = ctl("pfs")
        assert (told.status, f"param-key={keys[2]}`" in told.err) == (0, True)
        pool.api("pool.remove_from_other_config", ref, keys[2])


def test_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert undone.who().partition("@")[0] == str(os.getuid())
