"""What the kernel tells of the counters of a port's VFs, as it is put together byte by byte."""

import errno
import struct
from typing import Dict, List

import kernel_netlink
import kernel_vf_stats
import pytest
from kernel_net import VfSettings
from kernel_vf_stats import Kernel
from sriovlib.machine import netlink, vf_counters
from sriovlib.machine.host import Host
from sriovlib.machine.vf_counters import Counters, Told

ALL = {"rx_bytes": 1, "tx_bytes": 2, "rx_packets": 3, "tx_packets": 4, "rx_dropped": 5, "tx_dropped": 6}


class Answering(Host):
    """Its kernel has this answer to all questions."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer
        self.asked: List[bytes] = []

    def netlink(self, request: bytes) -> List[bytes]:
        self.asked.append(request)
        return [self._answer]


def counters(seed: int) -> Dict[str, int]:
    return {name: seed * 1000 + value for name, value in ALL.items()}


def told(vfs: int, kernel: Kernel) -> Told:
    sent = {number: counters(number + 1) for number in range(vfs)}
    return vf_counters.read(Answering(kernel_vf_stats.new_link(7, sent, kernel)), 7)


@pytest.mark.parametrize("kernel", [Kernel(), Kernel(pads=True)])
@pytest.mark.parametrize("vfs", [0, 1, 64, 300])
def test_each_vf_has_its_own_counters(vfs: int, kernel: Kernel) -> None:
    """Of 300 the list's length, of 16 bits, has run over."""
    expected = {number: Counters(**counters(number + 1)) for number in range(vfs)}
    assert told(vfs, kernel) == Told(expected, vfs, "eth0")


def test_a_kernel_before_4_17_counts_no_drops() -> None:
    assert told(1, Kernel(drops=False)).vfs[0] == Counters(1001, 1002, 1003, 1004, 0, 0)


def test_counters_of_64_bits() -> None:
    most = dict.fromkeys(ALL, 2**64 - 1)
    assert vf_counters.read(Answering(kernel_vf_stats.new_link(7, {0: most})), 7).vfs[0] == Counters(**most)


def test_an_interface_that_is_no_port() -> None:
    assert vf_counters.read(Answering(kernel_vf_stats.new_link(7, None)), 7) == Told({}, 0, "eth0")


def test_vfs_that_are_told_of_in_different_orders() -> None:
    """As many bytes, at other places; and a VF of which the driver tells no counters."""
    usual = kernel_vf_stats.vf_info(0, counters(1))
    parts = kernel_netlink.attributes(kernel_vf_stats.vf_info(1, counters(2))[4:])
    turned = b"".join(kernel_netlink.attribute(kind, parts[kind]) for kind in reversed(list(parts)))
    without = kernel_netlink.vf_info(2, VfSettings())
    listed = kernel_netlink.attribute(22, usual + kernel_netlink.attribute(1, turned) + without)
    body = struct.pack("=BxHiII", 0, 1, 7, 0, 0) + kernel_netlink.attribute(21, struct.pack("=I", 3)) + listed
    found = vf_counters.read(Answering(kernel_netlink.message(16, body)), 7)
    assert found == Told({0: Counters(**counters(1)), 1: Counters(**counters(2))}, 3, "")


def test_what_the_kernel_refuses() -> None:
    with pytest.raises(OSError, match="No such device"):
        vf_counters.read(Answering(kernel_netlink.refusal(errno.ENODEV)), 7)


def test_an_answer_that_is_cut_off() -> None:
    """At any byte: each VF that is there as a whole has its own counters, and no other."""
    sent = {number: counters(number + 1) for number in range(3)}
    whole = kernel_vf_stats.new_link(7, sent)
    all_told = vf_counters.read(Answering(whole), 7)
    for size in range(netlink.HEADER.size, 32):
        with pytest.raises(OSError, match="Bad message"):
            vf_counters.read(Answering(whole[:size]), 7)
    for size in range(32, len(whole)):
        cut = vf_counters.read(Answering(whole[:size]), 7)
        assert set(cut.vfs.items()) <= set(all_told.vfs.items())


def test_attributes_of_other_sizes_and_kinds() -> None:
    """A number of VFs of two bytes, a counter of four, a VF of no bytes, and kinds that nobody knows."""
    known = kernel_vf_stats.vf_info(0, counters(1))
    short = kernel_vf_stats.vf_info(1, counters(2)).replace(
        kernel_netlink.attribute(2, struct.pack("=Q", 2001)), kernel_netlink.attribute(2, bytes(4))
    )
    body = struct.pack("=BxHiII", 0, 1, 7, 0x1043, 0)
    body += kernel_netlink.attribute(21, bytes(2)) + kernel_netlink.attribute(21, struct.pack("=I", 3))
    body += kernel_netlink.attribute(0x3FF0, b"?")
    strange = kernel_netlink.attribute(1, kernel_netlink.attribute(0x3FF0, b"?") + known[4:])
    listed = strange + short + kernel_netlink.attribute(1, b"")
    body += kernel_netlink.attribute(22, listed)
    found = vf_counters.read(Answering(kernel_netlink.message(16, body)), 7)
    assert found == Told({0: Counters(**counters(1))}, 3, "")


def test_the_question_is_for_one_port_with_its_vfs_and_counters() -> None:
    host = Answering(kernel_vf_stats.new_link(7, None))
    vf_counters.read(host, 7)
    (request,) = host.asked
    assert struct.unpack_from("=IHHII", request)[:3] == (len(request), 18, 1)  # RTM_GETLINK, no dump
    assert struct.unpack_from("=BxHiII", request, 16)[2] == 7
    assert kernel_netlink.attributes(request[32:]) == {29: struct.pack("=I", 1)}  # RTEXT_FILTER_VF alone


def test_this_machines_kernel_is_asked() -> None:
    """The loopback interface is 1 on each Linux."""
    assert vf_counters.read(Host(), 1) == Told({}, 0, "lo")
    with pytest.raises(OSError, match="No such device"):
        vf_counters.read(Host(), 2**30)
