"""The plugin's functions: from text arguments to one JSON value, or an error that a person can use."""

import json
import re
import traceback
from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple

from . import arguments, configure, inventory, iommu, listing, pciback, status, vfcount, vfsettings
from .errors import SriovError
from .host import Host

Arguments = Mapping[str, str]


class Function(NamedTuple):
    """A plugin function: the arguments that it has, and what it does with them."""

    arguments: Tuple[str, ...]
    act: Callable[[Host, Any, Arguments], Any]


FUNCTIONS: Dict[str, Function] = {
    "enable_iommu": Function(
        ("dry_run",),
        lambda host, _session, args: iommu.enable(host, arguments.boolean(args, "dry_run", False)),
    ),
    "disable_iommu": Function(
        ("dry_run",),
        lambda host, _session, args: iommu.disable(host, arguments.boolean(args, "dry_run", False)),
    ),
    "load_pciback": Function(
        ("persistent",),
        lambda host, _session, args: pciback.load_and_keep(host, arguments.boolean(args, "persistent", True)),
    ),
    "inventory": Function((), lambda host, _session, _args: inventory.inventory(host)),
    "list_pfs": Function((), lambda host, session, _args: listing.list_pfs(host, session)),
    "set_vf_count": Function(("pf", "count", "force"), vfcount.set_vf_count),
    "configure_vf": Function(("vf", *vfsettings.NAMES), configure.configure_vf),
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
        return as_json(function.act(host, session, args))
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


# What xapi passes on: XML 1.0's characters without the control characters. One character that is
# not among them, in a result or an error, and the caller gets INTERNAL_ERROR and nothing else.
_UNSAFE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def safe(text: str) -> str:
    """The text with U+FFFD in the place of every character that would lose the whole answer."""
    return _UNSAFE.sub("\ufffd", text)


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
