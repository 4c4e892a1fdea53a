"""What somebody below pool-admin brings into the pool with a `pci` of her choice: no VM takes a VF by that of
which another one is lent the like, nor one that opens others' VLANs. Estates by hand go on working where
neither is so."""

from typing import List, Optional

import pytest
from estate import Estate

pytestmark = pytest.mark.story

VF, NEXT_VF, FREE_VF = "0000:07:10.0", "0000:07:10.2", "0000:07:10.6"  # of eth1
OF_ETH2 = "0000:07:10.1"


def codes(estate: Estate, vm: str) -> List[str]:
    return [one["code"] for one in estate.conflicts() if estate.uuid(vm) in one["vm_uuids"]]


def with_vfs_on_eth2(estate: Estate) -> None:
    for host in estate.box.hosts:
        estate.box.call(host, "set_vf_count", pf="eth2", count="2")


@pytest.mark.parametrize("mark", [None, "its own UUID", "another VM"])
def test_a_vm_power_admin_changes_the_mark_of_her_clone(estate: Estate, mark: Optional[str]) -> None:
    """And puts in what a clone would not have: the VF of the other host would be hers, in no VLAN."""
    web, other = estate.with_vf("web", vlan="12"), estate.uuid(estate.vm("other"))
    if not estate.box.xapi.users.get("viktor"):
        estate.box.add_user("viktor", "vm-power-admin")
    with estate.box.session("viktor") as viktor:
        clone = viktor.xenapi.VM.clone(web, "mine")
        viktor.xenapi.VM.remove_from_platform(clone, "nomigrate")
        viktor.xenapi.VM.remove_from_other_config(clone, "sriov-vm")
        if mark:
            own = mark == "its own UUID"
            viktor.xenapi.VM.add_to_other_config(clone, "sriov-vm", estate.uuid(clone) if own else other)
        viktor.xenapi.VM.add_to_other_config(clone, "sriovvlans", "0/0")
        viktor.xenapi.VM.set_affinity(clone, estate.box.hosts[1].ref)
    for host in (0, 1):
        first, message, hint = estate.refused(clone, host)
        assert first.startswith("SRIOV_VF_IN_USE ")
        said = ["which is held by VM web", "has or had a lease of that address, so the entry may be a copy"][
            host
        ]
        assert said in message
        assert f"origin_uuid={estate.uuid(web)}" in hint
    assert codes(estate, clone) == ["ENTRY_NOT_LEASED"]

    # The administrator says what it is.
    with pytest.raises(Exception, match="the entries may be a copy of its") as asked:
        estate.call("adopt_vm", vm_uuid=estate.uuid(clone))
    assert "origin_uuid=none" in str(asked.value)
    estate.call("adopt_vm", vm_uuid=estate.uuid(clone), origin_uuid=estate.uuid(web))
    estate.start(clone, 1)
    (vf,) = estate.box.devices(clone)
    assert estate.settings(1, vf) == (estate.mac(clone), 12)


@pytest.mark.parametrize("mark", [None, "another VM"])
def test_a_changed_mark_costs_its_own_vm_nothing(estate: Estate, mark: Optional[str]) -> None:
    """It starts with its VF and settings; the next change of it writes the mark again."""
    web, other = estate.with_vf("web", vlan="12"), estate.with_vf("other", vlan="13")
    estate.box.xapi.call("VM.remove_from_other_config", web, "sriov-vm")
    if mark:
        estate.box.xapi.call("VM.add_to_other_config", web, "sriov-vm", estate.uuid(other))
    assert estate.conflicts() == []
    estate.start(web, 0)
    assert estate.settings(0, VF) == (estate.mac(web), 12)
    estate.box.shut_down(web)
    estate.call("assign_vf", vm_uuid=estate.uuid(web), network=estate.network)
    assert estate.box.xapi.database.get("VM", web, "other_config")["sriov-vm"] == estate.uuid(web)


def test_what_another_vm_was_lent_and_is_not_any_more(estate: Estate) -> None:
    web = estate.with_vf("web")
    clone = estate.vm("copy", f"0/{VF}")
    reserve = estate.with_vf("reserve")
    estate.call("unassign_vf", vm_uuid=estate.uuid(web), all="true")
    for vm in (reserve, web):
        estate.call("assign_vf", vm_uuid=estate.uuid(vm), vf="0000:07:10.4" if vm == web else FREE_VF)
    assert "was leased a VF of that address" in estate.conflicts()[0]["message"]
    assert codes(estate, clone) == ["ENTRY_NOT_LEASED"]
    assert estate.refused(clone, 1)[0].startswith("SRIOV_VF_IN_USE ")


@pytest.mark.parametrize("by", ["network", "pf"])
def test_a_vf_that_nobody_has_in_a_network_of_vlans(estate: Estate, by: str) -> None:
    """VM.create by a vm-power-admin may name any: without a VLAN of its own it could join them all. On both
    hosts, for the network is one."""
    asked = {"network": estate.network, "pf": "eth1"}[by]
    args = {"vm_uuid": estate.uuid(estate.vm("web")), "host_uuid": estate.box.hosts[0].uuid, by: asked}
    estate.call("assign_vf", vlan="12", **args)
    mine = estate.vm("mine", f"0/{FREE_VF}")
    for host in (0, 1):
        first, message, hint = estate.refused(mine, host)
        assert first.startswith("SRIOV_NOT_ASSIGNED ")
        assert "VMs have VFs in VLANs in its network, Pool-wide network associated with eth1:" in message
        assert f"`adopt_vm` with vm_uuid={estate.uuid(mine)}" in hint
    assert codes(estate, mine) == ["ENTRY_NOT_LEASED"] * 2

    # As the hint says: shown, given, started.
    given = {"vm_uuid": estate.uuid(mine), "host_uuid": estate.box.hosts[1].uuid}
    shown = estate.call("adopt_vm", dry_run="true", **given)
    assert "vlan" not in shown["vfs"][0]["settings"]
    estate.call("adopt_vm", **given)
    estate.start(mine, 1)
    assert estate.box.devices(mine) == [FREE_VF]
    assert codes(estate, mine) == []


