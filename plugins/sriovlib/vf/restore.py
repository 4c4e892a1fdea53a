"""Restore, the boot service: makes the host what `/etc/sriov.conf` says. A PF that fails stops no other."""

import time
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from ..config import sriov_conf
from ..config.sriov_conf import PfConfig
from ..errors import SriovError
from ..machine import pci, vgpus
from ..machine.host import RUN_FOLDER, Host
from ..safetext import plural
from . import (
    apply,
    create,
    driver_defaults,
    in_use,
    inventory,
    links,
    pciback,
    pf_notes,
    restore_running,
)
from .conf_sections import Sections
from .drift import PfPlan, drift, plan
from .inventory import Inventory

# There once a restore of all PFs has begun. It finds the PFs that have a driver by then; the udev rule
# restores those that get one later.
BEGUN = f"{RUN_FOLDER}/restore-begun"
SECONDS = 200  # for all PFs; systemd ends the unit after 300
UNFINISHED = "sriov-restore began with this PF and has not finished"  # stays where it is killed
NOT_ENDED = "sriov-restore began and has not finished"  # and where it fails as a whole


class Result(NamedTuple):
    """One step's result; `error` is None where it succeeded."""

    step: str
    done: str
    error: Optional[str]


def restore(host: Host, only: Optional[str] = None) -> List[Result]:
    """Does what the file asks for all PFs, or for the PF `only`, and sets what VFs of running VMs have lost.
    It takes one inventory, and another only after VFs were made or taken from other drivers."""
    deadline = time.monotonic() + SECONDS
    with host.lock("vfs", "sriov-restore"):
        if only is None:
            try:
                host.replace_file(BEGUN, b"")
            except OSError as error:
                host.log(f"{BEGUN}: {error.strerror}")
            # With that what was noted of PFs that nobody configures any more goes.
            left = dict.fromkeys(pf_notes.read(host, pf_notes.LAST_ERRORS))
            pf_notes.note_restored(host, {**left, pf_notes.OF_HOST: NOT_ENDED})
        config = sriov_conf.read(host)
        results = [Result(sriov_conf.PATH, "", error) for error in config.errors]
        if _wants_pciback(config):
            there = pciback.find(host).loaded
            failed = _attempt(host, "pciback", lambda: pciback.load(host))
            module = pciback.find(host).module or "built into the kernel"
            results.append(Result("pciback", f"{'there' if there else 'loaded'} ({module})", failed))
        seen = inventory.look_to_act(host)
        plans = plan(host, config, seen)
        sections = {one.pf.address: one.wanted for one in plans if one.pf}
        if only is not None:
            plans = [one for one in plans if one.pf is not None and one.pf.address == only]
        pf_notes.note_restored(host, {one.pf.address: UNFINISHED for one in plans if one.pf})
        restored, seen = _pfs(host, plans, sections, seen, deadline)
        noted = {result.step: result.error for result in restored}
        if only is None:
            noted[pf_notes.OF_HOST] = "; ".join(one.error for one in results if one.error) or None
        results += restored
        pf_notes.note_restored(host, noted)
        renewed = restore_running.renew(host, seen, only)
        return results + [Result(address, "as its VM wants it", error) for address, error in renewed.items()]


