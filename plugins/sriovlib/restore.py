"""What a boot does: makes the host what `/etc/sriov.conf` says. Each PF on its own, so that one that
fails does not stop the others."""

import json
from typing import Callable, Dict, List, NamedTuple, Optional

from . import desired, hostconfig, identity, inventory, iplink, moduleparam, pci, pciback, vfs
from .errors import SriovError
from .host import RUN_FOLDER, Host

LAST = f"{RUN_FOLDER}/restore.json"  # PF address -> its last error, for `status`


class Result(NamedTuple):
    """What became of one step; `error` is None where it went well."""

    step: str
    done: str
    error: Optional[str]


def restore(host: Host, only: Optional[str] = None) -> List[Result]:
    """All that the configuration asks for, or what it asks for the PF `only`."""
    config = hostconfig.read(host)
    results = [Result(hostconfig.PATH, "", error) for error in config.errors]
    if config.pciback or any(pf.vfs for pf in config.pfs.values()):
        results += _one(host, "pciback", lambda: _pciback(host))
    with host.lock("vfs", "sriov-restore"):
        seen = inventory.look(host)
        macs = identity.permanent_macs(host, seen.pfs) if config.pfs else {}
        for wanted in config.pfs.values():
            found = identity.match(wanted, seen.pfs, macs)
            if only is not None and (found.pf is None or found.pf.address != only):
                continue
            if found.pf is None:
                results.append(Result(wanted.address, "", found.problem.message if found.problem else ""))
                continue
            pf = found.pf
            results += _one(host, pf.address, lambda: one_pf(host, wanted, pf))  # noqa: B023 - called at once
    remember(host, {r.step: r.error for r in results if pci.parse_address(r.step)}, whole=only is None)
    return results


def check(host: Host) -> List[str]:
    """What `restore` would change, in sentences; nothing is changed."""
    config = hostconfig.read(host)
    found = [f"{hostconfig.PATH}: {error}" for error in config.errors]
    if (config.pciback or config.pfs) and not pciback.find(host).loaded:
        found.append("pciback: should be loaded")
    seen = inventory.look(host)
    macs = identity.permanent_macs(host, seen.pfs) if config.pfs else {}
    for wanted in config.pfs.values():
        match = identity.match(wanted, seen.pfs, macs)
        if match.problem:
            found.append(f"{wanted.address}: {match.problem.message}")
        if match.pf:
            sentences = desired.drift(seen, wanted, match.pf).sentences
            found += [f"{match.pf.address}: {sentence}" for sentence in sentences]
    return found


def one_pf(host: Host, wanted: hostconfig.PfConfig, pf: pci.PhysicalFunction) -> str:
    """Brings one PF to what is wanted of it; raises SriovError or OSError. The caller holds the
    lock `vfs`, and knows that no VM has one of its VFs if their number has to change."""
    bring_up(host, pf)
    now = desired.drift(inventory.look(host), wanted, pf)
    if now.number is not None and moduleparam.find(host, pf.driver):
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"{pf.address} has {pf.num_vfs} VFs, not {now.number}: its driver {pf.driver} makes them.",
            "Reboot the host; if that does not help, see the driver's file in /etc/modprobe.d.",
        )
    if now.number is not None:
        vfs.make(host, pf.address, now.number)
    for address in now.untaken if now.number is None else ():
        pciback.take(host, address)
    changes = desired.drift(inventory.look(host), wanted, pf).changes
    refused = iplink.apply(host, pf.interface or "", changes)
    if refused:
        said = "; ".join(f"VF {changes[i].number} {changes[i].words}: {why}" for i, why in refused.items())
        raise SriovError("SRIOV_KERNEL_REFUSED", f"The driver of {pf.address} refused: {said}.", "")
    return f"{len(vfs.present(host, pf.address))} VFs, {len(changes)} settings applied"


def bring_up(host: Host, pf: pci.PhysicalFunction) -> None:
    """A PF that is down passes no traffic of its VFs, some drivers (bnxt_en) make none and most take
    no rates. Best effort: what matters of it is said by `status`."""
    if pf.interface and pci.is_up(host, pf.interface) is False:
        answer = host.run(["ip", "link", "set", "dev", pf.interface, "up"])
        if answer.status:
            host.log(f"{pf.address}: {answer.complaint}")


def _one(host: Host, name: str, act: Callable[[], Optional[str]]) -> List[Result]:
    try:
        done = act()
    except Exception as error:  # a bug of one step must not cost the host the others
        host.log(f"restore: {name} failed: {type(error).__name__}: {error}")
        return [Result(name, "", str(error))]
    if done is None:
        return []
    host.log(f"restore: {name}: {done}")
    return [Result(name, done, None)]


def _pciback(host: Host) -> str:
    before = pciback.find(host)
    now = pciback.load(host)
    return f"{'there' if before.loaded else 'loaded'} ({now.module or 'built into the kernel'})"


def last_errors(host: Host) -> Dict[str, Optional[str]]:
    try:
        found: Dict[str, Optional[str]] = json.loads(host.read(LAST))
        return found
    except (OSError, ValueError):
        return {}


def remember(host: Host, errors: Dict[str, Optional[str]], whole: bool = False) -> None:
    """Notes the last error of each PF, or that there was none."""
    noted = {} if whole else last_errors(host)
    noted.update(errors)
    try:
        host.replace_file(LAST, json.dumps(noted).encode())
    except OSError as error:
        host.log(f"{LAST}: {error.strerror}")
