"""`set_vf_count`: the number of a PF's VFs, now and at each boot. It takes none from a VM."""

from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..config.sriov_conf import HostConfig
from ..errors import SriovError, bad_argument
from ..machine import kernel_log, pci
from ..machine.host import Host
from ..safetext import plural
from ..starts import release
from ..vf import create, inventory, links, module_parameter, pciback, pf_notes, restore
from ..xapi.own_session import OwnSession
from . import arguments, count_plan, pf_change
from .count_plan import ByParameter, Plan
from .pf_change import PfChange, Written


def set_vf_count(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    wanted_pf = arguments.required("pf", arguments.pf(args))
    count = arguments.number(args, "count")
    force = arguments.boolean(args, "force", False)
    dry_run = arguments.boolean(args, "dry_run", False)
    with host.lock("vfs", f"set_vf_count {wanted_pf}"):
        seen = inventory.look(host)
        pf = seen.find_pf(wanted_pf)
        if count > pf.total_vfs:
            raise bad_argument("count", args["count"], f"at most {pf.total_vfs}, what {pf.address} offers")
        plan = count_plan.decide(pf_change.begin(host, session, seen, pf), count, force)
        return count_plan.announced(plan) if dry_run else _carried_out(plan)


def _carried_out(plan: Plan) -> Dict[str, Any]:
    change, count = plan.change, plan.asked
    host, pf = change.host, change.pf
    release.sweep(host, "", change.seen.owners or {}, change.ended)
    # The file comes first: a host that fails in between gets at its next boot what was asked for.
    written = change.write(count_plan.with_count(count))
    log_before = kernel_log.lines(host)
    try:
        if plan.by_parameter is not None:
            changed, warnings = _by_parameter(change, plan.by_parameter)
        else:
            changed, warnings = _now(change, written.after)
    except BaseException as error:
        raise _undone(pf, written, error) from error
    # The VFs are there: nothing is undone from here on.
    pf_notes.note_restored(host, {pf.address: None})
    there = create.present(host, pf.address)
    if plan.by_parameter is None and len(there) != count:
        reason = create.reason_since(host, pf.address, log_before)
        warnings.append(_keep_what_there_is(plan, len(there), reason))
    host.log(f"{pf.address}: {plural(len(there), 'VF')}, {len(plan.vfs)} before")
    told = {"changed": changed or written.before is not written.after}
    unknown = count_plan.unknown_to_xapi(change, len(there), there)
    return count_plan.answer(plan, len(there), told, unknown, warnings)


def _keep_what_there_is(plan: Plan, made: int, reason: str) -> str:
    """A driver that makes another number than it is asked for does so at each boot, so the file gets the
    number made. Returns the warning."""
    try:
        plan.change.write(count_plan.with_count(made))
        return count_plan.other_number(plan, made, reason)
    except SriovError as error:
        return count_plan.other_number(plan, made, reason, error)


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
    wanted = count_plan.wanted_of(change, config)

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


def _by_parameter(change: PfChange, wanted: ByParameter) -> Tuple[bool, List[str]]:
    """Writes the driver's file for its next load, and has pciback take existing VFs; whether that changed
    anything, and warnings."""
    host, warnings = change.host, list(wanted.told)
    if wanted.text is not None and wanted.after is not None:
        warnings += module_parameter.set_text(host, wanted.parameter, wanted.text, wanted.after)
    pciback.load(host)
    for vf in wanted.take:
        try:
            pciback.take(host, vf.address)
        except OSError as error:  # file and initrd are written, so this undoes nothing
            warnings.append(f"{vf.address} could not be taken from {vf.driver}: {error.strerror}.")
    return wanted.text is not None or bool(wanted.take), warnings
