"""What `list_assignments` says of things that do not fit together, and that what it advises helps."""

import json
import sys
from typing import Any, Iterator

import pytest
from administrator import Administrator
from box import PoolInABox
from box_host import plugin_of_version, set_plugin, set_vfs
from machine_description import SATA, Card, default_description
from values import Failure

pytestmark = pytest.mark.story

FIRST, SECOND = "0000:07:00.0", "0000:07:00.1"  # eth1 and eth2 of the usual host
VF, NEXT_VF, THIRD_VF = "0000:07:10.0", "0000:07:10.2", "0000:07:10.4"


class Pool(Administrator):
    def __init__(self, box: PoolInABox) -> None:
        super().__init__(box)
        self.one, self.other = box.hosts

    def lent(self, name: str, vf: str, **args: str) -> str:
        """A VM with that VF of the first host."""
        vm = self.vm(name)
        self.call("assign_vf", vm_uuid=vm, vf=vf, **{"host_uuid": self.one.uuid, **args})
        return vm


@pytest.fixture
def pool() -> Iterator[Pool]:
    with PoolInABox(interpreter=sys.executable) as box:
        for host in box.hosts:
            set_vfs(host, FIRST, 4)
        yield Pool(box)


def test_an_entry_by_hand_beside_a_vms_own(pool: Pool) -> None:
    """It has a VF of ours, and somebody wrote another VM's beside it."""
    web = pool.lent("web", VF)
    db = pool.vm("db", pci=f"7/{VF}")
    pool.call("assign_vf", vm_uuid=db, vf=NEXT_VF, host_uuid=pool.one.uuid)
    twice = pool.conflict("ENTRY_NOT_LEASED")
    assert (twice["vm_uuids"], twice["host_uuid"], twice["address"]) == (
        sorted([web, db]),
        pool.one.uuid,
        VF,
    )
    assert "adopt_vm" not in twice["hint"]  # which is for VMs without requests
    assert f"`xe vm-param-set uuid={db} other-config:pci=8/{NEXT_VF}`" in twice["hint"]


def holder(pool: Pool, state: str) -> Any:
    """The VM that has the VF of the first host, which is in that state."""
    (vf,) = [vf for vf in pool.call("list_vfs", pool.one, state=state) if vf["address"] == VF]
    return vf["assigned_to"]["vm_uuid"]


def test_two_leases_on_one_vf(pool: Pool) -> None:
    """A backup of the pool's database was restored: a key of then beside one of now."""
    web = pool.lent("web", VF)
    old = json.dumps(pool.ledger(web))
    pool.lent("mail", NEXT_VF)
    pool.call("unassign_vf", vm_uuid=web, all="true")
    db = pool.lent("db", VF)
    pool.set_ledger(web, old)
    pool.set_pci(web, f"0/{VF}")
    pool.api("VM.add_to_platform", pool.ref(web), "nomigrate", "true")
    twice = pool.conflict("LEASE_STALE")
    assert (twice["vm_uuids"], twice["host_uuid"], twice["address"]) == (
        sorted([web, db]),
        pool.one.uuid,
        VF,
    )
    assert holder(pool, "assigned") == db  # it was given it last
    assert not pool.call("reinstate_vfs", vm_uuid=db)["changed"]
    refused = pool.refused("reinstate_vfs", vm_uuid=web)  # it had asked for just that one
    assert (refused[0], f"db ({db})" in refused[1]) == ("SRIOV_NO_FREE_VF", True)
    pool.box.start(pool.ref(web), pool.one)
    assert holder(pool, "in-use") == web  # no hook of ours was there, and who runs keeps it
    twice, unlike = pool.conflicts()
    assert (twice["code"], twice["vm_uuids"]) == ("LEASE_STALE", sorted([web, db]))
    assert (unlike["code"], unlike["vm_uuids"]) == ("VF_UNLIKE_REQUEST", [web])  # nor has it its MAC
    assert unlike["message"].endswith("or the VM started without this package's hook.")


