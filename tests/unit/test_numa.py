"""On which NUMA nodes of a host a VM lies, by its masks, and what Xen says of the host."""

from typing import Dict, List, Optional, Set

import pytest
from answering_host import AnsweringHost
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.machine import numa as machine_numa
from sriovlib.machine.numa import Numa
from sriovlib.pool import numa
from sriovlib.pool.numa import Pinned

# Two sockets with four CPUs each; 6 is offline, and of 7 Xen knows no node
CPU_NODES: Dict[int, Optional[int]] = {0: 0, 1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 7: None}


@pytest.mark.parametrize(
    ("mask", "read"),
    [
        ("4,5", [[4, 5]]),
        ("0,1;4,5", [[0, 1], [4, 5]]),
        ("0x4,0b1,007,1_0", [[4, 1, 7, 10]]),
        ("0-3", []),  # a range
        ("4, 5", []),  # xapi's own comment writes it with a blank, and its code cannot read it
        ("0,^1", []),
        ("1,2,", []),
        ("", []),
        ("0;;1", []),
        ("9" * 40, []),
    ],
)
def test_a_mask_is_read_as_xapi_reads_it(mask: str, read: List[List[int]]) -> None:
    assert numa.cpus(mask) == read


@pytest.mark.parametrize(
    ("mask", "vcpus", "host_mask", "nodes"),
    [
        ("4,5", 2, None, {1}),
        ("3,4", 2, None, {0, 1}),
        ("0;4", 1, None, {0}),  # there is no second vCPU
        ("0;4", 4, None, {0, 1}),
        (None, 2, "4,5", {1}),  # the host's counts for all its VMs
        ("0,4", 2, "4,5", {1}),  # then both count
        ("4", 1, "0;1", {1}),  # xapi reads no semicolon in the host's
        ("4,6,99", 1, None, {1}),  # one CPU is offline, one is not there
        ("4,7", 1, None, set()),  # unknown is neither near nor far
        (None, 2, None, set()),
        ("0-3", 2, None, set()),
    ],
)
def test_the_nodes_of_a_pinned_vm(
    mask: Optional[str], vcpus: int, host_mask: Optional[str], nodes: Set[int]
) -> None:
    assert numa.nodes(Pinned(mask, vcpus), host_mask, CPU_NODES) == nodes


def test_nothing_is_known_of_a_host_that_did_not_tell() -> None:
    assert numa.nodes(Pinned("0,1", 2), None, {}) == numa.UNKNOWN


def test_xen_is_asked_once_a_boot_and_again_for_a_card_that_came_later(fs: FakeFilesystem) -> None:
    host = AnsweringHost({"xl info -n": XL_INFO})
    known = Numa({0: 0, 1: 1, 2: None}, {"0000:07:00.0": 1, "0000:08:00.0": None})
    for _ in range(2):
        assert machine_numa.read(host, known.devices) == known
    assert len(host.asked) == 1
    assert machine_numa.read(host, ["0000:09:00.0"]) == known._replace(devices={"0000:09:00.0": None})
    fs.remove("/run/sriov/numa.json")
    host.said["xl info -n"] = 1
    assert machine_numa.read(host, known.devices) is None


XL_INFO = """\
host                   : host1
nr_nodes               : 2
cpu_topology           :
cpu:    core    socket     node
  0:       0        0        0
  1:       0        1        1
  2:       1        1       -1
device topology        :
device           node
0000:07:00.0      1
numa_info              :
node:    memsize    memfree    distances
   0:     32768      16384      10
xen_major              : 4
"""
