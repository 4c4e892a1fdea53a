"""The host's memory nodes (NUMA): which physical CPUs and which devices are on each, as Xen knows them.

dom0's own kernel does not know: a PV dom0 is booted without NUMA (kernel: arch/x86/xen/setup.c sets numa_off,
and then pxm_to_node says "no node"), so sysfs has -1 for every device, and dom0's CPUs are virtual ones. The
kernel tells Xen the node of each device as ACPI has it (drivers/xen/pci.c: XEN_PCI_DEV_PXM), and `xl info -n`
shows what Xen made of it.
"""

import json
from typing import Any, Collection, Dict, List, NamedTuple, Optional

from ..errors import SriovError
from .host import RUN_FOLDER, Host

COMMAND = ("xl", "info", "-n")
SECONDS = 5  # it takes some milliseconds
# The nodes are the same until the next boot, and so is the note; PFs that it does not have came later.
_NOTE = f"{RUN_FOLDER}/numa.json"
_CPUS, _DEVICES = ["cpu:", "core", "socket", "node"], ["device", "node"]  # headings


class Numa(NamedTuple):
    """A node is None where Xen knows none."""

    cpus: Dict[int, Optional[int]]  # by the number of the physical CPU, of those that are online
    devices: Dict[str, Optional[int]]  # by address


def read(host: Host, pfs: Collection[str]) -> Optional[Numa]:
    """With the nodes of these PFs; None where Xen does not tell. It is asked once a boot."""
    noted = _noted(host)
    if noted is not None and noted.devices.keys() >= {*pfs}:
        return noted
    answer = host.run(COMMAND, SECONDS)
    told = parse(answer.stdout) if answer.status == 0 else None
    if told is None:
        return None
    found = told._replace(devices={pf: told.devices.get(pf) for pf in pfs})
    try:
        with host.lock("numa", "a look at the NUMA nodes", 0):
            host.replace_file(_NOTE, json.dumps(found._asdict()).encode())
    except (OSError, SriovError) as error:  # the next call asks again
        host.log(f"{_NOTE}: {error}")
    return found


def parse(text: str) -> Optional[Numa]:
    """What `xl info -n` printed (xl_info.c, output_topologyinfo); None where it shows no CPUs."""
    found = Numa({}, {})
    section: List[str] = []
    for line in text.splitlines():
        words = line.split()
        if words in (_CPUS, _DEVICES):
            section = words
            continue
        try:
            if section == _CPUS:
                number, _, _, node = words
                found.cpus[int(number.rstrip(":"))] = _node(int(node))
            elif section == _DEVICES:
                address, node = words
                found.devices[address] = _node(int(node))
        except ValueError:  # the section has ended
            section = []
    return found if found.cpus else None


def _node(number: int) -> Optional[int]:
    return number if number >= 0 else None  # -1: XEN_INVALID_NODE_ID


def _noted(host: Host) -> Optional[Numa]:
    try:
        told: Any = json.loads(host.read(_NOTE))
        return Numa({int(cpu): node for cpu, node in told["cpus"].items()}, dict(told["devices"]))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
