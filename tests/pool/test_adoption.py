"""Estates that were configured by hand or by the old plugin `iovirt`, and VMs that were cloned: what becomes
of them."""

import uuid
from contextlib import ExitStack
from typing import Any, Iterator

import pytest
from administrator import Administrator, two_hosts
from box_host import PLUGIN, set_plugin, set_vfs

pytestmark = pytest.mark.story

FIRST = "0000:07:00.0"  # eth1 of the usual host
VF, NEXT_VF = "0000:07:10.0", "0000:07:10.2"


@pytest.fixture
def pool() -> Iterator[Administrator]:
    with two_hosts(FIRST) as pool:
        yield pool


def by_iovirt(pool: Administrator, name: str, host: int, mac: str, vlan: str, **values: Any) -> str:
    """A VM as iovirt left it: with a VF of the host that it ran on. Its keys are the administrator's."""
    keys = {"pci": f"0/{VF}", "sriovmacs": f"0/{mac}", "sriovvlans": f"0/{vlan}"}
    return pool.vm(name, affinity=pool.box.hosts[host].ref, other_config=keys, **values)


def test_entries_by_hand_count_and_are_adopted(pool: Administrator) -> None:
    home = pool.box.hosts[0]
    old = pool.vm(
        "old",
        affinity=home.ref,
        other_config={
            "pci": f"0/{VF},1/0000:07:10.2,2/0000:00:1f.2",
            "sriovmacs": "0/02:16:3e:00:00:0a,1/02:16:3e:00:00:0b",
            "sriovvlans": "1/42",
        },
    )
    new = pool.call("assign_vf", vm_uuid=pool.vm("new"), pf="eth1")
    assert new["vf"] not in (VF, "0000:07:10.2")
    adopted = pool.call("adopt_vm", vm_uuid=old, trust_keys="true")
    assert (adopted["host_uuid"], adopted["origin_uuid"]) == (home.uuid, None)
    assert [(one["vf"], one["settings"]) for one in adopted["vfs"]] == [
        (VF, {"mac": "02:16:3e:00:00:0a"}),
        ("0000:07:10.2", {"mac": "02:16:3e:00:00:0b", "vlan": "42"}),
    ]
    assert pool.pci(old) == f"0/{VF},1/0000:07:10.2,2/0000:00:1f.2"
    assert pool.refused("adopt_vm", vm_uuid=old)[0] == "SRIOV_BAD_ARGUMENT"


def test_what_its_owner_could_have_written_is_shown_and_taken_only_if_so_told(pool: Administrator) -> None:
    """A vm-admin writes sriovmacs and sriovvlans, but no `pci`; so VLAN 42 need not be what the VM shall
    have."""
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    before = pool.everything()
    shown = pool.call("adopt_vm", vm_uuid=old, dry_run="true")
    assert (shown["changed"], pool.everything()) == (False, before)
    assert shown["vfs"] == [{"request": 1, "vf": VF, "settings": {"mac": "02:16:3e:00:00:0a", "vlan": "42"}}]
    code, message, hint = pool.refused("adopt_vm", vm_uuid=old)
    assert code == "SRIOV_BAD_ARGUMENT"
    assert message == (
        f"VM old ({old}): sriovmacs and sriovvlans, which its owner can write, say mac 02:16:3e:00:00:0a and "
        f"vlan 42 for {VF} (which has mac 00:00:00:00:00:00 and vlan 0 now)."
    )
    assert "trust_keys=true" in hint
    assert pool.call("adopt_vm", vm_uuid=old, trust_keys="true")["vfs"] == shown["vfs"]


def test_keys_that_say_what_the_host_says_are_nothing_new(pool: Administrator) -> None:
    pool.box.call(pool.box.hosts[0], "configure_vf", vf=VF, mac="02:16:3e:00:00:0a", vlan="42")
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    (one,) = pool.call("adopt_vm", vm_uuid=old)["vfs"]
    assert one["settings"] == {"mac": "02:16:3e:00:00:0a", "vlan": "42"}


