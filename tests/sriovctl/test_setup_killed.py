"""setup, cut off at every step and gone on with; paused, stopped, and begun twice."""

import threading
from typing import Any, List

import pytest
from checks import until
from managed_pool import Pool
from setup_stories import SETUP, Ctl, bare_hosts, boots, in_service, is_set_up, keys, let_it_look_dead
from sriovctl.rollout import state as states
from terminal_session import Terminal

pytestmark = pytest.mark.story


class Killed(BaseException):
    """As by kill -9: nothing of the program runs any more."""


class Writes:
    """Of the state: kills the program before or after one of them. `last` is what is recorded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.number, self.left, self.after = 0, -1, False
        self._real = states.Keeper._write
        patch.setattr(states.Keeper, "_write", lambda keeper, state: self._write(keeper, state))

    def kill_at(self, number: int, after: bool) -> None:
        """At the write of that number of the next program."""
        self.left, self.after = number, after

    def _write(self, keeper: states.Keeper, state: states.State) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        self._real(keeper, state)
        if self.left == 0:
            raise Killed


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(monkeypatch)


def phases(pool: Pool) -> List[str]:
    found = states.read(pool.pool_keys())
    assert found is not None
    return [host.phase for host in found[1].hosts.values()]


@pytest.mark.parametrize("after", [True, False], ids=["once recorded", "before it is recorded"])
@bare_hosts()
def test_killed_again_and_again(pool: Pool, ctl: Ctl, writes: Writes, after: bool) -> None:
    """Each program takes the record over and comes one step further. Whatever is asked in between tells of
    it; no host boots twice, none is left out of service, HA is on in the end."""
    sr = pool.box.xapi.database.create("SR", {"name_label": "shared", "shared": True})
    pool.api("pool.enable_ha", [sr], {})
    booted: List[str] = []
    real = pool.box.xapi.boot

    def boot(host: str) -> bool:
        booted.append(host)
        return real(host)

    pool.box.xapi.boot = boot
    seen: List[str] = []
    command, programs, done = [*SETUP, "--yes"], 0, None
    while done is None:
        writes.kill_at(2 if after else 3, after)
        try:
            done = ctl(*command)
        except Killed:
            seen += [phase for phase in phases(pool) if phase not in seen]
            told = ctl("pfs", "host1", "--no-headers")
            assert "warning: Setup by" in told.err
            assert "sriovctl setup resume" in told.err
            let_it_look_dead(pool)
        command = ["setup", "resume"]
        programs += 1
        assert programs < 40
    assert done.status == 0, done.err
    assert {"Waiting", "Draining", "Applying", "Rebooting", "Verifying", "Done"} == set(seen)
    assert all(is_set_up(pool, host) for host in pool.hosts)
    assert booted == [pool.other.ref, pool.one.ref]
    assert pool.box.xapi.database.get("pool", pool.box.xapi.pool, "ha_enabled")
    assert keys(pool) == []


@bare_hosts()
def test_stopped_by_another_program(pool: Pool, ctl: Ctl, writes: Writes) -> None:
    """What a killed one has turned off is put back, at every step."""
    sr = pool.box.xapi.database.create("SR", {"name_label": "shared", "shared": True})
    vm = pool.vm("mail")
    pool.start(vm, pool.other)
    number = 0
    while True:
        if not pool.box.xapi.database.get("pool", pool.box.xapi.pool, "ha_enabled"):
            pool.api("pool.enable_ha", [sr], {})
        number += 1
        writes.kill_at(number, True)
        try:
            ctl(*SETUP, "host2", "--yes")
        except Killed:
            pass
        else:
            break
        writes.kill_at(-1, False)
        let_it_look_dead(pool)
        said = ctl("setup", "stop")
        assert (said.status, keys(pool)) == (0, []), said.err
        assert "nothing is turned off by it any more" in said.err
        assert all(in_service(pool, host) for host in pool.hosts)
        assert pool.power_state(vm) == "Running"
        assert pool.box.xapi.database.get("pool", pool.box.xapi.pool, "ha_enabled")
    assert number > 6


@bare_hosts()
def test_paused_resumed_and_stopped(pool: Pool, ctl: Ctl) -> None:
    """By another program, while the first host reboots."""
    asked: List[Any] = []
    real = pool.box.xapi.boot

    def boot(host: str) -> bool:
        if host == pool.other.ref:
            asked.append(ctl("setup", "pause"))
        return real(host)

    pool.box.xapi.boot = boot
    said = ctl(*SETUP, "--yes")
    assert said.status == 4
    assert (asked[0].status, "pauses when the hosts" in asked[0].err) == (0, True)
    assert is_set_up(pool, pool.other)
    assert not boots(pool, pool.one)
    status = ctl("setup", "status", "-o", "json")
    assert [row["state"] for row in status.json] == ["Done", "Waiting"]
    assert "paused" in status.err
    resumed = ctl("setup", "resume")
    assert (resumed.status, "4 VFs on eth1. Setup by" in resumed.err) == (0, True)
    assert is_set_up(pool, pool.one)
    assert keys(pool) == []
    assert ctl("setup", "stop").status == 0  # there is none


@bare_hosts()
def test_two_at_once(pool: Pool, ctl: Ctl) -> None:
    """The second is told whose the first is; it may neither begin another one nor take this one over."""
    seen = []
    real = pool.box.xapi.boot

    def boot(host: str) -> bool:
        if host == pool.other.ref:
            seen.extend([ctl(*SETUP, "--yes"), ctl("setup", "resume"), ctl("setup", "status")])
        return real(host)

    pool.box.xapi.boot = boot
    assert ctl(*SETUP, "host2", "--yes").status == 0
    second, resumed, status = seen
    assert (second.status, resumed.status, status.status) == (1, 1, 0)
    for refused in (second, resumed):
        assert "There is a setup already. Setup by " in refused.err
        assert "host host2 Rebooting" in refused.err
    assert "Nobody is at it" not in status.err
    assert is_set_up(pool, pool.other)


@bare_hosts()
def test_ctrl_c(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how things stand, and another one may go on at once."""
    real = states.Keeper.asked

    def interrupted(keeper: states.Keeper) -> str:
        if keeper.state.hosts[pool.other.uuid].phase == states.DONE:
            raise KeyboardInterrupt
        return real(keeper)

    with monkeypatch.context() as patch:
        patch.setattr(states.Keeper, "asked", interrupted)
        said = ctl(*SETUP, "--yes")
    assert said.status == 130
    assert "1 of 2 hosts done." in said.err
    assert "sriovctl setup resume" in said.err
    assert ctl("setup", "resume").status == 0
    assert all(is_set_up(pool, host) for host in pool.hosts)


