"""The plugin's functions: from text arguments to one JSON value, or an error that a person can use."""

import json
import traceback
from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple

from . import arguments, configure, inventory, iommu, listing, pciback, poolcopy, status, vfcount, vfsettings
from .errors import SriovError
from .host import Host
from .safetext import safe

Arguments = Mapping[str, str]


class Function(NamedTuple):
    """A plugin function: the arguments that it has, and what it does with them; whether it may write
    /etc/sriov.conf, of which the pool then gets a copy."""

    arguments: Tuple[str, ...]
    act: Callable[[Host, Any, Arguments], Any]
    writes: bool = False


FUNCTIONS: Dict[str, Function] = {
    "enable_iommu": Function(
        ("dry_run",),
        lambda host, _session, args: iommu.enable(host, arguments.boolean(args, "dry_run", False)),
        writes=True,
    ),
    "disable_iommu": Function(
        ("dry_run",),
        lambda host, _session, args: iommu.disable(host, arguments.boolean(args, "dry_run", False)),
        writes=True,
    ),
    "load_pciback": Function(
        ("persistent",),
        lambda host, _session, args: pciback.load_and_keep(host, arguments.boolean(args, "persistent", True)),
        writes=True,
    ),
    "inventory": Function((), lambda host, _session, _args: inventory.inventory(host)),
    "list_pfs": Function((), lambda host, session, _args: listing.list_pfs(host, session)),
    "set_vf_count": Function(("pf", "count", "force"), vfcount.set_vf_count, writes=True),
    "configure_vf": Function(("vf", *vfsettings.NAMES), configure.configure_vf, writes=True),
    "list_vfs": Function(("pf", "network", "state", "vm_uuid"), listing.list_vfs),
    "status": Function((), lambda host, session, _args: status.status(host, session)),
}


def call(host: Host, name: str, session: Any, args: Arguments) -> str:
    """The answer of function `name` as JSON text; raises SriovError and nothing else.

    An exception that nobody foresaw goes to the log with its traceback; the caller gets a sentence.
    """
    try:
        function = FUNCTIONS.get(name)
        if function is None:
            raise SriovError(
                "SRIOV_BAD_ARGUMENT",
                f"The plugin sriov has no function `{name[:80]}`.",
                f"It has {', '.join(sorted(FUNCTIONS))}.",
            )
        arguments.known_only(name, args, function.arguments)
        result = function.act(host, session, args)
        missed = poolcopy.store(host, session) if function.writes and session is not None else None
        if missed and "warnings" in result:
            result["warnings"].append(missed)
        return as_json(result)
    except SriovError:
        raise
    except Exception as error:
        for line in traceback.format_exc().splitlines():
            host.log(line)
        raise SriovError(
            "SRIOV_INTERNAL_ERROR",
            f"{name} failed in a way that was not foreseen: {type(error).__name__}: {error}.",
            "The system log of this host (`grep sriov /var/log/daemon.log`, or journalctl) has the details; "
            "please report them.",
        ) from error


def as_json(value: Any) -> str:
    """JSON in plain ASCII. Only a text with escapes in it can hold unsafe characters."""
    text = json.dumps(value)
    if "\\u" in text or "\x7f" in text or "\\b" in text or "\\f" in text or "\\r" in text:
        return json.dumps(_safe_value(value))
    return text


def _safe_value(value: Any) -> Any:
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, dict):
        return {safe(key): _safe_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe_value(item) for item in value]
    return value
