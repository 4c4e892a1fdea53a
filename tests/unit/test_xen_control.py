"""Xen's device calls by libxenctrl: what the library is told, what it answers, and a dom0 without it."""

import ctypes
import errno
import glob
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List, Tuple

import machine
import pytest
from machine import Machine
from sriovlib.errors import SriovError
from sriovlib.machine import xen, xen_control
from sriovlib.machine.command import Completed
from sriovlib.machine.host import Host
from sriovlib.machine.xen_control import Range, XenControl

VF = "0000:07:10.0"
SBDF = 0x0780
NUMBER, LONG, POINTER = ctypes.c_uint32, ctypes.c_ulong, ctypes.c_void_p


class Library:
    """C functions as ctypes finds them in a library, of their real types, that note their arguments."""

    def __init__(self) -> None:
        self.called: List[Tuple[Any, ...]] = []
        self.refuses = 0
        self.handle = 0x7F0011223344  # more than an int holds
        kinds: Any = {
            "xc_interface_open": (POINTER, POINTER, POINTER, ctypes.c_uint),
            "xc_interface_close": (ctypes.c_int, POINTER),
            "xc_assign_device": (ctypes.c_int, POINTER, NUMBER, NUMBER, NUMBER),
            "xc_test_assign_device": (ctypes.c_int, POINTER, NUMBER, NUMBER),
            "xc_deassign_device": (ctypes.c_int, POINTER, NUMBER, NUMBER),
            "xc_domain_iomem_permission": (ctypes.c_int, POINTER, NUMBER, LONG, LONG, ctypes.c_uint8),
        }
        for name, (result, *arguments) in kinds.items():
            kind = ctypes.CFUNCTYPE(result, *arguments, use_errno=True)
            setattr(self, name, kind(self._function(name)))

    def _function(self, name: str) -> Any:
        def function(*arguments: Any) -> Any:
            self.called.append((name, *arguments))
            ctypes.set_errno(self.refuses)
            if name == "xc_interface_open":
                return 0 if self.refuses else self.handle
            return -1 if self.refuses else 0

        return function


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Xen 4.17 runs."""
    folder = tmp_path / "sys/hypervisor/version"
    folder.mkdir(parents=True)
    (folder / "major").write_text("4\n")
    (folder / "minor").write_text("17\n")
    return Host(str(tmp_path))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(xen_control, "_find", lambda _version: made)
    return made


def test_calls(host: Host, library: Library) -> None:
    with XenControl(host) as control:
        control.quarantine(VF)
        control.assign(3, VF)
        control.allow(3, Range(0xFE800, 4), True)
        assert control.is_free(3, VF)
        control.deassign(3, "0001:3b:00.1")
    handle = library.handle
    assert library.called == [
        ("xc_interface_open", None, None, 0),
        ("xc_assign_device", handle, 0x7FF1, SBDF, 0),
        ("xc_assign_device", handle, 3, SBDF, 1),
        ("xc_domain_iomem_permission", handle, 3, 0xFE800, 4, 1),
        ("xc_test_assign_device", handle, 3, SBDF),
        ("xc_deassign_device", handle, 3, 0x13B01),
        ("xc_interface_close", handle),
    ]


def test_what_xen_answers(host: Host, library: Library) -> None:
    with XenControl(host) as control:
        library.refuses = errno.EINVAL
        assert not control.is_free(3, VF)
        for number in (errno.EOPNOTSUPP, errno.EACCES, errno.ESRCH):
            library.refuses = number
            with pytest.raises(OSError, match=os.strerror(number)):
                control.is_free(3, VF)
        with pytest.raises(OSError, match="No such device"):  # Xen's numbers hold no such address
            control.assign(3, "10000:01:00.0")


def test_xen_that_cannot_be_reached(host: Host, library: Library) -> None:
    library.refuses = errno.EACCES
    assert "Xen cannot be reached: Permission denied" in missing(host)


def missing(host: Host) -> str:
    with pytest.raises(SriovError) as error:
        XenControl(host)
    assert error.value.code == "SRIOV_NO_XEN_CONTROL"
    return error.value.message


def test_dom0_without_the_library_or_with_another(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing(Host(str(tmp_path / "no")))  # no Xen
    assert "no libxenctrl for Xen 4.17" in missing(host)
    monkeypatch.setattr(xen_control, "_find", lambda _version: SimpleNamespace())
    assert "other functions" in missing(host)


def test_library_is_looked_for_by_its_name_and_where_debian_has_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian = "/usr/lib/xen-4.17/lib/x86_64-linux-gnu/libxenctrl.so.4.17"
    asked: List[str] = []

    def load(name: str, use_errno: bool) -> Any:
        assert use_errno
        asked.append(name)
        if name != debian:
            raise OSError("cannot open shared object file")
        return Library()

    monkeypatch.setattr(glob, "glob", lambda pattern: [debian] * ("/xen-4.17/lib/" in pattern))
    monkeypatch.setattr(ctypes, "CDLL", load)
    XenControl(host).close()
    assert asked == ["libxenctrl.so.4.17", debian]


def test_memory_of_a_vf_is_its_bars(tmp_path: Path) -> None:
    made: Machine = machine.default_host(str(tmp_path))
    made.write_attribute("/sys/bus/pci/devices/0000:07:00.0/sriov_numvfs", "2")
    first, second = xen_control.memory_of(made, VF)
    assert (first.pages, second.pages, second.first - first.first) == (4, 4, 0x20)
    lines = made.read(f"/sys/bus/pci/devices/{VF}/resource").splitlines()
    assert int(lines[0].split()[0], 16) == first.first << 12


HEAD = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"


@pytest.mark.parametrize(
    ("state", "runs"),
    [("r-----", True), ("-b----", True), ("------", True), ("--p---", False), ("---sr-", False)]
    + [("---s--", False), ("---sc-", False), ("-----d", False), ("xl says", None)],
)
def test_whether_a_domain_runs(state: str, runs: Any) -> None:
    said = f"{HEAD}a -b---- 1.0                                 3  1024     1     {state}      12.5\n"
    assert xen.runs(Completed(["xl"], 0, said, "")) is runs
    assert xen.runs(Completed(["xl"], 1, said, "")) is None
