"""Applies settings to VFs, for a boot, a start, a VF that its VM has left, and configure_vf.

The caller holds the lock `vfs`. What a request leaves out, and what a VF has when no VM has it, is what
/etc/sriov.conf says for that VF, else what the driver gives a fresh one (driver_defaults.py). A MAC that
stays on a VF captures its traffic, so a released VF loses it at once, and no two VFs have the same one.
"""

import time
from typing import Any, Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ..config import vf_settings
from ..config.vf_settings import DEFAULT, NO_MAC, UNKNOWN, UNSET, VfSettings
from ..errors import SriovError
from ..machine import pci, xensource_inventory
from ..machine.host import Host
from . import conf_sections, driver_defaults, inventory, ip_link, kernel_settings, links
from .conf_sections import Sections
from .inventory import Inventory

Settings = Dict[str, Any]
Requested = Mapping[str, Mapping[str, str]]  # VF address -> settings in the ledger's words
Vfs = Dict[str, "Vf"]  # by address

BUSY = "Device or resource busy"
# A VF may be busy right after its domain's end. sriov-cni sets and reads back up to 20 times, 100 ms apart
# (pkg/utils/utils.go, SetVFHardwareMAC).
BUSY_SECONDS, BUSY_PAUSE = 2.0, 0.1
READ_BACK = ("mac", "vlan")  # what a guest is known by; a driver may accept a setting and ignore it


class Vf(NamedTuple):
    """A VF of this host with its PF: its settings now, and those that it has at rest, when no VM has it."""

    function: pci.VirtualFunction
    pf: pci.PhysicalFunction
    interface: Optional[str]  # by which it is set; None where it has no settings
    now: VfSettings
    rest: Settings
    fresh: Mapping[str, Any]  # what the PF's driver gives a fresh one, as far as that is known

    @property
    def address(self) -> str:
        return self.function.address


class Refused(NamedTuple):
    """Settings that a VF was given and does not have; `words` are those of `ip link set`."""

    vf: Vf
    settings: Tuple[str, ...]
    words: str
    why: str

    @property
    def is_busy(self) -> bool:
        return self.why == BUSY

    def __str__(self) -> str:
        return f"{' and '.join(self.settings)} of VF {self.vf.function.number} (`{self.words}`): {self.why}"


# -- what there is -----------------------------------------------------------------------------------


def look(host: Host) -> Vfs:
    """All VFs of the host: one walk of sysfs and no process."""
    pfs, vfs = pci.functions(host)
    return _with_rest(host, pfs, vfs, kernel_settings.read(host, pfs).settings)


def seen_by(host: Host, seen: Inventory, sections: Optional[Sections] = None) -> Vfs:
    """As `look`, by an inventory: no walk, and no process where the `sections` of its PFs are known."""
    return _with_rest(host, seen.pfs, seen.vfs, seen.settings, sections)


def again(host: Host, there: Vfs) -> Vfs:
    """The same VFs with the settings that they have now; those that are gone are left out."""
    pfs = list({vf.pf.address: vf.pf for vf in there.values()}.values())
    settings = kernel_settings.read(host, pfs).settings
    return {
        address: vf._replace(now=settings.get(vf.interface or "", {}).get(vf.function.number, UNKNOWN))
        for address, vf in there.items()
        if host.exists(f"{pci.DEVICES}/{address}/physfn")
    }


def _with_rest(
    host: Host,
    pfs: List[pci.PhysicalFunction],
    vfs: List[pci.VirtualFunction],
    settings: Mapping[str, Mapping[int, VfSettings]],
    known_sections: Optional[Sections] = None,
) -> Vfs:
    sections = conf_sections.read(host, pfs) if known_sections is None else known_sections
    by_address = {pf.address: pf for pf in pfs}
    found: Vfs = {}
    for vf in vfs:
        pf, section = by_address[vf.pf], sections.get(vf.pf)
        interface = inventory.settings_interface(pf, vf, settings)
        now = settings.get(interface or "", {}).get(vf.number, UNKNOWN)
        rest = section.settings.get(vf.number, {}) if section else {}
        found[vf.address] = Vf(vf, pf, interface, now, rest, {})
    unconfigured = {vf.address: (vf.pf.address, vf.now) for vf in found.values() if not vf.rest}
    known = driver_defaults.known(host, unconfigured)
    for address, one in found.items():
        fresh = known.get(one.pf.address, {})
        found[address] = one._replace(rest={**vf_settings.values(UNSET), **fresh, **one.rest}, fresh=fresh)
    return found


