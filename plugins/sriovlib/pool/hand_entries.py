"""What entries by hand, or of the old plugin `iovirt`, become: a request for each that names a VF, with what
it had beside it. Decides; writes nothing."""

from typing import Dict, List, NamedTuple, Optional, Sequence, Set

from ..errors import SriovError
from ..safetext import listed, shortened
from ..vf import inventory
from . import former_settings, pci_entries, state
from .former_settings import Found
from .inventories import Surveyed
from .ledger import NO_ENTRY, Choice, Entry, Request
from .locked import Work
from .macs import chosen_mac
from .state import Vm


class Taken(NamedTuple):
    """What the VM is to have in the ledger."""

    host: str  # UUID
    entry: Entry  # what the ledger is to know of it before
    requests: List[Request]
    vfs: Dict[int, str]
    warnings: List[str]


def taken(at: Work, vm: Vm, entry: Entry, wanted: Optional[str], trust_keys: bool) -> Taken:
    """Each VF that an entry names becomes a request that it fits; other devices stay as they are. Not
    `trust_keys`: refuses what only the VM's own keys say."""
    entries = pci_entries.entries(vm.pci or "")
    plugged = pci_entries.plugged(vm.pci or "")  # its requests are plugged in the order of their numbers
    target = _host_of(at, vm, [one.address for one in plugged if one.address], wanted)
    where = at.host(target)
    found = former_settings.found(where, vm, plugged)
    if not found:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"No entry of {vm.name}'s other_config:pci (`{shortened(vm.pci or '')}`) is a VF of "
            f"{where.member.name}.",
            "Name the host that it ran on by host_uuid; list_vfs shows the VFs of a host.",
        )
    requests: List[Request] = []
    vfs: Dict[int, str] = {}
    for number, one in enumerate(found, entry.next_number):
        _must_be_had(at, vm, where, one.address)
        settings = dict(one.settings)
        if where.inventory.vfs[one.address].no_settings is None:
            settings["mac"] = chosen_mac(at, vm.uuid, number, settings.get("mac"), requests)
        requests.append(Request(number, _choice(where, one.address), settings))
        vfs[number] = one.address
    if not trust_keys:
        former_settings.must_be_trusted(where, vm, found)
    addresses = set(vfs.values())
    warnings = [
        *_left(vm, where, entries, addresses),
        *_ignored(vm, entries),
        *(_left_out(where, one) for one in found if one.left_out),
        *(_in_doubt(where, one) for one in found if one.mac_in_doubt),
    ]
    return Taken(target, entry, requests, vfs, warnings)


def _must_be_had(at: Work, vm: Vm, where: Surveyed, address: str) -> None:
    """Refuses a VF that another VM has, or that none may have. Entries of others by hand do not count: they
    may mean another host's VF of that address."""
    named = f"{address} of {where.member.name}, which an entry of {vm.name} names,"
    holder = at.held.on_host.get((where.member.uuid, address))
    if holder not in (None, vm.uuid):
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{named} is held by {at.state.name(str(holder))}.",
            _not_the_same(at, vm, address, str(holder)),
        )
    for uuid in sorted(at.state.unreadable):
        other = at.state.vms.get(uuid)
        if uuid != vm.uuid and other and address in pci_entries.plugging_order(other.pci or ""):
            raise SriovError(
                "SRIOV_VF_IN_USE",
                f"{named} may be lent to {at.state.name(uuid)}, whose key in the ledger cannot be read.",
                state.put_right(uuid, at.state.keys[uuid][-1].name),
            )
    candidate = next(one for one in where.candidates if one.address == address)
    if candidate.blocked is None:
        return
    vf = where.inventory.vfs[address]
    pf = where.inventory.pf_of(vf)
    hint = f"Give the VM another VF (`assign_vf`). {pci_entries.without(vm.uuid, vm.pci or '', address)}"
    if vf.state == inventory.DOM0 and pf.management is False:
        # So they are between two starts where iovirt did not keep dom0's drivers away.
        hint = (
            f"`set_vf_count` on that host with pf={pf.address} and count={pf.function.num_vfs} (the present "
            "number) takes them over from dom0's driver; then call again."
        )
    raise SriovError("SRIOV_NEEDED_BY_DOM0", f"{named} is not to be had: {candidate.blocked}.", hint)


