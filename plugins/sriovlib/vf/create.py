"""Makes and removes the VFs of a PF by sriov_numvfs. pciback takes each VF as it appears, so no dom0 driver
gets one."""

import errno
import time
from contextlib import contextmanager
from typing import Iterator, List, Optional, Set

from ..errors import SriovError
from ..machine import kernel_log, pci, ports
from ..machine.host import Host
from ..safetext import plural
from . import kernel_refusal, pciback

WRITE_SECONDS = 60  # a bad driver can take minutes for a write to sriov_numvfs, or hang
BIRTH_SECONDS = 60  # VFs of i40e appear some time after the write
BUSY_SECONDS = 10  # for a driver that says EAGAIN
END_SECONDS = 2  # the kernel takes VFs away, and says how many it made, before the write returns


def _number(host: Host, pf: str, name: str) -> int:
    return host.number(f"{pci.DEVICES}/{pf}/{name}") or 0


def present(host: Host, pf: str) -> List[str]:
    """The existing VFs, by number."""
    links = sorted(pci.vf_links(host, pf), key=lambda name: int(name[6:]))
    found = [host.link(f"{pci.DEVICES}/{pf}/{name}") for name in links]
    return [address for address in found if address]


class NotAllBorn(OSError):
    """The kernel accepted the number, but fewer VFs appeared."""


class StillThere(OSError):
    """The driver refused to take its VFs away."""


class NotObeyed(StillThere):
    """The driver accepted the 0 and did nothing."""


def _slots_of(host: Host, pf: str) -> Set[str]:
    """pciback's slots for VFs that this PF has or could have."""
    return pciback.slots(host).intersection(pci.expected(host, pf, _number(host, pf, "sriov_totalvfs")))


def clean_slots(host: Host, pf: str) -> None:
    """Removes pciback's slots for VFs of this PF that do not exist: a call that was killed may have left
    them, and each would take the next device there."""
    for address in _slots_of(host, pf):
        if not host.exists(f"{pci.DEVICES}/{address}"):
            pciback.remove_slot(host, address)


def make(host: Host, pf: str, count: int) -> int:
    """Gives the PF `count` VFs, all held by pciback; returns how many it has now, as a driver may make more
    or fewer. `SRIOV_KERNEL_REFUSED` where the kernel refuses, and then it has as many as before. The caller
    knows that no VM has one of them."""
    before = len(present(host, pf))
    log_before = kernel_log.lines(host)
    try:
        _make(host, pf, count)
    except OSError as error:
        # where the driver reports success, the log's lines are about something else
        reason = "" if isinstance(error, NotObeyed) else reason_since(host, pf, log_before)
        hangs = error.errno == errno.ETIMEDOUT and not isinstance(error, NotAllBorn)  # it would again
        failed = f"{len(present(host, pf))} now" if hangs else _back(host, pf, before)
        refused = (
            f"to remove the VFs of {pf}"
            if isinstance(error, StillThere)
            else f"{plural(count, 'VF')} on {pf}"
        )
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"The kernel refused {refused}: {error.strerror}"
            f"{f' ({reason})' if reason else ''}; it has {failed or f'{before} as before'}.",
            _hint(host, pf, error, reason),
        ) from error
    return len(present(host, pf))


def _hint(host: Host, pf: str, error: OSError, reason: str) -> str:
    number = error.errno or 0
    if not isinstance(error, StillThere) or number in (errno.EPERM, errno.ETIMEDOUT):
        return kernel_refusal.hint(number, reason)
    driver = host.link(f"{pci.DEVICES}/{pf}/driver")
    if driver is None or driver in pci.HOLDERS:  # the driver nvme leaves its VFs there as it goes
        now = f"{driver} holds it" if driver else "it has none"
        helps = f"give {pf} back to the driver that made them, as {now} now, or reboot the host"
    elif isinstance(error, NotObeyed):  # igb looks for VFs as it comes only if told of some (igb_probe_vfs)
        helps = f"reboot the host (reloading {driver} may not help: it may not find them then either)"
    else:
        helps = (
            "reload its driver, which takes all its ports down meanwhile "
            f"(`modprobe -r {driver}`, `modprobe {driver}`), or reboot the host"
        )
    keeps = f"set_vf_count with count={len(present(host, pf))} keeps them."
    return f"Make sure that no VM has one of them; then {helps}. {keeps}"


def _back(host: Host, pf: str, count: int) -> Optional[str]:
    """After a refusal: the former number again; where that fails too, what there is instead."""
    try:
        _make(host, pf, count)
        return None
    except OSError as error:
        host.log(f"{pf}: could not get its {plural(count, 'VF')} back: {error.strerror}")
        return f"{len(present(host, pf))}, not the {count} of before"


