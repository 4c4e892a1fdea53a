"""`set_vf_count`: the number of a PF's VFs, now and at each boot. It takes none from a VM."""

from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..config import ini, pf_sections, sriov_conf
from ..config.sriov_conf import HostConfig, PfConfig, pf_section
from ..errors import SriovError, bad_argument
from ..machine import pci
from ..machine.host import Host
from ..pool import needed_by_xapi
from ..starts import release
from ..vf import create, in_use, inventory, links, module_parameter, pciback, pf_notes, restore
from ..xapi.session import Xapi, XapiError
from . import arguments, pf_change
from .pf_change import PfChange, Written

# What xapi keeps PCI objects of: storage, network and display (xen-api: xapi_pci.ml, managed_classes).
_CLASSES_OF_XAPI = ("01", "02", "03")

_UNKNOWN_TO_XAPI = (
    "xapi does not know these VFs until its toolstack restarts (`xe-toolstack-restart`) or the host "
    "reboots: a VM can have them, but xapi does not keep it from being suspended or migrated."
)


def set_vf_count(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    wanted_pf = arguments.required("pf", arguments.pf(args))
    count = arguments.number(args, "count")
    force = arguments.boolean(args, "force", False)
    with host.lock("vfs", f"set_vf_count {wanted_pf}"):
        seen = inventory.look(host)
        pf = seen.find_pf(wanted_pf)
        if count > pf.total_vfs:
            raise bad_argument("count", args["count"], f"at most {pf.total_vfs}, what {pf.address} offers")
        change = pf_change.begin(host, session, seen, pf)
        own = change.vf_records()
        if count != len(own):
            needed_by_xapi.no_vm_has_a_vf(pf, own, change.pool, force)
            in_use.no_domain_has_a_vf(pf, change.seen)
        parameter = module_parameter.find(host, pf.driver)
        release.sweep(host, "", seen.owners or {}, change.ended)
        # The file comes first: a host that fails in between gets at its next boot what was asked for.
        written = _write_file(change, count)
        log_before = create.log(host)
        try:
            if parameter is not None:
                changed, warnings = _by_parameter(change, parameter, count)
            else:
                changed, warnings = _now(change, written.after)
        except BaseException as error:
            raise _undone(pf, written, error) from error
        # The VFs are there: nothing is undone from here on.
        pf_notes.write(host, pf_notes.LAST_ERRORS, {pf.address: None})
        there = create.present(host, pf.address)
        if parameter is None and len(there) != count:
            reason = create.reason_since(host, pf.address, log_before)
            warnings.append(_keep_what_there_is(change, count, len(there), reason))
        host.log(f"{pf.address}: {len(there)} VFs, {len(own)} before")
        unknown = _unknown_to_xapi(change, there)
        return {
            "pf": pf.address,
            "before": len(own),
            "after": len(there),
            "changed": changed or written.before is not written.after,
            "reboot_required": parameter is not None and count != len(there),
            "toolstack_restart_required": unknown,
            "warnings": warnings + ([_UNKNOWN_TO_XAPI] if unknown else []),
        }


def _write_file(change: PfChange, count: int) -> Written:
    def with_count(_config: HostConfig, document: ini.Document, heading: str) -> ini.Document:
        document = pf_sections.without(document, sriov_conf.interpret(document).pfs.get(heading), count)
        return ini.changed(document, pf_section(heading), {"vfs": str(count)}) if count else document

    return change.write(with_count)


def _keep_what_there_is(change: PfChange, asked: int, made: int, reason: str) -> str:
    """A driver that makes another number than it is asked for does so at each boot, so the file gets the
    number made. Returns the warning."""
    pf = change.pf
    said = f"The driver {pf.driver} of {pf.address} made {made} VFs instead of the {asked} asked for"
    said += f" ({reason})" if reason else ""
    try:
        _write_file(change, made)
        return f"{said}; {sriov_conf.PATH} has {made} now."
    except SriovError as error:
        return f"{said}. {error.message} It still has {asked}."


def _undone(pf: pci.PhysicalFunction, written: Written, error: BaseException) -> BaseException:
    """The error to raise, once the file is as before."""
    said = written.put_back()
    pf_notes.write(written.host, pf_notes.LAST_ERRORS, {pf.address: str(error)})
    if isinstance(error, SriovError):
        return SriovError(error.code, error.message + said, error.hint)
    if isinstance(error, OSError):
        return SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"{pf.address}: the kernel refused a step: {error.strerror} ({error.filename}).{said}",
            "See the kernel's log (`dmesg`) and list_vfs.",
        )
    return error


