"""The host's PFs and VFs as hardware, kernel and xenstore show them, without any call to xapi."""

from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .. import VERSION
from ..config import pf_sections, sriov_conf, vf_settings
from ..machine import (
    dom0_devices,
    kernel_log,
    management_network,
    nvme,
    pci,
    pci_ids,
    ports,
    vgpus,
    xensource_inventory,
    xenstore,
)
from ..machine.host import Host
from . import ip_link, problems, start_notes

IN_USE, ASSIGNED, DOM0, RESERVED, FREE = STATES = ("in-use", "assigned", "dom0", "reserved", "free")


class Inventory(NamedTuple):
    """What one look at the host found. `owners` is None where xenstore does not answer."""

    host_uuid: Optional[str]
    pfs: List[pci.PhysicalFunction]
    vfs: List[pci.VirtualFunction]
    vf_interfaces: Dict[str, List[str]]  # PF address -> interfaces that dom0 has of its VFs
    network: management_network.Standing  # what of dom0 is on which interfaces
    settings: Dict[str, Dict[int, vf_settings.VfSettings]]  # interface -> VF index -> settings
    owners: Optional[Dict[str, xenstore.Domain]]
    descriptions: Dict[Tuple[str, str], Optional[str]]
    evidence: Dict[str, List[kernel_log.Evidence]]  # PF address -> what the kernel's log has against it
    cut_off: Mapping[str, str] = {}  # interface -> what `ip` said where it did not tell of all its VFs
    starting: Mapping[str, str] = {}  # address -> VM that is being started, and has no domain with it yet

    def interfaces(self, pf: pci.PhysicalFunction) -> List[str]:
        """dom0's interfaces of the PF and of its VFs."""
        return [*pf.interfaces, *self.vf_interfaces.get(pf.address, ())]

    def pf_of(self, vf: pci.VirtualFunction) -> pci.PhysicalFunction:
        for pf in self.pfs:
            if pf.address == vf.pf:
                return pf
        raise LookupError(vf.pf)

    def settings_interface(self, vf: pci.VirtualFunction) -> Optional[str]:
        """By which the VF is set and read; None where it has no settings, see `why_no_settings`."""
        return settings_interface(self.pf_of(vf), vf, self.settings)

    def settings_of(self, vf: pci.VirtualFunction) -> vf_settings.VfSettings:
        """As they are now; `UNKNOWN` where nobody tells."""
        return self.settings_by(self.settings_interface(vf), vf.number)

    def settings_by(self, interface: Optional[str], number: int) -> vf_settings.VfSettings:
        """What is told of a VF by that interface."""
        return self.settings.get(interface or "", {}).get(number, vf_settings.UNKNOWN)

    def management(self, pf: pci.PhysicalFunction) -> Optional[bool]:
        """Whether the PF carries the management network, itself or by a VF; None: it may."""
        names = set(self.interfaces(pf))
        if self.network.management is not None:
            return bool(names & self.network.management)
        perhaps = names if self.network.perhaps is None else names & self.network.perhaps
        return None if perhaps else False

    def is_idle(self, vf: pci.VirtualFunction) -> bool:
        """No domain is known to have it, and none is about to."""
        return vf.address not in (self.owners or {}) and vf.address not in self.starting

    def without_starts_of(self, vms: Collection[str]) -> "Inventory":
        """As it is where these are known not to start."""
        return self._replace(starting={vf: vm for vf, vm in self.starting.items() if vm not in vms})

    def state(self, vf: pci.VirtualFunction) -> Optional[str]:
        """`in-use`, `reserved` (its PF's driver is one of xapi's vGPUs) or `dom0`; None where it takes xapi
        to know."""
        if self.owners is not None and vf.address in self.owners:
            return IN_USE
        if vgpus.gpu(self.pf_of(vf)).by_driver:
            return RESERVED
        if vf.driver is not None and vf.driver != pci.PCIBACK:
            return DOM0
        return None


def settings_interface(
    pf: pci.PhysicalFunction, vf: pci.VirtualFunction, shown: Mapping[str, Mapping[int, object]]
) -> Optional[str]:
    """The interface by which a VF has Ethernet's settings; None where it has none. `shown`: interface -> VF
    index -> anything, as `iplink.parse` answers."""
    if _is_infiniband(pf, vf):
        return None
    return ports.settings_interface(pf.driver, pf.settings_interfaces, vf.port.interface, vf.number, shown)


def _is_infiniband(pf: pci.PhysicalFunction, vf: pci.VirtualFunction) -> bool:
    """By its port; of one that may be on several, whether one of them is."""
    if not pf.ports:
        return pf.is_infiniband
    return any(port.infiniband for port in pf.ports if vf.port.interface in (None, port.interface))


