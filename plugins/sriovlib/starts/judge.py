"""Every reason to refuse a start: judges the addresses that it will plug, by what facts.py gathered. Pure.

They are right if there is an entry for each request, in the order of the requests, each of these is a VF
that fits its request and is free or leased here to the VM, and no entry takes from dom0 or from another VM.
Whose an entry is the ledger says: the VM's owner could have written anything.
"""

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..pool import copies, own_lease, pci_entries, placement, state
from ..pool.ledger import Entry, Request
from ..pool.pci_entries import PciEntry
from ..pool.placement import Candidate, Held
from ..pool.state import Pool, Vm
from ..safetext import listed, shortened
from ..vf.inventory import Inventory

NEEDED, IN_USE, NOT_PLACED = "SRIOV_NEEDED_BY_DOM0", "SRIOV_VF_IN_USE", "SRIOV_NOT_PLACED"
NOT_ASSIGNED = "SRIOV_NOT_ASSIGNED"


class Device(NamedTuple):
    """What stands at an address of this host."""

    address: str
    exists: bool
    pf: Optional[str]  # of a VF; else None
    device: str  # vendor:device, as in `8086:10fb`
    carries: Tuple[str, ...]  # what of dom0 is on it, in parts of a sentence: "the management interface eth0"
    held_by: Optional[str]  # another VM that has it, see `holder`


class OwnLease(NamedTuple):
    """Why an entry for a VF needs a lease of the VM's own (see own_lease)."""

    leased_to: Optional[str]  # UUID of another VM that has or had a lease of that address, of whatever host
    name: str  # of that VM; or of the network, where VMs have VFs in VLANs
    unread: str = ""  # or may have: names of VMs whose keys in the ledger cannot be read


class View(NamedTuple):
    vm: Vm  # with what this start will plug as its `pci`
    pool: Pool  # of the VMs those that concern the start
    held: Held
    seen: Inventory  # this host
    candidates: Sequence[Candidate]  # this host's VFs
    devices: Mapping[str, Device]  # all that the VM names: no other can be judged
    own_lease: Mapping[str, OwnLease]  # what only a lease of the VM's own will do for
    ended: Dict[str, float]  # VM -> the time of its note: a start that came to nothing

    @property
    def host(self) -> str:
        return self.pool.here.member.uuid

    @property
    def entry(self) -> Optional[Entry]:
        """What the ledger says of the VM; None if it has no key."""
        return self.pool.state.entries.get(self.vm.uuid)


class Refusal(NamedTuple):
    code: str
    address: Optional[str]
    message: str
    hint: str
    curable: bool  # the master could put it right by giving the VM other VFs of this host


def holder(view: View, address: str) -> Optional[str]:
    """Another VM that has the device here, as part of a sentence; of more the one that has it now."""
    who = placement.holder(view.host, address, view.vm.uuid, view.held)
    if who is None:
        return None
    domain, part = (view.seen.owners or {}).get(address), view.pool.state
    if domain is not None and domain.vm_uuid != view.vm.uuid:
        name = domain.name or domain.vm_uuid or f"of domain {domain.domid}"
        return f"the running VM {state.named(name, domain.vm_uuid) if domain.vm_uuid else name}"
    if who in part.entries and (view.host, address) in part.entries[who].held:
        return f"VM {part.name(who)}, to which it is leased"
    if who in part.unreadable:
        return f"VM {part.name(who)}, whose key in the ledger cannot be read"
    return f"VM {part.name(who)}, which is starting"


def judge(view: View) -> List[Refusal]:
    """All that is wrong with a start of the VM on this host; nothing where it is right. A VM without entries
    starts, unless they are away for a move; one that is parked starts without its VFs, and a device that is
    not there takes nothing from anybody."""
    vm, entry = view.vm, view.entry
    there: Dict[str, PciEntry] = {}  # of two entries for an address the first
    for one in pci_entries.entries(vm.pci or ""):
        if one.address is not None:
            there.setdefault(one.address, one)
    if not there and not (entry and entry.move):
        return []
    leased = entry.lease.vfs if entry and entry.lease else {}
    requests = entry.requests if entry else ()
    by_address = {leased[one.number]: one for one in requests if one.number in leased}
    origin = copies.unknown_origin(view.pool.state, vm)  # reads all entries, so it is asked once
    found: List[Refusal] = []
    for address, one in there.items():
        if address in by_address or (entry and address in entry.past):
            refusal = _of_ours(view, one, view.devices[address], by_address.get(address))
        else:
            refusal = _of_others(view, one, view.devices[address], origin)
        found += [refusal] if refusal else []
    for request in requests if not (entry and entry.is_parked) else ():
        vf = leased.get(request.number)
        if vf not in there:
            what = f"its VF {vf} is not named" if vf else "no VF is leased for it"
            message = f"Request {request.number} has no entry in other_config:pci: {what}."
            found.append(Refusal(NOT_PLACED, vf, message, _placing(view), True))
    exchanged = pci_entries.in_another_order(vm.named, list(by_address))
    if exchanged:
        message = (
            f"By other_config:pci (`{shortened(vm.pci or '')}`) xapi would plug "
            f"{', '.join(exchanged)} in this order, which is not that of the VM's requests: its guest "
            "would see them swapped."
        )
        found.append(Refusal(NOT_PLACED, exchanged[0], message, _placing(view), True))
    return found


