"""On which hosts a VM could have VFs: `places` of list_assignments, and VMs of HA that have none but one."""

from typing import Any, Dict

import pytest
from box_host import set_plugin
from managed_pool import OTHER_SLOTS, Pool
from sriovlib.machine import xenstore
from sriovlib.pool import host_answers

pytestmark = [pytest.mark.story, pytest.mark.pool(hooks=False)]


def places(pool: Pool, vm: str) -> Dict[str, Any]:
    """By the host's UUID, of a call in this process."""
    (row,) = pool.act("list_assignments", vm=vm, places="true")["vms"]
    return {one["host_uuid"]: one for one in row["places"]}


def fill(pool: Pool, host: Any) -> str:
    """Its VFs are other VMs'; one of these."""
    return [pool.with_vf(f"other{number}", on=host) for number in range(4)][-1]


def with_ha(pool: Pool, vm: str, priority: str = "restart") -> None:
    (ref,) = pool.api("pool.get_all")
    pool.box.xapi.database.set("pool", ref, "ha_enabled", True)
    pool.api("VM.set_ha_restart_priority", pool.ref(vm), priority)


@OTHER_SLOTS
def test_what_each_host_could_give_is_what_reinstate_vfs_gives(pool: Pool) -> None:
    """The VM runs, and every host is told of by one call."""
    web = pool.with_vf("web")
    pool.assign(web, network=pool.network("eth1"))
    pool.start(web, pool.one)
    before = pool.everything()
    found = places(pool, web)
    for host in pool.hosts:
        told = pool.reinstate(web, on=host, dry_run="true")["vfs"]
        vfs = [{"request": one["request"], "vf": one["vf"]} for one in told]
        assert found[host.uuid] == {"host_uuid": host.uuid, "can": True, "vfs": vfs, "problem": None}
    assert pool.everything() == before
    assert "places" not in pool.listed(web)


def test_why_a_host_cannot_is_what_reinstate_vfs_says(pool: Pool) -> None:
    web = pool.with_vf("web")
    fill(pool, pool.other)
    there = places(pool, web)[pool.other.uuid]
    refused = pool.refused("reinstate_vfs", vm=web, on=pool.other)
    assert (there["can"], there["vfs"]) == (False, [])
    assert there["problem"] == {"code": refused.code, "message": refused.message, "hint": refused.hint}
    set_plugin(pool.other, None)
    assert places(pool, web)[pool.other.uuid]["can"] is False
    pool.box.lose(pool.other)
    lost = places(pool, web)[pool.other.uuid]
    assert (lost["can"], lost["problem"]["hint"]) == (False, "Start it, or use another host.")


def test_what_is_not_known_is_null(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that hangs, and one that cannot tell whose its VFs are."""
    monkeypatch.setattr(host_answers, "SECONDS", 0.5)
    web = pool.with_vf("web", on=pool.other)
    with pool.box.hanging(pool.other):
        assert places(pool, web)[pool.other.uuid]["can"] is None
    monkeypatch.setattr(xenstore, "owners", lambda *_args: None)
    here = places(pool, web)[pool.one.uuid]
    assert (here["can"], "xenstore of host1 does not answer" in here["problem"]["message"]) == (None, True)


def test_a_vm_without_requests_has_no_places(pool: Pool) -> None:
    by_hand = pool.vm("old", pci="0/0000:07:10.6")
    assert places(pool, by_hand) == {}


def test_ha_would_start_a_vm_where_no_vfs_are_left(pool: Pool) -> None:
    web, plain = pool.with_vf("web"), pool.vm("plain")
    taken = fill(pool, pool.other)
    pool.api("VM.set_ha_restart_priority", pool.ref(web), "restart")
    assert pool.codes() == []  # HA is off
    for vm in (web, plain):
        with_ha(pool, vm, "best-effort")
    conflict = pool.conflict("HA_NOWHERE_ELSE", "VM web", "best-effort", vms=[web])
    assert "not known" not in conflict["message"]
    pool.unassign(taken)
    assert pool.codes() == []


def test_ha_and_a_host_of_which_nothing_is_known(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_answers, "SECONDS", 0.5)
    web = pool.with_vf("web")
    with_ha(pool, web)
    assert pool.codes() == []
    with pool.box.hanging(pool.other):
        found = pool.act("list_assignments")["conflicts"]
    (conflict,) = [one for one in found if one["code"] == "HA_NOWHERE_ELSE"]
    assert "What host2 could give it is not known." in conflict["message"]


def test_ha_and_a_vm_that_is_parked(pool: Pool) -> None:
    """It starts without VFs, anywhere."""
    web = pool.with_vf("web")
    fill(pool, pool.other)
    with_ha(pool, web)
    pool.call("park_vm", vm=web)
    assert pool.codes() == []
