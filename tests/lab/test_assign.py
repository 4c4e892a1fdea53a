"""A VF for a VM by one call: the guest has it, with the settings of its request, as long as the VM runs."""

import re
from typing import Any, Callable, Dict, Set

import pytest
import XenAPI
from lab import image, toolstack, vms
from lab.host import LabHost, say
from lab.toolstack import ask, call, refusal
from lab.vfs import FIRST, IN_ORDER, RESTORE, SECOND
from lab.vms import Vm

SwitchOn = Callable[..., LabHost]

MAC, VLAN = "02:16:3e:00:00:15", 12
NO_MAC = "00:00:00:00:00:00"
VFS = 3

# what a firewall guest has beside its first interface, and the guest that it reaches: .2 and .1 of these
BY_TAG, BY_SECOND_MAC = "198.51.100", "203.0.113"
SECOND_MAC = "02:16:3e:00:01:15"


@pytest.fixture(scope="module")
def host(switch_on: SwitchOn) -> LabHost:
    """A host with our package and 3 VFs."""
    host = toolstack.bring(switch_on("assigned", image.WITH_IOMMU))
    call(host, "set_vf_count", pf=FIRST, count=str(VFS))
    return host


@pytest.fixture(scope="module")
def pf(host: LabHost) -> Dict[str, Any]:
    """The card whose VFs they are, as list_pfs shows it."""
    return next(pf for pf in call(host, "list_pfs") if pf["address"] == FIRST)


@pytest.mark.short
def test_assign_vf_and_a_guest_has_it(host: LabHost, pf: Dict[str, Any]) -> None:
    """assign_vf by network: the guest has the VF, its MAC and VLAN, and keeps them when it reboots itself."""
    web = vms.new(host, "web")
    given = call(host, "assign_vf", vm_uuid=web.uuid, network=pf["network"], mac=MAC)
    assert web.pci == f"0/{given['vf']}"
    assert vf(host, given["vf"])["mac"] == NO_MAC
    say(f"{given['vf']} is the VM's, and has no MAC yet")
    web.start()
    assert web.record["domid"] in host.run("xl domid web").split()
    assert web.mac(host) == MAC
    seen = vf(host, given["vf"])
    assert (seen["state"], seen["assigned_to"]["vm_uuid"], seen["mac"]) == ("in-use", web.uuid, MAC)
    host.run(f"ip address add 192.0.2.1/24 dev {pf['interface']}")
    assert vms.answers(host, MAC, pf["interface"])
    say("the guest has it with the MAC of its request, and answers dom0's pings through it")

    assert "pool_migrate" in web.record["blocked_operations"]  # xapi has not seen the VF yet
    toolstack.restart(host)
    assert web.record["blocked_operations"] == {}
    with pytest.raises(XenAPI.Failure, match="VM_HAS_PCI_ATTACHED"):
        ask(host, "VM.suspend", web.ref)
    say("its moves were blocked until xapi knew the VF, and xapi itself refuses them now")

    for force in ("false", "true"):
        refused = refusal(host, "set_vf_count", pf=FIRST, count="1", force=force)
        assert refused[0] == "SRIOV_VF_IN_USE"
        assert f"web ({given['vf']})" in refused[1]
    assert refusal(host, "configure_vf", vf=given["vf"], vlan="5")[0] == "SRIOV_VF_IN_USE"
    host.run(RESTORE)
    assert host.run(f"{RESTORE} --check") == IN_ORDER
    assert vms.answers(host, MAC, pf["interface"])
    say(f"its VF cannot be taken, forced or not ({refused[1]}), nor does sriov-restore by hand")

    web.reboot_from_inside(host)
    assert web.mac(host) == MAC
    assert vms.answers(host, MAC, pf["interface"])
    assert vf(host, given["vf"])["assigned_to"]["vm_uuid"] == web.uuid
    say("it rebooted itself: it has its VF again, and answers again")

    db = vms.new(host, "db")
    other = call(host, "assign_vf", vm_uuid=db.uuid, network=pf["network"], vlan=str(VLAN))
    assert other["vf"] != given["vf"]
    db.start()
    seen = vf(host, other["vf"])
    assert (seen["vlan"], seen["mac"]) == (VLAN, db.mac(host))
    assert seen["mac"] not in (MAC, NO_MAC)
    say("a second VM has another, in its VLAN")

    for vm, address in ((web, given["vf"]), (db, other["vf"])):
        vm.shut_down()
        rests = vf(host, address)
        assert (rests["mac"], rests["vlan"], rests["state"]) == (NO_MAC, 0, "assigned")
    say("both are off: their VFs have lost MAC and VLAN, and are still theirs")