def test_a_guest_that_runs_with_what_another_was_lent(pool: Pool) -> None:
    """Plugged by hand, with `xl`."""
    web, guest = pool.lent("web", VF), pool.vm("guest")
    pool.one.machine.start_domain(guest, "guest", [VF])
    twice = pool.conflict("LEASE_STALE")
    assert (twice["vm_uuids"], twice["address"]) == (sorted([web, guest]), VF)


def test_hosts_with_other_versions_and_who_could_start_there(pool: Pool, tmp_path: Any) -> None:
    web = pool.lent("web", VF)
    set_plugin(pool.other, plugin_of_version(str(tmp_path / "plugins"), "0.0.9"))
    other = pool.conflict("HOST_WITHOUT_PLUGIN")
    assert (other["host_uuid"], other["vm_uuids"]) == (pool.other.uuid, [web])
    for said in ("0.0.9", "could be started there: web."):
        assert said in other["message"]


def test_what_xapi_would_drop_or_no_host_has(pool: Pool) -> None:
    blank = pool.vm("blank", pci=f"0/{VF}, 1/{NEXT_VF}")
    by_hand, dropped = pool.conflicts()
    assert (dropped["code"], by_hand["code"]) == ("ENTRY_INVALID", "ENTRY_NOT_LEASED")
    assert (dropped["vm_uuids"], f"` 1/{NEXT_VF}`" in dropped["message"]) == ([blank], True)
    pool.set_pci(blank, f"0/{VF},1/{NEXT_VF}")
    assert f"names {VF}, {NEXT_VF}, which" in pool.conflict("ENTRY_NOT_LEASED")["message"]
    pool.set_pci(blank, "0/0000:99:00.0")
    assert pool.conflict("ENTRY_INVALID")["address"] == "0000:99:00.0"


def test_thousands_of_entries_bury_nobody(pool: Pool) -> None:
    """Who may write VMs' other_config writes as much as he likes; what is wrong with others is still seen."""
    many = [
        f"{number}/0000:{0x40 + number // 256:02x}:{number // 8 % 32:02x}.{number % 8}"
        for number in range(1000)
    ]
    bombs = sorted(pool.vm(name, pci=",".join(many)) for name in ("bomb", "another"))
    blank = pool.vm("blank", pci=f" 0/{VF}")
    conflicts = pool.conflicts()
    assert len(json.dumps(conflicts)) < 60000  # their entries are 17,000 characters each
    assert "ENTRY_INVALID" in [one["code"] for one in conflicts if one["vm_uuids"] == [blank]]
    twice = [one for one in conflicts if one["code"] == "ENTRY_NOT_LEASED"]
    assert [one["vm_uuids"] for one in twice] == [bombs] * 21
    assert "There are 980 more of these" in twice[-1]["message"]
    nowhere = [one for one in conflicts if one["code"] == "ENTRY_INVALID" and blank not in one["vm_uuids"]]
    assert (len(nowhere), "1960 more" in nowhere[-1]["message"]) == (41, True)
    refused = pool.refused("adopt_vm", vm_uuid=bombs[0])
    assert (refused[0], len(refused[1]) < 400) == ("SRIOV_NOT_FOUND", True)


def test_two_entries_by_hand_of_which_one_is_a_copy(pool: Pool) -> None:
    """A VM of the old plugin, and its clone: made before anybody called adopt_vm for either."""
    keys = {"sriovmacs": "0/02:16:3e:00:00:0b", "sriovvlans": "0/12"}
    old = pool.vm("old", pci=f"0/{VF}", other_config=keys, affinity=pool.one.ref)
    copy = pool.clone(old, "copy")
    hint = pool.conflict("ENTRY_NOT_LEASED")["hint"]
    assert "origin_uuid of the first" in hint
    pool.call("adopt_vm", vm_uuid=old, trust_keys="true")
    assert f"origin_uuid={old}" in pool.conflict("ENTRY_NOT_LEASED")["hint"]
    refused = pool.refused("adopt_vm", vm_uuid=copy)
    assert (refused[0], f"origin_uuid={old}" in refused[2]) == ("SRIOV_VF_IN_USE", True)
    (own,) = pool.call("adopt_vm", vm_uuid=copy, origin_uuid=old)["vfs"]
    assert own["vf"] != VF
    assert own["settings"]["vlan"] == "12"
    assert pool.conflicts() == []


