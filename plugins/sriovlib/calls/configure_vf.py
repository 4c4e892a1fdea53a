"""`configure_vf`: settings of a VF, now and at each boot; all that the call names, or none."""

from typing import Any, Dict, Mapping, NamedTuple

from ..config import ini, sriov_conf, vf_settings
from ..config.sriov_conf import HostConfig
from ..config.vf_settings import DEFAULT, UNSET
from ..errors import SriovError, bad_argument
from ..machine import sysfs
from ..machine.host import Host
from ..vf import apply, in_use, inventory, links
from ..vf.inventory import ASSIGNED, IN_USE
from ..xapi.own_session import OwnSession
from . import arguments, list_vfs, pf_change
from .pf_change import Edit, PfChange, Written


class Plan(NamedTuple):
    """A VF that may be set. `wanted`: what it is to have, as far as that is known; `asked`: the same in the
    file, None for what is taken out of it."""

    change: PfChange
    there: apply.Vfs
    vf: apply.Vf
    asked: Dict[str, Any]
    wanted: Dict[str, Any]
    record: Dict[str, Any]  # the VF as it is
    changes: bool


def configure_vf(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """Returns the VF as `list_vfs` shows it, with `changed`; in a dry run as it would be."""
    address = arguments.address(args, "vf")
    asked = _asked(args)
    dry_run = arguments.boolean(args, "dry_run", False)
    with host.lock("vfs", f"configure_vf {address}"):
        plan = _decided(host, session, address, asked)
        return _announced(plan) if dry_run else _carried_out(plan)


def _decided(host: Host, session: OwnSession, address: str, asked: Dict[str, Any]) -> Plan:
    """Refuses all that can be refused before anything was changed."""
    seen = inventory.look_with_nodes(host)
    there = apply.seen_by(host, seen)
    vf = there.get(address)
    if vf is None:
        raise SriovError("SRIOV_NOT_FOUND", f"{address} is no VF of this host.", "list_vfs shows its VFs.")
    pf = vf.pf
    if vf.interface is None:
        late = pf.is_network and not pf.ports and not pf.is_infiniband
        raise SriovError(
            "SRIOV_KERNEL_REFUSED" if late else "SRIOV_BAD_ARGUMENT",
            f"{address} cannot be configured: {inventory.why_no_settings(pf, vf.function)}.",
            "Load the PF's own network driver; `dmesg` tells why it has made no interface."
            if late
            else "Only VFs of Ethernet ports have a MAC, a VLAN and the like.",
        )
    change = pf_change.begin(host, session, seen, pf)
    in_use.is_not_starting(address, change.seen)
    record = next(one for one in list_vfs.vf_records(change.seen, change.pool) if one["address"] == address)
    if record["state"] in (IN_USE, ASSIGNED):
        owner = record["assigned_to"]
        raise SriovError(
            "SRIOV_VF_IN_USE",
            f"{address} belongs to the VM {owner['vm_name'] or owner['vm_uuid']}, with its settings.",
            "Take the VF from the VM first.",
        )
    fresh = {**vf_settings.values(UNSET), **vf.fresh}
    if asked.get("vlan", 1) in (0, None):  # untagged: then there is no QoS and no protocol either
        asked = {"qos": None, "vlan_protocol": None, **asked}
    wanted = {name: fresh.get(name) if value is None else value for name, value in asked.items()}
    wanted = {name: value for name, value in wanted.items() if value is not None}  # else left alone
    _check(change, vf, wanted)
    before, after = change.planned(_with_settings(vf.function.number, asked))
    now = vf_settings.values(vf.now)
    differs = any(now.get(name, value) != value for name, value in wanted.items())
    return Plan(change, there, vf, asked, wanted, record, before is not after or differs)


def _announced(plan: Plan) -> Dict[str, Any]:
    """A setting that the driver does not tell is not told afterwards either."""
    told = {name: value for name, value in plan.wanted.items() if plan.record[name] is not None}
    return {**plan.record, **told, "changed": False, "would_change": plan.changes}


def _carried_out(plan: Plan) -> Dict[str, Any]:
    change, there, vf, wanted = plan.change, plan.there, plan.vf, plan.wanted
    host, pf, address = change.host, change.pf, vf.address
    apply.learn(host, there)
    written = change.write(_with_settings(vf.function.number, plan.asked))
    try:
        links.bring_up(host, [pf])
        refused = apply.put(host, there, {address: wanted})
    except BaseException:
        _undo(written, vf, wanted)
        raise
    if refused:
        left = _undo(written, vf, wanted)
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"{address}: the driver {pf.driver} refused {refused[0]}.{left}",
            "Nothing was changed: call again in a moment."
            if refused[0].is_busy and not left
            else "Leave that setting out; the other settings of this call were undone.",
        )
    shown = inventory.look_with_nodes(host)
    records = list_vfs.vf_records(shown, change.pool)
    record = next((one for one in records if one["address"] == address), plan.record)
    return {**record, "changed": plan.changes}


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