def learn(host: Host, there: Vfs) -> None:
    """Keeps what fresh VFs have, before one is changed."""
    driver_defaults.keep(host, {vf.pf.address: vf.fresh for vf in there.values()})


# -- to set ------------------------------------------------------------------------------------------


def put(host: Host, there: Vfs, wanted: Mapping[str, Settings]) -> List[Refused]:
    """Gives VFs (by address) these settings and reads them back; what they do not have then. Only what
    differs is set. MACs go first: whatever cuts the rest off, the VM may be up elsewhere. One process sets
    and one reads back; more only for VFs that are busy. A VF without an interface is left out."""
    said: List[Tuple[Vf, ip_link.Change]] = []
    for address, settings in wanted.items():
        vf = there[address]
        if vf.interface is not None:
            no_limit = ip_link.no_limit(host, vf.pf, vf.interface)
            changes = ip_link.changes(vf.interface, vf.function.number, vf.now, settings, no_limit)
            said += [(vf, change) for change in changes]
    if not said:
        return []
    said.sort(key=lambda pair: pair[1].settings != ("mac",))
    refused = _apply(host, [change for _, change in said])
    found = [
        Refused(said[at][0], said[at][1].settings, said[at][1].words, refused[at]) for at in sorted(refused)
    ]
    return found + _not_done(host, {vf.address: vf for vf, _ in said}, wanted, found)


def _apply(host: Host, changes: List[ip_link.Change]) -> Dict[int, str]:
    """As ip_link.apply; tries VFs that are busy again for a while."""
    refused = ip_link.apply(host, changes)
    deadline = time.monotonic() + BUSY_SECONDS
    busy = [at for at, why in refused.items() if why == BUSY]
    while busy and time.monotonic() < deadline:
        time.sleep(BUSY_PAUSE)
        still = ip_link.apply(host, [changes[at] for at in busy])
        for place, at in enumerate(busy):
            refused.pop(at)
            if place in still:
                refused[at] = still[place]
        busy = [at for at in busy if refused.get(at) == BUSY]
    return refused