def test_two_entries_by_hand_for_what_is_no_vf(pool: Pool) -> None:
    for name in ("one", "other"):
        pool.vm(name, pci="0/0000:00:1f.3")
    assert "adopt_vm" not in pool.conflict("ENTRY_NOT_LEASED")["hint"]


def reverted(pool: Pool) -> str:
    """A VM that has no VF any more, and an entry again for one that is another VM's now."""
    web = pool.lent("web", VF)
    snapshot = pool.api("VM.snapshot", pool.ref(web), "with its VF")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    pool.lent("db", VF)
    pool.api("VM.revert", snapshot)
    return web


def test_a_revert_to_when_the_vm_had_a_vf(pool: Pool) -> None:
    web = reverted(pool)
    stale = pool.conflict("LEASE_STALE")
    assert (stale["vm_uuids"], VF in stale["message"]) == ([web], True)
    assert "reinstate_vfs" in stale["hint"]
    assert pool.call("reinstate_vfs", vm_uuid=web)["pci_changed"]
    assert pool.pci(web) is None
    assert pool.conflicts() == []


def test_its_next_start_takes_the_entry_out_too(pool: Pool) -> None:
    web = reverted(pool)
    pool.box.link_hook(pool.one, "vm-pre-start")
    with pytest.raises(Failure) as refused:
        pool.box.start(pool.ref(web), pool.one)
    assert "SRIOV_RESTARTING" in refused.value.description[3]
    assert pool.box.wait_for_calls()
    assert (pool.box.power_state(pool.ref(web)), pool.pci(web)) == ("Running", None)
    assert pool.conflicts() == []


def test_an_entry_that_somebody_writes_again(pool: Pool) -> None:
    """For what the VM was lent once, by hand now: no revert, for the mark did not come back with it."""
    web = pool.lent("web", VF)
    pool.call("unassign_vf", vm_uuid=web, all="true")
    pool.set_pci(web, f"0/{VF}")
    assert pool.codes() == ["ENTRY_NOT_LEASED"]
    pool.box.link_hook(pool.one, "vm-pre-start")
    pool.box.start(pool.ref(web), pool.one)
    assert (pool.box.devices(pool.ref(web)), pool.pci(web)) == ([VF], f"0/{VF}")
    late = {"vm_uuid": pool.vm("late"), "vf": VF, "host_uuid": pool.one.uuid}
    assert pool.refused("assign_vf", **late)[0] == "SRIOV_NO_FREE_VF"


def test_a_vm_with_keys_of_its_own_is_no_copy(pool: Pool) -> None:
    """A VM of the old plugin that its administrator had pinned, on the other host: were it taken for a copy,
    it would end up in a stranger's VLAN, with another MAC."""
    pool.lent("web", VF, vlan="12")
    keys = {"sriovmacs": "0/02:16:3e:00:00:0f", "sriovvlans": "0/99"}
    pinned = {"affinity": pool.other.ref, "platform": {"nomigrate": "true"}}
    old = pool.vm("old", pci=f"0/{VF}", other_config=keys, **pinned)
    assert pool.conflict("ENTRY_NOT_LEASED")["host_uuid"] == pool.one.uuid
    adopted = pool.call("adopt_vm", vm_uuid=old, trust_keys="true")
    assert (adopted["host_uuid"], adopted["origin_uuid"]) == (pool.other.uuid, None)
    (vf,) = adopted["vfs"]
    assert (vf["vf"], vf["settings"]) == (VF, {"mac": "02:16:3e:00:00:0f", "vlan": "99"})
    assert pool.conflicts() == []

    # Its clone has the same keys, and is one.
    copy = pool.clone(old, "copy")
    clone = pool.conflict("COPY")
    assert clone["vm_uuids"] == [copy, old]
    assert "origin_uuid=none" in clone["hint"]


