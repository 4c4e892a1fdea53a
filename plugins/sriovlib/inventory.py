"""The host's PFs and VFs as hardware, kernel and xenstore show them, without any call to xapi."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import (
    VERSION,
    dom0needs,
    hostconfig,
    identity,
    iplink,
    kernellog,
    network,
    pci,
    pciids,
    problems,
    product,
    vfsettings,
    xenstore,
)
from .host import Host

IN_USE, ASSIGNED, DOM0, RESERVED, FREE = STATES = ("in-use", "assigned", "dom0", "reserved", "free")


class Inventory(NamedTuple):
    """What one look at the host found. `owners` is None where xenstore does not answer."""

    host_uuid: Optional[str]
    pfs: List[pci.PhysicalFunction]
    vfs: List[pci.VirtualFunction]
    vf_interfaces: Dict[str, List[str]]  # PF address -> interfaces that dom0 made of its VFs
    management: List[str]  # PFs that carry the management network, themselves or by a VF
    settings: Dict[str, Dict[int, vfsettings.VfSettings]]  # interface -> VF index -> settings
    owners: Optional[Dict[str, xenstore.Domain]]
    descriptions: Dict[Tuple[str, str], Optional[str]]
    evidence: Dict[str, List[kernellog.Evidence]]  # PF address -> what the kernel's log has against it

    def interfaces(self, pf: pci.PhysicalFunction) -> List[str]:
        """dom0's interfaces of the PF and of its VFs."""
        return [*pf.interfaces, *self.vf_interfaces.get(pf.address, ())]

    def state(self, vf: pci.VirtualFunction) -> Optional[str]:
        """`in-use` or `dom0`; None where it takes xapi to know."""
        if self.owners is not None and vf.address in self.owners:
            return IN_USE
        if vf.driver is not None and vf.driver != pci.PCIBACK:
            return DOM0
        return None


def _vf_interfaces(host: Host, vfs: Sequence[pci.VirtualFunction]) -> Dict[str, List[str]]:
    found: Dict[str, List[str]] = {}
    for vf in vfs:
        if vf.driver is not None and vf.driver != pci.PCIBACK:
            found.setdefault(vf.pf, []).extend(pci.interfaces(host, vf.address))
    return found


def configured_vfs(host: Host, seen: Inventory) -> Dict[str, Optional[int]]:
    """PF address -> how many VFs /etc/sriov.conf wants it to have."""
    config = hostconfig.read(host)
    if not config.pfs:
        return {}
    macs = identity.permanent_macs(host, seen.pfs)
    found: Dict[str, Optional[int]] = {}
    for pf in seen.pfs:
        wanted = identity.section_of(pf, config.pfs.values(), seen.pfs, macs)
        if wanted is not None:
            found[pf.address] = wanted.vfs
    return found


def look(host: Host) -> Inventory:
    """The commands run while sysfs is read: starting a process takes longer than reading 100 VFs."""
    ip = host.start(iplink.COMMAND)
    xenstore_ls = host.start(xenstore.COMMAND)
    dmesg = host.start(kernellog.COMMAND)
    pfs, vfs = pci.functions(host)
    vf_interfaces = _vf_interfaces(host, vfs)
    management = network.management(host)
    ids = {(pf.vendor_id, pf.device_id) for pf in pfs} | {(vf.vendor_id, vf.device_id) for vf in vfs}
    return Inventory(
        host_uuid=product.read(host).get("INSTALLATION_UUID"),
        pfs=pfs,
        vfs=vfs,
        vf_interfaces=vf_interfaces,
        management=[
            pf.address
            for pf in pfs
            if management.intersection([*pf.interfaces, *vf_interfaces.get(pf.address, ())])
        ],
        descriptions=pciids.descriptions(host, ids) if ids else {},
        settings=iplink.parse(ip.finish()),
        evidence=kernellog.evidence(dmesg.finish()),
        owners=xenstore.owners(host, xenstore_ls.finish(xenstore.SECONDS)),
    )


def pf_record(
    seen: Inventory, pf: pci.PhysicalFunction, host: Host, configured: Mapping[str, Optional[int]]
) -> Dict[str, Any]:
    """A PF with the keys of `list_pfs`, less those that only xapi knows."""
    management = pf.address in seen.management
    held = [vf for vf in seen.vfs if vf.pf == pf.address and seen.state(vf) == DOM0]
    up = pci.is_up(host, pf.interface)
    reasons = problems.of_pf(pf, up, management, held, seen.evidence.get(pf.address, []))
    return {
        "address": pf.address,
        "interface": pf.interface,
        "mac": pci.mac_of(host, pf.interface),
        "vendor_id": pf.vendor_id,
        "device_id": pf.device_id,
        "description": seen.descriptions[pf.vendor_id, pf.device_id],
        "driver": pf.driver,
        "numa_node": pf.numa_node,
        "total_vfs": pf.total_vfs,
        "num_vfs": pf.num_vfs,
        "configured_vfs": configured.get(pf.address),
        "management": management,
        "link_up": pci.link_up(host, pf.interface),
        "speed": pci.speed(host, pf.interface),
        "problems": [problem._asdict() for problem in reasons],
    }


def vf_record(seen: Inventory, vf: pci.VirtualFunction, interface: Optional[str]) -> Dict[str, Any]:
    """A VF with the keys of `list_vfs`, less those that only xapi knows; `state` is null where it
    takes xapi to tell, `assigned_to` where no running domain has it."""
    settings = seen.settings.get(interface or "", {}).get(vf.number, vfsettings.UNKNOWN)
    owner = (seen.owners or {}).get(vf.address)
    record: Dict[str, Any] = {
        "address": vf.address,
        "index": vf.number,
        "pf": vf.pf,
        "interface": interface,
        "vendor_id": vf.vendor_id,
        "device_id": vf.device_id,
        "description": seen.descriptions[vf.vendor_id, vf.device_id],
        "driver": vf.driver,
        "numa_node": vf.numa_node,
    }
    record.update(settings._asdict())
    record["state"] = seen.state(vf)
    record["assigned_to"] = (
        {"vm_uuid": owner.vm_uuid, "vm_name": owner.name, "power_state": None} if owner else None
    )
    return record


def inventory(host: Host, _session: Any, _args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `inventory`. `owners_known` is false where xenstore does not answer. `others` are the
    addresses of all other PCI devices; `interfaces` has the PCI devices of dom0's interfaces; `needed` those
    that dom0 needs, with what for in parts of a sentence, as far as that takes no xapi to know."""
    seen = look(host)
    listed = {pf.address for pf in seen.pfs} | {vf.address for vf in seen.vfs}
    interfaces = {pf.address: pf.interface for pf in seen.pfs}
    configured = configured_vfs(host, seen)
    return {
        "version": VERSION,
        "host_uuid": seen.host_uuid,
        "owners_known": seen.owners is not None,
        "pfs": [pf_record(seen, pf, host, configured) for pf in seen.pfs],
        "vfs": [vf_record(seen, vf, interfaces[vf.pf]) for vf in seen.vfs],
        "others": [name for name in host.names(pci.DEVICES) if name not in listed],
        "interfaces": dom0needs.interfaces(host),
        "needed": dom0needs.needs(host, seen.pfs, seen.vfs, dom0needs.NOTHING, {}),
    }
