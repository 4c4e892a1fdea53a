"""What adopt_vm takes over of entries by hand, also those of the old plugin `iovirt`: a request for each that
names a VF, with the settings that the VF had. Decides only.

iovirt kept MAC and VLAN of the VF of an entry in `sriovmacs` and `sriovvlans`: `N/MAC` and `N/VLAN`, with the
N of the entry, separated by commas (xen-api: scripts/plugins/iovirt before commit e3055ca700). The VM's owner
can write them.

A MAC that `ip link` shows on a VF need not be an administrator's: igb, ixgbe and i40e show the one that the
guest's driver chose, unless the PF was told one, and none of them says which it is (kernel: igb_main.c,
igb_set_vf_mac_addr and IGB_VF_FLAG_PF_SET_MAC; ixgbe_sriov.c, ixgbe_set_vf_mac_addr; i40e_virtchnl_pf.c,
default_lan_addr). A driver without one makes up a locally administered one (eth_random_addr); some cards give
their VFs MACs next to the PF's.
"""

import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..config import vf_settings
from ..errors import SriovError
from ..safetext import LONGEST, listed, shortened
from ..vf import inventory
from ..vf.inventory_json import PfState, VfState
from . import pci_entries, state
from .inventories import Surveyed
from .ledger import NO_ENTRY, Choice, Request
from .locked import Work
from .macs import chosen_mac
from .pci_entries import MACS, VLANS
from .state import Vm


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
    where = at.host(wanted or _host_of(at))
    keys = _keys_of(vm)
    got = Taken(where.member.uuid, [], {}, [])
    behind, distrusted = [], []
    for one in pci_entries.plugged(vm.pci or ""):  # in this order requests get their numbers
        vf = where.inventory.vfs.get(one.address or "")
        if vf is None:
            continue
        _must_be_had(at, where, vf)
        number = at.entry.next_number + len(got.requests)
        by_keys = {name: _value(vm, name, text) for name, text in keys.get(one.number or 0, {}).items()}
        settings, news, warning = _settings(where, vf, by_keys)
        if vf.no_settings is None:
            settings["mac"] = chosen_mac(at, number, settings.get("mac"), got.requests)
        if news:
            has = {name: str(getattr(vf.settings, name)) for name in news}
            distrusted.append(f"{_words(news)} for {vf.address} (which has {_words(has)} now)")
        got.requests.append(Request(number, _choice(where, vf.address), settings))
        got.vfs[number] = vf.address
        behind += [warning] if warning else []
    if not got.requests:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"No entry in other_config:pci of VM {vm.name} (`{shortened(vm.pci or '')}`) is a VF of host "
            f"{where.member.name}.",
            "Give the host that it ran on as host_uuid; `list_vfs` shows the VFs of a host.",
        )
    if distrusted and not trust_keys:
        raise _not_trusted(vm, distrusted)
    entries = pci_entries.entries(vm.pci or "")
    for one in entries:
        if one.address and one.ignored:
            ignored = f"`{shortened(one.ignored)}` behind {one.address} in the entries of VM {vm.name}"
            got.warnings.append(f"{ignored} gave it no device: xapi does not read it.")
    left = [f"`{shortened(one.text)}`" for one in entries if one.address not in got.vfs.values()]
    if left:
        stay = f"{listed(left)} in the entries of VM {vm.name} were left as they are"
        got.warnings.append(f"{stay}: there is no such VF on {where.member.name}.")
    got.warnings.extend(behind)
    return got


def _must_be_had(at: Work, where: Surveyed, vf: VfState) -> None:
    """Refuses a VF that another VM has, or that no VM may have. Other VMs' entries by hand do not count: they
    may mean another host's VF of that address."""
    vm, address = at.vm, vf.address
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