def test_without_the_keys_what_the_vf_has_is_taken(pool: Administrator) -> None:
    pool.box.call(pool.box.hosts[0], "configure_vf", vf=VF, mac="02:16:3e:00:00:0c", vlan="7")
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    hint = pool.refused("adopt_vm", vm_uuid=old)[2]
    for key in ("sriovmacs", "sriovvlans"):
        assert f"`xe vm-param-remove uuid={old} param-name=other-config param-key={key}`" in hint
        pool.api("VM.remove_from_other_config", pool.ref(old), key)
    (one,) = pool.call("adopt_vm", vm_uuid=old)["vfs"]
    assert one["settings"] == {"mac": "02:16:3e:00:00:0c", "vlan": "7"}


@pytest.mark.parametrize(
    ("mac", "is_kept"),
    [
        ("82:16:3e:00:00:0c", False),  # as a guest's driver makes up, and igb shows until the next reset
        ("00:1b:21:00:01:77", False),  # one of the card's own: another VM gets it with that VF
        ("00:16:3e:00:00:0c", True),
    ],
)
def test_a_mac_on_the_vf_that_no_file_has(pool: Administrator, mac: str, is_kept: bool) -> None:
    home = pool.box.hosts[0]
    assert home.machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "mac", mac]).status == 0
    old = pool.vm("old", affinity=home.ref, other_config={"pci": f"0/{VF}"})
    adopted = pool.call("adopt_vm", vm_uuid=old)
    (one,) = adopted["vfs"]
    assert (one["settings"]["mac"] == mac, adopted["warnings"] == []) == (is_kept, is_kept)
    if not is_kept:
        (warning,) = adopted["warnings"]
        assert f"{VF} of host1 had MAC {mac}, which is in no file" in warning
        pool.call("unassign_vf", vm_uuid=old, vf=VF)  # as the warning says
        pool.call("assign_vf", vm_uuid=old, vf=VF, mac=mac, host_uuid=home.uuid)
        assert pool.listed(old)["requests"][0]["settings"]["mac"] == mac


@pytest.mark.parametrize("order", [1, -1])
def test_one_address_on_two_hosts_is_two_vfs(pool: Administrator, order: int) -> None:
    """Two VMs of the old plugin, each on a host of its own: adopting the first must not make the second one
    look like its clone, which would put it into the first one's VLAN."""
    uuids = [str(uuid.UUID(int=number, version=4)) for number in (1, 2)][::order]
    first = by_iovirt(pool, "first", 0, "02:16:3e:00:00:0a", "42", uuid=uuids[0])
    second = by_iovirt(pool, "second", 1, "02:16:3e:00:00:0b", "99", uuid=uuids[1])
    (twice,) = pool.conflicts()
    assert (twice["code"], twice["vm_uuids"]) == ("ENTRY_NOT_LEASED", sorted([first, second]))
    (warning,) = pool.call("adopt_vm", vm_uuid=first, trust_keys="true")["warnings"]
    assert f"second ({second})" in warning

    (twice,) = pool.conflicts()
    assert (twice["code"], twice["host_uuid"]) == ("ENTRY_NOT_LEASED", pool.box.hosts[0].uuid)
    assert "host_uuid" in twice["hint"]
    adopted = pool.call("adopt_vm", vm_uuid=second, trust_keys="true")
    assert (adopted["host_uuid"], adopted["origin_uuid"]) == (pool.box.hosts[1].uuid, None)
    (one,) = adopted["vfs"]
    assert (one["vf"], one["settings"]) == (VF, {"mac": "02:16:3e:00:00:0b", "vlan": "99"})
    assert pool.conflicts() == []


def test_two_by_hand_on_one_vf_of_a_host(pool: Administrator) -> None:
    first = by_iovirt(pool, "first", 0, "02:16:3e:00:00:0a", "42")
    second = by_iovirt(pool, "second", 0, "02:16:3e:00:00:0b", "99")
    pool.call("adopt_vm", vm_uuid=first, trust_keys="true")
    refused = pool.refused("adopt_vm", vm_uuid=second)
    assert refused[0] == "SRIOV_VF_IN_USE"
    assert "first" in refused[1]
    assert pool.pci(second) == f"0/{VF}"


