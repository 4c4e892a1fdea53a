"""What set_vf_count is to do with a PF, and what is known before of how that ends. Reads and decides only."""

from typing import Any, Dict, List, NamedTuple, Optional

from ..config import ini, pf_sections, sriov_conf
from ..config.sriov_conf import HostConfig, PfConfig, pf_section
from ..errors import SriovError, bad_argument
from ..machine import pci
from ..pool import needed_by_xapi
from ..safetext import plural
from ..vf import in_use, inventory, module_parameter, pciback, restore
from ..vf.inventory import ASSIGNED
from ..vf.inventory_json import VfState
from ..vf.module_parameter import Outlook, Parameter
from ..vf.restore import Step
from ..xapi.session import Xapi, XapiError
from .pf_change import Edit, PfChange

# What xapi keeps PCI objects of: storage, network and display (xen-api: xapi_pci.ml, managed_classes).
_CLASSES_OF_XAPI = ("01", "02", "03")

_UNKNOWN_TO_XAPI = (
    "xapi does not know these VFs until its toolstack restarts (`xe-toolstack-restart`) or the host "
    "reboots. Until then this package blocks moves of VMs that have them, and Xen Orchestra's rolling update "
    "does not begin."
)


class ByParameter(NamedTuple):
    """For a driver that makes VFs when it is loaded. `text`: what its file is to have; None: file and initrd
    stay. `take`: existing VFs that pciback is to hold."""

    parameter: Parameter
    text: Optional[str]
    after: Optional[Outlook]
    take: List[pci.VirtualFunction]
    told: List[str]  # warnings of an initrd that stays


class Plan(NamedTuple):
    """`step` is of a driver that makes VFs through sysfs, else `by_parameter` is given."""

    change: PfChange
    asked: int
    vfs: List[VfState]  # that the PF has, see PfChange.vfs
    writes_file: bool
    step: Optional[Step]
    by_parameter: Optional[ByParameter]
    warnings: List[str]


def decide(change: PfChange, count: int, force: bool) -> Plan:
    """Refuses all that can be refused before anything was changed."""
    host, pf = change.host, change.pf
    vfs = change.vfs()
    if count != len(vfs):
        needed_by_xapi.no_vm_has_a_vf(pf, vfs, change.pool, force)
        in_use.no_domain_has_a_vf(pf, change.seen)
    parameter = module_parameter.find(host, pf.driver)
    before, after = change.planned(with_count(count))
    warnings = _lost([vf for vf in vfs if vf.state == ASSIGNED and vf.function.number >= count])
    by_parameter, step = None, None
    if parameter is not None:
        by_parameter = _by_parameter(change, parameter, count)
        if by_parameter.after is not None:
            warnings += _of_other_devices(change, parameter, by_parameter.after)
    pciback.must_be_loadable(host)
    if parameter is None:
        step = restore.step_to_count(host, pf, wanted_of(change, after), change.seen)
    return Plan(change, count, vfs, before is not after, step, by_parameter, warnings)


def with_count(count: int) -> Edit:
    """The file with so many VFs of the PF."""

    def edit(_config: HostConfig, document: ini.Document, heading: str) -> ini.Document:
        document = pf_sections.without(document, sriov_conf.interpret(document).pfs.get(heading), count)
        return ini.changed(document, pf_section(heading), {"vfs": str(count)}) if count else document

    return edit


def wanted_of(change: PfChange, config: HostConfig) -> PfConfig:
    """What the file says of the PF; where it says nothing of VFs it is to have none."""
    pf = change.pf
    wanted = pf_sections.section_of(pf, config.pfs.values(), change.seen.pfs, change.macs)
    return PfConfig(pf.address, None, 0, {}) if wanted is None or wanted.vfs is None else wanted


