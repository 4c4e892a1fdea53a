"""`configure_vf`: settings of a VF, now and at each boot; all that a call names, or none."""

from typing import Any, Dict, Mapping, Optional

from . import (
    arguments,
    guards,
    hostconfig,
    identity,
    ini,
    inventory,
    iplink,
    listing,
    network,
    pci,
    poolcopy,
    restore,
    vfsettings,
)
from .errors import SriovError
from .host import Host
from .inventory import ASSIGNED, IN_USE
from .vfsettings import FRESH, UNKNOWN, VfSettings
from .xapi import Xapi

DEFAULT = "default"  # takes the setting out of the file: the VF gets what the driver gives a fresh one


def configure_vf(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `configure_vf`; the VF as `list_vfs` shows it."""
    address = arguments.address(args, "vf")
    asked = _asked(args)
    with host.lock("vfs", f"configure_vf {address}"):
        seen = inventory.look(host)
        vf = next((vf for vf in seen.vfs if vf.address == address), None)
        if vf is None:
            raise SriovError(
                "SRIOV_NOT_FOUND", f"This host has no VF {address}.", "list_vfs shows those that there are."
            )
        pf = listing.find_pf(seen, vf.pf)
        pool = listing.read_pool(host, session, seen)
        guards.states_are_known(seen.owners, pool)
        record = next(r for r in listing.vf_records(seen, pool) if r["address"] == address)
        pf_record = next(r for r in listing.pf_records(host, seen, pool) if r["address"] == pf.address)
        guards.pf_is_ours(pf_record, network.may_carry_management(host, pf.interfaces))
        if record["state"] in (IN_USE, ASSIGNED):
            owner = record["assigned_to"]
            raise SriovError(
                "SRIOV_VF_IN_USE",
                f"The VM {owner['vm_name'] or owner['vm_uuid']} holds {address}.",
                "Its settings belong to the VM; take the VF from it first.",
            )
        if pf.interface is None:
            raise SriovError(
                "SRIOV_KERNEL_REFUSED",
                f"The PF {pf.address} has no network interface, so {address} has no such settings.",
                "Only VFs of network cards have a MAC, a VLAN and the like.",
            )
        now = seen.settings.get(pf.interface, {}).get(vf.number, UNKNOWN)
        fresh = FRESH._asdict()
        wanted = {name: fresh[name] if value is None else value for name, value in asked.items()}
        _check(host, seen, vf, pf.interface, now, wanted)
        config = hostconfig.read(host)
        document = _kept(host, config, pf, vf.number, asked)
        _both(host, config, document, pf, iplink.changes(vf.number, now, wanted), vf.number, now)
        _copy(host, session, seen)
        after = inventory.look(host)
        return next(r for r in listing.vf_records(after, pool) if r["address"] == address)


def _asked(args: Mapping[str, str]) -> Dict[str, Any]:
    """Setting -> value, None for `default`."""
    asked: Dict[str, Any] = {}
    for name in vfsettings.NAMES:
        if name in args:
            try:
                asked[name] = (
                    None if args[name].strip() == DEFAULT else vfsettings.parse_value(name, args[name])
                )
            except ValueError as accepted:
                raise arguments.bad(name, args[name], f"{accepted}, or {DEFAULT}") from None
    if not asked:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            "configure_vf was given no setting.",
            f"Give some of {', '.join(vfsettings.NAMES)}.",
        )
    return asked


def _check(
    host: Host,
    seen: inventory.Inventory,
    vf: pci.VirtualFunction,
    interface: str,
    now: VfSettings,
    wanted: Mapping[str, Any],
) -> None:
    """What would contradict itself, the link or another VF, before anything is done."""
    speed = host.number(f"/sys/class/net/{interface}/speed")
    after = {**now._asdict(), **wanted}
    wrong = vfsettings.contradiction(after, speed if speed and speed > 0 else None)
    if wrong:
        name, accepted = wrong
        raise arguments.bad(name, vfsettings.as_text(after[name]), accepted)
    mac = str(wanted.get("mac", vfsettings.NO_MAC))
    if mac == vfsettings.NO_MAC:
        return
    for other_interface, vfs in seen.settings.items():
        for number, settings in vfs.items():
            if settings.mac == mac and (other_interface, number) != (interface, vf.number):
                raise arguments.bad(
                    "mac", mac, f"a MAC of its own; VF {number} of {other_interface} has this one"
                )
    for name in host.names("/sys/class/net"):
        if pci.mac_of(host, name) == mac:
            raise arguments.bad("mac", mac, f"a MAC of its own; the interface {name} has this one")


def _kept(
    host: Host, config: hostconfig.HostConfig, pf: pci.PhysicalFunction, number: int, asked: Mapping[str, Any]
) -> ini.Document:
    """The file with the settings, in the section of the PF that means this port."""
    macs = {pf.address: identity.permanent_mac(host, pf)}
    known = [wanted for wanted in config.pfs.values() if identity.match(wanted, [pf], macs).pf]
    address = known[0].address if known else pf.address
    document = config.document
    if not known:
        document = ini.changed(document, hostconfig.pf_section(address), {"mac": macs[pf.address]})
    values = {name: None if value is None else vfsettings.as_text(value) for name, value in asked.items()}
    return ini.changed(document, hostconfig.vf_section(address, number), values)


def _both(
    host: Host,
    before: hostconfig.HostConfig,
    document: ini.Document,
    pf: pci.PhysicalFunction,
    changes: Any,
    number: int,
    now: VfSettings,
) -> None:
    """File and kernel, or neither: what the kernel took before it refused is taken back."""
    hostconfig.replace(host, before, document)
    restore.bring_up(host, pf)
    refused = iplink.apply(host, pf.interface or "", changes)
    if not refused:
        return
    done = [change for place, change in enumerate(changes) if place not in refused]
    names = [name for change in done for name in change.settings]
    settings = inventory.look(host).settings.get(pf.interface or "", {}).get(number, UNKNOWN)
    back = {name: getattr(now, name) for name in names if getattr(now, name) is not None}
    iplink.apply(host, pf.interface or "", iplink.changes(number, settings, back))
    hostconfig.replace(host, hostconfig.read(host), before.document)
    place, why = next(iter(refused.items()))
    raise SriovError(
        "SRIOV_KERNEL_REFUSED",
        f"The driver {pf.driver} refused {' and '.join(changes[place].settings)} "
        f"(`{changes[place].words}`): {why}.",
        "Leave that setting out; the VF is as it was before.",
    )


def _copy(host: Host, session: Any, seen: inventory.Inventory) -> Optional[str]:
    xapi = Xapi(host, session)
    try:
        return poolcopy.store(host, xapi, xapi.call("host.get_by_uuid", seen.host_uuid))
    except Exception as error:  # the client's errors have no common class, and the VF is configured
        host.log(f"the copy of {hostconfig.PATH} in the pool could not be written: {error}")
        return None
