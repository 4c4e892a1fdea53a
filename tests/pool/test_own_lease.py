"""What somebody below pool-admin brings into the pool with a `pci` of her choice: no VM takes a VF by that of
which another one is lent the like, nor one that opens others' VLANs. Estates by hand go on working where
neither is so."""

from typing import List, Optional

import pytest
import XenAPI
from machine_description import SATA
from managed_pool import Pool

pytestmark = pytest.mark.story

VF, FREE_VF = "0000:07:10.0", "0000:07:10.6"  # of eth1


def codes(pool: Pool, vm: str) -> List[str]:
    return [one["code"] for one in pool.conflicts() if vm in one["vm_uuids"]]


@pytest.mark.parametrize("mark", [None, "its own UUID", "another VM"])
def test_a_vm_power_admin_changes_the_mark_of_her_clone(pool: Pool, mark: Optional[str]) -> None:
    """And puts in what a clone would not have: the VF of the other host would be hers, in no VLAN."""
    web, other = pool.with_vf("web", vlan="12"), pool.vm("other")
    pool.box.add_user("viktor", "vm-power-admin")
    with pool.box.session("viktor") as viktor:
        ref = viktor.xenapi.VM.clone(pool.ref(web), "mine")
        clone = pool.uuid(ref)
        viktor.xenapi.VM.remove_from_other_config(ref, "sriov-vm")
        if mark:
            own = mark == "its own UUID"
            viktor.xenapi.VM.add_to_other_config(ref, "sriov-vm", clone if own else other)
        viktor.xenapi.VM.add_to_other_config(ref, "sriovvlans", "0/0")
        viktor.xenapi.VM.set_affinity(ref, pool.other.ref)
    for host in pool.hosts:
        pool.start_refused(clone, host).says("SRIOV_VF_IN_USE", "web", f"origin_uuid={web}")
    assert codes(pool, clone) == ["ENTRY_NOT_LEASED"]

    # The administrator says what it is.
    pool.refused("adopt_vm", vm=clone).says("SRIOV_BAD_ARGUMENT", "copy", f"origin_uuid={web}")
    pool.adopt(clone, origin_uuid=web)
    pool.start(clone, pool.other)
    (vf,) = pool.devices(clone)
    assert pool.settings(pool.other, vf) == (pool.mac(clone), 12)


def test_a_changed_mark_costs_its_own_vm_nothing(pool: Pool) -> None:
    """It starts with its VF and settings; the next change of it writes the mark again."""
    web, other = pool.with_vf("web", vlan="12"), pool.with_vf("other", vlan="13")
    pool.api("VM.remove_from_other_config", pool.ref(web), "sriov-vm")
    pool.api("VM.add_to_other_config", pool.ref(web), "sriov-vm", other)
    assert pool.conflicts() == []
    pool.start(web, pool.one)
    assert pool.settings(pool.one, VF) == (pool.mac(web), 12)
    pool.shut_down(web)
    pool.assign(web, network=pool.network("eth1"))
    assert pool.keys(web)[0]["sriov-vm"] == web


@pytest.mark.parametrize("xapi", ["before 26.12", "since 26.12"])
def test_entries_that_a_vm_power_admin_writes_herself(pool: Pool, xapi: str) -> None:
    """XSA-489: VM.set_other_config took them from lesser roles. The start refuses them, as copies that such
    roles can still bring; the reboot does, where they were added to a running VM with a VF."""
    pool.box.xapi.checks_whole_maps = xapi == "since 26.12"
    web, mine = pool.with_vf("web", vlan="12"), pool.with_vf("mine")
    own = pool.pci(mine)
    pool.start(mine, pool.one)
    pool.box.add_user("viktor", "vm-power-admin")
    wanted = {VF: "SRIOV_VF_IN_USE", FREE_VF: "SRIOV_NOT_ASSIGNED", SATA: "SRIOV_NEEDED_BY_DOM0"}
    with pool.box.session("viktor") as viktor:
        for address, code in wanted.items():
            before = pool.keys(mine)[0]
            entries = {**before, "pci": f"{own},9/{address}"}
            if pool.box.xapi.checks_whole_maps:
                with pytest.raises(XenAPI.Failure, match="RBAC_PERMISSION_DENIED"):
                    viktor.xenapi.VM.set_other_config(pool.ref(mine), entries)
                continue
            viktor.xenapi.VM.set_other_config(pool.ref(mine), entries)
            pool.box.let_xenopsd_know(pool.ref(mine))
            pool.reboot_refused(mine).says(code, address)
            pool.start_refused(mine, pool.one).says(code, address)
            viktor.xenapi.VM.set_other_config(pool.ref(mine), before)
            pool.start(mine, pool.one)
    assert (pool.pci(mine), pool.pci(web)) == (own, f"0/{VF}")


