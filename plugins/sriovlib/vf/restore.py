"""What a boot does: makes the host what `/etc/sriov.conf` says. Each PF on its own, so that one that
fails does not stop the others."""

import json
import time
from typing import Any, Callable, Collection, Dict, List, Mapping, NamedTuple, Optional

from ..config import pf_sections, sriov_conf
from ..config.sriov_conf import PfConfig
from ..errors import SriovError
from ..machine import dom0_disks, pci, sysfs, vgpus
from ..machine.host import RUN_FOLDER, Host
from . import create, driver_counts, driver_defaults, in_use, inventory, ip_link, module_parameter, pciback
from .drift import PfPlan, drift, plan

LAST = f"{RUN_FOLDER}/restore.json"  # PF address -> its last error, for `status`
# There once a restore of all PFs has begun: what the kernel binds earlier it finds by itself, and the udev
# rule has work to do for later ones only.
BEGUN = f"{RUN_FOLDER}/restore-begun"
SECONDS = 200  # for all PFs; the unit ends us after 300
CARRIER_SECONDS = 10  # most drivers take a rate only when they know the speed of the link


class Result(NamedTuple):
    """What became of one step; `error` is None where it went well."""

    step: str
    done: str
    error: Optional[str]


def restore(host: Host, only: Optional[str] = None) -> List[Result]:
    """All that the configuration asks for, or what it asks for the PF `only`."""
    deadline = time.monotonic() + SECONDS
    with host.lock("vfs", "sriov-restore"):
        if only is None:
            _note_begin(host)
        config = sriov_conf.read(host)
        results = [Result(sriov_conf.PATH, "", error) for error in config.errors]
        if wants_pciback(config):
            results += _one(host, "pciback", lambda: _pciback(host))
        for planned in _planned(host, config, inventory.look(host)):
            pf = planned.pf
            if only is not None and (pf is None or pf.address != only):
                continue
            if pf is None:
                results.append(
                    Result(planned.wanted.address, "", planned.problem and planned.problem.message)
                )
            elif time.monotonic() > deadline:
                results.append(Result(pf.address, "", "no time was left for it; run sriov-restore again"))
            else:
                results += _one(host, pf.address, lambda: _restore_pf(host, planned))  # noqa: B023 - at once
            remember(host, {results[-1].step: results[-1].error})
    return results


def _note_begin(host: Host) -> None:
    try:
        host.replace_file(BEGUN, b"")
    except OSError as error:
        host.log(f"{BEGUN}: {error.strerror}")


def wants_pciback(config: sriov_conf.HostConfig) -> bool:
    return config.pciback or any(pf.vfs for pf in config.pfs.values())


def _planned(host: Host, config: sriov_conf.HostConfig, seen: inventory.Inventory) -> List[PfPlan]:
    return plan(config, seen, pf_sections.permanent_macs(host, seen.pfs) if config.pfs else {})


def check(host: Host) -> List[str]:
    """What `restore` would change, in sentences; nothing is changed."""
    config = sriov_conf.read(host)
    found = [f"{sriov_conf.PATH}: {error}" for error in config.errors]
    if wants_pciback(config) and not pciback.find(host).loaded:
        found.append("pciback: should be loaded")
    for planned in _planned(host, config, inventory.look(host)):
        if planned.problem:
            found.append(f"{planned.wanted.address}: {planned.problem.message}")
        if planned.pf and planned.drift:
            found += [f"{planned.pf.address}: {sentence}" for sentence in planned.drift.sentences]
    return found


def _restore_pf(host: Host, planned: PfPlan) -> str:
    pf = planned.pf
    assert pf is not None
    seen = inventory.look(host)
    in_use.pf_is_not_needed(pf, seen)
    in_use.gives_no_vgpus(pf, vgpus.UNTOLD)
    bring_to_count(host, pf, planned.wanted, seen)
    refused = apply_settings(host, pf, planned.wanted)
    if refused:
        raise SriovError("SRIOV_KERNEL_REFUSED", refused, "")
    there, wanted = len(create.present(host, pf.address)), planned.wanted.vfs
    return f"{there} VFs" if wanted in (None, there) else f"{there} VFs, all that its driver made of {wanted}"


def bring_to_count(host: Host, pf: pci.PhysicalFunction, wanted: PfConfig, seen: inventory.Inventory) -> None:
    """The VFs of one PF, held by pciback; raises SriovError or OSError. The caller holds the lock
    `vfs`. VFs of a VM that runs, or is being started, are never made anew, whoever asks."""
    bring_up(host, pf)
    create.clean_slots(host, pf.address)
    now = drift(seen, wanted, pf)
    is_as_wanted = now.number is None and not now.untaken
    if not is_as_wanted and any(
        vf.pf == pf.address and vf.driver not in (None, pci.PCIBACK) for vf in seen.vfs
    ):
        in_use.vfs_have_no_disk(pf, seen, dom0_disks.by_controller(host, ()))
    if now.number is None or driver_counts.made_for(host, pf.address, now.number) == pf.num_vfs:
        for address in now.untaken:
            pciback.take(host, address)
        return
    in_use.no_domain_has_a_vf(pf, seen)
    if module_parameter.find(host, pf.driver):
        for address in now.untaken:  # those that there are can be given to VMs meanwhile
            pciback.take(host, address)
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"{pf.address} has {pf.num_vfs} VFs, not {now.number}: its driver {pf.driver} makes them.",
            "`status` says what helps.",
        )
    if not host.is_writable(f"{pci.DEVICES}/{pf.address}/sriov_numvfs"):
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"The VFs of {pf.address} are made by something else: sriov_numvfs is not writable, so it cannot "
            f"get {now.number}.",
            f"Call set_vf_count with count={pf.num_vfs} to keep those that there are, or change it where "
            "they are made.",
        )
    driver_counts.note(host, pf.address, now.number, create.make(host, pf.address, now.number))
    told = ip_link.read(host, host.run(ip_link.COMMAND), [pf])
    driver_defaults.born(
        host, pf.address, [vf for name in pf.settings_interfaces for vf in told.get(name, {}).values()]
    )


