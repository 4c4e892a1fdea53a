"""The requests of a VM by their numbers, as a caller names those that it has seen."""

from typing import List, Mapping, Optional

from ..errors import SriovError, bad_argument
from ..pool.ledger import Entry
from ..pool.state import Vm
from ..safetext import listed
from . import arguments

NONE = "none"


def missing(vm: Vm, entry: Entry, named: str) -> SriovError:
    """`named`: as in `7`, or `for 0000:07:10.0`."""
    vfs = entry.lease.vfs if entry.lease else {}
    has = ", ".join(f"{request.number} ({vfs.get(request.number)})" for request in entry.requests)
    return SriovError(
        "SRIOV_NOT_FOUND",
        f"VM {vm.name} ({vm.uuid}) has no request {named}.",
        f"Its requests: {has or 'none'}.",
    )


def expected(args: Mapping[str, str]) -> Optional[List[int]]:
    """`if_requests`: numbers with commas between, or `none`, as a sorted list; None where it is not given."""
    name = "if_requests"
    if name not in args:
        return None
    parts = args[name].split(",")
    if args[name].strip().lower() == NONE:
        return []
    try:
        return sorted({arguments.number({name: part}, name) for part in parts})
    except SriovError:
        raise bad_argument(name, args[name], f"numbers with commas between, or {NONE}") from None


def check(vm: Vm, entry: Entry, wanted: Optional[List[int]]) -> None:
    """Refuses a VM that has other requests than its caller has seen: two who see that it lacks a VF must not
    both give it one. A number is never used again, so the same numbers are the same requests."""
    has = [request.number for request in entry.requests]
    if wanted is not None and has != wanted:
        raise SriovError(
            "SRIOV_OTHER_REQUESTS",
            f"VM {vm.name} ({vm.uuid}) has {_named(has)}, and the call is for one that has {_named(wanted)}: "
            "somebody else has changed it.",
            "See what it has now (`list_assignments`), and call again if it still lacks a VF.",
        )


def _named(numbers: List[int]) -> str:
    if not numbers:
        return "no request"
    return f"request{'s' if len(numbers) > 1 else ''} {listed(list(map(str, numbers)))}"
