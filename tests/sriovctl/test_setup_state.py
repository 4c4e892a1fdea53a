"""What a setup keeps in the pool: whole at every moment, and one program's at a time."""

import json
from typing import Any, Callable, Iterator

import pytest
from box import PoolInABox
from setup_stories import Direct
from sriovctl import clock
from sriovctl.errors import Failed
from sriovctl.pool import Pool
from sriovctl.rollout import run as runs
from sriovctl.rollout import state as states
from sriovctl.rollout.plan import Wish
from sriovctl.rollout.state import HostState, Keeper, Options, State


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    with PoolInABox() as made:
        yield made


@pytest.fixture
def pool(box: PoolInABox) -> Pool:
    return Pool(Direct(box))


def begun(pool: Pool, who: str = "alice@ws1") -> State:
    hosts = {host.uuid: HostState(since=1.0) for host in pool.hosts}
    return State(who, 1.0, Wish(("eth1",), (), 4), Options(), hosts, {}, {})


def names(pool: Pool) -> Any:
    return sorted(key for key in pool.other_config() if key.startswith("sriov-setup"))


def to(pool: Pool, phase: str) -> Callable[[State], State]:
    uuid = pool.hosts[1].uuid
    return lambda state: state.with_host(uuid, phase=phase, disabled=True)


def code(act: Callable[[], Any]) -> str:
    with pytest.raises(Failed) as failed:
        act()
    return failed.value.code


def test_what_is_written_is_read_again(pool: Pool) -> None:
    keeper = states.begin(pool, begun(pool))
    off = {"ha": {"srs": ["uuid"], "configuration": {"timeout": "60"}}, "auto_poweron": "true"}
    wanted = to(pool, "Draining")(begun(pool)._replace(vms={"vm": "host"}, off=off, halted="paused"))
    keeper.change(lambda _state: wanted)
    assert states.read(pool.other_config()) == (2, wanted)
    assert names(pool) == ["sriov-setup.2"]
    keeper.end()
    assert names(pool) == []
    assert states.read(pool.other_config()) is None


def test_nothing_changed_is_not_written(pool: Pool) -> None:
    keeper = states.begin(pool, begun(pool))
    keeper.change(lambda state: state)
    assert names(pool) == ["sriov-setup.1"]


def test_second_one_is_told_whose_the_first_is(pool: Pool) -> None:
    states.begin(pool, begun(pool)).change(to(pool, "Rebooting"))
    with pytest.raises(Failed) as refused:
        states.begin(pool, begun(pool, "bob@ws2"))
    assert refused.value.code == "SETUP_UNDER_WAY"
    assert "Setup by alice@ws1" in refused.value.message
    assert "host2 Rebooting" in refused.value.message


