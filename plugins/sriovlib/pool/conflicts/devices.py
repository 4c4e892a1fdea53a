"""Conflicts of entries that are not ours with what hosts have at these addresses: nothing, or what dom0
needs. Pure."""

from typing import Dict, Iterator, List, Set, Tuple

from .. import networks
from ..hosts import Member
from ..inventories import Surveyed
from .view import Conflict, Seen


def devices(seen: Seen) -> Iterator[Conflict]:
    """Of the VM's own VFs leaseconflicts says what there is to say: it is given others where it starts."""
    there: Set[str] = set()
    needed: Dict[str, List[Tuple[str, str]]] = {}  # address -> host, and what is with it there
    for host, surveyed in seen.surveyed.hosts.items():
        inventory = surveyed.inventory
        there.update(inventory.pfs, inventory.vfs, inventory.others)
        for address, why in _needed(surveyed).items():
            needed.setdefault(address, []).append((host, why))
    for vm in sorted(seen.state.vms.values(), key=lambda vm: vm.uuid) if there else ():
        for address in seen.others(vm):
            named = f"other_config:pci of {vm.name} ({vm.uuid}) names {address}, which"
            without = seen.without(vm.uuid, address)
            if address not in there:
                yield Conflict(
                    "ENTRY_INVALID",
                    f"{named} no host has that answered.",
                    f"{_silent(seen)}{without} Or write the address that is meant (list_vfs).",
                    [vm.uuid],
                    None,
                    address,
                )
            for host, why in needed.get(address, ()):
                yield Conflict(
                    "ENTRY_INVALID",
                    f"{named} on {seen.host_name(host)} {why}.",
                    f"The VM does not start there. If it means no other host's device: {without}",
                    [vm.uuid],
                    host,
                    address,
                )


def _silent(seen: Seen) -> str:
    names = sorted(
        member.name for uuid, member in seen.topology.members.items() if uuid not in seen.surveyed.hosts
    )
    if not names:
        return ""
    return f"All may be right if it is a device of {' or '.join(names)}, which did not answer. Else: "


def _needed(surveyed: Surveyed) -> Dict[str, str]:
    """Address -> why no VM may have the device, to follow "which on host1"."""
    found = {
        one.address: f"is not to be had: {one.blocked}"
        for one in surveyed.candidates
        if one.blocked is not None
    }
    parts: Dict[str, List[str]] = {
        address: list(sentences) for address, sentences in surveyed.inventory.needed.items()
    }
    interfaces = surveyed.inventory.interfaces
    for interface in sorted(_attached(surveyed.member).intersection(interfaces)):
        said = parts.setdefault(interfaces[interface], [])
        if f"the management interface {interface}" not in said:
            said.append(f"the network interface {interface}, which an attached PIF uses")
    found.update({address: f"dom0 needs for {' and '.join(what)}" for address, what in parts.items()})
    return found


def _attached(member: Member) -> Set[str]:
    """The interfaces below the host's attached PIFs, with SR-IOV or without."""
    return {
        device
        for pif in member.pifs.values()
        if pif["currently_attached"]
        for device in networks.devices(pif, member.pifs)
    }
