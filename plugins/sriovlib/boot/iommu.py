"""Whether the IOMMU is on, now and after a reboot; `enable_iommu` turns it on, `disable_iommu` puts back."""

from contextlib import ExitStack, contextmanager
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
    "Nothing to put back: enable_iommu has changed nothing on this host.",
    "To turn the IOMMU off, set iommu=0 on Xen's command line by hand.",
)
NO_XEN = Problem(
    "NO_XEN",
    "xl does not answer, so the state of the running Xen is not known.",
    "Check that this is the control domain of a Xen host and that its toolstack runs.",
)
NO_FIRMWARE_IOMMU = Problem(
    "NO_FIRMWARE_IOMMU",
    "Xen was booted with the IOMMU turned on, but the firmware does not offer one.",
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


class _Found(NamedTuple):
    """What a call finds."""

    boot: bootloader.BootConfig
    options: boot_file.Options
    running: Optional[xen.Xen]


@contextmanager
def _found(host: Host, doing: str, dry_run: bool) -> Iterator[_Found]:
    """One change of the boot configuration at a time; looking at it needs no lock."""
    with ExitStack() as lock:
        if not dry_run:
            lock.enter_context(host.lock("boot", doing))
            boot_file.recover(host)
        boot = bootloader.find(host)
        yield _Found(boot, boot.read(), xen.parse(host.run(xen.COMMAND)))


def enable(host: Host, dry_run: bool) -> Dict[str, Any]:
    """Turns the IOMMU on in the boot configuration where it is neither on nor already active."""
    with _found(host, "enable_iommu", dry_run) as found:
        fine = [iommu_option.ON]
        if found.running is not None and found.running.iommu_active:
            fine.append(iommu_option.DEFAULT)
        wanted = {
            label: [iommu_option.turned_on(options)]
            for label, options in found.options.items()
            if iommu_option.setting(options) not in fine
        }
        return _change(host, found, wanted, dry_run, record=True)


def disable(host: Host, dry_run: bool) -> Dict[str, Any]:
    """Puts back what `enable_iommu` found; without a record it changes nothing and says so. What cannot be
    put back, because its boot entry is gone, stays recorded and is named."""
    with _found(host, "disable_iommu", dry_run) as found:
        recorded = dict(sriov_conf.read(host).document.sections.get(BEFORE, {}))
        done: Dict[str, Optional[str]] = {}
        if OF_ALL_ENTRIES not in found.options and OF_ALL_ENTRIES in recorded:
            of_all = recorded.pop(OF_ALL_ENTRIES)
            recorded = {**{quote(label): of_all for label in found.options}, **recorded}
            done[OF_ALL_ENTRIES] = None
        before = {unquote(key): text.split() for key, text in recorded.items()}
        there = {label: options for label, options in before.items() if label in found.options}
        wanted = {label: options for label, options in there.items() if options != found.options[label]}
        result = _change(host, found, wanted, dry_run, record=False)
        if not dry_run:
            sriov_conf.update(host, BEFORE, {**done, **{quote(label): None for label in there}})
        notes = [_not_put_back(label) for label in before if label not in there]
        result["problems"][:0] = [note._asdict() for note in (notes if recorded else [NOTHING_RECORDED])]
        return result


def _not_put_back(label: str) -> Problem:
    return Problem(
        "NOT_PUT_BACK",
        f"enable_iommu changed the boot entry `{label}`, which is gone.",
        f"Check Xen's options of the entry that replaced it; {sriov_conf.PATH} has the earlier ones.",
    )


def _change(
    host: Host, found: _Found, wanted: boot_file.Options, dry_run: bool, record: bool
) -> Dict[str, Any]:
    boot, before = found.boot, found.options
    problems = boot.doubts()
    changed = not dry_run and bool(wanted)
    if dry_run and wanted:
        boot.rehearse(wanted)
    if changed:
        problems += _write(host, found, wanted, record)
    after = bootloader.find(host).read() if changed else {**before, **wanted}
    options = (before if dry_run else after)[boot.default]
    now = state(found.running, options, boot.bootloader)
    if changed:
        host.log(f"Xen's IOMMU option for the next boot: {now.option or 'none'} ({boot.bootloader})")
    return {
        "changed": changed,
        **({"would_change": bool(wanted)} if dry_run else {}),
        "configured": now.configured,
        "active": now.active,
        "reboot_required": changed if found.running is None else now.reboot_required,
        "bootloader": now.bootloader,
        "xen_option": " ".join(before[boot.default]) or None,
        "xen_option_after": " ".join(after[boot.default]) or None,
        "problems": [problem._asdict() for problem in problems + now.problems],
    }


def _write(host: Host, found: _Found, wanted: boot_file.Options, record: bool) -> List[Problem]:
    """The record of what was there, then the boot file: a call that is cut off between them has recorded
    what the next one finds again."""
    recorded = sriov_conf.read(host).document.sections.get(BEFORE, {})
    new = {quote(label): " ".join(found.options[label]) for label in wanted} if record else {}
    sriov_conf.update(host, BEFORE, dict(new))
    try:
        return found.boot.write(wanted)
    except boot_file.NotPutBack:  # the new text stands, and the record says what was before
        raise
    except BaseException:  # the boot file is as it was, and so must the record be
        try:
            sriov_conf.update(host, BEFORE, {label: recorded.get(label) for label in new})
        except SriovError as error:  # on a full disk; what the call ends with is decided
            host.log(str(error))
        raise
