"""What dom0 needs each PCI device for: what no VM may take from it. Looks, and judges nothing."""

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from . import block_devices, dom0_disks, pci, remote_disks, sysfs, vgpus
from .host import Host
from .management_network import Standing
from .pci import PhysicalFunction, VirtualFunction
from .storage_repositories import Repository
from .vgpus import UNTOLD, Told


class Known(NamedTuple):
    """What only xapi knows of this host."""

    attached: Set[str]  # interfaces below attached PIFs, bonds and VLANs resolved
    managed: Set[str]  # interfaces of PFs under xapi's own SR-IOV
    repositories: Sequence[Repository]  # with a plugged PBD
    vgpus: Told = UNTOLD


NOTHING = Known(set(), set(), ())
MANAGED = "xapi's own SR-IOV"
XAPIS = (MANAGED, vgpus.NEEDED_FOR)


def needs(
    host: Host,
    pfs: Sequence[PhysicalFunction],
    vfs: Sequence[VirtualFunction],
    standing: Standing,
    known: Known,
    of_vms: Mapping[str, str],
) -> Dict[str, Tuple[str, ...]]:
    """PCI address -> what dom0 has on just this device, in parts of a sentence ("the management interface
    eth0"). `of_vms`: the VFs that VMs hold, running or by a lease, and who has each. What is on a VF is on
    its PF too: the VF ends when dom0 loses that."""
    found: Dict[str, List[str]] = {}
    for interface, sentence in _interfaces(host, standing, known).items():
        address = _device(host, interface)
        if address is not None:
            found.setdefault(address, []).append(sentence)
    for address in remote_disks.boot_devices(host):
        if address not in found:
            found[address] = ["the NIC that the host booted from by iSCSI"]
    for address, sentences in dom0_disks.by_controller(host, known.repositories).items():
        found.setdefault(address, []).extend(sentences)
    for pf in pfs:
        if known.managed.intersection(pf.interfaces):
            for function in [pf.address, *(vf.address for vf in vfs if vf.pf == pf.address)]:
                found.setdefault(function, []).append(MANAGED)
        gives = vgpus.gives_vfs(pf, known.vgpus)
        of_xapi = [vf.address for vf in vfs if vf.pf == pf.address] if gives else []
        for function in [pf.address, *of_xapi] if vgpus.needs_pf(pf, known.vgpus) else of_xapi:
            found.setdefault(function, []).append(vgpus.NEEDED_FOR)
    for vf in vfs:
        if vf.address not in found and vf.address not in of_vms:
            continue
        on_pf = [sentence for sentence in found.get(vf.address, ()) if sentence not in found.get(vf.pf, ())]
        if vf.address in of_vms:
            on_pf.append(f"the VF {vf.address} of {of_vms[vf.address]}")
        if on_pf:
            found.setdefault(vf.pf, []).extend(on_pf)
    return {address: tuple(dict.fromkeys(sentences)) for address, sentences in found.items()}


def interfaces(host: Host) -> Dict[str, str]:
    """dom0's interfaces that are of a PCI device -> its address."""
    found = {name: _device(host, name) for name in host.names(sysfs.INTERFACES)}
    return {name: address for name, address in found.items() if address is not None}


def _device(host: Host, interface: str) -> Optional[str]:
    link = sysfs.interface(interface, "device")
    device = host.link(link)
    if device is None or device.startswith("vif-"):
        return None  # a bridge, bond or VLAN; a guest's
    if pci.is_address(device):
        return device
    return block_devices.controller(host.real_path(link))  # one of virtio has its PCI device above it


def _interfaces(host: Host, standing: Standing, known: Known) -> Dict[str, str]:
    """dom0's interfaces that something stands on; where that is not known, each that may be one."""
    found: Dict[str, str] = {}
    for name in standing.management or ():
        found.setdefault(name, f"the management interface {name}")
    for name in known.attached:
        found.setdefault(name, f"the network interface {name}, which an attached PIF uses")
    for name, what in remote_disks.interfaces(host, standing.addresses).items():
        found.setdefault(name, f"the network interface {name}, over which {what} comes")
    for name in interfaces(host) if standing.perhaps is None else standing.perhaps:
        found.setdefault(name, f"the network interface {name}, which may be the management interface")
    has = "may have" if standing.with_address is None else "has"
    for name in interfaces(host) if standing.with_address is None else standing.with_address:
        found.setdefault(name, f"the network interface {name}, which dom0 {has} an IP address on")
    return {name: found[name] for name in sorted(found)}
