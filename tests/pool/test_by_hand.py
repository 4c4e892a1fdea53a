"""Entries by hand: whoever brings a halted VM into the pool can write any, so only a running VM's keep a VF
from others; and all that they name is said."""

import contextlib
import threading

import pytest
from administrator import Administrator
from estate import Estate, Gate
from values import Failure

pytestmark = pytest.mark.story

VFS = [f"0000:07:10.{number}" for number in (0, 2, 4, 6)]
ALL = ",".join(f"{number}/{vf}" for number, vf in enumerate(VFS))


def test_a_halted_vm_that_names_all_vfs_keeps_none_from_others(pool: Administrator) -> None:
    """It came by an import, which takes no pool-admin."""
    greedy = pool.vm("greedy", ALL)
    conflict = pool.conflict("ENTRY_NOT_LEASED")
    assert all(vf in conflict["message"] for vf in VFS)
    assert f"`xe vm-param-remove uuid={greedy} param-name=other-config param-key=pci`" in conflict["hint"]
    web = pool.vm("web")
    home = pool.box.hosts[0].uuid
    got = [pool.call("assign_vf", vm_uuid=web, pf="eth1", host_uuid=home)["vf"] for _ in VFS]
    assert sorted(got) == VFS
    twice = [one for one in pool.conflicts() if one["code"] == "ENTRY_NOT_LEASED"]
    assert [one["address"] for one in twice] == VFS
    assert all(f"uuid={greedy}" in one["hint"] for one in twice)
    assert len(twice) == len(pool.conflicts())


def test_a_suspended_one_has_no_domain_either(pool: Administrator) -> None:
    greedy = pool.vm("greedy", ALL)
    pool.box.xapi.database.set("VM", pool.ref(greedy), "power_state", "Suspended")
    web = pool.vm("web")
    assert pool.call("assign_vf", vm_uuid=web, vf=VFS[0], host_uuid=pool.box.hosts[0].uuid)["vf"] == VFS[0]


def test_what_it_names_is_left_to_it_while_there_is_something_else(pool: Administrator) -> None:
    """An estate by hand that is adopted one VM after the other."""
    pool.vm("old", f"0/{VFS[0]},1/{VFS[2]}")
    web = pool.vm("web")
    got = [pool.call("assign_vf", vm_uuid=web, pf="eth1")["vf"] for _ in VFS[:3]]
    assert got == [VFS[1], VFS[3], VFS[0]]


def test_a_vm_that_names_all_vfs_asks_for_one_of_them(pool: Administrator) -> None:
    own = pool.vm("own", ALL)
    asked = {"vm_uuid": own, "host_uuid": pool.box.hosts[0].uuid}
    code, message, hint = pool.refused("assign_vf", pf="eth1", **asked)
    assert (code, "4 named by the VM's own entries by hand" in message) == ("SRIOV_NO_FREE_VF", True)
    assert "by vf=ADDRESS" in hint
    pool.call("assign_vf", vf=VFS[0], **asked)
    assert pool.listed(own)["requests"][0]["vf"] == VFS[0]
    pool.set_pci(own, f"0/{VFS[0]},1/{VFS[1]}")
    assert pool.call("assign_vf", pf="eth1", **asked)["vf"] == VFS[2]


def test_a_start_elsewhere_is_placed_whatever_a_halted_vm_names(mixed: Estate) -> None:
    mixed.vm("greedy", ",".join(f"{number}/{vf.replace(':07:', ':09:')}" for number, vf in enumerate(VFS)))
    vm = mixed.with_vf("web")
    assert mixed.refused(vm, 1)[0].startswith("SRIOV_RESTARTING ")
    assert mixed.box.wait_for_calls()
    assert mixed.box.devices(vm) == ["0000:09:10.0"]


def test_a_running_vm_keeps_what_it_names_on_its_host_only(estate: Estate) -> None:
    """Its entry was added while it ran, and is plugged when it reboots."""
    vm = estate.vm("by hand", f"0/{VFS[0]}")
    estate.start(vm, 0)
    estate.set_pci(vm, f"0/{VFS[0]},1/{VFS[1]}")
    web = estate.vm("web")
    here, there = (
        {"vm_uuid": estate.uuid(web), "vf": VFS[1], "host_uuid": host.uuid} for host in estate.box.hosts
    )
    with pytest.raises(Exception, match="SRIOV_NO_FREE_VF"):
        estate.call("assign_vf", **here)
    assert estate.call("assign_vf", **there)["vf"] == VFS[1]
    assert not any("while it does not run" in one["message"] for one in estate.conflicts())


def start(estate: Estate, vm: str) -> threading.Thread:
    def begin() -> None:
        with contextlib.suppress(Failure):  # one that is refused
            estate.start(vm, 0)

    thread = threading.Thread(target=begin)
    thread.start()
    return thread


def test_a_start_that_will_be_refused_keeps_none_either(estate: Estate) -> None:
    """Or who may start VMs would block all VFs, one refused start after the other."""
    estate.with_vf("web", vlan="12")
    greedy = estate.vm("greedy", ALL)
    home = estate.box.hosts[0]
    with Gate(home, "00-before-ours") as gate:
        thread = start(estate, greedy)
        gate.wait_for(estate.uuid(greedy))
        mail = estate.uuid(estate.vm("mail"))
        asked = {"vm_uuid": mail, "network": estate.network, "host_uuid": home.uuid}
        assert estate.call("assign_vf", **asked)["vf"] == VFS[1]
    thread.join()
    assert estate.box.power_state(greedy) == "Halted"


def test_a_start_that_was_let_through_keeps_its_vf(estate: Estate) -> None:
    """Its domain is not there yet."""
    by_hand = estate.vm("by hand", f"0/{VFS[1]}")
    home = estate.box.hosts[0]
    asked = {"vm_uuid": estate.uuid(estate.vm("web")), "vf": VFS[1]}
    with Gate(home, "99-after-ours") as gate:
        thread = start(estate, by_hand)
        gate.wait_for(estate.uuid(by_hand))
        with pytest.raises(Exception, match="SRIOV_NO_FREE_VF"):
            estate.call("assign_vf", host_uuid=home.uuid, **asked)
        assert estate.call("assign_vf", host_uuid=estate.box.hosts[1].uuid, **asked)["vf"] == VFS[1]
    thread.join()
    assert estate.box.devices(by_hand) == [VFS[1]]