def _not_done(
    host: Host, set_now: Vfs, wanted: Mapping[str, Settings], refused: Collection[Refused]
) -> List[Refused]:
    """What the driver accepted and did not do, given the time that a busy VF is given."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        found = _differing(host, set_now, wanted, refused)
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(BUSY_PAUSE)


def _differing(
    host: Host, set_now: Vfs, wanted: Mapping[str, Settings], refused: Collection[Refused]
) -> List[Refused]:
    """Where no MAC is wanted the driver may make one up; the former must go."""
    known = {(one.vf.address, name) for one in refused for name in one.settings}
    found = []
    for address, vf in again(host, set_now).items():
        for name in READ_BACK:
            if name not in wanted[address] or (address, name) in known:
                continue
            is_now, value = getattr(vf.now, name), wanted[address][name]
            former = getattr(set_now[address].now, name)
            if is_now not in (None, value) and (value != NO_MAC or is_now == former):
                why = f"the driver accepted it, but {address} has {name} {is_now}"
                found.append(Refused(vf, (name,), f"{name} {value}", why))
    return found


# -- a VM's settings arrive --------------------------------------------------------------------------


def wait_for_links(host: Host, there: Vfs, requested: Requested) -> None:
    """Brings up the PFs of VFs that are to have a rate, and waits until the links have a speed. That takes up
    to links.CARRIER_SECONDS, so the caller holds no lock."""
    rated = []
    for vf in (there[address] for address in requested if address in there):
        wanted = _wanted(vf, requested[vf.address])
        if vf.interface is not None and (wanted.get("max_tx_rate") or wanted.get("min_tx_rate")):
            rated.append(vf)
    links.bring_up(host, [vf.pf for vf in rated])
    links.wait_for_carrier(host, sorted({vf.function.port.interface or vf.interface or "" for vf in rated}))


def arrive(host: Host, there: Vfs, requested: Requested, running: Collection[str] = ()) -> None:
    """Sets each VF as its request wants it; SriovError where one cannot be set, and then others may be set:
    the caller releases them. `running` are VFs of running domains, which keep what they have."""
    wanted = {}
    for address, settings in requested.items():
        vf = there.get(address)
        if vf is None:
            raise SriovError(
                "SRIOV_NOT_FOUND", f"{address} is no VF of this host any more.", "list_vfs shows its VFs."
            )
        if vf.interface is None and any(_matters(vf, name, text) for name, text in settings.items()):
            raise SriovError(
                "SRIOV_KERNEL_REFUSED",
                f"{address} cannot be set: {inventory.why_no_settings(vf.pf, vf.function)}.",
                "Load the PF's own network driver (`dmesg` tells why it has made no interface), or give "
                "the VM another VF."
                if vf.pf.is_network and not vf.pf.ports
                else "Give the VM another VF: unassign_vf takes this request back.",
            )
        wanted[address] = _wanted(vf, settings)
    learn(host, there)
    macs = {settings["mac"] for settings in wanted.values()} - {NO_MAC}
    strays = [
        vf for vf, one in there.items() if one.now.mac in macs and vf not in wanted and vf not in running
    ]
    if strays:
        for complaint in release(host, strays).values():
            host.log(complaint)
    links.bring_up(
        host, {vf.pf.address: vf.pf for vf in map(there.__getitem__, wanted) if vf.interface}.values()
    )
    for refused in put(host, there, wanted):
        vf = refused.vf
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"{vf.address} ({vf.interface}): the driver {vf.pf.driver} refused {refused}.",
            "Start the VM again in a moment; if that does not help, give it another VF."
            if refused.is_busy
            else "Give the VM's request settings that this card can do (`list_assignments` shows them; "
            "`dmesg` may say why), or another VF.",
        )


def _matters(vf: Vf, name: str, text: str) -> bool:
    """Whether a VF without settings lacks what is asked. On InfiniBand a guest is not known by a MAC; a
    request may have one because its device is Ethernet on another host."""
    return text != DEFAULT and not (name == "mac" and vf.pf.is_infiniband)


def _wanted(vf: Vf, settings: Mapping[str, str]) -> Settings:
    own = {name: vf_settings.parse_value(name, text) for name, text in settings.items() if text != DEFAULT}
    if own.get("vlan") == 0:  # untagged: then there is no QoS and no protocol either
        own = {"qos": UNSET.qos, "vlan_protocol": UNSET.vlan_protocol, **own}
    return {**vf.rest, **own}


def link(host: Host, there: Vfs, requested: Requested, up: bool) -> bool:
    """Takes the links of VFs down, or brings them back to what their requests want (auto, where nothing says
    what they have at rest); whether any was changed. Drivers that cannot are many, and leave it as it is."""
    wanted = {}
    for address, settings in requested.items():
        if address in there:
            state = _wanted(there[address], settings).get("link_state", "auto") if up else "disable"
            wanted[address] = {"link_state": state}
    before = {address: there[address].now.link_state for address in wanted}
    for refused in put(host, there, wanted):
        host.log(f"{refused.vf.address}: {refused}")
    return any(
        vf.now.link_state != before[address]
        for address, vf in again(host, there).items()
        if address in wanted
    )


def are_set(there: Vfs, requested: Requested) -> bool:
    """Whether `arrive` would find nothing to do, as far as the drivers tell what they have set."""
    return all(
        address in there
        and (
            there[address].interface is None
            or all(
                getattr(there[address].now, name) in (None, value)
                for name, value in _wanted(there[address], settings).items()
            )
        )
        for address, settings in requested.items()
    )


# -- and leave ---------------------------------------------------------------------------------------


def release(host: Host, addresses: Iterable[str]) -> Dict[str, str]:
    """Sets VFs back to what they have at rest; VF -> why it could not be, in a sentence. A VF that is gone
    has nothing to lose."""
    there = look(host)
    asked = {address: there[address].rest for address in addresses if address in there}
    refused = put(host, there, asked)
    # be2net and qede take no MAC of zeros (linux: be_main.c, be_set_vf_mac, and qede_main.c, qede_set_vf_mac:
    # EINVAL unless is_valid_ether_addr), and any other MAC is better than the VM's.
    with_mac = [one.vf.address for one in refused if one.settings == ("mac",)]
    if with_mac:
        uuid = xensource_inventory.read(host).get("INSTALLATION_UUID")  # one that stays the same
        others = {address: {"mac": vf_settings.derived_mac(f"{uuid} {address}", 0)} for address in with_mac}
        kept = {one.vf.address for one in put(host, there, others)}
        refused = [one for one in refused if one.settings != ("mac",) or one.vf.address in kept]
    sentences: Dict[str, List[str]] = {}
    for one in refused:
        sentences.setdefault(one.vf.address, []).append(f"{one.words}: {one.why}")
    return {
        address: f"{address} cannot be set back, {'; '.join(whys)}" for address, whys in sentences.items()
    }