def _settings(
    where: Surveyed, vf: VfState, by_keys: Mapping[str, str]
) -> Tuple[Dict[str, str], Dict[str, str], Optional[str]]:
    """The settings that the VF had; those of them that only iovirt's keys have; and a warning."""
    name = f"{vf.address} of {where.member.name}"
    if vf.no_settings is not None:
        return {}, {}, f"{name} gets no {_words(by_keys)}: {vf.no_settings}." if by_keys else None
    settings: Dict[str, str] = {}
    mac, in_doubt = _mac(vf, where.inventory.pf_of(vf))
    if mac is not None:
        settings["mac"] = mac
    if vf.settings.vlan:
        settings["vlan"] = str(vf.settings.vlan)
        if vf.settings.qos and "vlan" not in by_keys:
            settings["qos"] = str(vf.settings.qos)
    news = {name: text for name, text in by_keys.items() if text != settings.get(name, "0")}
    settings.update(by_keys)
    if settings.get("vlan") == "0":
        del settings["vlan"]
    warning = None
    if in_doubt is not None and "mac" not in by_keys:
        warning = (
            f"{name} had MAC {in_doubt}, which is in no file: the guest's driver may have chosen it, so "
            f"the request got a derived MAC. To keep that one: `unassign_vf` with vf={vf.address}, then "
            "`assign_vf` with that vf and mac."
        )
    return settings, news, warning


def _mac(vf: VfState, pf: PfState) -> Tuple[Optional[str], Optional[str]]:
    """The MAC that an administrator gave the VF; or the one on it that may be no administrator's choice."""
    if vf.configured_mac:
        return vf.configured_mac, None
    mac = vf.settings.mac
    if not mac or mac == vf_settings.NO_MAC:
        return None, None
    is_local = bool(int(mac[:2], 16) & 2)
    of_the_card = mac[:8] == (pf.mac or "")[:8].lower()
    return (None, mac) if is_local or of_the_card else (mac, None)


def _not_trusted(vm: Vm, said: List[str]) -> SriovError:
    """Settings that only the VM's own keys have."""
    keys = [key for key in (MACS, VLANS) if key in vm.other_config]
    removals = " and ".join(
        f"`xe vm-param-remove uuid={vm.uuid} param-name=other-config param-key={key}`" for key in keys
    )
    return SriovError(
        "SRIOV_BAD_ARGUMENT",
        f"VM {vm.name} ({vm.uuid}): {' and '.join(keys)}, which its owner can write, say {listed(said)}.",
        "If the VM is to have that, call again with trust_keys=true. If what the VFs have now is right: "
        f"{removals}.",
    )


def _words(settings: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {settings[name]}" for name in sorted(settings))


def _value(vm: Vm, name: str, text: str) -> str:
    try:
        return vf_settings.as_text(vf_settings.parse_value(name, text))
    except ValueError as accepted:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"VM {vm.name} has `{shortened(text)}` as {name} of a VF, which takes {accepted}.",
            f"Correct its other_config ({MACS}, {VLANS}), or take that key out.",
        ) from None


def _keys_of(vm: Vm) -> Dict[int, Dict[str, str]]:
    """Number of an entry -> the `mac` and `vlan` that iovirt's keys have for it."""
    keys, unreadable = _keys(vm.other_config)
    if unreadable:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"VM {vm.name} has `{shortened(unreadable[0])}` in {MACS} or {VLANS}, which is not "
            "N/VALUE with the number of an entry.",
            "Correct its other_config, or take that key out.",
        )
    return keys


def _keys(other_config: Mapping[str, str]) -> Tuple[Dict[int, Dict[str, str]], List[str]]:
    """Number of the entry -> its `mac` and `vlan`; and the parts of both keys that are no N/VALUE: whoever
    wrote them meant something. A VM's owner can write longer numbers than entries have: these are none."""
    found: Dict[int, Dict[str, str]] = {}
    unreadable = []
    for name, text in (("mac", other_config.get(MACS, "")), ("vlan", other_config.get(VLANS, ""))):
        if len(text) > LONGEST:
            unreadable.append(text)
            continue
        for part in filter(str.strip, text.split(",")):
            match = re.fullmatch(r"\s*0*([0-9]{1,19})\s*/\s*(\S+)\s*", part)
            if match is None:
                unreadable.append(part.strip())
            else:
                found.setdefault(int(match.group(1)), {})[name] = match.group(2)
    return found, unreadable


def are_own(other_config: Mapping[str, str], origin: Mapping[str, str]) -> bool:
    """Whether a VM has MACs or VLANs for its entries that another one does not have."""
    numbers = {entry.number for entry in pci_entries.entries(pci_entries.readable(other_config))}
    (here, _), (there, _) = _keys(other_config), _keys(origin)
    return any(
        number in numbers and there.get(number, {}).get(name) != value
        for number, values in here.items()
        for name, value in values.items()
    )