def why_no_settings(pf: pci.PhysicalFunction, vf: pci.VirtualFunction) -> str:
    """Where a VF has no settings: why, in a sentence."""
    if _is_infiniband(pf, vf):
        return f"{vf.address} is a VF of the InfiniBand card {pf.address}, which has no such settings"
    if pf.ports and vf.port.why:
        return f"the VF {vf.address} is {vf.port.why}, so it cannot be given such settings"
    if pf.is_network:
        driver = f"its driver is {pf.driver}" if pf.driver else "it has no driver"
        return (
            f"the PF {pf.address} of {vf.address} has no network interface ({driver}), so nothing can be set"
        )
    return f"{pf.address} is no network card, so its VFs have no such settings"


def _vf_interfaces(
    host: Host, pfs: Sequence[pci.PhysicalFunction], vfs: Sequence[pci.VirtualFunction]
) -> Dict[str, List[str]]:
    """Those of the VFs themselves, and in switchdev mode those that stand for VFs: they end with them."""
    found = {pf.address: ports.standing_for_others(host, pf.address) for pf in pfs}
    for vf in vfs:
        if vf.driver is not None and vf.driver != pci.PCIBACK:
            found.setdefault(vf.pf, []).extend(ports.own(host, vf.address))
    return found


def configured(host: Host, seen: Inventory) -> Dict[str, sriov_conf.PfConfig]:
    """PF address -> what /etc/sriov.conf says of it."""
    config = sriov_conf.read(host)
    if not config.pfs:
        return {}
    macs = pf_sections.permanent_macs(host, seen.pfs)
    sections = {
        pf.address: pf_sections.section_of(pf, config.pfs.values(), seen.pfs, macs) for pf in seen.pfs
    }
    return {address: section for address, section in sections.items() if section is not None}


def configured_vfs(host: Host, seen: Inventory) -> Dict[str, Optional[int]]:
    """PF address -> how many VFs /etc/sriov.conf wants it to have."""
    return {address: wanted.vfs for address, wanted in configured(host, seen).items()}


def look(host: Host) -> Inventory:
    """The commands run while sysfs is read: starting a process takes longer than reading 100 VFs."""
    ip = host.start(ip_link.COMMAND)
    xenstore_ls = host.start(xenstore.COMMAND)
    addresses = host.start(management_network.COMMAND)
    dmesg = host.start(kernel_log.COMMAND)
    pfs, vfs = pci.functions(host)
    vf_interfaces = _vf_interfaces(host, pfs, vfs)
    shown = ip.finish()
    owners = xenstore.owners(host, xenstore_ls.finish(xenstore.SECONDS))
    ids = {(pf.vendor_id, pf.device_id) for pf in pfs} | {(vf.vendor_id, vf.device_id) for vf in vfs}
    return Inventory(
        host_uuid=xensource_inventory.read(host).get("INSTALLATION_UUID"),
        pfs=pfs,
        vfs=vfs,
        vf_interfaces=vf_interfaces,
        network=management_network.look(host, addresses.finish()),
        descriptions=pci_ids.descriptions(host, ids) if ids else {},
        settings=ip_link.read(host, shown, pfs),
        evidence=kernel_log.evidence(dmesg.finish(), {vf.address: vf.pf for vf in vfs}),
        owners=owners,
        cut_off={
            name: said
            for pf in pfs
            for name in pf.settings_interfaces
            for said in [ip_link.cut_off(shown, name)]
            if said
        },
        starting=start_notes.starting(host, owners or {}),
    )


def _untold(seen: Inventory, pf: pci.PhysicalFunction) -> Tuple[List[int], Optional[str]]:
    """The VFs of the PF whose settings should be known and are not, and what `ip` said. Of a driver that
    tells of none of its VFs, and of which `ip` says nothing, there is no more to know."""
    own = [vf for vf in seen.vfs if vf.pf == pf.address]
    by_interface = [(vf.number, settings_interface(pf, vf, seen.settings)) for vf in own]
    untold = [
        number
        for number, interface in by_interface
        if interface and seen.settings_by(interface, number) == vf_settings.UNKNOWN
    ]
    why = next((seen.cut_off[name] for name in pf.settings_interfaces if name in seen.cut_off), None)
    return (untold, why) if why or len(untold) < len(own) else ([], None)


