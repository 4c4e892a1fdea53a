"""What the kernel tells of a port's VFs, as it is put together byte by byte."""

import errno
from typing import Dict

import kernel_vf_stats
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_vf_stats import Kernel
from sriovlib.machine import vf_counters
from sriovlib.machine.vf_counters import Counters, Links, Told

ALL = {"rx_bytes": 1, "tx_bytes": 2, "rx_packets": 3, "tx_packets": 4, "rx_dropped": 5, "tx_dropped": 6}


def counters(seed: int) -> Dict[str, int]:
    return {name: seed * 1000 + value for name, value in ALL.items()}


def told(vfs: int, kernel: Kernel) -> Told:
    sent = {number: counters(number + 1) for number in range(vfs)}
    return vf_counters.parse(kernel_vf_stats.newlink(7, "eth0", sent, kernel))


@pytest.mark.parametrize("kernel", [Kernel(), Kernel(pads=True)])
def test_each_vf_has_its_own_counters(kernel: Kernel) -> None:
    expected = {number: Counters(**counters(number + 1)) for number in range(64)}
    assert told(64, kernel) == Told(expected, 64)


def test_a_kernel_before_4_17_counts_no_drops() -> None:
    assert told(1, Kernel(drops=False)).vfs[0] == Counters(1001, 1002, 1003, 1004, 0, 0)


def test_counters_of_64_bits() -> None:
    most = dict.fromkeys(ALL, 2**64 - 1)
    assert vf_counters.parse(kernel_vf_stats.newlink(7, "eth0", {0: most})).vfs[0] == Counters(**most)


def test_an_interface_that_is_no_port() -> None:
    assert vf_counters.parse(kernel_vf_stats.newlink(7, "vif3.0", None)) == Told({}, 0)


def test_of_more_vfs_than_fit_the_first_are_told() -> None:
    """The length of the list wraps around: what it names is true, and what follows it is not read."""
    found = told(300, Kernel())
    assert found.num_vfs == 300
    assert 0 < len(found.vfs) < 300
    assert found.vfs == {number: Counters(**counters(number + 1)) for number in range(len(found.vfs))}


def test_a_vf_told_of_otherwise_than_those_before_it_is_read_all_the_same() -> None:
    """As many bytes, at other places."""
    usual = kernel_vf_stats.vf_info(0, counters(1), Kernel())
    other = kernel_vf_stats.attribute(1, usual[4 + 40 + 36 :] + usual[4 : 4 + 40 + 36])
    other = other.replace(b"\0\0\0\0" + bytes([2, 0, 0, 0, 0, 0]), b"\1\0\0\0" + bytes([2, 0, 0, 0, 0, 1]))
    listed = kernel_vf_stats.attribute(22, usual + other)
    answer = kernel_vf_stats.newlink(7, "eth0", None)
    body = answer[16:32] + listed
    message = (16 + len(body)).to_bytes(4, "little") + answer[4:16] + body
    assert vf_counters.parse(message).vfs == {0: Counters(**counters(1)), 1: Counters(**counters(1))}


def test_what_the_kernel_refuses() -> None:
    with pytest.raises(OSError, match="No such device") as error:
        vf_counters.parse(kernel_vf_stats.refusal(errno.ENODEV))
    assert error.value.errno == errno.ENODEV


@given(st.data())
def test_a_torn_answer_is_an_error_or_part_of_the_truth(data: st.DataObject) -> None:
    whole = kernel_vf_stats.newlink(7, "eth0", {number: counters(number) for number in range(3)})
    torn = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if torn:
        torn[data.draw(st.integers(0, len(torn) - 1))] = data.draw(st.integers(0, 255))
    try:
        vf_counters.parse(bytes(torn))
    except OSError:
        pass


def test_this_machines_kernel_is_asked() -> None:
    """The loopback interface is 1 on each Linux."""
    links = Links()
    assert links.ask(1) == Told({}, 0)
    with pytest.raises(OSError, match="No such device"):
        links.ask(2**30)
    assert links.ask(1) == Told({}, 0)
    links.close()