def test_a_clone_is_told_from_its_origin(host: LabHost) -> None:
    """A clone starts only when adopt_vm has given it a VF of its own; then both run."""
    web = vms.existing(host, "web")
    clone = web.clone("web-copy")
    assert clone.pci == web.pci
    first, *text = clone.refused_start()
    assert first.startswith("SRIOV_")
    assert clone.uuid in first
    say(f"refused: {' '.join(text)}")
    call(host, "adopt_vm", vm_uuid=clone.uuid)
    assert clone.pci != web.pci
    web.start()
    clone.start()
    macs = [vm.mac(host) for vm in (web, clone)]
    assert macs[0] == MAC != macs[1]
    holders = {vf["assigned_to"]["vm_uuid"] for vf in call(host, "list_vfs", state="in-use")}
    assert holders == {web.uuid, clone.uuid}
    say("after adopt_vm both run, each with a VF and a MAC of its own")
    for vm in (web, clone):
        vm.shut_down()


@pytest.mark.short
def test_no_start_takes_the_management_nic(host: LabHost) -> None:
    """A `pci` entry by hand that names the management NIC: the start is refused, the host stays reachable."""
    path = host.run("readlink -f /sys/class/net/xenbr0/brif/*")
    address = re.findall(r"/(0000:\S\S:\S\S\.\d)/", path)[-1]
    greedy = vms.new(host, "greedy")
    ask(host, "VM.add_to_other_config", greedy.ref, "pci", f"0/{address}")
    first, *text = greedy.refused_start()
    assert first.startswith(f"SRIOV_NEEDED_BY_DOM0 {greedy.uuid}")
    assert address in " ".join(text)
    say(f"refused: {' '.join(text)}")
    assert host.run(f"basename $(readlink /sys/bus/pci/devices/{address}/driver)").strip() == "virtio-pci"
    assert "xenbr0" in host.run("ip -brief link show up")  # asked over that NIC
    say("dom0 still has it, and answers through it")


@pytest.mark.short
def test_a_firewall_guest(host: LabHost) -> None:
    """With profile=router a guest reaches another by a tag and by a second MAC; without it not by that MAC,
    and by the tag only where its VF has no VLAN.

    igb lets a VF without a VLAN join any, trusted or not (Linux: igb_main.c, igb_set_vf_vlan_msg). What the
    guest sends from a second MAC is heard in any case: a real card drops it by its spoof check, QEMU's has
    none (igb_core.c, igb_process_tx_desc). To hear an answer it needs a filter for that MAC, which igb gives
    to a trusted VF only (igb_set_vf_mac_filter).
    """
    call(host, "set_vf_count", pf=SECOND, count=str(VFS))
    inside, gate = vms.new(host, "inside"), vms.new(host, "gate")
    call(host, "assign_vf", vm_uuid=inside.uuid, pf=SECOND, vlan=str(VLAN))
    inside.start()
    for network in (BY_TAG, BY_SECOND_MAC):
        host.run_in_guest("inside", f"ip address add {network}.1/24 dev eth0")

    assert passes(host, gate, vlan=str(VLAN + 1)) == {"spoof_check"}
    say("in a VLAN of its own it reaches the other neither by a tag nor by a second MAC")
    assert passes(host, gate) == {"spoof_check", "tag", "second MAC is heard"}
    say("without a VLAN it does by a tag; from a second MAC it is heard, and does not hear")
    assert passes(host, gate, profile="router") == {"trust", "tag", "second MAC is heard", "second MAC hears"}
    say("with profile=router it does by both")
    inside.shut_down()


def passes(host: LabHost, gate: Vm, **settings: str) -> Set[str]:
    """What is on, and what passes to and from the guest `inside`, for a guest with a VF of these settings, a
    tag, and a second MAC over the tag. All is taken away again."""
    given = call(host, "assign_vf", vm_uuid=gate.uuid, pf=SECOND, **settings)
    gate.start()
    tagged = f"ip link add link eth0 name tagged type vlan id {VLAN}"
    second = f"ip link add link tagged name second address {SECOND_MAC} type macvlan"
    for name, made, network in (("tagged", tagged, BY_TAG), ("second", second, BY_SECOND_MAC)):
        up = f"ip address add {network}.2/24 dev {name} && ip link set {name} up"
        host.run_in_guest("gate", f"{made} && {up}")
    seen = vf(host, given["vf"])
    found = {
        "trust": seen["trust"],
        "spoof_check": seen["spoof_check"],
        "tag": is_answered(host, BY_TAG),
        "second MAC hears": is_answered(host, BY_SECOND_MAC),
        "second MAC is heard": SECOND_MAC in host.run_in_guest("inside", "cat /proc/net/arp"),
    }
    gate.shut_down()
    call(host, "unassign_vf", vm_uuid=gate.uuid, all="true")
    return {name for name, is_so in found.items() if is_so}


def is_answered(host: LabHost, network: str) -> bool:
    """Whether the guest `gate` has an answer of `inside` in that network."""
    said = host.attempt(f"guest-run gate 'ping -c 3 -W 5 {network}.1'").stdout
    (received,) = re.findall(r"(\d+) packets received", said)
    return int(received) > 0


def vf(host: LabHost, address: str) -> Dict[str, Any]:
    return next(vf for vf in call(host, "list_vfs") if vf["address"] == address)