def test_address_formerly_leased_to_another_vm(pool: Pool) -> None:
    web = pool.with_vf("web")
    clone = pool.vm("copy", f"0/{VF}")
    reserve = pool.with_vf("reserve")
    pool.unassign(web)
    for vm in (reserve, web):
        pool.assign(vm, vf="0000:07:10.4" if vm == web else FREE_VF)
    assert "was leased a VF of that address" in pool.conflicts()[0]["message"]
    assert codes(pool, clone) == ["ENTRY_NOT_LEASED"]
    pool.start_refused(clone, pool.other).says("SRIOV_VF_IN_USE")


def test_a_vf_that_nobody_has_in_a_network_of_vlans(pool: Pool) -> None:
    """VM.create by a vm-power-admin may name any: without a VLAN of its own it could join them all. On both
    hosts, for the network is one."""
    pool.with_vf("web", vlan="12")
    mine = pool.vm("mine", f"0/{FREE_VF}")
    for host in pool.hosts:
        pool.start_refused(mine, host).says("SRIOV_NOT_ASSIGNED", "VLAN", f"`adopt_vm` with vm_uuid={mine}")
    assert codes(pool, mine) == ["ENTRY_NOT_LEASED"] * 2

    # As the hint says: shown, given, started.
    shown = pool.adopt(mine, on=pool.other, dry_run="true")
    assert "vlan" not in shown["vfs"][0]["settings"]
    pool.adopt(mine, on=pool.other)
    pool.start(mine, pool.other)
    assert pool.devices(mine) == [FREE_VF]
    assert codes(pool, mine) == []


def test_who_gives_the_first_vlan_is_told_whom_that_stops(pool: Pool) -> None:
    """VMs with entries by hand that have started for years; and those that a call changes nothing for."""
    old, web = pool.vm("old", f"0/{FREE_VF}"), pool.vm("web")
    args = {"network": pool.network("eth1"), "on": pool.one}
    assert pool.assign(web, **args)["warnings"] == []
    (warning,) = pool.assign(web, vlan="12", **args)["warnings"]
    assert warning.startswith(f"VM old ({old}) ")
    assert pool.assign(pool.vm("other"), vlan="12", network=pool.network("eth1"))["warnings"] == []


def test_who_adopts_one_of_two_is_told_whom_that_stops(pool: Pool) -> None:
    one, other = (pool.vm(name, f"0/{FREE_VF}") for name in ("one", "other"))
    for dry_run in ("true", "false"):
        (warning,) = pool.adopt(one, dry_run=dry_run, on=pool.one)["warnings"]
        assert warning.startswith(f"VM other ({other}) ")


def test_an_estate_by_hand_without_vlans_goes_on_working(pool: Pool) -> None:
    """Beside VMs that the pool looks after, of which none has a VLAN."""
    pool.start(pool.with_vf("web"), pool.one)
    for host in pool.hosts:
        old = pool.vm("old", f"0/{FREE_VF}")
        pool.start(old, host)
        assert pool.devices(old) == [FREE_VF]


def test_a_vm_with_requests_has_no_vf_by_hand_besides(pool: Pool) -> None:
    """Its owner could open the VLANs of others beside her own."""
    web = pool.with_vf("web", vlan="12")
    pool.set_pci(web, f"0/{VF},1/{FREE_VF}")
    advice = f"`assign_vf` with vm_uuid={web}, vf={FREE_VF} and host_uuid={pool.one.uuid}"
    pool.start_refused(web, pool.one).says("SRIOV_NOT_ASSIGNED", advice)
    pool.assign(web, vf=FREE_VF, vlan="12", on=pool.one)
    pool.start(web, pool.one)
    assert pool.settings(pool.one, FREE_VF)[1] == 12


def test_a_key_that_cannot_be_read_may_speak_of_any_vlan(pool: Pool) -> None:
    web = pool.with_vf("web")
    pool.set_ledger(web, '{"version":2}')
    mine = pool.vm("mine", f"0/{FREE_VF}")
    pool.start_refused(mine, pool.other).says("SRIOV_NOT_ASSIGNED", f"web ({web})", "cannot be read")
    told = [one for one in pool.conflicts() if one["code"] == "ENTRY_NOT_LEASED"]
    assert [one["vm_uuids"] for one in told] == [[mine]] * 2
    assert all("cannot be read" in one["message"] for one in told)