def test_what_dom0_needs(pool: Pool) -> None:
    """A port with an attached PIF, and the controller of dom0's disks."""
    greedy = pool.vm("greedy", pci=f"0/{SECOND},1/{SATA}")
    found = {(one["address"], one["host_uuid"]): one for one in pool.conflicts()}
    assert set(found) == {
        (address, host.uuid) for address in (SECOND, SATA) for host in (pool.one, pool.other)
    }
    assert {one["code"] for one in found.values()} == {"ENTRY_INVALID"}
    assert "eth2, which an attached PIF uses" in found[SECOND, pool.one.uuid]["message"]
    disks = found[SATA, pool.other.uuid]
    assert "on host2 dom0 needs for the mounted file system / and swap." in disks["message"]
    assert f"xe vm-param-set uuid={greedy} other-config:pci=0/{SECOND}" in disks["hint"]
    pool.api("PIF.unplug", pool.box.pif(pool.one, "eth2"))
    assert (SECOND, pool.one.uuid) not in {(one["address"], one["host_uuid"]) for one in pool.conflicts()}


def test_a_port_without_sriov_that_carries_the_vms_network() -> None:
    """Nothing of it is in dom0 but its PIF: no address, no VFs. The port beside it is free to be taken."""
    usual = default_description(1)
    plain = Card(
        addresses=("0000:03:00.0", "0000:03:00.1"),
        device="14e4:165f",
        name="NetXtreme BCM5720",
        driver="tg3",
        interfaces=("eth3", "eth4"),
        macs=("00:16:3e:00:03:00", "00:16:3e:00:03:01"),
    )
    with PoolInABox([usual._replace(cards=(*usual.cards, plain))], interpreter=sys.executable) as box:
        pool = Administrator(box)
        pool.api("PIF.unplug", box.pif(box.hosts[0], "eth4"))
        greedy = pool.vm("greedy", pci="0/0000:03:00.0,1/0000:03:00.1")
        needed = pool.conflict("ENTRY_INVALID")
        assert (needed["vm_uuids"], needed["address"]) == ([greedy], "0000:03:00.0")
        assert "eth3, which an attached PIF uses" in needed["message"]


def test_a_vms_own_vf_is_not_to_be_taken_out_by_hand(pool: Pool) -> None:
    """Where its address is dom0's on another host, or nothing: it is given others as it starts there."""
    pool.lent("web", VF)
    pool.other.machine.run(["modprobe", "ixgbevf"])
    assert pool.conflicts() == []
    set_vfs(pool.other, FIRST, 0)
    assert pool.conflicts() == []
    pool.box.lose(pool.other)
    assert pool.conflicts() == []


def test_a_device_of_a_host_that_is_down(pool: Pool) -> None:
    set_vfs(pool.one, FIRST, 0)
    old = pool.vm("old", pci=f"0/{THIRD_VF}")
    assert pool.codes() == ["ENTRY_NOT_LEASED"]
    pool.box.lose(pool.other)
    nowhere = pool.conflict("ENTRY_INVALID")
    assert (nowhere["vm_uuids"], nowhere["address"]) == ([old], THIRD_VF)
    assert "host2" in nowhere["hint"]


def test_a_vm_runs_elsewhere_than_its_vfs_are(pool: Pool) -> None:
    """Its start could not reach the master, and went on."""
    web = pool.lent("web", VF)
    pool.box.start(pool.ref(web), pool.other)
    elsewhere = pool.conflict("LEASE_STALE")
    assert (elsewhere["vm_uuids"], elsewhere["host_uuid"]) == ([web], pool.one.uuid)
    assert "runs on host2" in elsewhere["message"]
    pool.box.shut_down(pool.ref(web))
    assert pool.conflicts() == []
    pool.call("reinstate_vfs", vm_uuid=web, host_uuid=pool.other.uuid)
    pool.box.link_hook(pool.other, "vm-pre-start")
    pool.box.start(pool.ref(web), pool.other)
    assert pool.conflicts() == []


