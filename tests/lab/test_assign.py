"""A VF for a VM by one call: the guest has it, with the settings of its request, as long as the VM runs."""

import re
from typing import Any, Callable, Dict, Iterator, List

import pytest
from lab import image, toolstack, vms
from lab.host import LabHost
from lab.vfs import FIRST
from lab.vms import Vm

Say = Callable[[str], None]
SwitchOn = Callable[..., LabHost]

MAC, VLAN = "02:16:3e:00:00:15", 12
NO_MAC = "00:00:00:00:00:00"
HOOKS = "vm-pre-start vm-pre-shutdown vm-pre-reboot vm-post-destroy".split()
NOTED = "/run/lab-hooks"  # how hooks were called
VFS = 3


@pytest.fixture(scope="module")
def host(switch_on_for_all: SwitchOn) -> LabHost:
    """A host with our package and 3 VFs; somebody else's hook scripts note how they are called."""
    host = switch_on_for_all("assigned", image.WITH_IOMMU)
    toolstack.bring(host)
    toolstack.install(host, toolstack.package())
    script = rf'#!/bin/sh\necho "$(basename "$(dirname "$0")") $*" >> {NOTED}\n'
    for hook in HOOKS:
        note = f"/etc/xapi.d/{hook}/20-note"
        host.run(f"mkdir -p /etc/xapi.d/{hook} && printf '{script}' > {note} && chmod +x {note}")
    toolstack.call(host, "set_vf_count", pf=FIRST, count=str(VFS))
    return host


@pytest.fixture(scope="module")
def session(host: LabHost) -> Iterator[Any]:
    with toolstack.session(host) as session:
        yield session


@pytest.fixture(scope="module")
def pf(session: Any) -> Dict[str, Any]:
    """The card whose VFs they are, as list_pfs shows it."""
    return next(pf for pf in vms.call(session, "list_pfs") if pf["address"] == FIRST)


@pytest.mark.short
def test_assign_vf_and_a_guest_has_it(host: LabHost, session: Any, pf: Dict[str, Any], say: Say) -> None:
    """assign_vf by network: the guest has the VF, its MAC and VLAN, and keeps them when it reboots itself."""
    web = vms.new(session, "web")
    given = vms.call(session, "assign_vf", vm_uuid=web.uuid, network=pf["network"], mac=MAC)
    assert web.pci == f"0/{given['vf']}"
    assert vf(session, given["vf"])["mac"] == NO_MAC
    say(f"{given['vf']} is the VM's, and has no MAC yet")
    web.start()
    domain = web.record["domid"]
    assert domain in host.run("xl domid web").split()
    assert web.mac(host) == MAC
    seen = vf(session, given["vf"])
    assert (seen["state"], seen["assigned_to"]["vm_uuid"], seen["mac"]) == ("in-use", web.uuid, MAC)
    assert noted(host, web) == ["vm-pre-start -reason none"]
    host.run(f"ip address add 192.0.2.1/24 dev {pf['interface']}")
    assert vms.answers(host, MAC, pf["interface"])
    say("the guest has it with the MAC of its request, and answers dom0's pings through it")

    web.reboot_from_inside(host)
    assert web.mac(host) == MAC
    assert vms.answers(host, MAC, pf["interface"])
    assert vf(session, given["vf"])["assigned_to"]["vm_uuid"] == web.uuid
    assert noted(host, web)[1:] == [
        f"vm-pre-shutdown -reason hard-reboot -vmdomid {domain}",
        "vm-post-destroy -reason hard-reboot",
        "vm-pre-reboot -reason none",
        "vm-pre-start -reason none",
    ]
    say("it rebooted itself: it has its VF again, and answers again")

    db = vms.new(session, "db")
    other = vms.call(session, "assign_vf", vm_uuid=db.uuid, network=pf["network"], vlan=str(VLAN))
    assert other["vf"] != given["vf"]
    db.start()
    seen = vf(session, other["vf"])
    assert (seen["vlan"], seen["mac"]) == (VLAN, db.mac(host))
    assert seen["mac"] not in (MAC, NO_MAC)
    say("a second VM has another, in its VLAN")

    for vm, address in ((web, given["vf"]), (db, other["vf"])):
        vm.shut_down()
        rests = vf(session, address)
        assert (rests["mac"], rests["vlan"], rests["state"]) == (NO_MAC, 0, "assigned")
    assert noted(host, web)[5:] == [
        f"vm-pre-shutdown -reason clean-shutdown -vmdomid {int(domain) + 1}",
        "vm-post-destroy -reason clean-shutdown",
    ]
    say("both are off: their VFs have lost MAC and VLAN, and are still theirs")


