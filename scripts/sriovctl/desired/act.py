"""Makes the changes of a plan by calls of the plugin: those of ports on all hosts at once, since a card takes
its time to make VFs, and those of VMs one after the other, as the master would do them anyway."""

import shlex
import signal
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from .. import names
from ..errors import Failed
from ..pool import Host, Pool
from . import diff
from .diff import Change, Request

Tell = Callable[[str], None]
# A change, the warnings that it brought, and why it failed: the pool is then as it was, or that says what is
# left.
Result = Tuple[Change, List[str], Optional[Failed]]


def make(pool: Pool, changes: Sequence[Change], seconds: float, tell: Tell) -> Iterator[Result]:
    """In the order of the plan, each when it has been tried. `seconds`: that one may take."""
    for is_port, group in groupby(changes, lambda change: change.kind == diff.PORT):
        if is_port:
            yield from _ports(pool, list(group), seconds, tell)
            continue
        for change in group:
            tell(diff.line(change))
            yield _one(pool, change)


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
    return [_one(pool, change) for change in changes]


def _one(pool: Pool, change: Change) -> Result:
    if change.blocked:
        return change, [], Failed("BLOCKED", change.blocked)
    try:
        return change, _made(pool, change).get("warnings") or [], None
    except Failed as failed:
        return change, [], failed


def _made(pool: Pool, change: Change) -> Dict[str, Any]:
    if change.port is not None:
        return dict(pool.plugin(change.port.host, "set_vf_count", **diff.counted(change)))
    vm = str(change.uuid)
    if change.target is not None:
        return dict(pool.master("reinstate_vfs", vm_uuid=vm, host_uuid=change.target.uuid))
    if change.action == diff.REMOVE:
        return dict(pool.master("unassign_vf", vm_uuid=vm, request=str(change.request)))
    args = _arguments(pool, change)
    if change.was is None:
        return dict(pool.master("assign_vf", vm_uuid=vm, **args))
    home = pool.host(change.home or "")
    on = {"host_uuid": home.uuid} if home and home.live else {}  # or the only request would go anywhere
    with _whole():
        return _given_anew(pool, vm, change.was, {**on, **args}, on)


def _arguments(pool: Pool, change: Change) -> Dict[str, str]:
    wish = change.wish
    assert wish is not None
    args = dict(wish.args)
    if wish.value is None:  # it has been made by now
        args["vf"] = names.vf(pool, wish.shown)[1]
    return args


@contextmanager
def _whole() -> Iterator[None]:
    """Ctrl-C and what ends a command like it come into force at the end: between the two calls of one change
    a VM is without its request, and the MAC of that is nowhere."""
    held: List[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers if callable(signal.getsignal(number))}
    for number in before:
        signal.signal(number, lambda came, _frame: held.append(came))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        raise KeyboardInterrupt


def _given_anew(
    pool: Pool, vm: str, was: Request, args: Dict[str, str], on: Dict[str, str]
) -> Dict[str, Any]:
    """No call changes a request. Where the new one is refused the VM gets the old one again. `on`: the host
    of its VFs."""
    mac = {"mac": was.settings["mac"]} if "mac" in was.settings else {}
    old = {**on, was.kind: was.value, **was.settings}
    pool.master("unassign_vf", vm_uuid=vm, request=str(was.number))
    try:
        return dict(pool.master("assign_vf", vm_uuid=vm, **{**mac, **args}))
    except Failed as failed:
        try:
            pool.master("assign_vf", vm_uuid=vm, **old)
        except Failed as second:
            raise Failed(
                failed.code,
                f"{failed.message} Request {was.number} was taken back before, and could not be given again: "
                f"{second.message}",
                f"When what is in the way is gone: {_command(vm, old)} gives it as it was.",
            ) from failed
        raise Failed(
            failed.code, f"{failed.message} The VM has the old request again.", failed.hint
        ) from failed


def _command(vm: str, old: Dict[str, str]) -> str:
    words: List[str] = ["sriovctl", "assign", vm]
    host = old.get("host_uuid", "")
    for name, text in old.items():
        if name == "host_uuid":
            name = "on"
        elif name in ("pf", "vf") and host:
            text = f"{host}/{text}"
        words += [f"--{name.replace('_', '-')}", text]
    return f"`{' '.join(map(shlex.quote, words))}`"
