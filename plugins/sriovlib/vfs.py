"""Making and unmaking the VFs of a PF: pciback waits for each at its birth, so no dom0 driver gets one."""

import errno
import time
from contextlib import contextmanager
from typing import Iterator, List, Optional, Set

from . import kernellog, pci, pciback
from .errors import SriovError
from .host import Host

WRITE_SECONDS = 60  # a bad driver can take minutes over sriov_numvfs, or for ever
BIRTH_SECONDS = 60  # VFs of i40e appear some time after the write

_FIRMWARE_HINT = (
    "Turn on SR-IOV and `above 4G decoding` in the firmware's set-up, or add pci=realloc to the dom0 "
    "kernel's command line; the vendor's tool shows what the card's own firmware allows."
)
_HINTS = {
    errno.ERANGE: "The card allows fewer; list_pfs shows how many (total_vfs).",
    errno.ENOENT: "Use a driver that makes VFs through sysfs, or its module parameter.",
    errno.EBUSY: "Something else changed the VFs meanwhile; look with list_vfs, then call again.",
    errno.EPERM: "Some VF is still held by pciback or a guest; list_vfs shows which.",
    errno.ETIMEDOUT: "The driver hangs in the kernel; see the kernel's log, and reboot the host.",
}


def addresses(pf: str, offset: int, stride: int, count: int) -> List[str]:
    """Where VFs 0 to count-1 will appear: the PF's routing ID (bus and function number, 16 bits) plus
    offset plus n strides (PCIe SR-IOV; kernel: pci_iov_virtfn_bus and _devfn)."""
    domain, bus, slot, function = pci.address_order(pf)
    own = bus << 8 | slot << 3 | function
    found = []
    for number in range(count):
        routing = own + offset + number * stride
        found.append(f"{domain:04x}:{routing >> 8:02x}:{routing >> 3 & 31:02x}.{routing & 7}")
    return found


def _numbers(host: Host, pf: str, *names: str) -> List[int]:
    return [host.number(f"{pci.DEVICES}/{pf}/{name}") or 0 for name in names]


def expected(host: Host, pf: str, count: int) -> List[str]:
    """The addresses by what the PF says now; none where it says no stride for several VFs."""
    offset, stride = _numbers(host, pf, "sriov_offset", "sriov_stride")
    return addresses(pf, offset, stride, count) if offset and (stride or count < 2) else []


def present(host: Host, pf: str) -> List[str]:
    """The VFs that there are, in the order of their numbers."""
    folder = f"{pci.DEVICES}/{pf}"
    links = [name for name in host.names(folder) if name.startswith("virtfn") and name[6:].isdigit()]
    found = [host.link(f"{folder}/{name}") for name in sorted(links, key=lambda name: int(name[6:]))]
    return [address for address in found if address]


class NotAllBorn(OSError):
    """The kernel took the number, and fewer VFs appeared than that."""


def _slots_of(host: Host, pf: str) -> Set[str]:
    """pciback's slots for VFs that this PF has or could have."""
    total = host.number(f"{pci.DEVICES}/{pf}/sriov_totalvfs") or 0
    return pciback.slots(host).intersection(expected(host, pf, total))


def clean_slots(host: Host, pf: str) -> None:
    """Takes away slots of pciback for VFs of this PF that are not there: a call that was killed may
    have left them, and each would seize what is born there next."""
    for address in _slots_of(host, pf):
        if not host.exists(f"{pci.DEVICES}/{address}"):
            pciback.remove_slot(host, address)


def make(host: Host, pf: str, count: int) -> None:
    """Brings the PF to `count` VFs, all held by pciback; `SRIOV_KERNEL_REFUSED` where the kernel
    refuses, and then it has as many as before. The caller knows that no VM has one of them."""
    before = len(present(host, pf))
    log_before = _log(host, pf)
    try:
        _make(host, pf, count)
    except OSError as error:
        reason = _reason(host, pf, log_before)
        hangs = error.errno == errno.ETIMEDOUT and not isinstance(error, NotAllBorn)  # it would again
        failed = f"{len(present(host, pf))} now" if hangs else _back(host, pf, before)
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"The kernel refused {count} VFs on {pf}: {error.strerror}"
            f"{f' ({reason})' if reason else ''}; it has {failed or f'{before} as before'}.",
            _HINTS.get(error.errno or 0, _FIRMWARE_HINT),
        ) from error


def _back(host: Host, pf: str, count: int) -> Optional[str]:
    """After a refusal: the former number again; what there is instead where that fails too."""
    try:
        _make(host, pf, count)
        return None
    except OSError as error:
        host.log(f"{pf}: could not get its {count} VFs back: {error.strerror}")
        return f"{len(present(host, pf))}, not the {count} of before"


def _make(host: Host, pf: str, count: int) -> None:
    clean_slots(host, pf)
    now = present(host, pf)
    if len(now) != count:
        for address in _slots_of(host, pf).union(now):  # one that came late has no link yet
            pciback.release(host, address)
        if now:
            _write_count(host, pf, 0)
        if count:
            _bear(host, pf, count)
    for address in present(host, pf):
        pciback.take(host, address)
    clean_slots(host, pf)


def _bear(host: Host, pf: str, count: int) -> None:
    """The slots first, then the VFs. A slot that no VF of this PF came to is taken away again,
    whatever happens: it would seize what is born there next."""
    added: Set[str] = set()
    try:
        for address in sorted(set(expected(host, pf, count)) - pciback.slots(host)):
            added.add(address)
            pciback.add_slot(host, address)
        with _nobody_but_pciback(host, pf):
            _write_count(host, pf, count)
            _wait_for(host, pf, count)
    except NotAllBorn:
        raise  # those that are late shall find their slots; making the former number ends them all
    except BaseException:
        _remove(host, added.difference(present(host, pf)))
        raise
    _remove(host, added.difference(present(host, pf)))


@contextmanager
def _nobody_but_pciback(host: Host, pf: str) -> Iterator[None]:
    """The kernel asks drivers in the order in which they were loaded. Where pciback is a module, the driver
    of the VFs may be older (igbvf; with mlx5_core or nvme it is the PF's own) and would get them at their
    birth, slot or not. So nobody is asked for that time, and then pciback alone."""
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
        host.write_attribute(autoprobe, before)


def _remove(host: Host, slots: Set[str]) -> None:
    for address in slots:
        pciback.remove_slot(host, address)


def _write_count(host: Host, pf: str, count: int) -> None:
    path = f"{pci.DEVICES}/{pf}/sriov_numvfs"
    host.write_attribute_within(path, str(count), WRITE_SECONDS)


def _wait_for(host: Host, pf: str, count: int) -> None:
    """Until every VF is there; the kernel tells of no event that would be the last one."""
    deadline = time.monotonic() + BIRTH_SECONDS
    while len(present(host, pf)) < count:
        if time.monotonic() >= deadline:
            raise NotAllBorn(errno.ETIMEDOUT, f"only {len(present(host, pf))} of {count} VFs appeared")
        time.sleep(0.05)


def _log(host: Host, pf: str) -> List[str]:
    return [line for line in host.run(kernellog.COMMAND).stdout.splitlines() if pf in line]


def _reason(host: Host, pf: str, before: List[str]) -> str:
    """What the kernel's log says of the PF since then: the only place where some refusals have a
    reason; a known one rather than the last line."""
    new = [line for line in _log(host, pf)[len(before) :] if not kernellog.is_of_link(line)]
    known = [line for line in new if kernellog.code_of(line)]
    return kernellog.without_time((known or new)[-1]) if new else ""
