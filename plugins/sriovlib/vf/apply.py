"""A VM's settings onto the VFs that it is about to be given here, and off those that it had.

Whoever calls holds the lock `vfs`. What a request leaves out, and what a VF has when no VM has it, is what
/etc/sriov.conf says for that VF, else what the driver gives a fresh one (fresh.py). A MAC that stays on a VF
captures its traffic, so a VF that a VM has left must lose it at once, and it is on one VF only.
"""

from typing import Any, Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from ..config import pf_sections, sriov_conf, vf_settings
from ..config.vf_settings import DEFAULT, NO_MAC, UNKNOWN, UNSET, VfSettings
from ..errors import SriovError
from ..machine import pci, xensource_inventory
from ..machine.host import Host
from . import driver_defaults, inventory, ip_link, restore

Settings = Dict[str, Any]
MAC = ("mac",)  # the settings of a Change that says it


class Vf(NamedTuple):
    """A VF of this host with its PF, as it is and as it rests: when no VM has it."""

    address: str
    number: int
    pf: pci.PhysicalFunction
    function: pci.VirtualFunction
    interface: Optional[str]  # by which it is set; None where it has no settings
    now: VfSettings
    rest: Settings
    fresh: Mapping[str, Any]  # what the PF's driver gives a fresh one, as far as that is known

    def changes(self, host: Host, wanted: Mapping[str, Any]) -> List[ip_link.Change]:
        """What has to be said; for a VF that can be set."""
        no_limit = ip_link.no_limit(host, self.pf, self.interface or "")
        return ip_link.changes(self.number, self.now, wanted, no_limit)


def look(host: Host) -> Dict[str, Vf]:
    """All VFs of the host: a process for all, and with PFs in /etc/sriov.conf one for each PF."""
    ip = host.start(ip_link.COMMAND)
    pfs, vfs = pci.functions(host)
    config = sriov_conf.read(host)
    macs = pf_sections.permanent_macs(host, pfs) if config.pfs else {}
    sections = {pf.address: pf_sections.section_of(pf, config.pfs.values(), pfs, macs) for pf in pfs}
    settings = ip_link.read(host, ip.finish(), pfs)
    by_address = {pf.address: pf for pf in pfs}
    found = {}
    for vf in vfs:
        pf, section = by_address[vf.pf], sections[vf.pf]
        interface = inventory.settings_interface(pf, vf, settings)
        now = settings.get(interface or "", {}).get(vf.number, UNKNOWN)
        configured = dict(section.settings.get(vf.number, {})) if section else {}
        found[vf.address] = Vf(vf.address, vf.number, pf, vf, interface, now, configured, {})
    shows = [driver_defaults.Vf(vf.address, vf.pf.address, vf.now, bool(vf.rest)) for vf in found.values()]
    known = driver_defaults.known(host, shows)
    for address, one in found.items():
        given = known.get(one.pf.address, {})
        rest = {**vf_settings.values(UNSET), **given, **one.rest}
        found[address] = one._replace(rest=rest, fresh=given)
    return found


def learn(host: Host, addresses: Iterable[str]) -> None:
    """What fresh VFs of these PFs have, before one is another's; without a look where that is known."""
    kept = driver_defaults.kept(host)
    if any(host.link(f"{pci.DEVICES}/{address}/physfn") not in kept for address in addresses):
        _keep(host, look(host))


def _keep(host: Host, there: Mapping[str, Vf]) -> None:
    driver_defaults.keep(host, {vf.pf.address: vf.fresh for vf in there.values()})


def wait_for_links(host: Host, requested: Mapping[str, Mapping[str, str]]) -> None:
    """Brings up the PFs of VFs that are to have a rate, and gives each link the time to tell its speed. That
    may take long, so whoever calls holds no lock."""
    there = look(host) if requested else {}
    rated = [address for address, vf in there.items() if _has_rate(vf, requested.get(address))]
    for interface, vfs in _by_interface(there, rated).items():
        restore.bring_up(host, vfs[0].pf)
        for port in sorted({vf.function.port.interface or interface for vf in vfs}):
            restore.wait_for_carrier(host, port)


def _has_rate(vf: Vf, settings: Optional[Mapping[str, str]]) -> bool:
    wanted = {} if settings is None else _wanted(vf, settings)
    return bool(wanted.get("max_tx_rate") or wanted.get("min_tx_rate"))


def arrive(host: Host, requested: Mapping[str, Mapping[str, str]], running: Collection[str] = ()) -> None:
    """Sets each VF (address -> settings in the ledger's words) as its request wants it, all of them, and
    looks whether MAC and VLAN are so; else SriovError, and the VFs are as they rest. `running` are VFs that
    running domains have: those keep what they have."""
    there = look(host)
    _keep(host, there)
    wanted: Dict[str, Settings] = {}
    for address, settings in requested.items():
        vf = there.get(address)
        if vf is None:
            raise SriovError(
                "SRIOV_NOT_FOUND", f"This host has no VF {address} any more.", "list_vfs shows those it has."
            )
        if vf.interface is not None:
            wanted[address] = _wanted(vf, settings)
        elif any(_matters(vf, name, text) for name, text in settings.items()):
            raise SriovError(
                "SRIOV_KERNEL_REFUSED",
                f"{address} cannot be set: {inventory.why_no_settings(vf.pf, vf.function)}.",
                "Load the PF's own network driver (`dmesg` tells why it has made no interface), or give "
                "the VM another VF."
                if vf.pf.is_network and not vf.pf.ports
                else "Give the VM another VF: unassign_vf takes this request back.",
            )
    try:
        _set(host, there, wanted, running)
        _verify(host, wanted)
    except SriovError:
        for complaint in release(host, list(wanted)):
            host.log(complaint)
        raise


