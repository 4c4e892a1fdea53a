"""Xen's own calls for PCI devices of domains: to which one a device is assigned, and what memory it may map.

By libxenctrl, which each dom0 has for its own Xen (xl, libxl and xenopsd use it), through ctypes. Xen refuses
a library that was built for another version (EACCES: XEN_DOMCTL_INTERFACE_VERSION), so a wrong one does no
harm.
"""

import ctypes
import errno
import glob
import os
import re
import time
from typing import Any, List, NamedTuple, Optional, Tuple

from ..errors import SriovError
from . import pci
from .host import Host

QUARANTINE = 0x7FF1  # Xen: DOMID_IO, that holds devices of which nobody is to hear
RELAXED = 1  # Xen: XEN_DOMCTL_DEV_RDM_RELAXED, as xenopsd and libxl assign
_PAGE = 4096
_BARS = 7  # with the ROM (Linux: PCI_ROM_RESOURCE); those behind are of bridges and VFs
_MEMORY = 0x200  # Linux: IORESOURCE_MEM
_PATHS = (
    "/usr/lib64/libxenctrl.so.{}*",
    "/usr/lib/libxenctrl.so.{}*",
    "/usr/lib/*/libxenctrl.so.{}*",
    "/usr/lib/xen-{}/lib/*/libxenctrl.so*",
    "/usr/lib*/xen-{}/lib*/libxenctrl.so*",
)
_HINT = (
    "VFs of running VMs are plugged and unplugged by the libxenctrl of XCP-ng 8.3, XenServer 8 and newer; "
    "where that is not there, shut the VM down and start it."
)


class Range(NamedTuple):
    """Memory of a device, in pages of 4 KiB."""

    first: int
    pages: int


def memory_of(host: Host, address: str) -> List[Range]:
    """What a domain must be allowed to map that gets the device: its BARs. VFs have no I/O ports and no INTx
    (PCI Express, SR-IOV: VF BARs are memory, the interrupt pin is 0), so no more is needed. None of a device
    that is gone. OSError."""
    if not host.exists(f"{pci.DEVICES}/{address}"):
        return []
    lines = host.read(f"{pci.DEVICES}/{address}/resource").splitlines()[:_BARS]
    found = []
    for line in lines:
        start, end, flags = (int(word, 16) for word in line.split())
        if start and flags & _MEMORY:
            found.append(Range(start // _PAGE, (end - start) // _PAGE + 1))
    return found


class XenControl:
    """A connection to this host's Xen. Each call raises the OSError that Xen answered."""

    def __init__(self, host: Host) -> None:
        """SriovError where there is no library that fits."""
        self._host = host
        self._library = _loaded(host)
        self._handle = self._library.xc_interface_open(None, None, 0)
        if not self._handle:
            raise _missing(f"Xen cannot be reached: {os.strerror(ctypes.get_errno())}")

    def close(self) -> None:
        self._library.xc_interface_close(self._handle)

    def __enter__(self) -> "XenControl":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()

    def quarantine(self, address: str) -> None:
        """From the next deassignment on, Xen keeps what the device still writes away from dom0."""
        self._do("xc_assign_device", QUARANTINE, sbdf(address), 0)

    def assign(self, domid: int, address: str) -> None:
        """EBUSY: another domain has it, or this one already. EOPNOTSUPP: the domain was made without an
        IOMMU, so it never takes a device. ESRCH: no such domain. ENODEV: no such device."""
        self._do("xc_assign_device", domid, sbdf(address), RELAXED)

    def deassign(self, domid: int, address: str) -> None:
        """ENODEV: this domain does not have it."""
        self._do("xc_deassign_device", domid, sbdf(address))

    def is_free(self, domid: int, address: str) -> bool:
        """Whether no guest has the device, by the word of Xen. `domid`: a domain that takes devices. (Xen:
        drivers/passthrough/pci.c, device_assigned: EINVAL for one that a guest has, or that is not there.)"""
        try:
            self._do("xc_test_assign_device", domid, sbdf(address))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EBUSY):
                return False
            raise
        return True

    def allow(self, domid: int, memory: Range, allowed: bool) -> None:
        """QEMU cannot map a BAR of which the domain has not got the right, and the guest then reads ones
        (Xen: common/domctl.c, XEN_DOMCTL_memory_mapping)."""
        self._do("xc_domain_iomem_permission", domid, memory.first, memory.pages, int(allowed))

    def _do(self, function: str, *numbers: int) -> None:
        begun, said = time.monotonic(), "done"
        try:
            self._call(function, *numbers)
        except OSError as error:
            said = error.strerror or str(error)
            raise
        finally:
            if self._host.debug:
                self._host.trace(" ".join([function, *map(hex, numbers)]), begun, said)

    def _call(self, function: str, *numbers: int) -> None:
        answer = getattr(self._library, function)(self._handle, *numbers)
        if answer:
            # Libraries of old answered the error itself.
            number = ctypes.get_errno() if answer == -1 else abs(answer)
            raise OSError(number, os.strerror(number), function)


def sbdf(address: str) -> int:
    """An address as Xen writes it in one number. OSError where that has no room for its domain, as behind an
    Intel VMD: cut off it would be another device's."""
    domain, bus, slot, function = pci.address_order(address)
    if domain > 0xFFFF:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), address)
    return domain << 16 | bus << 8 | slot << 3 | function


_NUMBER = ctypes.c_uint32
_FUNCTIONS: Tuple[Tuple[str, Any, Tuple[Any, ...]], ...] = (
    ("xc_interface_open", ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)),
    ("xc_interface_close", ctypes.c_int, (ctypes.c_void_p,)),
    ("xc_assign_device", ctypes.c_int, (ctypes.c_void_p, _NUMBER, _NUMBER, _NUMBER)),
    ("xc_test_assign_device", ctypes.c_int, (ctypes.c_void_p, _NUMBER, _NUMBER)),
    ("xc_deassign_device", ctypes.c_int, (ctypes.c_void_p, _NUMBER, _NUMBER)),
    (
        "xc_domain_iomem_permission",
        ctypes.c_int,
        (ctypes.c_void_p, _NUMBER, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_uint8),
    ),
)


def _loaded(host: Host) -> Any:
    version = _version(host)
    if version is None:
        raise _missing("/sys/hypervisor does not tell which Xen runs")
    library = _find(version)
    try:
        for name, result, arguments in _FUNCTIONS:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise _missing(f"libxenctrl of Xen {version} has other functions ({error})") from error
    return library


def _version(host: Host) -> Optional[str]:
    parts = [(host.text(f"/sys/hypervisor/version/{part}") or "").strip() for part in ("major", "minor")]
    return ".".join(parts) if all(re.fullmatch("[0-9]{1,3}", part) for part in parts) else None


def _find(version: str) -> Any:
    """By the name that upstream gives it (Xen: tools/libs/libs.mk), or where Debian puts it."""
    names = [f"libxenctrl.so.{version}"]
    names += [path for pattern in _PATHS for path in sorted(glob.glob(pattern.format(version)))]
    for name in names:
        try:
            return ctypes.CDLL(name, use_errno=True)
        except OSError:
            pass
    raise _missing(f"dom0 has no libxenctrl for Xen {version}")


def _missing(why: str) -> SriovError:
    return SriovError("SRIOV_NO_XEN_CONTROL", f"VFs of running VMs cannot be changed here: {why}.", _HINT)