def pf_record(
    seen: Inventory,
    pf: pci.PhysicalFunction,
    host: Host,
    configured: Mapping[str, Optional[int]],
    managed: bool = False,
) -> Dict[str, Any]:
    """A PF with the keys of `list_pfs`, less those that only xapi knows; `managed`: xapi has its VFs."""
    management = seen.management(pf)
    held = [vf for vf in seen.vfs if vf.pf == pf.address and seen.state(vf) == DOM0]
    lost = [vf for vf in seen.vfs if vf.pf == pf.address and pf.ports and vf.port.interface is None]
    down = [port.interface for port in pf.ports if pci.is_up(host, port.interface) is False]
    evidence = seen.evidence.get(pf.address, [])
    managed = managed or vgpus.gpu(pf).by_driver
    reasons = problems.of_pf(pf, down, management, held, lost, evidence, managed)
    reasons += nvme.problems(host, pf, [vf for vf in seen.vfs if vf.pf == pf.address])
    reasons += problems.of_settings(pf, *_untold(seen, pf))
    return {
        "address": pf.address,
        "interface": pf.interface,
        "mac": pci.mac_of(host, pf.interface),
        "guid": pf.guid,
        "vendor_id": pf.vendor_id,
        "device_id": pf.device_id,
        "description": seen.descriptions[pf.vendor_id, pf.device_id],
        "driver": pf.driver,
        "pci_class": pf.pci_class,
        "numa_node": pf.numa_node,
        "total_vfs": pf.total_vfs,
        "num_vfs": pf.num_vfs,
        "configured_vfs": configured.get(pf.address),
        "management": management,
        "link_up": pci.link_up(host, pf.interface),
        "speed": pci.speed(host, pf.interface),
        "ports": [
            {
                "interface": port.interface,
                "mac": pci.mac_of(host, port.interface),
                "guid": port.guid,
                "link_layer": "infiniband" if port.infiniband else "ethernet",
                "link_up": pci.link_up(host, port.interface),
                "speed": pci.speed(host, port.interface),
            }
            for port in pf.ports
        ],
        "interfaces": list(pf.interfaces),
        "problems": [problem._asdict() for problem in reasons],
    }


def vf_record(seen: Inventory, vf: pci.VirtualFunction) -> Dict[str, Any]:
    """A VF with the keys of `list_vfs`, less those that only xapi knows; `state` is null where it
    takes xapi to tell, `assigned_to` where no running domain has it. `interface` is the port that it is on;
    `no_settings` and `no_port` are null, or why it can be given no settings, or is on no port that dom0
    knows."""
    pf = seen.pf_of(vf)
    interface = settings_interface(pf, vf, seen.settings)
    owner = (seen.owners or {}).get(vf.address)
    record: Dict[str, Any] = {
        "address": vf.address,
        "index": vf.number,
        "pf": vf.pf,
        "interface": vf.port.interface,
        "vendor_id": vf.vendor_id,
        "device_id": vf.device_id,
        "description": seen.descriptions[vf.vendor_id, vf.device_id],
        "driver": vf.driver,
        "numa_node": vf.numa_node,
        "no_port": None if vf.port.interface or not pf.ports else f"the VF is {vf.port.why}",
        "no_settings": why_no_settings(pf, vf) if interface is None else None,
    }
    record.update(seen.settings_by(interface, vf.number)._asdict())
    record["state"] = seen.state(vf)
    record["assigned_to"] = (
        {"vm_uuid": owner.vm_uuid, "vm_name": owner.name, "power_state": None} if owner else None
    )
    return record


def _configured_mac(wanted: Mapping[str, sriov_conf.PfConfig], vf: pci.VirtualFunction) -> Optional[str]:
    section = wanted.get(vf.pf)
    return section.settings.get(vf.number, {}).get("mac") if section is not None else None


def inventory(host: Host, _session: Any, _args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `inventory`. `owners_known` is false where xenstore does not answer. `others` are the
    addresses of all other PCI devices; `interfaces` has the PCI devices of dom0's interfaces; `needed` those
    that dom0 needs, with what for in parts of a sentence, as far as that takes no xapi to know; `starting`
    those that a VM will have (its UUID) whose start was let through. Each VF has `configured_mac`, its MAC by
    /etc/sriov.conf or null, besides."""
    seen = look(host)
    listed = {pf.address for pf in seen.pfs} | {vf.address for vf in seen.vfs}
    wanted = configured(host, seen)
    counts = {address: section.vfs for address, section in wanted.items()}
    # Whether xapi gives a GPU that has no VFs out as a whole, it will say itself.
    known = dom0_devices.NOTHING._replace(vgpus=dict.fromkeys([pf.address for pf in seen.pfs], False))
    return {
        "version": VERSION,
        "host_uuid": seen.host_uuid,
        "owners_known": seen.owners is not None,
        "pfs": [pf_record(seen, pf, host, counts) for pf in seen.pfs],
        "vfs": [{**vf_record(seen, vf), "configured_mac": _configured_mac(wanted, vf)} for vf in seen.vfs],
        "others": [name for name in host.names(pci.DEVICES) if name not in listed],
        "interfaces": dom0_devices.interfaces(host),
        "starting": dict(seen.starting),
        "needed": dom0_devices.needs(host, seen.pfs, seen.vfs, seen.network, known, {}),
    }
