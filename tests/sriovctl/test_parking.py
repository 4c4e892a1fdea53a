"""park, unpark: a VM without its VFs for a while, which has them again as they were."""

from typing import Any, Callable, Iterator, List

import pytest
from managed_pool import Pool
from moved_vms import MAC, Fault, commands, full, place

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    with monkeypatch.context() as patch:
        yield Fault(patch)


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


def test_vm_that_never_had_a_vf_is_not_unparked(pool: Pool, ctl: Ctl) -> None:
    """What would give it one is said, not how it moves."""
    db = pool.vm("db")
    said = ctl("unpark", "db")
    assert (said.status, said.err.startswith(f"error: VM db ({db}) has no request for a VF.\n")) == (1, True)
    (assign,) = commands(said.err)
    assert ctl(*("xenbr1" if word == "NET" else word for word in assign)).status == 0


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