def _make(host: Host, pf: str, count: int) -> None:
    clean_slots(host, pf)
    now = present(host, pf)
    if len(now) != count:
        for address in _slots_of(host, pf).union(now):  # a late VF has no link yet
            pciback.release(host, address)
        if now or _number(host, pf, "sriov_numvfs"):
            _end_all(host, pf)
        if count:
            _bear(host, pf, count)
    for address in present(host, pf):
        pciback.take(host, address)
    try:
        clean_slots(host, pf)
    except OSError as error:  # the VFs are there, and the next call cleans first
        host.log(f"{pf}: pciback keeps a slot without a VF: {error.strerror}")


def _end_all(host: Host, pf: str) -> None:
    """Takes all VFs away, and checks. igb, bound again while a VM had a VF, does not know its VFs any more
    and accepts a 0 without doing anything (seen, Linux 6.1); bnxt_en refuses with success (bnxt_sriov.c,
    bnxt_sriov_configure). The kernel does not check either (drivers/pci, sriov_numvfs_store)."""
    try:
        _write_count(host, pf, 0)
    except OSError as error:
        raise StillThere(error.errno, error.strerror) from error
    deadline = time.monotonic() + END_SECONDS
    while present(host, pf) or _number(host, pf, "sriov_numvfs"):
        if time.monotonic() >= deadline:
            left = len(present(host, pf)) or _number(host, pf, "sriov_numvfs")
            raise NotObeyed(
                errno.EBUSY, f"its driver accepted the 0, but {plural(left, 'VF is', 'VFs are')} still there"
            )
        time.sleep(0.05)


def _bear(host: Host, pf: str, count: int) -> None:
    """The slots first, then the VFs. A slot without a VF is removed again, whatever happens: it would take
    the next device there."""
    added: Set[str] = set()
    try:
        for address in sorted(set(pci.expected(host, pf, count)) - pciback.slots(host)):
            added.add(address)
            pciback.add_slot(host, address)
        with _only_pciback(host, pf):
            _write_count(host, pf, count)
            _wait_for(host, pf, count)
    except NotAllBorn:
        added.clear()  # late VFs must find their slots; making the former number ends them all
        raise
    finally:
        for address in added.difference(present(host, pf)):
            pciback.remove_slot(host, address)


@contextmanager
def _only_pciback(host: Host, pf: str) -> Iterator[None]:
    """The kernel asks drivers in the order in which they were loaded. Where pciback is a module, the driver
    of the VFs may be older (igbvf; with mlx5_core or nvme it is the PF's own) and would get new VFs, slot or
    not. So no driver is asked at first, and then pciback alone."""
    autoprobe = f"{pci.DEVICES}/{pf}/sriov_drivers_autoprobe"  # Linux 4.12 and later
    before = host.text(autoprobe)
    if pciback.find(host).module is None or before is None:
        yield
        return
    host.write_attribute(autoprobe, "0")
    try:
        yield
        for address in present(host, pf):
            pciback.keep_others_off(host, address)
    finally:
        try:
            host.write_attribute(autoprobe, before)
        except OSError as error:  # pciback.take can do without it
            host.log(f"{autoprobe} could not be set back to {before}: {error.strerror}")


def _write_count(host: Host, pf: str, count: int) -> None:
    """Tries again while the driver says EAGAIN, as i40e does during a reset."""
    path = f"{pci.DEVICES}/{pf}/sriov_numvfs"
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return host.write_attribute_within(path, str(count), WRITE_SECONDS)
        except OSError as error:
            if error.errno != errno.EAGAIN or time.monotonic() >= deadline:
                raise
            time.sleep(0.5)


def _wait_for(host: Host, pf: str, asked: int) -> None:
    """Until each VF is there; no event of the kernel is known to be the last. Where the driver made more
    (QAT: all that the card has) or fewer than it was asked for, which the kernel takes for success
    (drivers/pci: "requested; only %d enabled"), sriov_numvfs says how many."""
    begun = time.monotonic()
    while True:
        there, says = len(present(host, pf)), host.number(f"{pci.DEVICES}/{pf}/sriov_numvfs")
        if there >= (says or asked):
            return
        waited = time.monotonic() - begun
        if says == 0 and there == 0 and waited >= END_SECONDS:  # bnxt_en refuses so
            raise NotAllBorn(errno.ENOSPC, f"its driver accepted the {asked}, but made none")
        if waited >= BIRTH_SECONDS:
            raise NotAllBorn(errno.ETIMEDOUT, f"only {there} of {plural(says or asked, 'VF')} appeared")
        time.sleep(0.05)


def reason_since(host: Host, pf: str, before: List[str]) -> str:
    """What the kernel's log has said of the PF since `before`: some refusals have their reason there only."""
    interfaces = ports.own(host, pf)
    driver = host.link(f"{pci.DEVICES}/{pf}/driver")
    new = kernel_log.newer(before, kernel_log.lines(host))
    return kernel_refusal.cause([line for line in new if kernel_refusal.is_of(line, pf, interfaces, driver)])
