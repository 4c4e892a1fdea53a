"""assign --all-of TAG: each VM with the tag gets its VF, and the same again gives what is left."""

from typing import Any, Callable, List

import pytest
from as_program import begun
from managed_pool import Pool
from sriovctl.connection import Remote

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]


def tagged(pool: Pool, *vms: str) -> List[str]:
    return [pool.vm(name, tags=["fast"]) for name in vms]


def test_each_vm_its_vf(pool: Pool, ctl: Ctl) -> None:
    tagged(pool, "web2", "web1")
    pool.vm("db")
    words = ("assign", "--all-of", "fast", "--network", "xenbr1", "--vlan", "12")
    before = pool.everything()
    would = ctl(*words, "--dry-run")
    assert (would.status, [row[:2] for row in would.rows[1:]]) == (0, [["web1", "would"], ["web2", "would"]])
    refused = ctl(*words, "--no-input")
    assert (refused.status, pool.everything()) == (1, before)

    said = ctl(*words, "--yes")
    assert said.status == 0, said.err
    assert [row[:3] for row in said.rows[1:]] == [["web1", "assigned", "1"], ["web2", "assigned", "1"]]
    after = pool.everything()
    again = ctl(*words, "--no-input")
    assert (again.status, pool.everything()) == (0, after)
    assert [row[:2] for row in again.rows[1:]] == [["web1", "already"], ["web2", "already"]]


@pytest.mark.pool(hosts=1)
def test_some_fail(pool: Pool, ctl: Ctl) -> None:
    """The others go on; when there is room, the same command gives the rest."""
    web1, _ = tagged(pool, "web1", "web2")
    pool.with_vf("db")
    last = pool.with_vf("last", vf="0000:07:10.6")
    pool.start(web1, pool.one)
    words = ("assign", "--all-of", "fast", "--pf", "host1/eth1", "--profile", "router", "--yes")
    would = ctl(*words, "--dry-run")
    assert (would.status, [row[1] for row in would.rows[1:]]) == (4, ["failed", "would"])
    said = ctl(*words)
    assert (said.status, [row[:2] for row in said.rows[1:]]) == (
        4,
        [["web1", "failed"], ["web2", "assigned"]],
    )
    assert "error: VM web1 (" in said.err
    pool.shut_down(web1)
    pool.unassign(last)
    rest = ctl(*words)
    assert (rest.status, [row[:2] for row in rest.rows[1:]]) == (
        0,
        [["web1", "assigned"], ["web2", "already"]],
    )


def test_twice_at_the_same_moment(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both see that the VMs lack it: each gets one. A request of another kind is in nobody's way."""
    web1, web2 = tagged(pool, "web1", "web2")
    words = ("assign", "--all-of", "fast", "--network", "xenbr1", "--yes")
    real, rivals = Remote.call, [words]

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if "assign_vf" in params and rivals:
            with begun(pool, *rivals.pop()) as rival:
                _, said = rival.communicate()
            assert rival.returncode == 0, said
            pool.assign(web2, pf="eth1")
        return real(connection, method, *params)

    monkeypatch.setattr(Remote, "call", call)
    said = ctl(*words)
    assert said.status == 0, said.err
    assert [row[:2] for row in said.rows[1:]] == [["web1", "already"], ["web2", "already"]]
    assert "0 of 2 VMs were given a VF; 2 had it." in said.err
    assert [[by for by, _ in pool.asked(vm)] for vm in (web1, web2)] == [["network"], ["network", "pf"]]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--all-of", "slow", "--network", "xenbr1"], 1, "There are fast."),
        (["--all-of", "fast", "--network", "xenbr1", "--mac", "02:16:3e:00:00:05"], 2, "--mac is for one VM"),
        (["--all-of", "fast", "--vf", "host1/eth1:0"], 2, "--vf is for one VM"),
        (["web1", "--all-of", "fast", "--network", "xenbr1"], 2, "Which VM?"),
        (["--network", "xenbr1"], 2, "Which VM?"),
        (["--all-of", "fast", "--network", "xenbr1", "--request", "1"], 2, "--request is for one VM"),
    ],
)
def test_what_is_not_understood(pool: Pool, ctl: Ctl, words: List[str], status: int, said: str) -> None:
    tagged(pool, "web1")
    refused = ctl("assign", *words)
    assert (refused.status, said in refused.err) == (status, True), refused.err
