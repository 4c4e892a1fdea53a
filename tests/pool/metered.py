"""A host whose VFs' traffic is told to xcp-rrdd: imitations of rrdd, xenstored and the drivers' counters."""

import os
import struct
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import kernel_netlink
import kernel_vf_stats
import machine
import pytest
from machine import Machine
from rrdd import FOLDER, Rrdd
from sriovlib.machine.sysfs import INTERFACES
from sriovlib.traffic import service
from sriovlib.traffic.service import Service
from sriovlib.vf import start_notes
from xenstored import Xenstored

PF0, PF1 = "0000:07:00.0", "0000:07:00.1"
WEB, MAIL = "11111111-2222-4333-8444-555555555555", "66666666-2222-4333-8444-555555555555"
KALLSYMS = "ffffffff81000000 T _text\nffffffffc0a00000 t ixgbe_ndo_get_vf_stats\t[ixgbe]\n"
Values = Dict[str, Dict[str, Optional[float]]]


class Cards:
    """What the drivers of the ports have counted; in place of the kernel."""

    def __init__(self, host: Machine) -> None:
        self._host = host
        self.counted: Dict[int, Dict[int, Dict[str, int]]] = {}  # port -> VF -> counter -> value
        self.errors: Dict[int, int] = {}  # port -> errno
        self.asked: List[int] = []
        self.before_answer: Any = lambda: None

    def carry(self, port: int, vf: int, rx: int, tx: int = 0) -> None:
        one = self.counted.setdefault(port, {}).setdefault(vf, {})
        for name, value in (("rx_bytes", rx), ("tx_bytes", tx), ("rx_packets", rx // 100)):
            one[name] = one.get(name, 0) + value

    def netlink(self, request: bytes) -> List[bytes]:
        (index,) = struct.unpack_from("=i", request, 20)
        self.asked.append(index)
        if index in self.errors:
            return [kernel_netlink.refusal(self.errors[index])]
        names = self._host.names(INTERFACES)
        name = next(
            (one for one in names if self._host.number(f"{INTERFACES}/{one}/ifindex") == index), "eth"
        )
        answer = kernel_vf_stats.new_link(index, self.counted.get(index, {}), name=name)
        self.before_answer()
        return [answer]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1.7e9 + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Metered:
    """A host with 8 VFs on each of two ports, xcp-rrdd, and the service."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)  # a socket's path is short
        self.host: Machine = machine.default_host("host")
        for pf in (PF0, PF1):
            self.host.write_attribute(f"/sys/bus/pci/devices/{pf}/sriov_numvfs", "8")
        os.makedirs("host/proc", exist_ok=True)
        self.write("/proc/kallsyms", KALLSYMS)
        self.xenstored = Xenstored("host")
        self.rrdd = Rrdd("host")
        self.cards = Cards(self.host)
        monkeypatch.setattr(self.host, "netlink", self.cards.netlink)
        self.clock = Clock()
        monkeypatch.setattr(service, "time", self.clock)
        self.service = self.started()
        self.domids: Dict[str, int] = {}

    def started(self) -> Service:
        return Service(self.host)

    def write(self, path: str, text: str) -> None:
        with open("new", "w") as file:
            file.write(text)
        os.rename("new", os.path.realpath(self.host.path(path)))  # copies of a machine share files

    def port(self, pf: str) -> int:
        names = self.host.names(f"/sys/bus/pci/devices/{pf}/net")
        number = self.host.number(f"/sys/class/net/{names[0]}/ifindex")
        assert number is not None
        return number

    def starts(self, vm: str, vfs: Mapping[str, int], note: bool = True) -> None:
        """`vfs`: VF -> the number of its request."""
        if note:
            start_notes.write(self.host, vm, list(vfs), {}, vfs)
        self.domids[vm] = self.host.start_domain(vm, 'web\'s\n"name"', list(vfs))
        self.xenstored.tell(f"/local/domain/0/backend/pci/{self.domids[vm]}/0/dev-0")

    def stops(self, vm: str) -> None:
        self.host.stop_domain(vm)
        self.xenstored.tell(f"/local/domain/0/backend/pci/{self.domids[vm]}")

    def files(self) -> List[str]:
        """In the folder that rrdd reads."""
        return os.listdir("host" + FOLDER)

    def period(self, resident: Tuple[str, ...] = (WEB, MAIL)) -> Values:
        """Five seconds, and what rrdd has after its reading."""
        self.clock.now += 5
        self.service.turn()
        return self.rrdd.read(resident, self.clock.time() + service.LEAD)

    @property
    def kept(self) -> List[Tuple[str, int]]:
        """Requests that the service knows rrdd to have data sources of."""
        return list(self.service._counting)

    @property
    def log(self) -> str:
        return self.host.text(machine.LOG) or ""


VF0, VF1 = "0000:07:10.0", "0000:07:10.2"  # of the first port, numbers 0 and 1
OTHER = "0000:07:10.1"  # of the second port, number 0


def has_run(host: Metered) -> Metered:
    """WEB has had VF 0 for a while, with lots of traffic, as VMs before it."""
    host.cards.carry(host.port(PF0), 0, 10**12, 10**12)
    host.starts(WEB, {VF0: 1})
    assert host.period() == {WEB: {}, MAIL: {}}  # a first reading says nothing
    host.cards.carry(host.port(PF0), 0, 5000, 500)
    assert host.period() == {WEB: {"vif_101_rx": 1000.0, "vif_101_tx": 100.0}, MAIL: {}}
    return host


def goes_on(host: Metered, pf: str = PF0, vf: int = 0) -> Values:
    """The next period, in which that VF receives 50 bytes a second."""
    host.cards.carry(host.port(pf), vf, 250)
    return host.period()


def unknown(values: Values, vm: str = WEB) -> bool:
    """Whether there is no value; a data source that was there stays in the VM's archive."""
    return set(values[vm].values()) <= {None}
