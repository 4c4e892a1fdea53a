"""This host's own inventory, as it tells its pool."""

from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from .. import VERSION
from ..config import vf_settings
from ..machine import dom0_devices, nvme, sysfs, vgpus, xenstore
from ..machine.host import Host
from ..machine.pci import PhysicalFunction
from . import conf_sections, inventory, pf_notes, problems
from .conf_sections import Sections
from .inventory import DOM0, Inventory
from .inventory_json import HostInventory, Owner, PfState, PortState, VfState


def read(host: Host) -> HostInventory:
    """Without any call to xapi; `needed` as far as dom0 tells it."""
    return of_look(host, inventory.look_with_nodes(host))


def of_look(host: Host, seen: Inventory) -> HostInventory:
    """`seen`: with what is told to people, and NUMA nodes."""
    configured = conf_sections.read(host, seen.pfs)
    vfs = vf_states(seen, configured)
    there = {vf.address: vf for vf in vfs}
    of_pf = by_pf(vfs)
    # Whether xapi gives a GPU that has no VFs out as a whole, it says itself.
    known = dom0_devices.NOTHING._replace(vgpus=dict.fromkeys([pf.address for pf in seen.pfs], False))
    needed = dom0_devices.needs(host, seen.pfs, seen.vfs, seen.network, known, {})
    return HostInventory(
        version=VERSION,
        host_uuid=seen.host_uuid,
        owners_known=seen.owners is not None,
        pfs={pf.address: pf_state(host, seen, pf, of_pf.get(pf.address, ()), configured) for pf in seen.pfs},
        vfs=there,
        others=[name for name in host.names(sysfs.DEVICES) if name not in there and name not in seen.pf_at],
        interfaces=dom0_devices.interfaces(host),
        starting=dict(seen.starting),
        needed={address: list(what) for address, what in needed.items()},
        cpu_nodes=seen.cpu_nodes,
        domains=xenstore.vms(host),
        failures=pf_notes.failures(host),
    )


def by_pf(vfs: Iterable[VfState]) -> Dict[str, List[VfState]]:
    found: Dict[str, List[VfState]] = {}
    for vf in vfs:
        found.setdefault(vf.function.pf, []).append(vf)
    return found


def pf_state(
    host: Host,
    seen: Inventory,
    pf: PhysicalFunction,
    own: Sequence[VfState],
    configured: Sections,
    managed: bool = False,
) -> PfState:
    """`own`: the PF's VFs, see `vf_states`; `configured`: see `conf_sections.read`; `managed`: xapi has
    these VFs."""
    management = seen.management(pf)
    down = [port.interface for port in pf.ports if sysfs.is_up(host, port.interface) is False]
    found = [
        *problems.of_pf(
            pf,
            down,
            management,
            [vf.function for vf in own if vf.state == DOM0],
            [vf.function for vf in own if vf.function.port.why is not None],
            seen.evidence.get(pf.address, []),
            managed or vgpus.has_vgpu_driver(pf),
        )
    ]
    found += nvme.problems(host, pf, [vf.function for vf in own])
    found += problems.of_settings(pf, *_untold(seen, pf, own))
    section = configured.get(pf.address)
    return PfState(
        function=pf,
        description=seen.descriptions.get((pf.vendor_id, pf.device_id)),
        configured_vfs=section.vfs if section else None,
        management=management,
        ports=tuple(
            PortState(
                port,
                sysfs.mac_of(host, port.interface),
                sysfs.link_up(host, port.interface),
                sysfs.speed(host, port.interface),
            )
            for port in pf.ports
        ),
        problems=found,
    )


def _untold(seen: Inventory, pf: PhysicalFunction, own: Sequence[VfState]) -> Tuple[List[int], Optional[str]]:
    """The VFs of the PF whose settings should be known and are not, and why. Where the kernel
    does not say so, a driver that tells of none of its VFs never does."""
    untold = [
        vf.function.number for vf in own if vf.no_settings is None and vf.settings == vf_settings.UNKNOWN
    ]
    why = next((seen.cut_off[name] for name in pf.settings_interfaces if name in seen.cut_off), None)
    return (untold, why) if why or len(untold) < len(own) else ([], None)


def vf_states(seen: Inventory, configured: Optional[Sections] = None) -> List[VfState]:
    """`assigned_to` is the running domain's VM, if one has the VF. `configured`: see `conf_sections.read`;
    without it `configured_mac` is not known."""
    settings = {address: section.settings for address, section in (configured or {}).items()}
    owners = seen.owners or {}
    found = []
    for vf in seen.vfs:
        interface = seen.settings_interface(vf)
        owner = owners.get(vf.address)
        found.append(
            VfState(
                vf,
                seen.descriptions.get((vf.vendor_id, vf.device_id)),
                seen.settings_by(interface, vf.number),
                inventory.why_no_settings(seen.pf_of(vf), vf) if interface is None else None,
                seen.state(vf),
                Owner(owner.vm_uuid, owner.name) if owner else None,
                settings.get(vf.pf, {}).get(vf.number, {}).get("mac"),
            )
        )
    return found