def _pfs(
    host: Host, plans: List[PfPlan], sections: Optional[Sections], seen: Inventory, deadline: float
) -> Tuple[List[Result], Inventory]:
    """All PFs are checked; then VFs are made, PF by PF; then all VFs are set at once."""
    errors: Dict[int, Optional[str]] = {
        at: one.problem.message if one.problem else None for at, one in enumerate(plans) if one.pf is None
    }

    def each(act: Callable[[pci.PhysicalFunction, PfConfig], object]) -> None:
        for at, (wanted, pf, _problem, _drift) in enumerate(plans):
            if pf is not None and at not in errors:
                error = _attempt(host, pf.address, lambda: act(pf, wanted))  # noqa: B023 - at once
                if error is not None:
                    errors[at] = error

    def make(pf: pci.PhysicalFunction, wanted: PfConfig) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError("no time was left for it; run sriov-restore again")
        if bring_to_count(host, pf, wanted, seen):
            born.append(pf.address)

    born: List[str] = []
    each(lambda pf, _wanted: _must_be_ours(pf, seen))
    links.bring_up(host, [one.pf for at, one in enumerate(plans) if one.pf and at not in errors])
    each(make)
    if born or any(one.drift and one.drift.untaken for one in plans):
        before, seen = seen, inventory.look_again(host, seen)
        if [pf.name for pf in seen.pfs] != [pf.name for pf in before.pfs]:  # another card may be meant now
            sections = None
    learn_of_born(host, seen, born)
    to_set = {one.pf.address: one.wanted for at, one in enumerate(plans) if one.pf and at not in errors}
    refused: Dict[str, str] = {}
    failed = _attempt(host, "settings", lambda: refused.update(apply_settings(host, seen, to_set, sections)))
    results = []
    for at, (wanted, pf, _problem, _drift) in enumerate(plans):
        if pf is None:
            results.append(Result(wanted.address, "", errors[at]))
        else:
            error = errors.get(at) or refused.get(pf.address) or (failed if wanted.settings else None)
            there = len(create.present(host, pf.address))
            fewer = "" if wanted.vfs in (None, there) else f", all that its driver made of {wanted.vfs}"
            results.append(Result(pf.address, f"{plural(there, 'VF')}{fewer}", error))
            host.log(f"restore: {pf.address}: {error or results[-1].done}")
    return results, seen


def _wants_pciback(config: sriov_conf.HostConfig) -> bool:
    return config.pciback or any(pf.vfs for pf in config.pfs.values())


def check(host: Host) -> List[str]:
    """What `restore` would change, in sentences."""
    config = sriov_conf.read(host)
    found = [f"{sriov_conf.PATH}: {error}" for error in config.errors]
    if _wants_pciback(config) and not pciback.find(host).loaded:
        found.append("pciback: should be loaded")
    seen = inventory.look_to_act(host)
    for planned in plan(host, config, seen):
        if planned.problem:
            found.append(f"{planned.wanted.address}: {planned.problem.message}")
        if planned.pf and planned.drift:
            found += [f"{planned.pf.address}: {sentence}" for sentence in planned.drift.sentences]
    return found + [one.message for one in restore_running.find(host, seen)]


def _must_be_ours(pf: pci.PhysicalFunction, seen: Inventory) -> None:
    in_use.pf_is_not_needed(pf, seen)
    in_use.gives_no_vgpus(pf, vgpus.UNTOLD)


class Step(NamedTuple):
    """What brings a PF to its number of VFs. `make`: so many instead of those that it has; None: it keeps
    them. `take`: VFs that pciback is to hold. `by_parameter`: its driver makes VFs only when it is loaded."""

    make: Optional[int]
    take: List[str]
    by_parameter: bool = False


def step_to_count(host: Host, pf: pci.PhysicalFunction, wanted: PfConfig, seen: Inventory) -> Step:
    """What `bring_to_count` does; refuses what it refuses before it does anything."""
    now = drift(seen, wanted, pf)
    is_as_wanted = now.number is None and not now.untaken
    if not is_as_wanted and any(
        vf.pf == pf.address and vf.driver not in (None, pci.PCIBACK) for vf in seen.vfs
    ):
        from ..machine import dom0_disks  # loaded where something is to be done, as the next one

        in_use.vfs_have_no_disk(pf, seen, dom0_disks.by_controller(host, ()))
    if now.number is None or pf_notes.made_for(host, pf.address, now.number) == pf.num_vfs:
        return Step(None, now.untaken)
    from . import module_parameter

    in_use.no_domain_has_a_vf(pf, seen)
    if module_parameter.find(host, pf.driver):
        return Step(now.number, now.untaken, by_parameter=True)
    if not host.is_writable(f"{pci.DEVICES}/{pf.address}/sriov_numvfs"):
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"{pf.address} cannot get {plural(now.number, 'VF')}: its sriov_numvfs is not writable, so "
            "something else makes them.",
            f"Call set_vf_count with count={pf.num_vfs} to keep the existing VFs, or change the number where "
            "they are made.",
        )
    return Step(now.number, now.untaken)


