"""On which hosts of the pool a VM could have VFs for its requests, by one look at the pool. Pure."""

from typing import Dict, Iterator, Mapping, NamedTuple, Optional, Sequence

from ..errors import SriovError
from . import no_free_vf, numa, placement
from .conflicts.view import Seen
from .inventories import SILENT, Surveyed
from .ledger import Request
from .placement import NoFreeVf
from .state import Vm

SILENT_CODE = "SRIOV_HOST_SILENT"


class Place(NamedTuple):
    """`can`: whether the VM could have VFs of that host (a UUID) for all its requests; None: it is not known.
    `vfs`: request -> address, or `why` not."""

    host: str
    can: Optional[bool]
    vfs: Mapping[int, str]
    why: Optional[SriovError] = None


def of_each_host(seen: Seen, vm: Vm) -> Iterator[Place]:
    """By the hosts' names, dead hosts too. A VM without requests has none."""
    entry = seen.state.entries.get(vm.uuid)
    requests = entry.requests if entry else ()
    if not entry or not requests:
        return
    current = entry.lease.vfs if entry.lease else {}
    certain = _certain(seen)
    for member in sorted(seen.topology.members.values(), key=lambda one: (one.name, one.uuid)):
        try:
            yield Place(member.uuid, True, place(certain, vm, requests, member.uuid, current))
        except SriovError as error:
            known = could(seen, vm, requests, member.uuid) is not None
            yield Place(member.uuid, False if known else None, {}, error)


def could(seen: Seen, vm: Vm, requests: Sequence[Request], host: str) -> Optional[bool]:
    """Whether the VM could have other VFs than it has, of that host; None: it is not known, as the host does
    not answer, or not whose its VFs are. Costs much less than to place them."""
    if host not in seen.surveyed.hosts:
        problem = seen.surveyed.problems.get(host)
        return None if problem is not None and problem.code == SILENT else False
    if _has_free(_certain(seen), vm, requests, host):
        return True
    return None if _has_free(seen, vm, requests, host) else False


def _certain(seen: Seen) -> Seen:
    """Without the VFs of which it is not known whose they are."""
    return seen._replace(surveyed=seen.surveyed.without_unknown(seen.held.on_host))


def _has_free(seen: Seen, vm: Vm, requests: Sequence[Request], host: str) -> bool:
    try:
        placement.choose_host({host: requests}, vm.uuid, seen.surveyed.candidates, seen.held, None)
    except NoFreeVf:
        return False
    return True


def place(
    seen: Seen, vm: Vm, requests: Sequence[Request], host: str, current: Mapping[int, str]
) -> Dict[int, str]:
    """A VF of that host for each request, or `SRIOV_NO_FREE_VF` with what there is and who has it."""
    there = answered(seen, host)
    nodes = numa.nodes(vm.pinned, there.member.mask, there.inventory.cpu_nodes)
    try:
        return placement.place(requests, vm.uuid, host, seen.surveyed.candidates, seen.held, current, nodes)
    except NoFreeVf as error:
        raise no_free_vf.as_error(error, vm.uuid, seen) from error


def answered(seen: Seen, host: str) -> Surveyed:
    """The host's inventory; refuses a host that did not answer."""
    found = seen.surveyed.hosts.get(host)
    if found is not None:
        return found
    member = seen.topology.members.get(host)
    reason = seen.surveyed.problems.get(host)
    if reason is not None:
        code = SILENT_CODE if reason.code == SILENT else "SRIOV_NO_FREE_VF"
        raise SriovError(code, reason.message, reason.hint)
    name = member.name if member else host
    if member is not None and member.live:
        raise SriovError("SRIOV_BUSY", f"The VM's VFs moved to host {name} during this call.", "Call again.")
    raise SriovError(SILENT_CODE, f"Host {name} does not answer its pool.", "Start it, or use another host.")