def test_two_that_begin_at_once(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is recorded between the look and the record of this one."""
    Keeper(pool, 0, begun(pool, "bob@ws2")).change(lambda state: state)
    real, looks = states.read, [None]

    def read(keys: Any) -> Any:
        return looks.pop() if looks else real(keys)

    monkeypatch.setattr(states, "read", read)
    assert code(lambda: states.begin(pool, begun(pool))) == "SETUP_UNDER_WAY"


def test_taken_over(pool: Pool, box: PoolInABox) -> None:
    """Who had it finds out before it does anything more."""
    first = states.begin(pool, begun(pool))
    first.sign_of_life()
    assert code(lambda: states.go_on(pool, "bob@ws2", lambda state: state)) == "SETUP_UNDER_WAY"
    box.xapi.life.clock.pass_seconds(60)
    second = states.go_on(pool, "bob@ws2", lambda state: state)
    assert second.state.who == "bob@ws2"
    assert code(lambda: first.change(to(pool, "Draining"))) == "SETUP_TAKEN_OVER"
    second.change(to(pool, "Draining"))
    second.end()
    assert code(lambda: first.change(to(pool, "Draining"))) == "SETUP_TAKEN_OVER"
    assert names(pool) == []


@pytest.mark.parametrize("method", ["pool.add_to_other_config", "pool.remove_from_other_config"])
def test_answer_that_is_lost(pool: Pool, method: str) -> None:
    """The same is written again, and it is still this program's."""
    keeper = states.begin(pool, begun(pool))
    direct: Any = pool.connection
    direct.lose = method
    assert code(lambda: keeper.change(to(pool, "Draining"))) == "NO_ANSWER"
    keeper.change(to(pool, "Draining"))
    found = states.read(pool.other_config())
    assert found is not None
    assert found[1].hosts[pool.hosts[1].uuid].phase == "Draining"
    keeper.change(to(pool, "Applying"))
    keeper.end()
    assert names(pool) == []


def test_two_states_of_one_that_was_cut_off(pool: Pool) -> None:
    """The higher one counts; the lower one goes first, so that it never counts again."""
    states.begin(pool, begun(pool))
    pool.call("pool.add_to_other_config", pool.ref, "sriov-setup.2", begun(pool, "bob@ws2").to_json())
    found = states.read(pool.other_config())
    assert found is not None
    assert (found[0], found[1].who) == (2, "bob@ws2")
    direct: Any = pool.connection
    keeper = Keeper(pool, *found)
    direct.lose = "pool.remove_from_other_config"
    assert code(keeper.end) == "NO_ANSWER"
    assert names(pool) == ["sriov-setup.2"]


def test_state_of_a_newer_program(pool: Pool) -> None:
    pool.call("pool.add_to_other_config", pool.ref, "sriov-setup.1", '{"new": 1}')
    assert code(lambda: states.begin(pool, begun(pool))) == "SETUP_UNREADABLE"
    pool.forget()
    assert "sriov-setup.1, cannot be read" in str(states.notice(pool))


def test_notice(pool: Pool) -> None:
    assert states.notice(pool) is None
    keeper = states.begin(pool, begun(pool))
    keeper.change(to(pool, "Draining"))
    keeper.change(
        lambda state: state._replace(off={"ha": {"srs": [], "configuration": {}}}, vms={"vm": "host"})
    )
    pool.forget()
    text = states.notice(pool) or ""
    for words in (
        "Setup by alice@ws1",
        "host host2 Draining since",
        "disabled by it",
        "HA turned off by it",
        "1 VM shut down by it",
        "sriovctl setup resume",
        "sriovctl setup stop",
    ):
        assert words in text


@pytest.mark.parametrize("text", ["20261129T06:00:00Z", "2026-11-29T06:00:00Z"])
def test_times_of_xapi(text: str) -> None:
    assert clock.seconds_of(text) == 1795932000.0


def test_host_that_fails_after_its_reboot_may_reboot_again(pool: Pool) -> None:
    one, two = (host.uuid for host in pool.hosts)
    failed = HostState("Failed", 1.0, "So it is.", down=5.0, booted=1.0, disabled=True)
    left = begun(pool)._replace(hosts={one: failed, two: failed._replace(rebooted=True)})
    again = runs.to_resume(left).hosts
    assert again[one] == failed._replace(phase="Rebooting", note="")
    assert (again[two].phase, again[two].rebooted, again[two].disabled) == ("Waiting", False, True)


def test_phase_of_a_newer_program(pool: Pool) -> None:
    text = to(pool, "Copying")(begun(pool)).to_json()
    pool.call("pool.add_to_other_config", pool.ref, "sriov-setup.1", text)
    assert code(lambda: states.read(pool.other_config())) == "SETUP_UNREADABLE"


GOOD = json.loads(State("a", 1.0, Wish((), (), 4), Options(), {}, {}, {}).to_json())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100000,
        json.dumps({**GOOD, "hosts": []}),
        json.dumps({**GOOD, "hosts": {"uuid": {"since": "today"}}}),
        json.dumps({**GOOD, "hosts": {"uuid": {"disabled": "yes"}}}),
        json.dumps({**GOOD, "options": {"parallel": "all"}}),
        json.dumps({**GOOD, "off": {"ha": 3}}),
        json.dumps({**GOOD, "vms": ["uuid"]}),
    ],
)
def test_record_that_somebody_has_edited(pool: Pool, text: str) -> None:
    """Every command says so, and how to get rid of it; none fails of it."""
    pool.call("pool.add_to_other_config", pool.ref, "sriov-setup.1", text)
    pool.forget()
    said = str(states.notice(pool))
    assert "sriov-setup.1, cannot be read" in said
    assert "param-key=sriov-setup.1`" in said


def test_times_that_are_none(pool: Pool) -> None:
    """They do not keep anybody from reading the rest, nor hold somebody for at work who is not."""
    keeper = states.begin(pool, begun(pool)._replace(begun=1e300))
    pool.forget()
    assert "of ?:" in str(states.notice(pool))
    for text in ("inf", "nan", "1e300", "soon", str(clock.of_host(pool, pool.master_host) + 3600)):
        assert not states.is_alive(pool, {states.ALIVE: text})
    keeper.sign_of_life()
    assert states.is_alive(pool, pool.other_config())