def _check(change: PfChange, vf: apply.Vf, wanted: Mapping[str, Any]) -> None:
    """Refuses settings that contradict each other, the link or another VF."""
    speed = sysfs.speed(change.host, vf.function.port.interface)
    after = {**vf.now._asdict(), **wanted}
    for group in (("vlan", "qos", "vlan_protocol"), ("min_tx_rate", "max_tx_rate")):
        touched = {name: after[name] for name in group if set(group).intersection(wanted)}
        wrong = vf_settings.contradiction(touched, speed)
        if wrong:
            name, accepted = wrong
            raise bad_argument(name, vf_settings.as_text(after[name]), accepted)
    mac = str(wanted.get("mac", vf_settings.NO_MAC))
    if mac == vf_settings.NO_MAC:
        return
    for interface, vfs in change.seen.settings.items():
        for number, settings in vfs.items():
            if settings.mac == mac and (interface, number) != (vf.interface, vf.function.number):
                raise _mac_of(mac, f"VF {number} of {interface} has this one")
    for name in change.host.names(sysfs.INTERFACES):
        if sysfs.mac_of(change.host, name) == mac:
            raise _mac_of(mac, f"the interface {name} has this one")


def _mac_of(mac: str, other: str) -> SriovError:
    return bad_argument("mac", mac, f"a MAC that no other has; {other}")


def _with_settings(number: int, asked: Mapping[str, Any]) -> Edit:
    """The file with these settings in the VF's section. No two VFs in the file may share a MAC."""

    def edit(config: HostConfig, document: ini.Document, heading: str) -> ini.Document:
        for other in config.pfs.values():
            for index, settings in other.settings.items():
                own = (other.address, index) == (heading, number)
                if not own and asked.get("mac") and settings.get("mac") == asked["mac"]:
                    raise _mac_of(asked["mac"], f"the file gives it to VF {index} of {other.address}")
        values = {
            name: None if value is None else vf_settings.as_text(value) for name, value in asked.items()
        }
        return ini.changed(document, sriov_conf.vf_section(heading, number), values)

    return edit


def _undo(written: Written, vf: apply.Vf, wanted: Mapping[str, Any]) -> str:
    """Sets the VF back as it was, or as it rests where that is not known; then the file's sections, whatever
    became of the VF. What is not as before, in sentences."""
    host, said = written.host, ""
    was = {**vf.rest, **vf_settings.values(vf.now)}
    try:
        there = apply.again(host, {vf.address: vf})
        left = apply.put(host, there, {vf.address: {name: was[name] for name in wanted if name in was}})
        if left:
            said += f" {vf.address} cannot be set back: {'; '.join(map(str, left))}."
    except Exception as error:
        said += f" {vf.address} cannot be set back: {error}."
    said += written.put_back()
    if said:
        host.log(said.strip())
    return said
