"""Makes the changes of a plan, one after the other, by calls of the plugin."""

import shlex
from typing import Any, Callable, Dict, List

from .. import names
from ..errors import Failed
from ..pool import Pool
from . import diff
from .diff import Change, Request

Warn = Callable[[str], None]


def make(pool: Pool, change: Change, warn: Warn) -> None:
    """Raises Failed; the pool is then as it was, or the message says what is left."""
    if change.blocked:
        raise Failed("BLOCKED", change.blocked)
    for warning in _made(pool, change).get("warnings") or []:
        warn(warning)


def _made(pool: Pool, change: Change) -> Dict[str, Any]:
    if change.kind == diff.PORT:
        assert change.port is not None
        host = next(host for host in pool.hosts if host.name == change.port.host)
        count = str((change.after or {})["count"])
        return dict(pool.plugin(host, "set_vf_count", pf=change.port.pf, count=count))
    vm = str(change.uuid)
    if change.kind == diff.HOST:
        host = next(host for host in pool.hosts if host.name == (change.after or {})["host"])
        return dict(pool.master("reinstate_vfs", vm_uuid=vm, host_uuid=host.uuid))
    if change.action == diff.REMOVE:
        return dict(pool.master("unassign_vf", vm_uuid=vm, request=str(change.request)))
    args = _arguments(pool, change)
    if change.was is None:
        return dict(pool.master("assign_vf", vm_uuid=vm, **args))
    return _given_anew(pool, vm, change.was, args)


def _arguments(pool: Pool, change: Change) -> Dict[str, str]:
    wish = change.wish
    assert wish is not None
    args = dict(wish.args)
    if wish.value is None:  # it has been made by now
        args["vf"] = names.vf(pool, wish.shown)[1]
    return args


def _given_anew(pool: Pool, vm: str, was: Request, args: Dict[str, str]) -> Dict[str, Any]:
    """No call changes a request. Where the new one is refused the VM gets the old one again."""
    mac = {"mac": was.settings["mac"]} if "mac" in was.settings else {}
    old = {was.kind: was.value, **was.settings}
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
    for name, text in old.items():
        words += [f"--{name.replace('_', '-')}", text]
    return f"`{' '.join(map(shlex.quote, words))}`"