def test_without_affinity_the_host_must_be_said(pool: Administrator) -> None:
    old = pool.vm("old", other_config={"pci": f"0/{VF}"})
    refused = pool.refused("adopt_vm", vm_uuid=old)
    assert refused[0] == "SRIOV_BAD_ARGUMENT"
    assert "host1, host2" in refused[1]
    adopted = pool.call("adopt_vm", vm_uuid=old, host_uuid=pool.box.hosts[1].uuid)
    assert (adopted["host_uuid"], adopted["vfs"][0]["vf"]) == (pool.box.hosts[1].uuid, VF)


def test_a_real_clone_gets_the_requests_of_its_origin(pool: Administrator) -> None:
    web = pool.vm("web")
    lent = pool.call("assign_vf", vm_uuid=web, network="xenbr1", vlan="12")["vf"]
    clone = pool.clone(web, "web copy")
    (conflict,) = pool.conflicts()
    assert (conflict["code"], conflict["vm_uuids"]) == ("COPY", [clone, web])
    adopted = pool.call("adopt_vm", vm_uuid=clone)
    assert adopted["origin_uuid"] == web
    (own,) = adopted["vfs"]
    assert own["vf"] != lent
    assert own["settings"]["vlan"] == "12"
    assert pool.pci(clone) == f"0/{own['vf']}"
    assert pool.conflicts() == []


def test_which_of_two_it_is_a_copy_of_is_asked(pool: Administrator) -> None:
    """One address, leased to a VM on each of two hosts, with different VLANs: only the mark tells of which
    the clone is, and its owner could have changed that."""
    one, other = pool.vm("one"), pool.vm("other")
    for vm, host, vlan in ((one, 0, "12"), (other, 1, "13")):
        pool.call("assign_vf", vm_uuid=vm, vf=VF, vlan=vlan, host_uuid=pool.box.hosts[host].uuid)
    clone = pool.clone(one, "a copy")
    (conflict,) = pool.conflicts()
    assert conflict["vm_uuids"] == [clone, one]
    refused = pool.refused("adopt_vm", vm_uuid=clone)
    assert refused[0] == "SRIOV_BAD_ARGUMENT"
    assert f"one ({one})" in refused[1]
    assert f"other ({other})" in refused[1]
    assert "origin_uuid" in refused[2]
    assert pool.refused("adopt_vm", vm_uuid=clone, origin_uuid=clone)[0] == "SRIOV_BAD_ARGUMENT"
    # The origin wants that very address, which both hosts have lent: this clone cannot have it.
    assert pool.refused("adopt_vm", vm_uuid=clone, origin_uuid=one)[0] == "SRIOV_NO_FREE_VF"


def test_a_clone_of_one_of_two_alike_needs_no_word(pool: Administrator) -> None:
    for name, host in (("one", 0), ("other", 1)):
        vm = pool.vm(name, affinity=pool.box.hosts[host].ref, other_config={"pci": f"0/{VF}"})
        pool.call("adopt_vm", vm_uuid=vm, host_uuid=pool.box.hosts[host].uuid)
    clone = pool.clone(vm, "a copy")
    (own,) = pool.call("adopt_vm", vm_uuid=clone)["vfs"]
    assert own["vf"] == NEXT_VF


def test_what_was_written_for_the_vm_is_no_copy_if_so_told(pool: Administrator) -> None:
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, network="xenbr1", host_uuid=pool.box.hosts[0].uuid)
    old = pool.vm("old", other_config={"pci": f"0/{VF}"}, platform={"nomigrate": "true"})
    adopted = pool.call("adopt_vm", vm_uuid=old, host_uuid=pool.box.hosts[1].uuid, origin_uuid="none")
    assert (adopted["origin_uuid"], adopted["vfs"][0]["vf"]) == (None, VF)
    assert pool.conflicts() == []