def apply_settings(host: Host, pf: pci.PhysicalFunction, wanted: PfConfig) -> Optional[str]:
    """The settings of all its VFs but those of VMs that run or are being started; what the driver refused,
    if it did."""
    if not wanted.settings:
        return None
    if any(
        settings.get("max_tx_rate") or settings.get("min_tx_rate") for settings in wanted.settings.values()
    ):
        for port in pf.ports:
            wait_for_carrier(host, port.interface)
    seen = inventory.look(host)
    if seen.owners is None and any(vf.driver == pci.PCIBACK for vf in seen.vfs) and _vms_may_run(host):
        return f"xenstore does not answer, so the settings of the VFs of {pf.address} are left alone."
    learn(host, seen, pf, wanted.settings)
    by_interface: Dict[str, List[ip_link.Change]] = {}
    said = []
    for vf in seen.vfs:
        asked = wanted.settings.get(vf.number, {})
        if vf.pf == pf.address and seen.is_idle(vf) and asked:
            interface = seen.settings_interface(vf)
            if interface is None:
                said.append(f"VF {vf.number} was not set: {inventory.why_no_settings(pf, vf)}")
                continue
            by_interface.setdefault(interface, []).extend(
                ip_link.changes(vf.number, seen.settings_of(vf), asked, ip_link.no_limit(host, pf, interface))
            )
    for interface, changes in by_interface.items():
        refused = ip_link.apply(host, interface, changes)
        said += [
            f"the driver {pf.driver} refused VF {changes[at].number} {changes[at].words}: {why}"
            for at, why in refused.items()
        ]
    return f"{pf.address}: {'; '.join(said)}." if said else None


def learn(
    host: Host, seen: inventory.Inventory, pf: pci.PhysicalFunction, configured: Collection[int]
) -> Mapping[str, Any]:
    """What its driver gives a fresh VF, kept before a VF is changed. The caller holds the lock `vfs`;
    `configured` are the numbers of VFs that /etc/sriov.conf has settings for."""
    shows = [
        driver_defaults.Vf(vf.address, vf.pf, seen.settings_of(vf), vf.number in configured)
        for vf in seen.vfs
        if vf.pf == pf.address
    ]
    found = driver_defaults.known(host, shows)
    driver_defaults.keep(host, found)
    return found.get(pf.address, {})


def _vms_may_run(host: Host) -> bool:
    """At boot xenstore may not run yet, and then no VM does; xapi's socket comes after both."""
    return host.exists("/var/lib/xcp/xapi")


def wait_for_carrier(host: Host, interface: str) -> None:
    """Most drivers take a rate only once they know the speed of the link; gives up after a while."""
    deadline = time.monotonic() + CARRIER_SECONDS
    while not sysfs.link_up(host, interface) and time.monotonic() < deadline:
        time.sleep(0.1)


def bring_up(host: Host, pf: pci.PhysicalFunction) -> None:
    """A PF that is down passes no traffic of its VFs, some drivers (bnxt_en) make none and most take
    no rates. Best effort: what matters of it is said by `status`."""
    for port in pf.ports:
        if sysfs.is_up(host, port.interface) is False:
            answer = host.run(["ip", "link", "set", "dev", port.interface, "up"])
            if answer.status:
                host.log(f"{pf.address}: {answer.complaint}")


def _one(host: Host, name: str, act: Callable[[], str]) -> List[Result]:
    try:
        done = act()
    except Exception as error:  # a bug of one step must not cost the host the others
        host.log(f"restore: {name} failed: {type(error).__name__}: {error}")
        return [Result(name, "", str(error))]
    host.log(f"restore: {name}: {done}")
    return [Result(name, done, None)]


def _pciback(host: Host) -> str:
    before = pciback.find(host)
    now = pciback.load(host)
    return f"{'there' if before.loaded else 'loaded'} ({now.module or 'built into the kernel'})"


def last_errors(host: Host) -> Dict[str, Optional[str]]:
    try:
        found = json.loads(host.read(LAST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(host: Host, errors: Dict[str, Optional[str]]) -> None:
    """Notes the last error of a PF, or that there was none. The caller holds the lock `vfs`."""
    try:
        host.replace_file(LAST, json.dumps({**last_errors(host), **errors}).encode())
    except OSError as error:
        host.log(f"{LAST}: {error.strerror}")
