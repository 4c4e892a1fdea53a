"""Estates that were configured by hand or by the old plugin `iovirt`, and VMs that were cloned: what becomes
of them."""

from typing import Any

import pytest
from box_host import set_plugin, set_vfs
from managed_pool import Pool

pytestmark = [pytest.mark.story, pytest.mark.pool(hooks=False, by_kernel=True)]

FIRST = "0000:07:00.0"  # eth1 of the usual host
VF, NEXT_VF = "0000:07:10.0", "0000:07:10.2"


def by_iovirt(pool: Pool, name: str, host: int, mac: str, vlan: str, **values: Any) -> str:
    """A VM as iovirt left it: with a VF of the host that it ran on. Its keys are the administrator's."""
    keys = {"pci": f"0/{VF}", "sriovmacs": f"0/{mac}", "sriovvlans": f"0/{vlan}"}
    return pool.vm(name, affinity=pool.hosts[host].ref, other_config=keys, **values)


def test_entries_by_hand_count_and_are_adopted(pool: Pool) -> None:
    home = pool.one
    keys = {"sriovmacs": "0/02:16:3e:00:00:0a,1/02:16:3e:00:00:0b", "sriovvlans": "1/42"}
    entries = f"0/{VF},1/{NEXT_VF},2/0000:00:1f.2"
    old = pool.vm("old", entries, affinity=home.ref, other_config=keys)
    new = pool.assign(pool.vm("new"), pf="eth1")
    assert new["vf"] not in (VF, NEXT_VF)
    adopted = pool.adopt(old, trust_keys="true")
    assert (adopted["host_uuid"], adopted["origin_uuid"]) == (home.uuid, None)
    assert [(one["vf"], one["settings"]) for one in adopted["vfs"]] == [
        (VF, {"mac": "02:16:3e:00:00:0a"}),
        (NEXT_VF, {"mac": "02:16:3e:00:00:0b", "vlan": "42"}),
    ]
    assert pool.pci(old) == entries
    pool.refused("adopt_vm", vm=old).says("SRIOV_BAD_ARGUMENT")


def test_adopt_vm_takes_keys_of_the_owner_only_with_trust_keys(pool: Pool) -> None:
    """A vm-admin writes sriovmacs and sriovvlans, but no `pci`; so VLAN 42 need not be what the VM shall
    have."""
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    before = pool.everything()
    shown = pool.adopt(old, dry_run="true", trust_keys="true")
    assert (shown["changed"], pool.everything()) == (False, before)
    assert shown["vfs"] == [{"request": 1, "vf": VF, "settings": {"mac": "02:16:3e:00:00:0a", "vlan": "42"}}]
    refused = pool.refused("adopt_vm", vm=old)
    assert pool.refused("adopt_vm", vm=old, dry_run="true") == refused
    _, message, hint = refused.says("SRIOV_BAD_ARGUMENT")
    assert message == (
        f"VM old ({old}): sriovmacs and sriovvlans, which its owner can write, say mac 02:16:3e:00:00:0a and "
        f"vlan 42 for {VF} (which has mac 00:00:00:00:00:00 and vlan 0 now)."
    )
    assert "trust_keys=true" in hint
    assert pool.adopt(old, trust_keys="true")["vfs"] == shown["vfs"]


def test_keys_that_say_what_the_host_says_are_nothing_new(pool: Pool) -> None:
    pool.call("configure_vf", pool.one, vf=VF, mac="02:16:3e:00:00:0a", vlan="42")
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    (one,) = pool.adopt(old)["vfs"]
    assert one["settings"] == {"mac": "02:16:3e:00:00:0a", "vlan": "42"}


def test_without_the_keys_what_the_vf_has_is_taken(pool: Pool) -> None:
    pool.call("configure_vf", pool.one, vf=VF, mac="02:16:3e:00:00:0c", vlan="7", qos="3")
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    hint = pool.refused("adopt_vm", vm=old)[2]
    for key in ("sriovmacs", "sriovvlans"):
        assert f"`xe vm-param-remove uuid={old} param-name=other-config param-key={key}`" in hint
        pool.api("VM.remove_from_other_config", pool.ref(old), key)
    (one,) = pool.adopt(old)["vfs"]
    assert one["settings"] == {"mac": "02:16:3e:00:00:0c", "vlan": "7", "qos": "3"}