def test_mac_and_vlan_that_the_vf_has_are_the_vms(pool: Administrator) -> None:
    """Set by hand, with `ip` or by configure_vf, and noted nowhere on the VM; its other VF has none."""
    home = pool.box.hosts[0]
    pool.box.call(home, "configure_vf", vf=VF, mac="02:16:3e:00:00:0c", vlan="7", qos="3")
    old = pool.vm("old", affinity=home.ref, other_config={"pci": f"0/{VF},1/{NEXT_VF},2/0000:00:1f.2"})
    first, second = pool.call("adopt_vm", vm_uuid=old)["vfs"]
    assert first["settings"] == {"mac": "02:16:3e:00:00:0c", "vlan": "7", "qos": "3"}
    assert list(second["settings"]) == ["mac"]
    assert int(second["settings"]["mac"][:2], 16) & 3 == 2  # derived: locally administered, unicast
    assert pool.pci(old) == f"0/{VF},1/{NEXT_VF},2/0000:00:1f.2"


def test_a_vf_that_a_driver_of_dom0_has_is_kept_for_its_vm(pool: Administrator) -> None:
    """As VFs of iovirt's days are while their VM is halted, where nothing keeps the driver away."""
    home = pool.box.hosts[0]
    home.machine.run(["modprobe", "ixgbevf"])
    for free in (NEXT_VF, "0000:07:10.4", "0000:07:10.6"):
        home.machine.write_attribute("/sys/bus/pci/drivers/ixgbevf/unbind", free)
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    code, message, hint = pool.refused("adopt_vm", vm_uuid=old)
    assert (code, VF in message, "ixgbevf" in message) == ("SRIOV_NEEDED_BY_DOM0", True, True)
    assert f"`set_vf_count` on that host with pf={FIRST} and count=4" in hint
    assert pool.pci(old) == f"0/{VF}"
    pool.box.call(home, "set_vf_count", pf=FIRST, count="4")
    (one,) = pool.call("adopt_vm", vm_uuid=old, trust_keys="true")["vfs"]
    assert (one["vf"], pool.pci(old)) == (VF, f"0/{VF}")


def test_a_vf_under_xapis_own_sriov_is_not_taken(pool: Administrator) -> None:
    home = pool.box.hosts[0]
    old = by_iovirt(pool, "old", 0, "02:16:3e:00:00:0a", "42")
    pool.box.add_sriov_network(home, "eth1", "by xapi")
    code, message, hint = pool.refused("adopt_vm", vm_uuid=old)
    assert (code, "eth1" in message) == ("SRIOV_NEEDED_BY_DOM0", True)
    assert "set_vf_count" not in hint
    assert f"xe vm-param-remove uuid={old}" in hint


def test_entries_that_are_no_vf_of_the_host_are_said(pool: Administrator) -> None:
    entries = f"0/{VF}, 1/{NEXT_VF},2/0000:07:11.0,3/0000:00:1f.2"
    old = pool.vm("old", affinity=pool.box.hosts[0].ref, other_config={"pci": entries})
    adopted = pool.call("adopt_vm", vm_uuid=old)
    assert [one["vf"] for one in adopted["vfs"]] == [VF]
    (warning,) = adopted["warnings"]
    for left in (f"` 1/{NEXT_VF}`", "`2/0000:07:11.0`", "`3/0000:00:1f.2`", "host1"):
        assert left in warning
    assert pool.pci(old) == entries


def test_a_number_beside_a_mac_that_no_entry_has(pool: Administrator) -> None:
    """Who may write a VM's other_config must not stop the whole pool; Python reads no such number."""
    keys = {"pci": f"0/{VF}", "sriovmacs": f"{'9' * 5000}/02:16:3e:00:00:0a", "sriovvlans": "00/7,\u0660/8"}
    pool.call("assign_vf", vm_uuid=pool.vm("web"), vf=VF, host_uuid=pool.box.hosts[1].uuid)
    odd = pool.vm("odd", affinity=pool.box.hosts[0].ref, other_config=keys, platform={"nomigrate": "true"})
    assert pool.conflict("ENTRY_NOT_LEASED")["address"] == VF  # by its VLAN it is no copy
    _, message, _ = pool.refused("adopt_vm", vm_uuid=odd)
    assert "9999" in message
    pool.api("VM.remove_from_other_config", pool.ref(odd), "sriovmacs")
    _, message, hint = pool.refused("adopt_vm", vm_uuid=odd)
    assert "`\u0660/8`" in message
    assert "take that key out" in hint
    pool.api("VM.remove_from_other_config", pool.ref(odd), "sriovvlans")
    pool.api("VM.add_to_other_config", pool.ref(odd), "sriovvlans", "00 / 7, ")
    (one,) = pool.call("adopt_vm", vm_uuid=odd, trust_keys="true")["vfs"]
    assert one["settings"]["vlan"] == "7"