class Booting:
    """While a host is down: `down` is set then, and it comes up when `up` is."""

    def __init__(self, pool: Pool) -> None:
        self.down, self.up = threading.Event(), threading.Event()
        self._real = pool.box.xapi.boot
        pool.box.xapi.boot = self._boot

    def _boot(self, host: str) -> bool:
        self.down.set()
        assert self.up.wait(120)
        return self._real(host)


@bare_hosts()
def test_ctrl_c_at_a_terminal(pool: Pool, ctl: Ctl) -> None:
    """While a host reboots. The program ends at once, and another one finds the host up."""
    booting = Booting(pool)
    with Terminal([*SETUP, "host2"]) as terminal:
        terminal.until("Do this: 1 host, 1 reboot? [y/N]")
        terminal.type("y\n")
        assert booting.down.wait(120)
        terminal.until("host2 Rebooting: waiting until it is back")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "host host2 Rebooting since" in terminal.shown
    assert "Traceback" not in terminal.shown
    stopped = ctl("setup", "stop")
    assert stopped.status == 1
    assert "Host host2 is rebooting" in stopped.err
    booting.up.set()
    assert ctl("setup", "resume").status == 0
    assert is_set_up(pool, pool.other)


@bare_hosts()
def test_killed_while_a_host_reboots(pool: Pool, ctl: Ctl) -> None:
    """Its xapi enables the host when it is up, whoever is there."""
    booting = Booting(pool)
    with Terminal([*SETUP, "host2", "--yes"]):
        assert booting.down.wait(120)
    booting.up.set()
    until(lambda: in_service(pool, pool.other))
    let_it_look_dead(pool)
    assert "host host2 Rebooting" in ctl("status").err
    assert ctl("setup", "resume").status == 0
    assert is_set_up(pool, pool.other)
    assert keys(pool) == []


@bare_hosts(hosts=3)
def test_host_that_was_begun_is_done_though_another_is_blocked(pool: Pool, ctl: Ctl, writes: Writes) -> None:
    """It is out of service: a VM that somebody has started elsewhere since must not keep it there."""
    writes.kill_at(2, True)
    with pytest.raises(Killed):
        ctl(*SETUP, "--yes")
    assert phases(pool) == ["Draining", "Waiting", "Waiting"]
    pool.api("host.disable", pool.other.ref)  # it would have been next
    vm = pool.vm("mail", platform={"nomigrate": "true"})
    pool.start(vm, pool.hosts[2])
    let_it_look_dead(pool)
    told = ctl("setup", "resume", "--dry-run")
    assert (told.status, phases(pool)) == (0, ["Draining", "Waiting", "Waiting"])
    assert "VM mail holds up the reboot of host host3" in told.err
    assert "HOST_DISABLED" not in told.err
    assert [row[0] for row in told.rows[1:]] == ["host2"] * 7 + ["host3"] * 7 + ["host1"] * 7

    said = ctl("setup", "resume")
    assert said.status == 4
    assert "VM mail holds up the reboot of host host3" in said.err
    assert is_set_up(pool, pool.other)
    assert not any(boots(pool, host) for host in (pool.one, pool.hosts[2]))
    assert ctl("setup", "resume", "--pinned", "shutdown").status == 0
    assert all(is_set_up(pool, host) for host in pool.hosts)
    assert pool.power_state(vm) == "Running"
