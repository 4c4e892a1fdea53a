"""`status`: SR-IOV on this host, and every reason why it has no VFs or VMs cannot have them."""

from typing import Any, Dict, List, Mapping, Optional, Tuple

from .. import VERSION
from ..boot import bootloader, iommu
from ..config import sriov_conf
from ..errors import Problem, SriovError
from ..machine import xen, xensource_inventory
from ..machine.host import Host
from ..pool import conf_copy
from ..pool.state import Pool, Silence
from ..safetext import plural
from ..vf import (
    drift,
    host_inventory,
    inventory,
    module_parameter,
    pciback,
    pf_notes,
    restore_running,
)
from ..vf.inventory import STATES
from ..xapi.own_session import OwnSession
from . import list_vfs

IOMMU_OFF = Problem(
    "IOMMU_OFF",
    "Xen runs without the IOMMU, so no VF can be given to a VM.",
    "Call enable_iommu, then reboot the host.",
)
REBOOT_PENDING = Problem(
    "REBOOT_PENDING",
    "Xen's command line was changed and the host has not been rebooted since.",
    "Reboot the host when its VMs permit.",
)
NO_SRIOV_DEVICE = Problem(
    "NO_SRIOV_DEVICE",
    "This host has no PCI device that is SR-IOV capable.",
    "If it has such a card, turn SR-IOV on in the firmware's set-up.",
)
CONFIG_IN_POOL = Problem(
    "CONFIG_IN_POOL",
    f"{sriov_conf.PATH} names no PF, but the pool's copy of it does: was the host reinstalled?",
    "Run `sriov-restore --from-pool`, or call set_vf_count again.",
)
XENSTORE_SILENT = Problem(
    "XENSTORE_SILENT",
    "xenstore does not answer, so the VFs of running VMs are not known.",
    "Check that this is the control domain of a Xen host and that its toolstack runs.",
)


def status(host: Host, session: OwnSession, _args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `status`, compared with what is there now."""
    xl = host.start(xen.COMMAND)
    seen = inventory.look(host)
    pool = list_vfs.read_pool(host, session, seen)
    config = sriov_conf.read(host)
    running = xen.parse(xl.finish())
    mmu, problems = _iommu(host, running)
    driver = pciback.find(host)
    if not driver.loaded:
        problems.append(pciback.problem(host))
    if not seen.pfs:
        problems.append(NO_SRIOV_DEVICE)
    if seen.owners is None:
        problems.append(XENSTORE_SILENT)
    if isinstance(pool, Silence):
        problems.append(_xapi_silent(pool.why))
    elif config.readable and not config.pfs and _has_copy(pool):
        problems.append(CONFIG_IN_POOL)
    problems += [_config_error(error) for error in config.errors]
    problems += restore_running.problems(host, seen)
    planned = drift.plan(host, config, seen)
    waiting = False
    for one in planned:
        reboot_helps, hint = _against_drift(host, one)
        waiting = waiting or reboot_helps
        problems += drift.problems(one, hint)
    configured = {one.pf.address: one.wanted for one in planned if one.pf}
    desired_counts = {address: section.vfs for address, section in configured.items()}
    leaving = [
        module_parameter.changes_at_boot(host, pf)
        for pf in seen.pfs
        if pf.num_vfs and desired_counts.get(pf.address) is None
    ]
    problems += [REBOOT_PENDING._replace(message=sentence) for sentence in leaving if sentence]
    errors = pf_notes.read(host, pf_notes.LAST_ERRORS)
    vfs = host_inventory.vf_states(seen)
    pfs = list_vfs.pf_states(host, seen, vfs, configured, pool)
    states = [vf.state for vf in list_vfs.joined(seen, vfs, pool)]
    noted = xensource_inventory.read(host)
    return {
        "version": VERSION,
        "platform": {"product": noted.get("PRODUCT_BRAND"), "version": noted.get("PRODUCT_VERSION")},
        "xen_version": running.version if running else None,
        "iommu": {
            "configured": mmu.configured if mmu else None,
            "active": running.iommu_active if running else None,
            "bootloader": mmu.bootloader if mmu else None,
            "xen_option": mmu.option if mmu else None,
        },
        "pciback": {**driver._asdict(), "persistent": config.pciback},
        "pfs": [
            {
                "address": pf.address,
                "interface": pf.function.interface,
                "desired": desired_counts.get(pf.address),
                "actual": pf.function.num_vfs,
                "last_error": errors.get(pf.address),
            }
            for pf in pfs
        ],
        "vfs": _counts(states),
        "reboot_required": True if waiting or any(leaving) else mmu.reboot_required if mmu else None,
        "problems": [one._asdict() for one in [*problems, *(one for pf in pfs for one in pf.problems)]],
    }


def _against_drift(host: Host, planned: drift.PfPlan) -> Tuple[bool, str]:
    """Whether a reboot gives the PF the VFs that the file wants, and what to do."""
    number = planned.drift.number if planned.drift else None
    if planned.pf is None or number is None:
        return False, drift.RESTORE
    try:
        parameter = module_parameter.find(host, planned.pf.driver)
    except SriovError as error:
        return False, f"{error.message} {error.hint}"
    if parameter is not None:
        return module_parameter.advice(host, parameter, planned.pf.address, number, planned.pf.num_vfs)
    made = pf_notes.made_for(host, planned.pf.address, number)
    if made == planned.pf.num_vfs:
        return False, (
            f"Its driver made {plural(made, 'VF')} instead of {number}: call set_vf_count with "
            f"count={made} to keep them."
        )
    return False, drift.RESTORE


def _iommu(host: Host, running: Optional[xen.Xen]) -> Tuple[Optional[iommu.Iommu], List[Problem]]:
    """The state of the IOMMU, and what is wrong with it."""
    try:
        boot = bootloader.find(host)
        mmu = iommu.state(running, boot.read()[boot.default], boot.bootloader)
    except SriovError as error:  # the rest of the answer must not be lost for it
        found = [Problem(error.code.replace("SRIOV_", "", 1), error.message, error.hint)]
        return None, found + ([IOMMU_OFF] if running and not running.iommu_active else [])
    problems = [*mmu.problems, *boot.doubts()]
    if mmu.reboot_required:
        problems.append(REBOOT_PENDING)
    elif running and not running.iommu_active and iommu.NO_FIRMWARE_IOMMU not in problems:
        problems.append(IOMMU_OFF)
    return mmu, problems


def _xapi_silent(why: str) -> Problem:
    return Problem(
        "XAPI_SILENT",
        f"xapi did not answer ({why}), so it is not known which VFs are assigned, reserved or free.",
        "Check that xapi runs and that the session is alive, then call again.",
    )


def _has_copy(pool: Pool) -> bool:
    text = pool.here.other_config.get(conf_copy.COPY_KEY)
    return bool(text and conf_copy.interpret(text).pfs)


def _config_error(error: str) -> Problem:
    return Problem(
        "CONFIG_ERROR",
        f"{sriov_conf.PATH}, {error}.",
        "Correct that line; the rest of the file is in effect.",
    )


def _counts(states: List[Optional[str]]) -> Dict[str, int]:
    counts = {state: states.count(state) for state in STATES}
    return {"total": len(states), **counts, "unknown": states.count(None)}
