"""`configure_vf`: settings of a VF, now and at each boot; all that the call names, or none."""

from typing import Any, Dict, Mapping, Tuple

from ..config import ini, pf_sections, sriov_conf, vf_settings
from ..config.sriov_conf import HostConfig
from ..config.vf_settings import DEFAULT, UNSET, VfSettings
from ..errors import SriovError, bad_argument
from ..machine import pci, sysfs
from ..machine.host import Host
from ..pool import needed_by_xapi
from ..starts import release
from ..vf import apply, in_use, inventory, links
from ..vf.inventory import ASSIGNED, IN_USE
from . import arguments, list_vfs


def configure_vf(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """Returns the VF as `list_vfs` shows it."""
    address = arguments.address(args, "vf")
    asked = _asked(args)
    with host.lock("vfs", f"configure_vf {address}"):
        seen = inventory.look(host)
        vf = next((vf for vf in seen.vfs if vf.address == address), None)
        if vf is None:
            raise SriovError(
                "SRIOV_NOT_FOUND", f"{address} is no VF of this host.", "list_vfs shows its VFs."
            )
        pf = seen.pf_of(vf)
        interface = seen.settings_interface(vf)
        if interface is None:
            late = pf.is_network and not pf.ports and not pf.is_infiniband
            raise SriovError(
                "SRIOV_KERNEL_REFUSED" if late else "SRIOV_BAD_ARGUMENT",
                f"{address} cannot be configured: {inventory.why_no_settings(pf, vf)}.",
                "Load the PF's own network driver; `dmesg` tells why it has made no interface."
                if late
                else "Only VFs of Ethernet ports have a MAC, a VLAN and the like.",
            )
        in_use.pf_is_not_needed(pf, seen)
        pool = needed_by_xapi.known(seen.owners, list_vfs.read_pool(host, session, seen))
        needed_by_xapi.is_not_needed(pf, seen, pool)
        over = release.ended(host, seen.owners or {}, pool.state.busy_on(pool.here.member.uuid))
        in_use.is_not_starting(address, seen.without_starts_of(over))
        record = next(r for r in list_vfs.vf_records(seen, pool) if r["address"] == address)
        if record["state"] in (IN_USE, ASSIGNED):
            owner = record["assigned_to"]
            raise SriovError(
                "SRIOV_VF_IN_USE",
                f"{address} belongs to the VM {owner['vm_name'] or owner['vm_uuid']}, with its settings.",
                "Take the VF from the VM first.",
            )
        there = apply.seen_by(host, seen)
        apply.learn(host, there)
        fresh = {**vf_settings.values(UNSET), **there[address].fresh}
        if asked.get("vlan", 1) in (0, None):  # untagged: then there is no QoS and no protocol either
            asked = {"qos": None, "vlan_protocol": None, **asked}
        wanted = {name: fresh.get(name) if value is None else value for name, value in asked.items()}
        wanted = {name: value for name, value in wanted.items() if value is not None}  # else left alone
        _check(host, seen, vf, interface, there[address].now, wanted)
        before, after = _write_file(host, seen, pf, vf.number, asked)
        try:
            links.bring_up(host, [pf])
            refused = apply.put(host, there, {address: wanted})
        except BaseException:
            _undo(host, there[address], wanted, before, after)
            raise
        if refused:
            left = _undo(host, there[address], wanted, before, after)
            raise SriovError(
                "SRIOV_KERNEL_REFUSED",
                f"{address}: the driver {pf.driver} refused {refused[0]}.{left}",
                "Nothing was changed: call again in a moment."
                if refused[0].is_busy and not left
                else "Leave that setting out; the other settings of this call were undone.",
            )
        shown = inventory.look(host)
        return next((r for r in list_vfs.vf_records(shown, pool) if r["address"] == address), record)


def _asked(args: Mapping[str, str]) -> Dict[str, Any]:
    """Setting -> value, None for `default`."""
    asked: Dict[str, Any] = {}
    for name in vf_settings.NAMES:
        if name in args:
            try:
                asked[name] = (
                    None if args[name].strip() == DEFAULT else vf_settings.parse_value(name, args[name])
                )
            except ValueError as accepted:
                raise bad_argument(name, args[name], f"{accepted}, or {DEFAULT}") from None
    if not asked:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            "configure_vf was given no setting.",
            f"Give some of {', '.join(vf_settings.NAMES)}.",
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
    """Refuses settings that contradict each other, the link or another VF."""
    speed = sysfs.speed(host, vf.port.interface)
    after = {**now._asdict(), **wanted}
    for group in (("vlan", "qos", "vlan_protocol"), ("min_tx_rate", "max_tx_rate")):
        touched = {name: after[name] for name in group if set(group).intersection(wanted)}
        wrong = vf_settings.contradiction(touched, speed)
        if wrong:
            name, accepted = wrong
            raise bad_argument(name, vf_settings.as_text(after[name]), accepted)
    mac = str(wanted.get("mac", vf_settings.NO_MAC))
    if mac == vf_settings.NO_MAC:
        return
    for other_interface, vfs in seen.settings.items():
        for number, settings in vfs.items():
            if settings.mac == mac and (other_interface, number) != (interface, vf.number):
                raise bad_argument(
                    "mac", mac, f"a MAC that no other has; VF {number} of {other_interface} has this one"
                )
    for name in host.names(sysfs.INTERFACES):
        if sysfs.mac_of(host, name) == mac:
            raise bad_argument("mac", mac, f"a MAC that no other has; the interface {name} has this one")


def _write_file(
    host: Host, seen: inventory.Inventory, pf: pci.PhysicalFunction, number: int, asked: Mapping[str, Any]
) -> Tuple[HostConfig, HostConfig]:
    """Writes the settings to the VF's section of the file. No two VFs in the file may share a MAC."""
    macs = pf_sections.permanent_macs(host, seen.pfs)

    def change(config: HostConfig) -> ini.Document:
        document = pf_sections.claim(config, pf, seen.pfs, macs)
        heading = pf_sections.heading(document, pf, seen.pfs, macs)
        for other in config.pfs.values():
            for index, settings in other.settings.items():
                own = (other.address, index) == (heading, number)
                if not own and asked.get("mac") and settings.get("mac") == asked["mac"]:
                    raise bad_argument(
                        "mac",
                        asked["mac"],
                        f"a MAC that no other has; the file gives it to VF {index} of {other.address}",
                    )
        values = {
            name: None if value is None else vf_settings.as_text(value) for name, value in asked.items()
        }
        return ini.changed(document, sriov_conf.vf_section(heading, number), values)

    return sriov_conf.edit(host, change)


def _undo(host: Host, vf: apply.Vf, wanted: Mapping[str, Any], before: HostConfig, after: HostConfig) -> str:
    """Sets the VF back as it was, or as it rests where that is not known; then the file's sections, whatever
    became of the VF. What is not as before, in sentences."""
    said = ""
    was = {**vf.rest, **vf_settings.values(vf.now)}
    try:
        there = apply.again(host, {vf.address: vf})
        left = apply.put(host, there, {vf.address: {name: was[name] for name in wanted if name in was}})
        if left:
            said += f" {vf.address} cannot be set back: {'; '.join(map(str, left))}."
    except Exception as error:
        said += f" {vf.address} cannot be set back: {error}."
    names = pf_sections.differing(before, after)
    try:
        sriov_conf.edit(host, lambda config: ini.put_back(config.document, before.document, names))
    except SriovError as error:
        said += f" {error.message} The file still asks for what was refused."
    if said:
        host.log(said.strip())
    return said
