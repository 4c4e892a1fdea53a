"""The NUMA nodes of a host that a VM lies on: those of the physical CPUs that it is pinned to. Pure.

xapi pins by `VM.VCPUs_params:mask` and the host's `guest_VCPUs_params:mask` (xapi_xenops.ml,
scheduler_params; xenopsd's domain.ml, apply_hard_vcpu_map): numbers with commas between them, after a
semicolon those of the next vCPU. A mask with anything else in it, be it a range or a blank, is none to xapi.
Without one Xen and xenopsd choose when the VM starts, so the nodes are not known before. From 26.2 on xapi
says where the memory of a running VM is.
"""

import re
from typing import Any, FrozenSet, List, Mapping, NamedTuple, Optional

UNKNOWN: FrozenSet[int] = frozenset()
NEAR, UNCLEAR, FAR = range(3)  # of a VF from its VM
# OCaml's int_of_string, but for 0u
_NUMBER = re.compile(r"([-+]?)(0[xX][0-9a-fA-F][0-9a-fA-F_]*|0[oO][0-7][0-7_]*|0[bB][01][01_]*|[0-9][0-9_]*)")
_LONGEST = 18  # digits; what is longer numbers no CPU
_SMALL = 4096 * 4096  # bytes on a node that xapi does not count (xenctrlext.ml, DomainNuma.state)


class Pinned(NamedTuple):
    """What a VM's record says of its CPUs."""

    mask: Optional[str]
    vcpus: int  # at most


def cpus(mask: str) -> List[List[int]]:
    """The CPUs of each vCPU, as xapi reads the VM's mask; empty where it makes nothing of it."""
    try:
        return [[_number(text) for text in part.split(",")] for part in mask.split(";")]
    except ValueError:
        return []


def _number(text: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > _LONGEST:
        raise ValueError(text)
    digits = match.group(2).replace("_", "")
    number = int(digits, 0) if digits[1:2].isalpha() else int(digits)
    return -number if match.group(1) == "-" else number


def nodes(pinned: Pinned, host_mask: Optional[str], cpu_nodes: Mapping[int, Optional[int]]) -> FrozenSet[int]:
    """On the host with that mask, and the nodes of its CPUs that are online; `UNKNOWN` where the VM is not
    pinned, or the node of one of its CPUs is not known."""
    if not pinned.mask and not host_mask:  # as most
        return UNKNOWN
    own, parts = cpus(pinned.mask or ""), cpus(host_mask or "")
    of_host = parts[0] if len(parts) == 1 else None  # xapi reads no semicolon there
    if not own:
        own = [of_host] if of_host else []
    elif of_host is not None:
        own = [[cpu for cpu in one if cpu in of_host] for one in own]
    may_run = {cpu for one in own[: max(pinned.vcpus, 1)] for cpu in one if cpu in cpu_nodes}
    found = {cpu_nodes[cpu] for cpu in may_run}
    known = frozenset(node for node in found if node is not None)
    return known if len(known) == len(found) else UNKNOWN


def distance(node: Optional[int], of_vm: FrozenSet[int]) -> int:
    """Of a VF on that node from a VM on those, to choose by."""
    if not of_vm or node is None:
        return UNCLEAR
    return NEAR if node in of_vm else FAR


def tells_memory(xapi_build: str) -> bool:
    """Whether that xapi's VM_metrics have numa_node_memory (datamodel_lifecycle.ml)."""
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", xapi_build)
    return match is not None and (int(match.group(1)), int(match.group(2))) >= (26, 2)


def of_memory(metrics: Mapping[str, Any]) -> FrozenSet[int]:
    """The nodes with the memory of a running VM, by its VM_metrics; `UNKNOWN` where Xen did not tell xapi."""
    memory = metrics.get("numa_node_memory", {})
    return frozenset(int(node) for node, size in memory.items() if int(size) > _SMALL)
