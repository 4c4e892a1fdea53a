"""VFs in use whose drivers count what they carry: who has each, for which request, and where it counts."""

from typing import Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from ..machine import pci, sysfs, xenstore
from ..machine.host import Host
from ..vf import inventory, start_notes
from . import drivers
from .drivers import Counting
from .rates import Holder

SHOWN = 3


class CountedVf(NamedTuple):
    """A VF in use whose driver counts."""

    holder: Holder
    vm_name: Optional[str]  # as it was when the domain was made
    interface: str  # of its PF's port
    port: int  # the index of that interface
    number: int  # the VF's
    counting: Counting


class Found(NamedTuple):
    vfs: Dict[str, CountedVf]  # by the VF's address
    requests: FrozenSet[Tuple[str, int]]  # VM and number of each request that has a VF, counted or not
    notes: List[str]  # for the log: whose VFs have no statistics, and why
    without_port: bool  # whether some lack the interface of their port, as while a driver is loaded again


NOTHING = Found({}, frozenset(), [], False)


def look(host: Host) -> Optional[Found]:
    """None where xenstore does not answer."""
    owners = xenstore.owners(host)
    if owners is None:
        return None
    holders = _holders(host, owners)
    if not holders:
        return NOTHING
    pfs, vfs = pci.functions(host)
    pf_at = {pf.address: pf for pf in pfs}
    held = [vf for vf in vfs if vf.address in holders and pf_at[vf.pf].is_network]
    used = sorted({pf_at[vf.pf].driver or "none" for vf in held})
    try:
        able = drivers.loaded(host, used)
        notes = [f"the driver {name} does not count what its VFs carry" for name in used if name not in able]
    except OSError as error:
        able = set()
        notes = [f"{drivers.KALLSYMS} does not tell which drivers count ({error.strerror})"]
    found = {}
    without_port = []
    for vf in held:
        pf = pf_at[vf.pf]
        interface = inventory.settings_interface(pf, vf, {})
        port = host.number(sysfs.interface(interface, "ifindex")) if interface else None
        if pf.driver not in able:
            continue
        if not interface or not port:
            without_port.append(vf.address)
        else:
            counting = drivers.DRIVERS[pf.driver]
            holder, name = holders[vf.address], owners[vf.address].name
            found[vf.address] = CountedVf(holder, name, interface, port, vf.number, counting)
    if without_port:
        notes.append(f"{', '.join(without_port[:SHOWN])}: dom0 has no interface of their port")
    requests = frozenset((holder.vm_uuid, holder.request) for holder in holders.values())
    return Found(found, requests, notes, bool(without_port))


def _holders(host: Host, owners: Dict[str, xenstore.Domain]) -> Dict[str, Holder]:
    """By the VF's address: of domains that are VMs, by the note of the VM's last start here."""
    known: Dict[str, start_notes.Note] = {}
    found = {}
    for address, domain in owners.items():
        if domain.vm_uuid is not None:
            if domain.vm_uuid not in known:
                known[domain.vm_uuid] = start_notes.read(host, domain.vm_uuid) or start_notes.NO_NOTE
            request = known[domain.vm_uuid].requests.get(address)
            if request is not None:
                found[address] = Holder(domain.vm_uuid, domain.domid, request)
    return found
