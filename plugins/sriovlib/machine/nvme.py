"""NVMe's VFs: each is a secondary controller, which is offline until it has been given queues and interrupts
(NVM Express Base Specification, "Virtualization Enhancements"). nvme-cli does that, the kernel does not."""

import re
from typing import List, Optional, Sequence, Set

from ..errors import Problem
from . import pci, sysfs
from .host import Host

CLASS = "010802"

# nvme-cli: nvme-print-stdout.c, stdout_list_secondary_ctrl. VF numbers begin with 1 there, 0 is none. A zero
# is 0x0000, and from version 2.10 on 0000 (`%#.04x`).
_SECONDARY = (
    r"(?m)^\s*SCS\s*:[^:\n]*:\s*(?:0x)?([0-9a-fA-F]+)\b.*\n\s*VFN\s*:[^:\n]*:\s*(?:0x)?([0-9a-fA-F]+)\b"
)


def problems(host: Host, pf: pci.PhysicalFunction, vfs: Sequence[pci.VirtualFunction]) -> List[Problem]:
    """That VFs of an NVMe card are offline, or may be."""
    if pf.pci_class != CLASS or not vfs or pf.driver != "nvme":
        return []
    devices = host.names(sysfs.device(pf.address, "nvme"))
    device = f"/dev/{devices[0]}" if devices else "/dev/nvmeN"
    online = _online_by_sysfs(host, vfs)
    listed = _online_by_command(host, device) if devices else None
    waiting = [vf for vf in vfs if vf.number not in (online | (listed or set()))]
    if not waiting:
        return []
    names = ", ".join(vf.address for vf in waiting[:3])
    more = f" and {len(waiting) - 3} more" if len(waiting) > 3 else ""
    are = "are offline" if listed is not None else "may be offline, which takes nvme-cli to see"
    return [
        Problem(
            "VF_OFFLINE",
            f"NVMe controller {pf.address}: VFs {names}{more} {are}: a guest's driver finds no controller in "
            "an offline VF.",
            f"With nvme-cli, for each: `nvme list-secondary {device}` shows its controller C (the one whose "
            f"VFN is the VF's index plus 1); `nvme virt-mgmt {device} -c C -r 0 -a 8 -n QUEUES`, the same "
            "with `-r 1` for interrupts, `echo 1 > /sys/bus/pci/devices/VF/reset`, then "
            f"`nvme virt-mgmt {device} -c C -a 9` (online). Where all queues are the PF's, "
            f"`nvme virt-mgmt {device} -c 0 -r 0 -a 1 -n NUMBER` and a reset of the PF leave some over.",
        )
    ]


def _online_by_sysfs(host: Host, vfs: Sequence[pci.VirtualFunction]) -> Set[int]:
    """VFs of which dom0's own driver has a controller that lives."""
    found = set()
    for vf in vfs:
        folder = sysfs.device(vf.address, "nvme")
        if any(host.text(f"{folder}/{name}/state") == "live" for name in host.names(folder)):
            found.add(vf.number)
    return found


def _online_by_command(host: Host, device: str) -> Optional[Set[int]]:
    """By nvme-cli; None where it is not there, or says nothing."""
    answer = host.run(["nvme", "list-secondary", device])
    states = re.findall(_SECONDARY, answer.stdout) if answer.status == 0 else []
    if not states:
        return None
    return {int(number, 16) - 1 for state, number in states if int(state, 16) & 1}