def _left(vm: Vm, where: Surveyed, entries: Sequence[pci_entries.PciEntry], taken: Set[str]) -> List[str]:
    left = [f"`{shortened(one.text)}`" for one in entries if one.address not in taken]
    if not left:
        return []
    return [
        f"Of the entries of {vm.name} {listed(left)} stayed as they were: there is no such VF on "
        f"{where.member.name}."
    ]


def _ignored(vm: Vm, entries: Sequence[pci_entries.PciEntry]) -> List[str]:
    return [
        f"xapi never read `{shortened(one.ignored)}` behind {one.address} in the entries of {vm.name}, so it "
        "had no device by that."
        for one in entries
        if one.address and one.ignored
    ]


def _left_out(where: Surveyed, one: Found) -> str:
    said = " and ".join(f"{name} {text}" for name, text in one.left_out.items())
    why = where.inventory.vfs[one.address].no_settings
    return f"{one.address} of {where.member.name} gets no {said}: {why}."


def _in_doubt(where: Surveyed, one: Found) -> str:
    return (
        f"The MAC {one.mac_in_doubt} that {one.address} of {where.member.name} has is in no file, and its "
        "guest's driver may have chosen it: its request has one that never changes instead. If it is to be "
        f"that MAC: `unassign_vf` with vf={one.address}, then `assign_vf` with that vf and mac."
    )


def _not_the_same(at: Work, vm: Vm, address: str, holder: str) -> str:
    said = "If the entry means the VF of another host, call with host_uuid."
    if at.state.entries.get(holder, NO_ENTRY).requests:
        said += f" If {vm.name} is a copy of that VM, call with origin_uuid={holder}."
    return f"{said} Else: {pci_entries.without(vm.uuid, vm.pci or '', address)}"


def _host_of(at: Work, vm: Vm, named: Sequence[str], wanted: Optional[str]) -> str:
    """The host whose VFs the addresses mean: the one given, the affinity, or the only one that has them."""
    if wanted is not None:
        return wanted
    having: Set[str] = {
        uuid
        for uuid, one in at.surveyed.hosts.items()
        if any(address in one.inventory.vfs for address in named)
    }
    if vm.affinity in having:
        return str(vm.affinity)
    member = at.topology.members.get(vm.affinity or "")
    if member is not None and member.uuid not in at.surveyed.hosts:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"Whether `{shortened(vm.pci or '')}` of {vm.name} means VFs of {member.name}, its affinity, is "
            "not known: that host does not answer.",
            "Call again when it does, or name the host by host_uuid.",
        )
    if len(having) == 1:
        return having.pop()
    names = ", ".join(sorted(at.surveyed.hosts[uuid].member.name for uuid in having))
    shown = shortened(vm.pci or "")
    raise SriovError(
        "SRIOV_BAD_ARGUMENT" if having else "SRIOV_NOT_FOUND",
        f"Which host's VFs `{shown}` of {vm.name} means is not clear: {names} have such addresses."
        if having
        else f"No host that answers has a VF that other_config:pci of {vm.name} (`{shown}`) names.",
        "Name the host by host_uuid, or set the VM's affinity.",
    )


def _choice(where: Surveyed, address: str) -> Choice:
    """By the network of the PF where there is just one, so that the VM can follow it to other hosts; a
    VLAN's network implies a tag. Else that VF."""
    candidate = next(one for one in where.candidates if one.address == address)
    own = [uuid for uuid in candidate.networks if uuid in where.untagged]
    if len(own) == 1:
        return Choice("network", own[0])
    return Choice("vf", address, candidate.device)