def test_a_clone_is_told_from_its_origin(host: LabHost, session: Any, say: Say) -> None:
    """A clone starts only when adopt_vm has given it a VF of its own; then none is left, and that is said."""
    (web,) = (vm for vm in all_vms(session) if vm.name == "web")
    clone = web.clone("web-copy")
    assert clone.pci == web.pci
    first, *text = clone.refused_start()
    assert first.startswith("SRIOV_")
    assert clone.uuid in first
    say(f"refused: {' '.join(text)}")
    vms.call(session, "adopt_vm", vm_uuid=clone.uuid)
    assert clone.pci != web.pci
    web.start()
    clone.start()
    macs = [vm.mac(host) for vm in (web, clone)]
    assert macs[0] == MAC != macs[1]
    holders = {vf["assigned_to"]["vm_uuid"] for vf in vms.call(session, "list_vfs", state="in-use")}
    assert holders == {web.uuid, clone.uuid}
    say("after adopt_vm both run, each with a VF and a MAC of its own")

    late = vms.new(session, "late")
    network = vms.call(session, "list_pfs")[0]["network"]
    refused = vms.refusal(session, "assign_vf", vm_uuid=late.uuid, network=network)
    assert refused[0] == "SRIOV_NO_FREE_VF"
    assert late.pci == ""
    say(f"none is left for a fourth: {refused[1]}")
    for vm in (web, clone):
        vm.shut_down()


@pytest.mark.short
def test_no_start_takes_the_management_nic(host: LabHost, session: Any, say: Say) -> None:
    """A `pci` entry by hand that names the management NIC: the start is refused, the host stays reachable."""
    path = host.run("readlink -f /sys/class/net/xenbr0/brif/*")
    address = re.findall(r"/(0000:\S\S:\S\S\.\d)/", path)[-1]
    greedy = vms.new(session, "greedy")
    session.xenapi.VM.add_to_other_config(greedy.ref, "pci", f"0/{address}")
    first, *text = greedy.refused_start()
    assert first.startswith(f"SRIOV_NEEDED_BY_DOM0 {greedy.uuid}")
    assert address in " ".join(text)
    say(f"refused: {' '.join(text)}")
    assert host.run(f"basename $(readlink /sys/bus/pci/devices/{address}/driver)").strip() == "virtio-pci"
    assert "xenbr0" in host.run("ip -brief link show up")  # asked over that NIC
    say("dom0 still has it, and answers through it")


def vf(session: Any, address: str) -> Dict[str, Any]:
    return next(vf for vf in vms.call(session, "list_vfs") if vf["address"] == address)


def all_vms(session: Any) -> List[Vm]:
    records = session.xenapi.VM.get_all_records()
    return [Vm(session, ref, record["uuid"], record["name_label"]) for ref, record in records.items()]


def noted(host: LabHost, vm: Vm) -> List[str]:
    """The hooks that ran for the VM, each with its arguments but for the VM's own."""
    lines = host.run(f"cat {NOTED}").splitlines()
    return [line.replace(f" -vmuuid {vm.uuid}", "") for line in lines if f" -vmuuid {vm.uuid} " in line]
