"""The settings that adopt_vm takes over for an entry by hand: from /etc/sriov.conf, the card, or the keys of
the old plugin `iovirt`, which the VM's owner can write. Pure.

iovirt kept MAC and VLAN of the VF of an entry in `sriovmacs` and `sriovvlans`: `N/MAC` and `N/VLAN`, with the
N of the entry, separated by commas (xen-api: scripts/plugins/iovirt before commit e3055ca700).

A MAC that `ip link` shows on a VF need not be an administrator's: igb, ixgbe and i40e show the one that the
guest's driver chose, unless the PF was told one, and none of them says which it is (kernel: igb_main.c,
igb_set_vf_mac_addr and IGB_VF_FLAG_PF_SET_MAC; ixgbe_sriov.c, ixgbe_set_vf_mac_addr; i40e_virtchnl_pf.c,
default_lan_addr). A driver without one makes up a locally administered one (eth_random_addr); some cards give
their VFs MACs next to the PF's.
"""

import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..config import vf_settings
from ..errors import SriovError
from ..safetext import LONGEST, listed, shortened
from ..vf.host_inventory import PfState, VfState
from . import pci_entries
from .inventories import Surveyed
from .pci_entries import PciEntry
from .state import Vm

MACS, VLANS = "sriovmacs", "sriovvlans"


class Found(NamedTuple):
    """A VF that the VM's `pci` names, with the settings that it had."""

    address: str
    settings: Dict[str, str]
    by_keys: Dict[str, str]  # those of `settings` that only iovirt's keys have
    warning: Optional[str] = None


def found(where: Surveyed, vm: Vm, entries: Sequence[PciEntry]) -> List[Found]:
    """For each entry that names a VF of that host; SriovError for a value in iovirt's keys that cannot be."""
    keys, unreadable = _keys(vm.other_config)
    if unreadable:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"VM {vm.name} has `{shortened(unreadable[0])}` in {MACS} or {VLANS}, which is not "
            "N/VALUE with the number of an entry.",
            "Correct its other_config, or take that key out.",
        )
    there: Dict[str, Found] = {}
    for one in entries:
        vf = where.inventory.vfs.get(one.address or "")
        if vf is None or one.address is None or one.address in there:
            continue
        by_keys = {name: _value(vm, name, text) for name, text in keys.get(one.number or 0, {}).items()}
        there[one.address] = _one(where, vf, by_keys)
    return list(there.values())


def _one(where: Surveyed, vf: VfState, by_keys: Mapping[str, str]) -> Found:
    name = f"{vf.address} of {where.member.name}"
    if vf.no_settings is not None:
        why = f"{name} gets no {_words(by_keys)}: {vf.no_settings}."
        return Found(vf.address, {}, {}, why if by_keys else None)
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
    if in_doubt is None or "mac" in by_keys:
        return Found(vf.address, settings, news)
    warning = (
        f"{name} had MAC {in_doubt}, which is in no file: the guest's driver may have chosen it, so "
        f"the request got a derived MAC. To keep that one: `unassign_vf` with vf={vf.address}, then "
        "`assign_vf` with that vf and mac."
    )
    return Found(vf.address, settings, news, warning)


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


def must_be_trusted(where: Surveyed, vm: Vm, those: Sequence[Found]) -> None:
    """Refuses settings that only the VM's own keys have, and says which."""
    said = []
    for one in those:
        now = where.inventory.vfs[one.address].settings
        has = {name: str(getattr(now, name)) for name in one.by_keys}
        if has:
            said.append(f"{_words(one.by_keys)} for {one.address} (which has {_words(has)} now)")
    if not said:
        return
    keys = [key for key in (MACS, VLANS) if key in vm.other_config]
    removals = " and ".join(
        f"`xe vm-param-remove uuid={vm.uuid} param-name=other-config param-key={key}`" for key in keys
    )
    raise SriovError(
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
