"""`status`: how this host stands with SR-IOV, and every reason why VFs cannot be had or given."""

from typing import Any, Dict, List, Optional, Tuple

from . import VERSION, bootconfig, hostconfig, inventory, iommu, listing, pciback, xen
from .errors import Problem, SriovError
from .host import Host, inventory_file
from .inventory import STATES

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
NO_PCIBACK = Problem(
    "NO_PCIBACK",
    "The driver pciback is not there, so no device can be given to a VM.",
    "Call load_pciback.",
)
NO_SRIOV_DEVICE = Problem(
    "NO_SRIOV_DEVICE",
    "No PCI device of this host says that it can do SR-IOV.",
    "Turn SR-IOV on in the firmware's set-up, if the host has a card that can do it.",
)
XAPI_SILENT = Problem(
    "XAPI_SILENT",
    "xapi does not answer, so it is not known which VFs are assigned, reserved or free.",
    "Call again when xapi runs (`xe-toolstack-restart` restarts it).",
)
XENSTORE_SILENT = Problem(
    "XENSTORE_SILENT",
    "xenstore does not answer, so it is not known which VFs running VMs have.",
    "See that this is the control domain of a Xen host and that its toolstack runs.",
)


def status(host: Host, session: Any) -> Dict[str, Any]:
    """The plugin's `status`: always compared with what is there now, nothing remembered."""
    xl = host.start(xen.COMMAND)
    seen = inventory.look(host)
    pool = listing.read_pool(host, session, seen)
    config = hostconfig.read(host)
    running = xen.parse(xl.finish())
    mmu, problems = _iommu(host, running)
    driver = pciback.find(host)
    if not driver.loaded:
        problems.append(NO_PCIBACK)
    if not seen.pfs:
        problems.append(NO_SRIOV_DEVICE)
    if seen.owners is None:
        problems.append(XENSTORE_SILENT)
    if pool is None:
        problems.append(XAPI_SILENT)
    problems += [_config_error(error) for error in config.errors]
    pfs = listing.pf_records(host, seen, pool)
    states = [vf["state"] for vf in listing.vf_records(seen, pool)]
    product = inventory_file(host)
    return {
        "version": VERSION,
        "platform": {"product": product.get("PRODUCT_BRAND"), "version": product.get("PRODUCT_VERSION")},
        "xen_version": running.version if running else None,
        "iommu": {
            "configured": mmu.configured if mmu else None,
            "active": running.iommu_active if running else None,
            "bootloader": mmu.bootloader if mmu else None,
            "xen_option": mmu.option if mmu else None,
        },
        "pciback": {**driver._asdict(), "persistent": pciback.wanted(host)},
        "pfs": [
            {
                "address": pf["address"],
                "interface": pf["interface"],
                "desired": pf["configured_vfs"],
                "actual": pf["num_vfs"],
                "last_error": None,
            }
            for pf in pfs
        ],
        "vfs": _counts(states),
        "reboot_required": mmu.reboot_required if mmu else None,
        "problems": [problem._asdict() for problem in problems] + [p for pf in pfs for p in pf["problems"]],
    }


def _iommu(host: Host, running: Optional[xen.Xen]) -> Tuple[Optional[iommu.Iommu], List[Problem]]:
    """The state of the IOMMU, and what is wrong with it."""
    try:
        boot = bootconfig.find(host)
        mmu = iommu.state(running, boot.read()[boot.default], boot.bootloader)
    except SriovError as error:  # the rest of the answer must not be lost for it
        found = [Problem(error.code.replace("SRIOV_", "", 1), error.message, error.hint)]
        return None, found + ([IOMMU_OFF] if running and not running.iommu_active else [])
    problems = list(mmu.problems)
    if mmu.reboot_required:
        problems.append(REBOOT_PENDING)
    elif running and not running.iommu_active and iommu.NO_FIRMWARE_IOMMU not in problems:
        problems.append(IOMMU_OFF)
    return mmu, problems


def _config_error(error: str) -> Problem:
    return Problem(
        "CONFIG_ERROR", f"{hostconfig.PATH}, {error}.", "Correct that line; the rest of the file holds."
    )


def _counts(states: List[Optional[str]]) -> Dict[str, int]:
    counts = {state: states.count(state) for state in STATES}
    return {"total": len(states), **counts, "unknown": states.count(None)}