def _now(change: PfChange, config: HostConfig) -> Tuple[bool, List[str]]:
    """Does what the file says now, through sysfs; whether that changed anything, and warnings."""
    host, pf = change.host, change.pf
    pciback.load(host)
    wanted = pf_sections.section_of(pf, config.pfs.values(), change.seen.pfs, change.macs)
    if wanted is None or wanted.vfs is None:
        wanted = PfConfig(pf.address, None, 0, {})

    def drivers() -> Dict[str, Optional[str]]:
        return {vf: host.link(f"{pci.DEVICES}/{vf}/driver") for vf in create.present(host, pf.address)}

    before = drivers()
    links.bring_up(host, [pf])
    born = [pf.address] if restore.bring_to_count(host, pf, wanted, change.seen) else []
    try:
        seen = inventory.look(host)
        restore.learn_of_born(host, seen, born)
        refused = list(restore.apply_settings(host, seen, {pf.address: wanted}).values())
    except Exception as error:  # the VFs are there, so this undoes nothing
        host.log(f"{pf.address}: settings failed: {type(error).__name__}: {error}")
        refused = [f"{pf.address}: the settings of its VFs cannot be applied ({error}); run sriov-restore."]
    return before != drivers(), refused


def _by_parameter(
    change: PfChange, parameter: module_parameter.Parameter, count: int
) -> Tuple[bool, List[str]]:
    """Writes the driver's file for its next load, and has pciback take existing VFs; whether that changed
    anything, and warnings."""
    host, pf = change.host, change.pf
    if parameter.maximum is not None and count > parameter.maximum:
        raise bad_argument("count", str(count), f"at most {parameter.maximum}, by {parameter.path}")
    changed, warnings = False, []
    if not module_parameter.counts_by_port(parameter):
        text, after = module_parameter.prepare(host, parameter, pf.address, count)
        warnings = _of_other_devices(change, parameter, after)
        changed, told = module_parameter.set_text(host, parameter, text, after)
        warnings += told
    elif count != pf.num_vfs:
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"{pf.driver} counts its VFs by port, not by device: {parameter.path} was not changed.",
            f"Write {parameter.name} there by hand, rebuild the initrd, reboot, and call set_vf_count with "
            "the number that the PF has then.",
        )
    pciback.load(host)
    own = [vf for vf in change.seen.vfs_of(pf) if vf.driver != pci.PCIBACK]
    taken = [vf for vf in own if change.seen.state(vf) != inventory.IN_USE]
    for vf in taken:
        try:
            pciback.take(host, vf.address)
        except OSError as error:  # file and initrd are written, so this undoes nothing
            warnings.append(f"{vf.address} could not be taken from {vf.driver}: {error.strerror}.")
    return changed or bool(taken), warnings


def _of_other_devices(
    change: PfChange, parameter: module_parameter.Parameter, after: module_parameter.Outlook
) -> List[str]:
    """Warnings of what the driver's other devices get. Refuses where this call would make VFs on the port of
    the management network, or another number on a port of xapi's own SR-IOV."""
    pf, seen = change.pf, change.seen
    others = [address for address in after.devices if address != pf.address]
    ports = {port.address: port for port in seen.pfs}
    managing = [address for address in others if address in ports and seen.management(ports[address])]
    if after.is_array:
        return [
            f"{parameter.path} gives VFs also to {address}, which carries the management network (unchanged)."
            for address in managing
            if after.vfs_of(address) != 0
        ]
    others = [address for address in others if change.host.exists(f"{pci.DEVICES}/{address}/sriov_totalvfs")]
    needed = [
        address for address in others if address not in ports or seen.management(ports[address]) is not False
    ]
    if needed:
        raise SriovError(
            "SRIOV_MANAGEMENT_INTERFACE",
            f"{needed[0]} carries, or may carry, the host's management network, and the driver {pf.driver} "
            "has one number of VFs for all its ports.",
            "Use a card with another driver.",
        )
    managed = [
        address
        for address in others
        if address in ports and change.pool.here.managed.intersection(ports[address].interfaces)
    ]
    if managed:
        raise SriovError(
            "SRIOV_MANAGED_BY_XAPI",
            f"{managed[0]} is managed by xapi's own SR-IOV, and the driver {pf.driver} has one number of VFs "
            "for all its ports.",
            "Destroy its network-sriov (`xe network-sriov-list`), or use a card with another driver.",
        )
    if not others:
        return []
    return [
        f"The driver {pf.driver} has one number of VFs for all its ports: {', '.join(others)} get it too."
    ]


def _unknown_to_xapi(change: PfChange, there: List[str]) -> bool:
    """Whether xapi does not know all these VFs yet: it lists devices when it starts."""
    if not there or not change.pf.pci_class.startswith(_CLASSES_OF_XAPI):
        return False
    try:
        xapi, here = Xapi(change.host, change.session), change.pool.here.member
        records = xapi.call("PCI.get_all_records_where", f'field "host" = "{here.ref}"')
        return not {pci.parse_address(record["pci_id"]) for record in records.values()}.issuperset(there)
    except XapiError as error:  # the VFs are made
        change.host.log(f"xapi did not answer after set_vf_count: {error}")
        return True
