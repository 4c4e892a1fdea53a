"""The IOMMU: is it on, will it be after a reboot, could it be; the calls that turn it on or put it back."""

from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple, Optional
from urllib.parse import quote, unquote

from ..config import sriov_conf
from ..errors import Problem, SriovError
from ..machine import xen
from ..machine.host import Host
from . import boot_file, bootloader, iommu_option

# What enable_iommu found, in /etc/sriov.conf: a key a boot entry. Written before the boot
# configuration is changed, so that no crash can lose it.
BEFORE = sriov_conf.XEN_BEFORE
# What the first builds of 0.1.0 recorded on GRUB hosts, where they only read the entry that boots by default.
OF_ALL_ENTRIES = "default"

_RANK = {iommu_option.OFF: 0, iommu_option.DEFAULT: 1, iommu_option.ON: 2}


NOTHING_RECORDED = Problem(
    "NOTHING_RECORDED",
    "enable_iommu has changed nothing on this host that could be put back.",
    "If the IOMMU shall be off, set iommu=0 on Xen's command line yourself.",
)
NO_XEN = Problem(
    "NO_XEN",
    "xl does not answer, so it is not known what the running Xen does.",
    "See that this is the control domain of a Xen host and that its toolstack runs.",
)
NO_FIRMWARE_IOMMU = Problem(
    "NO_FIRMWARE_IOMMU",
    "Xen was booted with the IOMMU turned on and has none: the firmware does not offer it.",
    "Turn on VT-d (Intel) or AMD-Vi / IOMMU (AMD) in the firmware's set-up and power the host off and on.",
)


class Iommu(NamedTuple):
    """The state of the IOMMU; `configured` and `option` are what the next boot will use."""

    configured: str  # on, off, default
    active: Optional[bool]  # None: Xen does not answer
    reboot_required: bool
    bootloader: str
    option: Optional[str]
    problems: List[Problem]


def state(running: Optional[xen.Xen], options: List[str], bootloader: str) -> Iommu:
    """What the IOMMU options of the default boot entry mean beside the Xen that runs now. Pure."""
    configured = iommu_option.setting(options)
    option = " ".join(options) or None
    if running is None:
        return Iommu(configured, None, False, bootloader, option, [NO_XEN])
    booted = iommu_option.setting(running.options)
    step = _RANK[configured] - _RANK[booted]  # what a reboot would change: up or down
    reboot = step < 0 if running.iommu_active else step > 0
    problems = []
    if not running.iommu_active and booted == configured == iommu_option.ON:
        problems.append(NO_FIRMWARE_IOMMU)
    return Iommu(configured, running.iommu_active, reboot, bootloader, option, problems)


def enable(host: Host, dry_run: bool) -> Dict[str, Any]:
    """Turns the IOMMU on in the boot configuration where it is neither on
    nor already active."""
    with _alone(host, "enable_iommu", dry_run):
        boot = bootloader.find(host)
        before = boot.read()
        running = xen.parse(host.run(xen.COMMAND))
        active = running is not None and running.iommu_active
        wanted = {
            label: [iommu_option.turned_on(options)]
            for label, options in before.items()
            if not _is_fine(options, active)
        }
        return _change(host, boot, running, before, wanted, dry_run, record=True)


def disable(host: Host, dry_run: bool) -> Dict[str, Any]:
    """Puts back what `enable_iommu` found; without a record it changes
    nothing and says so. What cannot be put back, because its boot entry is gone, stays recorded and
    is named."""
    with _alone(host, "disable_iommu", dry_run):
        boot = bootloader.find(host)
        before = boot.read()
        running = xen.parse(host.run(xen.COMMAND))
        recorded = dict(sriov_conf.read(host).document.sections.get(BEFORE, {}))
        of_all = recorded.get(OF_ALL_ENTRIES)
        if of_all is not None and OF_ALL_ENTRIES not in before:
            recorded = {**{quote(label): of_all for label in before}, **recorded}
            del recorded[OF_ALL_ENTRIES]
        there = {unquote(key): text.split() for key, text in recorded.items() if unquote(key) in before}
        wanted = {label: options for label, options in there.items() if options != before[label]}
        result = _change(host, boot, running, before, wanted, dry_run, record=False)
        if not dry_run:
            done: Dict[str, Optional[str]] = {quote(label): None for label in there}
            if of_all is not None:
                done[OF_ALL_ENTRIES] = None
            sriov_conf.update(host, BEFORE, done)
        gone = [unquote(key) for key in recorded if unquote(key) not in before]
        notes = [_not_put_back(label) for label in gone] if recorded else [NOTHING_RECORDED]
        result["problems"] = [note._asdict() for note in notes] + result["problems"]
        return result


def _not_put_back(label: str) -> Problem:
    return Problem(
        "NOT_PUT_BACK",
        f"enable_iommu changed the boot entry `{label}`, which is not there any more.",
        f"Look at Xen's options of the entry in its place; {sriov_conf.PATH} says what was there before.",
    )


@contextmanager
def _alone(host: Host, doing: str, dry_run: bool) -> Iterator[None]:
    """One change of the boot configuration at a time; looking at it needs no lock."""
    if dry_run:
        yield
    else:
        with host.lock("boot", doing):
            bootloader.recover(host)
            yield


def _is_fine(options: List[str], active: bool) -> bool:
    setting = iommu_option.setting(options)
    return setting == iommu_option.ON or (setting == iommu_option.DEFAULT and active)


def _change(
    host: Host,
    boot: bootloader.BootConfig,
    running: Optional[xen.Xen],
    before: boot_file.Options,
    wanted: boot_file.Options,
    dry_run: bool,
    record: bool,
) -> Dict[str, Any]:
    """Writes `wanted`. Whatever is cut off, the next call completes or takes back."""
    problems = boot.doubts()
    changed = not dry_run and bool(wanted)
    if dry_run and wanted:
        boot.rehearse(wanted)
    if changed:
        problems += _write(host, boot, before, wanted, record)
    after = bootloader.find(host).read() if changed else {**before, **wanted}
    options = (before if dry_run else after)[boot.default]
    now = state(running, options, boot.bootloader)
    if changed:
        host.log(f"Xen's IOMMU option for the next boot: {now.option or 'none'} ({boot.bootloader})")
    return {
        "changed": changed,
        "configured": now.configured,
        "active": now.active,
        "reboot_required": changed if running is None else now.reboot_required,
        "bootloader": now.bootloader,
        "xen_option": " ".join(before[boot.default]) or None,
        "xen_option_after": " ".join(after[boot.default]) or None,
        "problems": [problem._asdict() for problem in problems + now.problems],
    }


def _write(
    host: Host,
    boot: bootloader.BootConfig,
    before: boot_file.Options,
    wanted: boot_file.Options,
    record: bool,
) -> List[Problem]:
    recorded = sriov_conf.read(host).document.sections.get(BEFORE, {})
    found = {quote(label): " ".join(before[label]) for label in wanted} if record else {}
    sriov_conf.update(host, BEFORE, dict(found))
    try:
        return boot.write(wanted)
    except boot_file.NotPutBack:  # the new text stands, and the record says what was before
        raise
    except BaseException:  # the boot configuration is as it was, and so must the record be
        try:
            sriov_conf.update(host, BEFORE, {label: recorded.get(label) for label in found})
        except SriovError as error:  # on a full disk; what the call ends with is decided
            host.log(str(error))
        raise