def bring_to_count(host: Host, pf: pci.PhysicalFunction, wanted: PfConfig, seen: Inventory) -> bool:
    """Makes the VFs of one PF, whose ports are up, and has pciback hold them; whether VFs were made. Raises
    SriovError or OSError; also while a VM runs, or is being started, with a VF of the PF. The caller holds
    the lock `vfs`."""
    create.clean_slots(host, pf.address)
    step = step_to_count(host, pf, wanted, seen)
    if step.make is None or step.by_parameter:  # the existing ones can be given to VMs meanwhile
        for address in step.take:
            pciback.take(host, address)
    if step.make is None:
        return False
    if step.by_parameter:
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"{pf.address} has {plural(pf.num_vfs, 'VF')}, not {step.make}: its driver {pf.driver} makes "
            "them.",
            "`status` says what helps.",
        )
    pf_notes.note_count(host, pf.address, step.make, create.make(host, pf.address, step.make))
    return True


def learn_of_born(host: Host, seen: Inventory, pfs: List[str]) -> None:
    """Notes what these PFs, which have just made their VFs, give a fresh one."""
    shown = {
        pf.address: [vf for name in pf.settings_interfaces for vf in seen.settings.get(name, {}).values()]
        for pf in seen.pfs
        if pf.address in pfs
    }
    driver_defaults.keep(
        host, {pf: driver_defaults.learned(vfs, driver_defaults.OF_BORN) for pf, vfs in shown.items()}
    )


def apply_settings(
    host: Host,
    seen: Inventory,
    wanted: Sections,
    sections: Optional[Sections] = None,
) -> Dict[str, str]:
    """Applies these PFs' settings to their VFs, except those of VMs that run or are being started; PF -> what
    could not be set, in a sentence. `sections`: those of all PFs, where they are known."""
    pfs = [pf for pf in seen.pfs if pf.address in wanted and wanted[pf.address].settings]
    if not pfs:
        return {}
    # At boot xenstore may not run yet, and then no VM does; xapi's socket comes after both.
    vms_may_run = seen.owners is None and host.exists("/var/lib/xcp/xapi")
    if vms_may_run and any(vf.driver == pci.PCIBACK for vf in seen.vfs):
        return {
            pf.address: f"{pf.address}: xenstore does not answer, so the settings of its VFs are left alone."
            for pf in pfs
        }
    rates = ("min_tx_rate", "max_tx_rate")
    rated = [
        pf for pf in pfs if any(vf.get(name) for vf in wanted[pf.address].settings.values() for name in rates)
    ]
    links.wait_for_carrier(host, [port.interface for pf in rated for port in pf.ports])
    there = apply.seen_by(host, seen, sections)
    apply.learn(host, there)
    asked = {
        address: wanted[vf.pf.address].settings[vf.function.number]
        for address, vf in there.items()
        if vf.pf in pfs
        and seen.is_idle(vf.function)
        and wanted[vf.pf.address].settings.get(vf.function.number)
    }
    said: Dict[str, List[str]] = {}
    for address in asked:
        vf = there[address]
        if vf.interface is None:
            why = inventory.why_no_settings(vf.pf, vf.function)
            said.setdefault(vf.pf.address, []).append(f"VF {vf.function.number} was not set: {why}")
    for refused in apply.put(host, there, asked):
        pf = refused.vf.pf
        said.setdefault(pf.address, []).append(f"the driver {pf.driver} refused {refused}")
    return {address: f"{address}: {'; '.join(sentences)}." for address, sentences in said.items()}


def _attempt(host: Host, name: str, act: Callable[[], object]) -> Optional[str]:
    """Why it failed, if it did."""
    try:
        act()
    except Exception as error:  # a bug of one step must not cost the host the others
        host.log(f"restore: {name} failed: {type(error).__name__}: {error}")
        return str(error)
    return None
