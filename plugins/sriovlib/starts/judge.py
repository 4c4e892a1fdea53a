"""What a start may not take: judges the addresses that it will plug, by what is known of them. Looks at
nothing itself.

They are right if there is an entry for each request, in the order of the requests, each of these is a VF
that fits its request and is free or leased here to the VM, and no entry takes from dom0 or from another VM.
Whose an entry is the ledger says: the VM's owner could have written anything.
"""

from typing import List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..pool import pci_entries, placement
from ..pool.ledger import Entry, Request
from ..pool.pci_entries import PciEntry
from ..pool.placement import Candidate, Held
from ..safetext import shortened

NEEDED, IN_USE, NOT_PLACED = "SRIOV_NEEDED_BY_DOM0", "SRIOV_VF_IN_USE", "SRIOV_NOT_PLACED"
NOT_ASSIGNED = "SRIOV_NOT_ASSIGNED"


class Device(NamedTuple):
    """What stands at an address of this host."""

    address: str
    exists: bool
    is_vf: bool
    pf: Optional[str]  # of a VF
    device: str  # vendor:device, as in `8086:10fb`
    carries: Tuple[str, ...]  # what of dom0 is on it, in parts of a sentence: "the management interface eth0"
    held_by: Optional[str]  # another VM that has it, running or by a lease here, as part of a sentence


class OwnLease(NamedTuple):
    """Why an entry for a VF needs a lease of the VM's own (see ownlease)."""

    lent_to: Optional[str]  # UUID of another VM that is lent that address, of whatever host, or was
    name: str  # of that VM; or of the network, where VMs have VFs in VLANs
    unread: str = ""  # or may have: names of VMs whose keys in the ledger cannot be read


class Refusal(NamedTuple):
    code: str
    address: Optional[str]
    message: str
    hint: str
    curable: bool  # the master could put it right by giving the VM other VFs of this host


def judge(
    vm: str,
    entry: Optional[Entry],
    pci: str,
    host: str,
    candidates: Sequence[Candidate],
    devices: Mapping[str, Device],
    held: Held,
    own_lease: Mapping[str, OwnLease],
) -> List[Refusal]:
    """All that is wrong with a start of the VM on this host; nothing where it is right.

    `entry`: what the ledger says of the VM, None if it has no key. `pci`: what this start will plug. `held`
    and `candidates` as for placement, at least of this host. `devices`: all that `pci` names; KeyError for
    one that is missing, as nobody may say that it takes nothing.
    `own_lease`: address -> why only a lease of the VM's own will do for it.
    A VM without entries starts, and a device that is not there takes nothing from anybody.
    """
    there = pci_entries.entries(pci)
    if not there:
        return []
    leased = entry.lease.vfs if entry and entry.lease else {}
    by_address = {
        leased[request.number]: request
        for request in (entry.requests if entry else ())
        if request.number in leased
    }
    found: List[Refusal] = []
    seen: Set[str] = set()
    for one in there:
        if one.address is None or one.address in seen:
            continue
        seen.add(one.address)
        device = devices[one.address]
        if one.address in by_address or (entry and one.address in entry.past):
            who = device.held_by or placement.holder(host, one.address, vm, held)
            wrong = _taking(one, device, who) or _unfit(one, device, by_address.get(one.address), candidates)
            curable = True
        else:
            on_host = held.on_host.get((host, one.address))
            wrong = _taking(one, device, device.held_by or (on_host if on_host != vm else None))
            curable = False
            why = own_lease.get(one.address)
            if why and (wrong is None or (wrong[0] == IN_USE and why.lent_to)):
                has_requests = bool(entry and entry.requests)
                refusal = _unassigned(vm, pci, host, one, device, why, has_requests)
                found.append(refusal._replace(message=wrong[1]) if wrong else refusal)
                continue
        if wrong is not None:
            hint = _placing(vm, host) if curable else pci_entries.without(vm, pci, one.address)
            found.append(Refusal(wrong[0], one.address, wrong[1], hint, curable))
    for request in entry.requests if entry else ():
        address = leased.get(request.number)
        if address not in seen:
            what = f"its VF {address} is not named" if address else "no VF is leased for it"
            message = f"Request {request.number} has no entry in other_config:pci: {what}."
            found.append(Refusal(NOT_PLACED, address, message, _placing(vm, host), True))
    exchanged = pci_entries.in_another_order(pci_entries.plugging_order(pci), list(by_address))
    if exchanged:
        message = (
            f"By other_config:pci (`{shortened(pci)}`) xapi would plug {', '.join(exchanged)} in this order, "
            "which is not that of the VM's requests: its guest would see them exchanged."
        )
        found.append(Refusal(NOT_PLACED, exchanged[0], message, _placing(vm, host), True))
    return found


_Wrong = Optional[Tuple[str, str]]  # code and sentence


def _taking(one: PciEntry, device: Device, holder: Optional[str]) -> _Wrong:
    """From dom0 or from another VM."""
    names = f"The entry `{shortened(one.text)}` names {_named(device)}"
    if device.carries:
        return NEEDED, f"{names}, which dom0 needs for {_listed(device.carries)}."
    if holder is not None:
        return IN_USE, f"{names}, which is held by {holder}."
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
        return NOT_PLACED, f"{said}, and {_named(device)} is no VF that this host could give."
    if not placement.fits(request.choice, candidate):
        return NOT_PLACED, f"{said}, which {_named(device)} of this host does not fit."
    if candidate.blocked is not None:
        return NEEDED, f"{said}, and {_named(device)} is not to be had: {candidate.blocked}."
    return None


def _unassigned(
    vm: str, pci: str, host: str, one: PciEntry, device: Device, why: OwnLease, has_requests: bool
) -> Refusal:
    names = f"The entry `{shortened(one.text)}` names {_named(device)}, which"
    out = pci_entries.without(vm, pci, device.address)
    call = f"`adopt_vm` with vm_uuid={vm} and host_uuid={host} (dry_run=true shows what it would have)"
    if has_requests:
        call = f"`assign_vf` with vm_uuid={vm}, vf={device.address} and host_uuid={host}"
    if why.lent_to is None:
        message = (
            f"{names} no pool-admin gave to the VM. VMs have VFs in VLANs in its network, {why.name}, and "
            "with this one the guest could open them all."
        )
        hint = f"To give it: {call}. Else: {out}"
        if why.unread:
            message = (
                f"{names} no pool-admin gave to the VM. Whether VMs have VFs in VLANs in its network, "
                f"{why.name}, is not known, for the ledger's key of {why.unread} cannot be read."
            )
            hint = f"Put that key right (`list_assignments` says how). {hint}"
        return Refusal(NOT_ASSIGNED, device.address, message, hint, False)
    message = (
        f"{names} no pool-admin gave to the VM. The VM {why.name} is lent a VF of that address, so the entry "
        "may be a copy of its."
    )
    hint = (
        f"If it is a copy: `adopt_vm` with vm_uuid={vm} and origin_uuid={why.lent_to} gives it VFs of its "
        f"own; if it means this host's VF: with origin_uuid=none and host_uuid={host}. Else: {out}"
    )
    return Refusal(IN_USE, device.address, message, out if has_requests else hint, False)


def _placing(vm: str, host: str) -> str:
    return (
        f"`reinstate_vfs` with vm_uuid={vm} and host_uuid={host} gives it VFs of this host, if there are any."
    )


def _named(device: Device) -> str:
    what = [device.device, f"a VF of {device.pf}" if device.is_vf and device.pf else ""]
    said = ", ".join(filter(None, what))
    return f"{device.address} ({said})" if said else device.address


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