@pytest.mark.parametrize("gone", ["silent", "lost"])
def test_the_host_that_it_is_to_run_on_does_not_answer(pool: Administrator, gone: str) -> None:
    """Another one has a VF of that address, too; it is not that one's MAC and VLAN that the VM had."""
    home = pool.box.hosts[1]
    old = pool.vm("old", f"0/{VF}", affinity=home.ref)
    with ExitStack() as stack:
        if gone == "lost":
            pool.box.lose(home)
            stack.callback(pool.box.bring_back, home)
        else:
            set_plugin(home, None)
            stack.callback(set_plugin, home, PLUGIN)
        code, message, hint = pool.refused("adopt_vm", vm_uuid=old)
        assert code == "SRIOV_NOT_FOUND"
        assert f"of {home.name}, its affinity" in message
        assert "host_uuid" in hint
        taken = pool.call("adopt_vm", vm_uuid=old, host_uuid=pool.box.hosts[0].uuid)
    assert taken["host_uuid"] == pool.box.hosts[0].uuid


@pytest.mark.parametrize("pci", ["", " 0/0000:07:10.0"])
def test_a_vm_without_entries_has_nothing_to_adopt(pool: Administrator, pci: str) -> None:
    code, message, hint = pool.refused("adopt_vm", vm_uuid=pool.vm("plain", pci))
    assert code == "SRIOV_NOT_FOUND"
    assert "has no entry in other_config:pci" in message
    assert "assign_vf" in hint


def test_two_vfs_with_one_mac(pool: Administrator) -> None:
    keys = {"pci": f"0/{VF},1/{NEXT_VF}", "sriovmacs": "0/02:16:3e:00:00:0a,1/02:16:3e:00:00:0A"}
    old = pool.vm("old", affinity=pool.box.hosts[0].ref, other_config=keys)
    code, message, hint = pool.refused("adopt_vm", vm_uuid=old)
    assert (code, "02:16:3e:00:00:0a" in message) == ("SRIOV_BAD_ARGUMENT", True)
    assert "sriovmacs" in hint


def test_the_only_free_vf_is_one_that_the_clones_own_entry_names(pool: Administrator) -> None:
    home = pool.box.hosts[0]
    for host in pool.box.hosts:
        set_vfs(host, FIRST, 0)
    set_vfs(home, FIRST, 2)
    web = pool.vm("web", affinity=home.ref)
    pool.call("assign_vf", vm_uuid=web, vf=VF)
    clone = pool.clone(web, "web copy")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    assert pool.call("assign_vf", vm_uuid=web, network="xenbr1")["vf"] == NEXT_VF
    (own,) = pool.call("adopt_vm", vm_uuid=clone)["vfs"]
    assert (own["vf"], pool.pci(clone)) == (VF, f"0/{VF}")
    assert pool.conflicts() == []


def test_a_mac_of_a_vif(pool: Administrator) -> None:
    """A VM's VIF gives way to a VF with its MAC. A snapshot still has the VIF: no reason against it."""
    mac = "00:16:3e:11:22:33"
    web = pool.vm("web")
    database = pool.box.xapi.database
    vif = database.create("VIF", {"MAC": mac.upper(), "VM": pool.ref(web)})
    refused = pool.refused("assign_vf", vm_uuid=web, network="xenbr1", mac=mac)
    assert (refused[0], f"web ({web})" in refused[1]) == ("SRIOV_BAD_ARGUMENT", True)
    snapshot = pool.api("VM.snapshot", pool.ref(web), "before")
    template = pool.box.add_vm("template", is_a_template=True)
    for other in (snapshot, template):  # the box copies no VIFs
        database.create("VIF", {"MAC": mac, "VM": other})
    pool.api("VIF.destroy", vif)
    pool.call("assign_vf", vm_uuid=web, network="xenbr1", mac=mac)
    (row,) = pool.call("list_assignments", vm_uuid=web)["vms"]
    assert row["requests"][0]["settings"]["mac"] == mac