@pytest.mark.parametrize(
    ("mac", "is_kept"),
    [
        ("82:16:3e:00:00:0c", False),  # as a guest's driver makes up, and igb shows until the next reset
        ("00:1b:21:00:01:77", False),  # one of the card's own: another VM gets it with that VF
        ("00:16:3e:00:00:0c", True),
    ],
)
def test_a_mac_on_the_vf_that_no_file_has(pool: Pool, mac: str, is_kept: bool) -> None:
    home = pool.one
    assert home.machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "mac", mac]).status == 0
    old = pool.vm("old", f"0/{VF}", affinity=home.ref)
    adopted = pool.adopt(old)
    (one,) = adopted["vfs"]
    assert (one["settings"]["mac"] == mac, adopted["warnings"] == []) == (is_kept, is_kept)
    if not is_kept:
        (warning,) = adopted["warnings"]
        assert f"{VF} of host1 had MAC {mac}" in warning
        pool.unassign(old, vf=VF)  # as the warning says
        pool.assign(old, vf=VF, mac=mac, on=home)
        assert pool.requests(old)[0]["settings"]["mac"] == mac


def test_one_address_on_two_hosts_is_two_vfs(pool: Pool) -> None:
    """Two VMs of the old plugin, each on a host of its own: adopting the first must not make the second one
    look like its clone, which would put it into the first one's VLAN."""
    first = by_iovirt(pool, "first", 0, "02:16:3e:00:00:0a", "42")
    second = by_iovirt(pool, "second", 1, "02:16:3e:00:00:0b", "99")
    pool.conflict("ENTRY_NOT_LEASED", vms=[first, second])
    (warning,) = pool.adopt(first, trust_keys="true")["warnings"]
    assert f"second ({second})" in warning

    pool.conflict("ENTRY_NOT_LEASED", "host_uuid", host=pool.one)
    adopted = pool.adopt(second, trust_keys="true")
    assert (adopted["host_uuid"], adopted["origin_uuid"]) == (pool.other.uuid, None)
    (one,) = adopted["vfs"]
    assert (one["vf"], one["settings"]) == (VF, {"mac": "02:16:3e:00:00:0b", "vlan": "99"})
    assert pool.conflicts() == []


def test_without_affinity_the_host_must_be_said(pool: Pool) -> None:
    old = pool.vm("old", f"0/{VF}")
    pool.refused("adopt_vm", vm=old).says("SRIOV_BAD_ARGUMENT", "host1, host2")
    adopted = pool.adopt(old, on=pool.other)
    assert (adopted["host_uuid"], adopted["vfs"][0]["vf"]) == (pool.other.uuid, VF)


def test_adopt_vm_asks_which_of_two_origins_a_copy_has(pool: Pool) -> None:
    """One address, leased to a VM on each of two hosts, with different VLANs: only the mark tells of which
    the clone is, and its owner could have changed that."""
    one, other = pool.vm("one"), pool.vm("other")
    for vm, host, vlan in ((one, 0, "12"), (other, 1, "13")):
        pool.assign(vm, vf=VF, vlan=vlan, on=pool.hosts[host])
    clone = pool.clone(one, "a copy")
    pool.conflict("COPY", vms=[clone, one])
    pool.refused("adopt_vm", vm=clone).says(
        "SRIOV_BAD_ARGUMENT", f"one ({one})", f"other ({other})", "origin_uuid"
    )
    pool.refused("adopt_vm", vm=clone, origin_uuid=clone).says("SRIOV_BAD_ARGUMENT")
    # The origin wants that very address, which both hosts have lent: this clone cannot have it.
    pool.refused("adopt_vm", vm=clone, origin_uuid=one).says("SRIOV_NO_FREE_VF")


def test_a_clone_of_one_of_two_alike_needs_no_word(pool: Pool) -> None:
    for name, host in (("one", 0), ("other", 1)):
        vm = pool.vm(name, f"0/{VF}")
        pool.adopt(vm, on=pool.hosts[host])
    clone = pool.clone(vm, "a copy")
    (own,) = pool.adopt(clone)["vfs"]
    assert own["vf"] == NEXT_VF


def test_a_vf_that_a_driver_of_dom0_has_is_kept_for_its_vm(pool: Pool) -> None:
    """As VFs of iovirt's days are while their VM is halted, where nothing keeps the driver away."""
    home = pool.one
    home.machine.run(["modprobe", "ixgbevf"])
    for free in (NEXT_VF, "0000:07:10.4", "0000:07:10.6"):
        home.machine.write_attribute("/sys/bus/pci/drivers/ixgbevf/unbind", free)
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    pool.refused("adopt_vm", vm=old).says(
        "SRIOV_NEEDED_BY_DOM0", VF, "ixgbevf", f"`set_vf_count` on that host with pf={FIRST} and count=4"
    )
    assert pool.pci(old) == f"0/{VF}"
    pool.call("set_vf_count", home, pf=FIRST, count="4")
    (one,) = pool.adopt(old, trust_keys="true")["vfs"]
    assert (one["vf"], pool.pci(old)) == (VF, f"0/{VF}")