def test_a_network_that_goes(pool: Pool) -> None:
    """First from under the VF, then altogether."""
    network = pool.box.add_network("doomed")
    pool.box.add_vlan(pool.one, "eth1", 9, "doomed")
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, network="doomed")
    for vlan in pool.api("VLAN.get_all"):
        pool.api("VLAN.destroy", vlan)
    unfit = pool.conflict("LEASE_STALE")
    assert (unfit["vm_uuids"], unfit["host_uuid"], unfit["address"]) == ([web], pool.one.uuid, VF)
    for said in ("request 1", "not of the network doomed"):
        assert said in unfit["message"]
    assert f"`unassign_vf` with vm_uuid={web} and request=1" in unfit["hint"]

    uuid = pool.api("network.get_uuid", network)
    pool.api("network.destroy", network)
    unfit = pool.conflict("REQUEST_STALE")
    assert f"Request 1 of VM web ({web}) is for a VF of network {uuid}" in unfit["message"]
    pool.call("unassign_vf", vm_uuid=web, request="1")
    assert pool.conflicts() == []


def test_a_network_that_was_made_anew_with_another_vlan(pool: Pool) -> None:
    pool.box.add_vlan(pool.one, "eth1", 9, "office")
    web, free = pool.vm("web"), pool.vm("free")
    pool.call("assign_vf", vm_uuid=web, network="office")
    pool.call("assign_vf", vm_uuid=free, network="xenbr1", vlan="12")  # no VLAN of the network's own
    (vlan,) = pool.api("VLAN.get_all")
    pool.api("VLAN.destroy", vlan)
    pool.box.add_vlan(pool.one, "eth1", 10, "office")
    unfit = pool.conflict("REQUEST_STALE")
    assert unfit["vm_uuids"] == [web]
    assert "has VLAN 9, and its network office has VLAN 10 now" in unfit["message"]
    assert f"`unassign_vf` with vm_uuid={web} and request=1" in unfit["hint"]
    pool.call("unassign_vf", vm_uuid=web, request="1")
    pool.call("assign_vf", vm_uuid=web, network="office")
    assert pool.conflicts() == []


def test_somebody_takes_nomigrate_out(pool: Pool) -> None:
    web = pool.lent("web", VF)
    pool.api("VM.remove_from_platform", pool.ref(web), "nomigrate")
    stale = pool.conflict("LEASE_STALE")
    assert (stale["vm_uuids"], "platform:nomigrate of VM web" in stale["message"]) == ([web], True)
    pool.call("reinstate_vfs", vm_uuid=web)
    assert (pool.nomigrate(web), pool.conflicts()) == ("true", [])


def test_dom0_has_the_vf_that_a_vm_was_lent(pool: Pool) -> None:
    web = pool.lent("web", VF)
    pool.one.machine.run(["modprobe", "ixgbevf"])
    needed = pool.conflict("LEASE_STALE")
    assert (needed["vm_uuids"], needed["address"]) == ([web], VF)
    assert "`set_vf_count`" in needed["hint"]
    pool.box.call(pool.one, "set_vf_count", pf=FIRST, count="4")
    assert pool.conflicts() == []


def test_leases_of_a_host_that_left_are_found_by_it(pool: Pool) -> None:
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, vf=VF, host_uuid=pool.other.uuid)
    pool.box.eject(pool.other)
    listed = pool.call("list_assignments", host_uuid=pool.other.uuid)
    assert [vm["vm_uuid"] for vm in listed["vms"]] == [web]
    assert [one["code"] for one in listed["conflicts"]] == ["LEASE_STALE"]
    pool.call("unassign_vf", vm_uuid=web, all="true")
    assert pool.refused("list_assignments", host_uuid=pool.other.uuid)[0] == "SRIOV_NOT_FOUND"


def test_a_host_whose_name_another_begins_with(pool: Pool) -> None:
    """The silent one is named, whatever hosts are called."""
    for host in (pool.one, pool.other):
        pool.api("host.set_name_label", host.ref, "host")
    pool.box.lose(pool.other, noticed=False)
    assert pool.conflict("HOST_SILENT")["host_uuid"] == pool.other.uuid
