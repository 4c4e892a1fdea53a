"""Entries that are to be edited: xapi ignores them, no host has the device, or dom0 needs it. Pure."""

from typing import Dict, Iterator, List, Set, Tuple

from ...errors import SriovError
from ...safetext import shortened
from .. import networks, pci_entries
from ..inventories import Surveyed
from .view import Conflict, Seen

INVALID = "ENTRY_INVALID"


def ignored(seen: Seen) -> Iterator[Conflict]:
    """Entries that xapi ignores, in whole or in part, or that are too long to be read."""
    for vm in seen.vms():
        where = f"in other_config:pci of {seen.vm(vm.uuid)}"
        try:
            pci_entries.must_be_readable(vm.uuid, vm.name, vm.other_config)
        except SriovError as error:
            hint = f"The VM does not start with them. {error.hint}"
            yield Conflict(INVALID, error.message, hint, [vm.uuid])
        for one in pci_entries.entries(vm.pci or ""):
            text = shortened(one.text)
            if one.address is None:
                said = f"xapi ignores the entry `{text}` {where}: the VM starts without it."
                hint = "Write it as N/DDDD:BB:DD.F, without blanks: 0/0000:07:10.0."
                yield Conflict(INVALID, said, hint, [vm.uuid])
            elif one.ignored:
                rest = f"ignores `{shortened(one.ignored)}` behind it"
                said = f"xapi reads {one.address} of the entry `{text}` {where}, and {rest}."
                hint = (
                    "If that is a device too, write it as an entry of its own, with a number of its "
                    "own, separated by a comma: 0/0000:07:10.0,1/0000:07:10.2. Otherwise take it out."
                )
                yield Conflict(INVALID, said, hint, [vm.uuid], None, one.address)


def devices(seen: Seen) -> Iterator[Conflict]:
    """Entries that are not of the VM's lease, for what no host has or dom0 needs."""
    there: Set[str] = set()
    needed: Dict[str, List[Tuple[str, str]]] = {}  # address -> host, and why no VM may have it there
    for host, surveyed in seen.surveyed.hosts.items():
        inventory = surveyed.inventory
        there.update(inventory.pfs, inventory.vfs, inventory.others)
        for address, why in _needed(surveyed).items():
            needed.setdefault(address, []).append((host, why))
    silent = [one.name for uuid, one in seen.topology.members.items() if uuid not in seen.surveyed.hosts]
    elsewhere = f"It may be a device of {' or '.join(sorted(silent))}, which did not answer. Otherwise: "
    for vm in seen.vms() if there else ():
        for address in [] if seen.unknown_origin(vm) else seen.others(vm):  # COPY says all
            named = f"other_config:pci of {seen.vm(vm.uuid)} names {address}, which"
            without = seen.without(vm.uuid, address)
            if address not in there:
                said = f"{named} no host has that answered."
                hint = f"{elsewhere if silent else ''}{without} Or write the right address (list_vfs)."
                yield Conflict(INVALID, said, hint, [vm.uuid], None, address)
            for host, why in needed.get(address, ()):
                said = f"{named} on {seen.host(host)} {why}."
                hint = (
                    "The VM does not start there. If the entry is for another host's device, leave it. "
                    f"Otherwise: {without}"
                )
                yield Conflict(INVALID, said, hint, [vm.uuid], host, address)


def _needed(surveyed: Surveyed) -> Dict[str, str]:
    """Address -> why no VM may have the device, to follow "which on host1"."""
    found = {one.address: f"no VM can have: {one.blocked}" for one in surveyed.candidates if one.blocked}
    parts = {address: [*sentences] for address, sentences in surveyed.inventory.needed.items()}
    interfaces = surveyed.inventory.interfaces
    for interface in sorted(networks.attached(surveyed.member.pifs).intersection(interfaces)):
        said = parts.setdefault(interfaces[interface], [])
        if f"the management interface {interface}" not in said:
            said.append(f"the network interface {interface}, which an attached PIF uses")
    found.update({address: f"dom0 needs for {' and '.join(what)}" for address, what in parts.items()})
    return found
