"""The entries by hand that adopt_vm takes over, also those of the old plugin `iovirt`: a request for each
that names a VF, with the settings that the VF had. Decides only."""

from typing import Dict, List, NamedTuple, Optional, Set

from ..errors import SriovError
from ..safetext import listed, shortened
from ..vf import inventory
from . import adopted_settings, pci_entries, state
from .inventories import Surveyed
from .ledger import NO_ENTRY, Choice, Request
from .locked import Work
from .macs import chosen_mac


class Taken(NamedTuple):
    """What the VM gets in the ledger."""

    host: str  # UUID
    requests: List[Request]
    vfs: Dict[int, str]
    warnings: List[str]


def taken(at: Work, wanted: Optional[str], trust_keys: bool) -> Taken:
    """Each VF that an entry names becomes a request that it fits; entries of other devices stay. Without
    `trust_keys` settings that only iovirt's keys have are refused."""
    vm = at.vm
    entries = pci_entries.entries(vm.pci or "")
    plugged = pci_entries.plugged(vm.pci or "")  # in this order requests get their numbers
    target = wanted or _host_of(at)
    where = at.host(target)
    found = adopted_settings.found(where, vm, plugged)
    if not found:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"No entry in other_config:pci of VM {vm.name} (`{shortened(vm.pci or '')}`) is a VF of host "
            f"{where.member.name}.",
            "Give the host that it ran on as host_uuid; `list_vfs` shows the VFs of a host.",
        )
    requests: List[Request] = []
    vfs: Dict[int, str] = {}
    for number, one in enumerate(found, at.entry.next_number):
        _must_be_had(at, where, one.address)
        settings = dict(one.settings)
        if where.inventory.vfs[one.address].no_settings is None:
            settings["mac"] = chosen_mac(at, number, settings.get("mac"), requests)
        requests.append(Request(number, _choice(where, one.address), settings))
        vfs[number] = one.address
    if not trust_keys:
        adopted_settings.must_be_trusted(where, vm, found)
    warnings = [
        f"`{shortened(one.ignored)}` behind {one.address} in the entries of VM {vm.name} gave it no device: "
        "xapi does not read it."
        for one in entries
        if one.address and one.ignored
    ]
    left = [f"`{shortened(one.text)}`" for one in entries if one.address not in vfs.values()]
    if left:
        warnings.append(
            f"{listed(left)} in the entries of VM {vm.name} were left as they are: there is no such "
            f"VF on {where.member.name}."
        )
    warnings += [one.warning for one in found if one.warning]
    return Taken(target, requests, vfs, warnings)


def _must_be_had(at: Work, where: Surveyed, address: str) -> None:
    """Refuses a VF that another VM has, or that no VM may have. Other VMs' entries by hand do not count: they
    may mean another host's VF of that address."""
    vm = at.vm
    named = f"{address} of {where.member.name}, in an entry of VM {vm.name},"
    holder = at.held.on_host.get((where.member.uuid, address))
    without = pci_entries.without(vm.uuid, vm.pci or "", address)
    if holder is not None and holder != vm.uuid:
        hint = "If the entry means a VF of another host, call with host_uuid."
        if at.state.entries.get(holder, NO_ENTRY).requests:
            hint += f" If {vm.name} is a copy of that VM, call with origin_uuid={holder}."
        hint += f" Otherwise: {without}"
        raise SriovError("SRIOV_VF_IN_USE", f"{named} is held by VM {at.state.name(holder)}.", hint)
    unread = at.held.everywhere.get(address)
    if unread is not None:
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{named} may be leased to VM {at.state.name(unread)}, whose key in the ledger cannot be read.",
            state.put_right(unread, at.state.keys[unread]),
        )
    candidate = next(one for one in where.candidates if one.address == address)
    if candidate.blocked is None:
        return
    vf = where.inventory.vfs[address]
    pf = where.inventory.pf_of(vf)
    hint = f"Give the VM another VF (`assign_vf`). {without}"
    if vf.state == inventory.DOM0 and pf.management is False:
        # As between two starts where nothing kept dom0's drivers away.
        hint = (
            f"`set_vf_count` on that host with pf={pf.address} and count={pf.function.num_vfs} (the present "
            "number) takes its VFs over from dom0's driver; then call again."
        )
    raise SriovError("SRIOV_NEEDED_BY_DOM0", f"{named} cannot be given to a VM: {candidate.blocked}.", hint)


def _host_of(at: Work) -> str:
    """The host whose VFs the entries mean: the affinity, or the only one that has such VFs."""
    vm = at.vm
    shown = shortened(vm.pci or "")
    having: Set[str] = {
        uuid
        for uuid, one in at.surveyed.hosts.items()
        if any(address in one.inventory.vfs for address in vm.named)
    }
    if vm.affinity in having:
        return str(vm.affinity)
    member = at.topology.members.get(vm.affinity or "")
    if member is not None and member.uuid not in at.surveyed.hosts:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"Cannot check whether `{shown}` of VM {vm.name} means VFs of {member.name}, its affinity: that "
            "host does not answer.",
            "Call again when it does, or give the host as host_uuid.",
        )
    if len(having) == 1:
        return having.pop()
    names = ", ".join(sorted(at.surveyed.hosts[uuid].member.name for uuid in having))
    raise SriovError(
        "SRIOV_BAD_ARGUMENT" if having else "SRIOV_NOT_FOUND",
        f"`{shown}` of VM {vm.name} may mean VFs of several hosts: {names}."
        if having
        else f"No host that answers has a VF that is in other_config:pci of VM {vm.name} (`{shown}`).",
        "Give the host as host_uuid, or set the VM's affinity.",
    )


def _choice(where: Surveyed, address: str) -> Choice:
    """By the PF's network where it has just one without a VLAN, so that the VM gets VFs of it on other hosts
    too; else that VF."""
    candidate = next(one for one in where.candidates if one.address == address)
    own = [uuid for uuid in candidate.networks if uuid in where.untagged]
    if len(own) == 1:
        return Choice("network", own[0])
    return Choice("vf", address, candidate.device)
