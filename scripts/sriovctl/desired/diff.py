"""What is to be changed so that a pool is as a document says. Pure.

A VM of the document has just the VFs that stand there; ports and VMs that it does not name are left alone. A
request whose settings are others keeps its number, and its MAC unless the document has another one.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from sriovlib.safetext import plural

from ..pool import Host

ADD, CHANGE, REMOVE = "add", "change", "remove"
SIGNS = {ADD: "+", CHANGE: "~", REMOVE: "-"}
PORT, VF, HOST = "port", "vf", "host"
# In which order changes are made: what is taken back may be needed, and VFs must be there to be given.
_ORDER = ((REMOVE, VF), (REMOVE, PORT), (CHANGE, PORT), (ADD, PORT), (CHANGE, HOST), (CHANGE, VF), (ADD, VF))


class Wish(NamedTuple):
    """A VF that a VM is to have. `value` as the ledger keeps it, None where that is not known before the VFs
    are made; `shown` as it was written. `settings`: all, with those of profile and network."""

    kind: str
    value: Optional[str]
    shown: str
    settings: Dict[str, str]
    args: Dict[str, str]  # of assign_vf, but for the VM


class Request(NamedTuple):
    """What a VM has now."""

    number: int
    kind: str
    value: str
    shown: str
    settings: Dict[str, str]


class VmSeen(NamedTuple):
    name: str
    uuid: str
    state: str  # its power state
    parked: bool
    host: Optional[str]  # name of the host of its VFs
    host_uuid: Optional[str]
    requests: Sequence[Request]


class PortSeen(NamedTuple):
    name: str  # HOST/eth1
    host: Host
    pf: str
    vfs: int
    configured: Optional[int]  # by the host's file
    waits: bool  # for a reboot, which makes what is configured


class Change(NamedTuple):
    """`name` is the port's or VM's; `before` and `after` are what is shown of it. `blocked` says why it
    cannot be made now."""

    action: str
    kind: str
    name: str
    uuid: Optional[str]  # of the VM
    request: Optional[int]
    before: Optional[Dict[str, Any]]
    after: Optional[Dict[str, Any]]
    blocked: str = ""
    wish: Optional[Wish] = None
    was: Optional[Request] = None
    port: Optional[PortSeen] = None
    target: Optional[Host] = None  # of a change of the VM's host
    requests: Sequence[int] = ()  # numbers of all that the VM had when it was looked at


def of_port(seen: PortSeen, count: int) -> Tuple[List[Change], List[str]]:
    """And notes of what there is to know."""
    wanted = seen.configured if seen.configured is not None else 0
    if wanted == count and seen.vfs == count:
        return [], []
    if wanted == count and seen.waits:
        return [], [
            f"{seen.name} has {plural(seen.vfs, 'VF')}, and {count} after a reboot of host {seen.host.name}."
        ]
    action = REMOVE if count == 0 else ADD if seen.vfs == 0 else CHANGE
    before = {"count": seen.vfs, "configured": seen.configured}
    after = {"count": count, "configured": count}
    return [Change(action, PORT, seen.name, None, None, before, after, port=seen)], []


def counted(change: Change) -> Dict[str, str]:
    """The arguments of set_vf_count for a change of a port."""
    assert change.port is not None
    return {"pf": change.port.pf, "count": str((change.after or {})["count"])}


def of_vm(seen: VmSeen, host: Optional[Host], wishes: Sequence[Wish]) -> List[Change]:
    """`host`: where its VFs are to be, if that is said."""
    left, new, changes = list(seen.requests), [], []
    for wish in wishes:
        same = next((one for one in left if is_same(wish, one) and fits(wish, one)), None)
        if same is None:
            new.append(wish)
        else:
            left.remove(same)
    at_home = host is not None and host.uuid == seen.host_uuid
    for wish in sorted(new, key=_is_to_be_made):
        like = next((one for one in left if is_same(wish, one) or (at_home and _may_be(wish, one))), None)
        if like is not None:
            left.remove(like)
            new.remove(wish)
            after = {**_shown(wish.kind, wish.shown, _after(wish, like))}
            before = _shown(like.kind, like.shown, like.settings)
            changes.append(_of(seen, CHANGE, VF, before, after, wish, like))
    changes += [
        _of(seen, REMOVE, VF, _shown(one.kind, one.shown, one.settings), None, None, one) for one in left
    ]
    stays = len(left) < len(seen.requests)
    if stays and host is not None and host.uuid != seen.host_uuid:
        moved = _of(seen, CHANGE, HOST, {"host": seen.host}, {"host": host.name}, None, None)
        changes.append(moved._replace(target=host))
    changes += [_of(seen, ADD, VF, None, _shown(one.kind, one.shown, one.settings), one, None) for one in new]
    return changes


def again(seen: VmSeen, home: Host, blocked: str) -> Change:
    """The VM is to have the VFs of its leases, which are of this host."""
    there = {"host": home.name}
    return _of(seen, CHANGE, HOST, there, there, None, None)._replace(target=home, blocked=blocked)


def in_order(changes: Sequence[Change]) -> List[Change]:
    return sorted(changes, key=lambda one: _ORDER.index((one.action, one.kind)))


def is_same(wish: Wish, request: Request) -> bool:
    return (wish.kind, wish.value) == (request.kind, request.value)


def _is_to_be_made(wish: Wish) -> bool:
    return wish.value is None


def _may_be(wish: Wish, request: Request) -> bool:
    """Of a host whose VFs are gone, as after a boot that could not make them: the VM has asked for this VF
    before, and keeps the request's MAC."""
    return _is_to_be_made(wish) and wish.kind == request.kind