def test_who_gives_the_first_vlan_is_told_whom_that_stops(estate: Estate) -> None:
    """VMs with entries by hand that have started for years; and those that a call changes nothing for."""
    old, other = estate.vm("old", f"0/{FREE_VF}"), estate.uuid(estate.vm("other"))
    web = {"vm_uuid": estate.uuid(estate.vm("web")), "host_uuid": estate.box.hosts[0].uuid}
    assert estate.call("assign_vf", network=estate.network, **web)["warnings"] == []
    (warning,) = estate.call("assign_vf", network=estate.network, vlan="12", **web)["warnings"]
    assert warning.startswith(f"VM old ({estate.uuid(old)}) does not start any more with {FREE_VF}")
    assert estate.call("assign_vf", vm_uuid=other, network=estate.network, vlan="12")["warnings"] == []


def test_who_adopts_one_of_two_is_told_whom_that_stops(estate: Estate) -> None:
    one, other = (estate.vm(name, f"0/{FREE_VF}") for name in ("one", "other"))
    args = {"vm_uuid": estate.uuid(one), "host_uuid": estate.box.hosts[0].uuid}
    for dry_run in ("true", "false"):
        (warning,) = estate.call("adopt_vm", dry_run=dry_run, **args)["warnings"]
        assert warning.startswith(f"VM other ({estate.uuid(other)}) does not start any more with {FREE_VF}")


def test_a_vf_of_another_network_by_hand_goes_on_working(estate: Estate) -> None:
    with_vfs_on_eth2(estate)
    web = estate.vm("web")
    estate.call(
        "assign_vf", vm_uuid=estate.uuid(web), pf="eth1", vlan="12", host_uuid=estate.box.hosts[0].uuid
    )
    for number in (0, 1):
        old = estate.vm("old", f"0/{OF_ETH2}")
        estate.start(old, number)
        assert estate.box.devices(old) == [OF_ETH2]
        assert not any("no pool-admin" in one["message"] for one in estate.conflicts())


def test_an_estate_by_hand_without_vlans_goes_on_working(estate: Estate) -> None:
    """Beside VMs that the pool looks after, of which none has a VLAN."""
    estate.start(estate.with_vf("web"), 0)
    for host in (0, 1):
        old = estate.vm("old", f"0/{FREE_VF}")
        estate.start(old, host)
        assert estate.box.devices(old) == [FREE_VF]


def test_a_vm_with_requests_has_no_vf_by_hand_besides(estate: Estate) -> None:
    """Its owner could open the VLANs of others beside her own."""
    web = estate.with_vf("web", vlan="12")
    estate.set_pci(web, f"0/{VF},1/{FREE_VF}")
    first, _, hint = estate.refused(web, 0)
    assert first.startswith("SRIOV_NOT_ASSIGNED ")
    uuid = estate.uuid(web)
    assert f"`assign_vf` with vm_uuid={uuid}, vf={FREE_VF} and host_uuid={estate.box.hosts[0].uuid}" in hint
    estate.call("assign_vf", vm_uuid=uuid, vf=FREE_VF, vlan="12", host_uuid=estate.box.hosts[0].uuid)
    estate.start(web, 0)
    assert estate.settings(0, FREE_VF)[1] == 12


def test_nor_is_it_plugged_by_a_reboot_if_it_was_added_while_the_vm_ran(estate: Estate) -> None:
    """Before XSA-489 was mended a vm-admin could do so."""
    web = estate.with_vf("web", vlan="12")
    estate.start(web, 0)
    estate.set_pci(web, f"0/{VF},1/{FREE_VF}")
    with pytest.raises(Exception, match="SRIOV_NOT_ASSIGNED"):
        estate.box.reboot(web)
    assert FREE_VF not in estate.box.devices(web)


def test_a_key_that_cannot_be_read_may_speak_of_any_vlan(estate: Estate) -> None:
    web = estate.with_vf("web")
    estate.set_key(web, '{"version":2}')
    mine = estate.vm("mine", f"0/{FREE_VF}")
    first, message, hint = estate.refused(mine, 1)
    assert first.startswith("SRIOV_NOT_ASSIGNED ")
    assert f"the ledger's key of web ({estate.uuid(web)}) cannot be read" in message
    assert hint.startswith("Repair that key")
    told = [one for one in estate.conflicts() if one["code"] == "ENTRY_NOT_LEASED"]
    assert [one["vm_uuids"] for one in told] == [[estate.uuid(mine)]] * 2
    assert all("cannot be read" in one["message"] for one in told)


def test_entries_of_pages_stop_the_vm_that_has_them_and_no_other(estate: Estate) -> None:
    pages = estate.vm("pages", ",".join(f"{number}/{FREE_VF}" for number in range(5000)))
    first, message, hint = estate.refused(pages, 0)
    assert (first.split()[0], "more than 65536 are not read" in message) == ("SRIOV_BAD_ARGUMENT", True)
    assert f"xe vm-param-remove uuid={estate.uuid(pages)} param-name=other-config param-key=pci" in hint
    web = estate.with_vf("web", vlan="12")
    estate.start(web, 0)
    assert codes(estate, pages) == ["ENTRY_INVALID"]