def _matters(vf: Vf, name: str, text: str) -> bool:
    """Whether what is asked of a VF that has no settings would be missed. On InfiniBand nobody knows a guest
    by a MAC, and a request may have been given one where its device is Ethernet."""
    return text != DEFAULT and not (name == "mac" and vf.pf.is_infiniband)


def are_set(host: Host, requested: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether `arrive` would find nothing to do, as far as the drivers tell what they have set."""
    there = look(host) if requested else {}
    for address, settings in requested.items():
        vf = there.get(address)
        if vf is None:
            return False
        for name, value in _wanted(vf, settings).items() if vf.interface is not None else ():
            if getattr(vf.now, name) not in (None, value):
                return False
    return True


def release(host: Host, addresses: Sequence[str]) -> List[str]:
    """As `set_back`; the sentences alone."""
    return list(set_back(host, addresses).values())


def set_back(host: Host, addresses: Sequence[str]) -> Dict[str, str]:
    """Sets the VFs back as they rest, the MAC first; those that are not so now, and why, in a sentence. One
    that is gone by now has nothing to lose."""
    kept: Dict[str, List[str]] = {}
    for interface, vfs in _by_interface(look(host), addresses).items():
        by_number = {vf.number: vf for vf in vfs}
        changes = [change for vf in vfs for change in vf.changes(host, vf.rest)]
        changes.sort(key=lambda change: change.settings != MAC)
        refused = ip_link.apply(host, interface, changes)
        with_mac = {changes[at].number for at in refused if changes[at].settings == MAC}
        if with_mac:  # some drivers take no MAC of zeros, and any is better than the VM's
            others = [
                change
                for number in sorted(with_mac)
                for change in by_number[number].changes(host, _own_mac(host, by_number[number]))
            ]
            with_mac = {others[at].number for at in ip_link.apply(host, interface, others)}
        for at, why in sorted(refused.items()):
            number, settings, words = changes[at][:3]
            if settings != MAC or number in with_mac:
                kept.setdefault(by_number[number].address, []).append(f"{words}: {why}")
    return {
        address: f"{address} could not be set back, {'; '.join(refusals)}"
        for address, refusals in kept.items()
    }


def _own_mac(host: Host, vf: Vf) -> Settings:
    """A MAC that no VM has, the same at each release."""
    return {
        "mac": vf_settings.derived_mac(
            f"{xensource_inventory.read(host).get('INSTALLATION_UUID')} {vf.address}", 0
        )
    }


def _by_interface(there: Mapping[str, Vf], addresses: Iterable[str]) -> Dict[str, List[Vf]]:
    """The VFs that can be set, by the interface that does it."""
    found: Dict[str, List[Vf]] = {}
    for address in addresses:
        vf = there.get(address)
        if vf is not None and vf.interface is not None:
            found.setdefault(vf.interface, []).append(vf)
    return found


def _wanted(vf: Vf, settings: Mapping[str, str]) -> Settings:
    own = {name: vf_settings.parse_value(name, text) for name, text in settings.items() if text != DEFAULT}
    if own.get("vlan") == 0:  # untagged: then there is no QoS and no protocol either
        own = {"qos": UNSET.qos, "vlan_protocol": UNSET.vlan_protocol, **own}
    return {**vf.rest, **own}


def _set(
    host: Host, there: Mapping[str, Vf], wanted: Mapping[str, Settings], running: Collection[str]
) -> None:
    """One process for each PF, and one for each that is down."""
    macs = {settings["mac"] for settings in wanted.values()} - {NO_MAC}
    strays = [
        vf.address
        for vf in there.values()
        if vf.now.mac in macs and vf.address not in wanted and vf.address not in running
    ]
    for complaint in release(host, strays) if strays else ():
        host.log(complaint)
    for interface, vfs in _by_interface(there, wanted).items():
        restore.bring_up(host, vfs[0].pf)
        changes = [change for vf in vfs for change in vf.changes(host, wanted[vf.address])]
        refused = ip_link.apply(host, interface, changes)
        for at, why in refused.items():
            raise SriovError(
                "SRIOV_KERNEL_REFUSED",
                f"The driver {vfs[0].pf.driver} refused {' and '.join(changes[at].settings)} of VF "
                f"{changes[at].number} of {interface} (`{changes[at].words}`): {why}.",
                "Give the VM's request settings that this card can do (`list_assignments` shows them).",
            )


def _verify(host: Host, wanted: Mapping[str, Settings]) -> None:
    """What the guest would be known by is looked at again: some drivers take a setting and do not do it."""
    there = look(host)
    for address, settings in wanted.items():
        for name in ("mac", "vlan"):
            is_now = getattr(there[address].now, name) if address in there else "none, for it is gone"
            if is_now in (None, settings[name]) or settings[name] == NO_MAC:
                continue
            raise SriovError(
                "SRIOV_KERNEL_REFUSED",
                f"{address} was to have {name} {settings[name]}, and has {is_now}.",
                "See the log of the card's driver (`dmesg`); another VF may do.",
            )