def fits(wish: Wish, request: Request) -> bool:
    """A MAC that is not asked for is the request's own."""
    own = request.settings.get("mac")
    mac = {"mac": own} if own is not None else {}
    return {**mac, **wish.settings} == request.settings


def _after(wish: Wish, request: Request) -> Dict[str, str]:
    kept = {name: text for name, text in request.settings.items() if name == "mac"}
    return {**kept, **wish.settings}


def _shown(kind: str, value: str, settings: Dict[str, str]) -> Dict[str, Any]:
    return {"by": kind, "value": value, "settings": dict(sorted(settings.items()))}


def _of(
    seen: VmSeen,
    action: str,
    kind: str,
    before: Optional[Dict[str, Any]],
    after: Optional[Dict[str, Any]],
    wish: Optional[Wish],
    was: Optional[Request],
) -> Change:
    blocked = ""
    if seen.state != "Halted":
        blocked = f"VM {seen.name} is {seen.state.lower()}: shut it down first."
    elif seen.parked and action != REMOVE:
        blocked = f"VM {seen.name} is parked: `sriovctl unpark {seen.uuid}` first."
    number, requests = was.number if was else None, [one.number for one in seen.requests]
    return Change(
        action, kind, seen.name, seen.uuid, number, before, after, blocked, wish, was, requests=requests
    )


# -- in words ----------------------------------------------------------------------------------------------


def line(change: Change) -> str:
    return f"{SIGNS[change.action]} {sentence(change)}"


def sentence(change: Change) -> str:
    """A line of the plan, behind its sign."""
    before, after = change.before or {}, change.after or {}
    if change.kind == PORT:
        if before["count"] == after["count"]:
            return f"{change.name}: {plural(after['count'], 'VF')} at each boot, as now"
        if change.action == REMOVE:
            return f"{change.name}: its {plural(before['count'], 'VF')}"
        if change.action == ADD:
            return f"{change.name}: {plural(after['count'], 'VF')}"
        return f"{change.name}: {before['count']} -> {plural(after['count'], 'VF')}"
    if change.kind == HOST and before == after:
        return f"{change.name}: its VFs of host {after['host']} again, which its entries do not name"
    if change.kind == HOST:
        return f"{change.name}: VFs of host {before['host']} -> host {after['host']}"
    if change.action == ADD:
        return f"{change.name}: VF of {_words(after)}"
    if change.action == REMOVE:
        return f"{change.name}: request {change.request}, VF of {_words(before)}"
    was, will = before["settings"], after["settings"]
    differs = [
        f"{name} {was.get(name, 'none')} -> {will.get(name, 'none')}"
        for name in sorted({*was, *will})
        if was.get(name) != will.get(name)
    ]
    if change.wish and _is_to_be_made(change.wish):
        differs.insert(0, f"-> {after['value']}, when that is made")
    of = f"{change.name}: request {change.request}, VF of {before['by']} {before['value']}"
    return f"{of}: {', '.join(differs)}"


def _words(shown: Dict[str, Any]) -> str:
    settings = [f"{name}={text}" for name, text in shown["settings"].items()]
    return ", ".join([f"{shown['by']} {shown['value']}", *settings])


def summary(changes: Sequence[Change]) -> str:
    counts = [sum(1 for one in changes if one.action == action) for action in (ADD, CHANGE, REMOVE)]
    return "{} to add, {} to change, {} to remove".format(*counts)