def test_a_vf_under_xapis_own_sriov_is_not_taken(pool: Pool) -> None:
    home = pool.one
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    pool.box.add_sriov_network(home, "eth1", "by xapi")
    _, _, hint = pool.refused("adopt_vm", vm=old).says("SRIOV_NEEDED_BY_DOM0", "eth1")
    assert "set_vf_count" not in hint
    assert f"xe vm-param-remove uuid={old}" in hint


def test_entries_that_are_no_vf_of_the_host_are_said(pool: Pool) -> None:
    entries = f"0/{VF}, 1/{NEXT_VF},2/0000:07:11.0,3/0000:00:1f.2"
    old = pool.vm("old", entries, affinity=pool.one.ref)
    adopted = pool.adopt(old)
    assert [one["vf"] for one in adopted["vfs"]] == [VF]
    (warning,) = adopted["warnings"]
    for left in (f"` 1/{NEXT_VF}`", "`2/0000:07:11.0`", "`3/0000:00:1f.2`", "host1"):
        assert left in warning
    assert pool.pci(old) == entries


def test_a_number_beside_a_mac_that_no_entry_has(pool: Pool) -> None:
    """Who may write a VM's other_config must not stop the whole pool; Python reads no such number."""
    keys = {"pci": f"0/{VF}", "sriovmacs": f"{'9' * 5000}/02:16:3e:00:00:0a", "sriovvlans": "00/7,\u0660/8"}
    pool.assign(pool.vm("web"), vf=VF, on=pool.other)
    odd = pool.vm("odd", affinity=pool.one.ref, other_config=keys, platform={"nomigrate": "true"})
    pool.conflict("ENTRY_NOT_LEASED", address=VF)  # by its VLAN it is no copy
    pool.refused("adopt_vm", vm=odd).says("SRIOV_BAD_ARGUMENT", "9999")
    pool.api("VM.remove_from_other_config", pool.ref(odd), "sriovmacs")
    pool.refused("adopt_vm", vm=odd).says("SRIOV_BAD_ARGUMENT", "`\u0660/8`", "take that key out")
    pool.api("VM.remove_from_other_config", pool.ref(odd), "sriovvlans")
    pool.api("VM.add_to_other_config", pool.ref(odd), "sriovvlans", "00 / 7, ")
    (one,) = pool.adopt(odd, trust_keys="true")["vfs"]
    assert one["settings"]["vlan"] == "7"


@pytest.mark.parametrize("gone", ["silent", "lost"])
def test_the_host_that_it_is_to_run_on_does_not_answer(pool: Pool, gone: str) -> None:
    """Another one has a VF of that address, too; it is not that one's MAC and VLAN that the VM had."""
    home = pool.other
    old = pool.vm("old", f"0/{VF}", affinity=home.ref)
    if gone == "lost":
        pool.box.lose(home)
    else:
        set_plugin(home, None)
    pool.refused("adopt_vm", vm=old).says("SRIOV_NOT_FOUND", f"of {home.name}, its affinity", "host_uuid")
    assert pool.adopt(old, on=pool.one)["host_uuid"] == pool.one.uuid


@pytest.mark.parametrize("pci", ["", " 0/0000:07:10.0"])
def test_a_vm_without_entries_has_nothing_to_adopt(pool: Pool, pci: str) -> None:
    pool.refused("adopt_vm", vm=pool.vm("plain", pci)).says("SRIOV_NOT_FOUND", "has no entry", "assign_vf")


def test_two_vfs_with_one_mac(pool: Pool) -> None:
    keys = {"pci": f"0/{VF},1/{NEXT_VF}", "sriovmacs": "0/02:16:3e:00:00:0a,1/02:16:3e:00:00:0A"}
    old = pool.vm("old", affinity=pool.one.ref, other_config=keys)
    pool.refused("adopt_vm", vm=old).says("SRIOV_BAD_ARGUMENT", "02:16:3e:00:00:0a", "sriovmacs")


def test_the_only_free_vf_is_one_that_the_clones_own_entry_names(pool: Pool) -> None:
    home = pool.one
    for host in pool.hosts:
        set_vfs(host, FIRST, 0)
    set_vfs(home, FIRST, 2)
    web = pool.vm("web", affinity=home.ref)
    pool.assign(web, vf=VF)
    clone = pool.clone(web, "web copy")
    pool.unassign(web)
    assert pool.assign(web, network="xenbr1")["vf"] == NEXT_VF
    (own,) = pool.adopt(clone)["vfs"]
    assert (own["vf"], pool.pci(clone)) == (VF, f"0/{VF}")
    assert pool.conflicts() == []