_Wrong = Optional[Tuple[str, str]]  # code and sentence


def _of_ours(view: View, one: PciEntry, device: Device, request: Optional[Request]) -> Optional[Refusal]:
    """An entry for what the VM is or was leased."""
    wrong = _taking(one, device) or _unfit(one, device, request, view.candidates)
    return Refusal(wrong[0], device.address, wrong[1], _placing(view), True) if wrong else None


def _of_others(view: View, one: PciEntry, device: Device, origin: Optional[str]) -> Optional[Refusal]:
    """An entry that somebody else wrote. `origin`: copies.unknown_origin of the VM."""
    wrong, why = _taking(one, device), view.own_lease.get(device.address)
    if origin is not None and not (why and why.leased_to):
        return _from_elsewhere(view, one, device, origin)
    if why and (wrong is None or (wrong[0] == IN_USE and why.leased_to)):
        refusal = _unassigned(view, one, device, why)
        return refusal._replace(message=wrong[1]) if wrong else refusal
    hint = pci_entries.without(view.vm.uuid, view.vm.pci or "", device.address)
    return Refusal(wrong[0], device.address, wrong[1], hint, False) if wrong else None


def _from_elsewhere(view: View, one: PciEntry, device: Device, origin: str) -> Refusal:
    message = (
        f"The entry `{shortened(one.text)}` came with the VM, {copies.from_elsewhere(origin, view.vm.uuid)}."
    )
    return Refusal(NOT_ASSIGNED, device.address, message, copies.without_elsewhere(view.vm.uuid), False)


def _taking(one: PciEntry, device: Device) -> _Wrong:
    """From dom0 or from another VM."""
    names = f"The entry `{shortened(one.text)}` names {_named(device)}"
    if device.carries:
        return NEEDED, f"{names}, which dom0 needs for {listed(device.carries)}."
    if device.held_by is not None:
        return IN_USE, f"{names}, which is held by {device.held_by}."
    return None


def _unfit(
    one: PciEntry, device: Device, request: Optional[Request], candidates: Sequence[Candidate]
) -> _Wrong:
    """Why an entry of ours, that takes from nobody, is not what its request asked for."""
    said = f"The entry `{shortened(one.text)}`"
    if request is None:
        return NOT_PLACED, f"{said} is left from an earlier lease: no request of the VM has that VF now."
    said += f" is for request {request.number}"
    if not device.exists:
        return NOT_PLACED, f"{said}, and this host has no device {device.address}."
    candidate = next((vf for vf in candidates if vf.address == device.address), None)
    if candidate is None:
        return NOT_PLACED, f"{said}, and {_named(device)} is not a VF that this host can give to a VM."
    if not placement.fits(request.choice, candidate):
        return NOT_PLACED, f"{said}, which {_named(device)} of this host does not fit."
    if candidate.blocked is not None:
        return NEEDED, f"{said}, and {_named(device)} cannot be given to a VM: {candidate.blocked}."
    return None


def _unassigned(view: View, one: PciEntry, device: Device, why: OwnLease) -> Refusal:
    vm, has_requests = view.vm.uuid, bool(view.entry and view.entry.requests)
    names = (
        f"The entry `{shortened(one.text)}` names {_named(device)}, which no pool-admin assigned to the VM."
    )
    out = pci_entries.without(vm, view.vm.pci or "", device.address)
    if why.leased_to is not None:
        message = f"{names} VM {why.name} has or had a lease of that address, so the entry may be a copy."
        hint = (
            f"If it is a copy, give the VM VFs of its own: `adopt_vm` with vm_uuid={vm} and "
            f"origin_uuid={why.leased_to}. If it means this host's VF: with origin_uuid=none and "
            f"host_uuid={view.host}. Otherwise: {out}"
        )
        return Refusal(IN_USE, device.address, message, out if has_requests else hint, False)
    message = (
        f"{names} VMs have VFs in VLANs in its network, {why.name}: the guest could join all of these VLANs."
    )
    hint = f"To assign it: {own_lease.remedy(vm, device.address, view.host, has_requests)}. Otherwise: {out}"
    if why.unread:
        message = (
            f"{names} Whether VMs have VFs in VLANs in its network, {why.name}, is unknown: the ledger's key "
            f"of {why.unread} cannot be read."
        )
        hint = f"Repair that key (`list_assignments` says how). {hint}"
    return Refusal(NOT_ASSIGNED, device.address, message, hint, False)


def _placing(view: View) -> str:
    call = f"`reinstate_vfs` with vm_uuid={view.vm.uuid} and host_uuid={view.host}"
    return f"To give the VM free VFs of this host, call {call}."


def _named(device: Device) -> str:
    what = [device.device, f"a VF of {device.pf}" if device.pf else ""]
    said = ", ".join(filter(None, what))
    return f"{device.address} ({said})" if said else device.address
