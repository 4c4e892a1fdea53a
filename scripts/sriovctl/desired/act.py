"""Makes the changes of a plan by calls of the plugin: those of ports on all hosts at once, since a card takes
its time to make VFs, and those of VMs one after the other, as the master would do them anyway.

Each change is one call, which is done or not, so whatever ends the program loses nothing."""

from functools import partial
from itertools import groupby
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

from .. import names
from ..errors import Failed
from ..pool import Host, Pool
from . import diff
from .diff import Change

OTHER_REQUESTS = "SRIOV_OTHER_REQUESTS"

Tell = Callable[[str], None]
# A change, the warnings that it brought, and why it failed: the pool is then as it was.
Result = Tuple[Change, List[str], Optional[Failed]]


def make(pool: Pool, changes: Sequence[Change], seconds: float, tell: Tell) -> Iterator[Result]:
    """In the order of the plan, each when it has been tried. `seconds`: that one may take. A VM to which
    somebody else has given requests since it was looked at, or from which he took some, is given none:
    OTHER_REQUESTS."""
    have: Dict[str, Set[int]] = {}  # the requests of VMs, by number
    for is_port, group in groupby(changes, lambda change: change.kind == diff.PORT):
        if is_port:
            yield from _ports(pool, list(group), seconds, tell)
            continue
        for change in group:
            tell(diff.line(change))
            numbers = have.setdefault(str(change.uuid), set(change.requests))
            yield _one(pool, change, numbers)


def _ports(pool: Pool, changes: Sequence[Change], seconds: float, tell: Tell) -> Iterator[Result]:
    by_host: Dict[Host, List[int]] = {}
    for place, change in enumerate(changes):
        assert change.port is not None
        tell(diff.line(change))
        by_host.setdefault(change.port.host, []).append(place)
    calls: List[Tuple[Host, Callable[[], List[Result]]]] = [
        (host, partial(_in_turn, pool, [changes[place] for place in those]))
        for host, those in by_host.items()
    ]
    made: Dict[int, Result] = {}
    for answer in pool.together(calls, seconds * max(map(len, by_host.values()))):
        those = by_host[answer.host]
        failed: List[Result] = [(changes[place], [], answer.error) for place in those]
        made.update(zip(those, answer.value or failed))
    yield from (made[place] for place in range(len(changes)))


def _in_turn(pool: Pool, changes: Sequence[Change]) -> List[Result]:
    return [_one(pool, change, set()) for change in changes]


def _one(pool: Pool, change: Change, have: Set[int]) -> Result:
    """`have`: the requests of its VM."""
    if change.blocked:
        return change, [], Failed("BLOCKED", change.blocked)
    try:
        return change, _made(pool, change, have).get("warnings") or [], None
    except Failed as failed:
        return change, [], failed


def _made(pool: Pool, change: Change, have: Set[int]) -> Dict[str, Any]:
    if change.port is not None:
        return dict(pool.plugin(change.port.host, "set_vf_count", **diff.counted(change)))
    vm = str(change.uuid)
    if change.target is not None:
        return dict(pool.master("reinstate_vfs", vm_uuid=vm, host_uuid=change.target.uuid))
    if change.action == diff.REMOVE:
        answer = dict(pool.master("unassign_vf", vm_uuid=vm, request=str(change.request)))
        have.discard(change.request or 0)
        return answer
    which = {"if_requests": if_requests(have)} if change.was is None else {"request": str(change.was.number)}
    answer = dict(pool.master("assign_vf", vm_uuid=vm, **_arguments(pool, change), **which))
    have.add(answer["request"])
    return answer


def if_requests(numbers: Iterable[int]) -> str:
    """The argument of assign_vf for a VM with requests of these numbers."""
    return ",".join(map(str, sorted(numbers))) or "none"


def _arguments(pool: Pool, change: Change) -> Dict[str, str]:
    wish = change.wish
    assert wish is not None
    args = dict(wish.args)
    if wish.value is None:  # it has been made by now
        args["vf"] = names.vf(pool, wish.shown)[1]
    return args
