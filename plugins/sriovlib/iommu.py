"""The IOMMU: is it on, will it be after a reboot, could it be; the calls that turn it on or put it back."""

from typing import Any, Dict, List, NamedTuple, Optional
from urllib.parse import quote, unquote

from . import bootconfig, hostconfig, xen, xenoption
from .errors import Problem, SriovError
from .host import Host

# What enable_iommu found, in /etc/sriov.conf: a key a boot entry. Written before the boot
# configuration is changed, so that no crash can lose it.
BEFORE = "xen before enable_iommu"
# Set while extlinux still has to run after a change, so that the next call completes a broken one.
UNFINISHED = ("boot", "regenerate")

_RANK = {xenoption.OFF: 0, xenoption.DEFAULT: 1, xenoption.ON: 2}

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
    configured = xenoption.setting(options)
    option = " ".join(options) or None
    if running is None:
        return Iommu(configured, None, False, bootloader, option, [NO_XEN])
    booted = xenoption.setting(running.options)
    step = _RANK[configured] - _RANK[booted]  # what a reboot would change: up or down
    reboot = step < 0 if running.iommu_active else step > 0
    problems = []
    if not running.iommu_active and booted == configured == xenoption.ON:
        problems.append(NO_FIRMWARE_IOMMU)
    return Iommu(configured, running.iommu_active, reboot, bootloader, option, problems)


def current(host: Host) -> Iommu:
    """The state of the host now; raises `SRIOV_BOOT_CONFIG` where its boot configuration is not
    understood."""
    xl = host.start(xen.COMMAND)
    boot = bootconfig.find(host)
    options = boot.read()[boot.default]
    return state(xen.parse(xl.finish()), options, boot.bootloader)


def enable(host: Host, dry_run: bool) -> Dict[str, Any]:
    """Turns the IOMMU on in the boot configuration where it is neither on nor already active."""
    with host.lock("boot", "enable_iommu"):
        boot = bootconfig.find(host)
        before = boot.read()
        running = xen.parse(host.run(xen.COMMAND))
        active = running is not None and running.iommu_active
        wanted = {
            label: [xenoption.turned_on(options)]
            for label, options in before.items()
            if not _is_fine(options, active)
        }
        return _change(host, boot, running, before, wanted, dry_run, forget=False)


def disable(host: Host, dry_run: bool) -> Dict[str, Any]:
    """Puts back what `enable` found; without a record it changes nothing and says so."""
    with host.lock("boot", "disable_iommu"):
        boot = bootconfig.find(host)
        before = boot.read()
        running = xen.parse(host.run(xen.COMMAND))
        recorded = hostconfig.read(host).sections.get(BEFORE, {})
        wanted = {
            unquote(label): text.split()
            for label, text in recorded.items()
            if unquote(label) in before and text.split() != before[unquote(label)]
        }
        result = _change(host, boot, running, before, wanted, dry_run, forget=bool(recorded))
        if not recorded:
            result["problems"] = [NOTHING_RECORDED._asdict(), *result["problems"]]
        return result


def _is_fine(options: List[str], active: bool) -> bool:
    setting = xenoption.setting(options)
    return setting == xenoption.ON or (setting == xenoption.DEFAULT and active)


def _change(
    host: Host,
    boot: bootconfig.BootConfig,
    running: Optional[xen.Xen],
    before: bootconfig.Options,
    wanted: bootconfig.Options,
    dry_run: bool,
    forget: bool,
) -> Dict[str, Any]:
    """Writes `wanted`, in an order that a crash at any point leaves right or completable: the
    record of what was there, the boot configuration, extlinux, the record's end."""
    after = {**before, **wanted}
    problems: List[Problem] = []
    unfinished = hostconfig.read(host).get(*UNFINISHED) is not None
    changed = not dry_run and bool(wanted or unfinished)
    if changed:
        problems += _write(host, boot, before, wanted, record=not forget)
    if forget and not dry_run:
        _update(host, BEFORE, dict.fromkeys(hostconfig.read(host).sections.get(BEFORE, {})))
    options = (before if dry_run else after)[boot.default]
    now = state(running, options, boot.bootloader)
    if changed:
        host.log(f"Xen's IOMMU option for the next boot: {now.option or 'none'} ({boot.bootloader})")
    return {
        "changed": changed,
        "configured": now.configured,
        "active": now.active,
        "reboot_required": now.reboot_required,
        "bootloader": now.bootloader,
        "xen_option": " ".join(before[boot.default]) or None,
        "xen_option_after": " ".join(after[boot.default]) or None,
        "problems": [problem._asdict() for problem in problems + now.problems],
    }


def _write(
    host: Host,
    boot: bootconfig.BootConfig,
    before: bootconfig.Options,
    wanted: bootconfig.Options,
    record: bool,
) -> List[Problem]:
    section, key = UNFINISHED
    if not wanted:
        problems = boot.regenerate()
        _update(host, section, {key: None})
        return problems
    found = {quote(label): " ".join(before[label]) for label in wanted} if record else {}
    recorded = hostconfig.read(host).sections.get(BEFORE, {})
    _update(host, BEFORE, dict(found))
    try:
        _update(host, section, {key: "yes"})
        problems = boot.write(wanted)
    except BaseException:  # the boot configuration is as it was, so shall the record be
        _tidy(host, BEFORE, {label: recorded.get(label) for label in found})
        _tidy(host, section, {key: None})
        raise
    _tidy(host, section, {key: None})
    return problems


def _update(host: Host, section: str, values: Dict[str, Optional[str]]) -> None:
    if not values:
        return
    with host.lock("config", f"writing [{section}]"):
        hostconfig.write(host, hostconfig.changed(hostconfig.read(host), section, values))


def _tidy(host: Host, section: str, values: Dict[str, Optional[str]]) -> None:
    """As `_update`, where the outcome of the call is already decided: what cannot be written now
    (a full disk) does no harm, and the next call puts it right."""
    try:
        _update(host, section, values)
    except SriovError as error:
        host.log(str(error))