def announced(plan: Plan) -> Dict[str, Any]:
    """The answer of a dry run. What only driver and kernel can refuse is not known before."""
    change, step, by_parameter = plan.change, plan.step, plan.by_parameter
    there = [vf.address for vf in plan.vfs]
    after, would_change, warnings = len(there), plan.writes_file, []
    if by_parameter is not None:
        would_change |= by_parameter.text is not None or bool(by_parameter.take)
        warnings += by_parameter.told
    elif step is not None:
        would_change |= step.make is not None or bool(step.take)
        if step.make is not None:
            after, there = step.make, pci.expected(change.host, change.pf.address, step.make)
        elif after != plan.asked:
            warnings.append(other_number(plan, after, ""))
    unknown = unknown_to_xapi(change, after, there)
    changed = {"changed": False, "would_change": would_change}
    return answer(plan, after, changed, unknown, warnings)


def answer(
    plan: Plan, after: int, changed: Dict[str, bool], unknown: bool, warnings: List[str]
) -> Dict[str, Any]:
    """Of set_vf_count; `unknown`: see unknown_to_xapi."""
    return {
        "pf": plan.change.pf.address,
        "before": len(plan.vfs),
        "after": after,
        **changed,
        "reboot_required": plan.by_parameter is not None and plan.asked != after,
        "toolstack_restart_required": unknown,
        "warnings": [*plan.warnings, *warnings, *([_UNKNOWN_TO_XAPI] if unknown else [])],
    }


def other_number(plan: Plan, made: int, reason: str, unwritten: Optional[SriovError] = None) -> str:
    """The warning of a driver that makes another number than it is asked for; the file gets that number,
    unless it could not be written."""
    pf = plan.change.pf
    said = f"The driver {pf.driver} of {pf.address} made {plural(made, 'VF')}"
    said += f" instead of the {plan.asked} asked for"
    said += f" ({reason})" if reason else ""
    if unwritten is not None:
        return f"{said}. {unwritten.message} It still has {plan.asked}."
    return f"{said}; {sriov_conf.PATH} has {made} now."


def unknown_to_xapi(change: PfChange, number: int, there: List[str]) -> bool:
    """Whether xapi does not know all of so many VFs yet: it lists devices when it starts. `there`: their
    addresses, as far as they are known."""
    if not number or not change.pf.pci_class.startswith(_CLASSES_OF_XAPI):
        return False
    if len(there) < number:
        return True
    try:
        xapi, here = Xapi(change.host, change.session), change.pool.here.member
        records = xapi.call("PCI.get_all_records_where", f'field "host" = "{here.ref}"')
        return not {pci.parse_address(record["pci_id"]) for record in records.values()}.issuperset(there)
    except XapiError as error:  # the VFs are made
        change.host.log(f"xapi did not answer for set_vf_count: {error}")
        return True


def _lost(vfs: List[VfState]) -> List[str]:
    """Only a forced call comes so far."""
    if not vfs:
        return []
    return [
        f"VMs that do not run here lose VFs: {needed_by_xapi.owners(vfs)}. A VM gets others for its requests "
        "when it starts; entries by hand stay and name no device."
    ]


def _by_parameter(change: PfChange, parameter: Parameter, count: int) -> ByParameter:
    host, pf = change.host, change.pf
    if parameter.maximum is not None and count > parameter.maximum:
        raise bad_argument("count", str(count), f"at most {parameter.maximum}, by {parameter.path}")
    own = [vf for vf in change.seen.vfs_of(pf) if vf.driver != pci.PCIBACK]
    take = [vf for vf in own if change.seen.state(vf) != inventory.IN_USE]
    if not module_parameter.counts_by_port(parameter):
        text, after = module_parameter.prepare(host, parameter, pf.address, count)
        is_to_be_set, told = module_parameter.is_to_be_set(host, parameter, text, after)
        return ByParameter(parameter, text if is_to_be_set else None, after, take, told)
    if count != pf.num_vfs:
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"{pf.driver} counts its VFs by port, not by device: {parameter.path} was not changed.",
            f"Write {parameter.name} there by hand, rebuild the initrd, reboot, and call set_vf_count with "
            "the number that the PF has then.",
        )
    return ByParameter(parameter, None, None, take, [])


def _of_other_devices(change: PfChange, parameter: Parameter, after: Outlook) -> List[str]:
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
