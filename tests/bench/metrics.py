"""What sriov-metrics costs dom0: the CPU time of its process, with all VFs in use, beside a core.

Its file is in /dev/shm as on a host; xcp-rrdd and xenstored are imitations in a process of their own. What
the kernel answers is as long as on a host and made before, so the driver's own time (with mlx5 a question to
the card's firmware a VF) is not in the figures. No VM starts or ends: each time that one does costs two
processes and a look at all devices, at most once a period.
"""

import os
import resource
import signal
import tempfile
import time
from contextlib import contextmanager
from typing import Dict, Iterator, List

import forked
import kernel_vf_stats
from bench.measure import Case, Sample, WentWrong
from bench.measured_host import Size
from rrdd import Rrdd
from sriovlib.machine import xenstored
from sriovlib.machine.host import Host
from sriovlib.traffic import counted_vfs
from sriovlib.traffic.counted_vfs import CountedVf, Found
from sriovlib.traffic.drivers import Counting
from sriovlib.traffic.rates import Holder
from sriovlib.traffic.service import Service
from sriovlib.xapi.rrdd import PERIOD
from xenstored import Xenstored

TURNS = 20  # a period each, in a sample
OF_A_PORT = 64
COUNTED = {"rx_bytes": 10**12, "tx_bytes": 7 * 10**11, "rx_packets": 10**9, "tx_dropped": 3}


class Answering(Host):
    """What its kernel answers of a port, of all VFs, is made before."""

    def __init__(self) -> None:
        super().__init__(".")
        self._answer = kernel_vf_stats.new_link(7, dict.fromkeys(range(OF_A_PORT), COUNTED))

    def netlink(self, _request: bytes) -> List[bytes]:
        return [self._answer]


def in_use(number: int) -> Found:
    """VFs of VMs with one each, whose driver counts all that there is."""
    found = {}
    for vf in range(number):
        holder = Holder(f"00000000-2222-4333-8444-{vf:012d}", vf, 1)
        port = 100 + vf // OF_A_PORT
        found[f"0000:{vf // 256:02x}:{vf // 8 % 32:02x}.{vf % 8}"] = CountedVf(
            holder, "vm", f"eth{port}", port, vf % OF_A_PORT, Counting("", True, True)
        )
    requests = frozenset((vf.holder.vm_uuid, 1) for vf in found.values())
    return Found(found, requests, [], False)


def used() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def servers() -> None:
    kept = Rrdd("."), Xenstored(".")
    while kept:
        time.sleep(PERIOD)


@contextmanager
def periods(size: Size) -> Iterator[Dict[str, Case]]:
    before = os.getcwd()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.chdir(folder)
        server = forked.child(servers)
        setattr(counted_vfs, "look", lambda _host: in_use(size.vfs))  # noqa: B010 - mypy knows its type
        try:
            while not os.path.exists("." + xenstored.SOCKET):
                time.sleep(0.01)
            service = Service(Answering())

            def turns() -> Sample:
                begun = used()
                for _ in range(TURNS):
                    service.turn()
                if os.stat("./dev/shm/metrics/xapi-sriov").st_size < size.vfs:
                    raise WentWrong("its file does not have all VFs")
                return Sample((used() - begun) / TURNS)

            turns()  # the second turn has all data sources
            yield {"floor": lambda: Sample(PERIOD), "this": turns}
            service.end()
        finally:
            os.kill(server, signal.SIGKILL)
            forked.status(server)
            os.chdir(before)
