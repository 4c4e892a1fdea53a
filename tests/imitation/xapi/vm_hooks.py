"""The hook scripts of a host's dom0: which run, how, and what their ends mean.

Imitates hooks.json: every entry of /etc/xapi.d/HOOK runs, in the order of the names' bytes. 0 is fine, 1 is
ignored, anything else stops what was to be done with XAPI_HOOK_FAILED [hook/script, reason, stdout, status];
a signal is an INTERNAL_ERROR (xen-api: ocaml/xapi/xapi_hooks.ml, ocaml/xenopsd/lib/xenops_hooks.ml).
"""

import errno
import os
from functools import partial
from typing import TYPE_CHECKING, List, Sequence, Tuple

from plugin_calls import Dom0
from values import Failure, internal_error

if TYPE_CHECKING:
    from xapi import Xapi

NOT_EXECUTABLE, NOT_FOUND = 126, 127  # what stands for a program that could not be started


def run(xapi: "Xapi", host: str, hook: str, reason: str, arguments: Sequence[str]) -> None:
    """Runs the scripts of that hook on that host, one after the other; raises Failure."""
    dom0 = xapi.dom0s[host]
    for path in _scripts(dom0, hook):
        status, stdout = _execute(xapi, host, path, [*arguments[:2], "-reason", reason, *arguments[2:]])
        if status < 0:
            text = f'Forkhelpers.Spawn_internal_error("", "{stdout}", _)'
            raise internal_error(f"xenopsd internal error: {text}")
        if status > 1:
            name = f"{hook}/{os.path.basename(path)}"
            raise Failure("XAPI_HOOK_FAILED", name, reason, stdout, str(status))


def _scripts(dom0: Dom0, hook: str) -> List[str]:
    folder = os.path.join(os.path.dirname(dom0.plugins), hook)
    return [os.path.join(folder, name) for name in sorted(dom0.programs.names(folder), key=os.fsencode)]


def _execute(xapi: "Xapi", host: str, path: str, arguments: Sequence[str]) -> Tuple[int, str]:
    """Exit status (negative: the signal) and standard output."""
    dom0 = xapi.dom0s[host]
    words = [os.fsencode(word) for word in (*_command(dom0, path), *arguments)]
    try:
        ended = dom0.programs.run(words, dom0.environment, partial(xapi.reach.at_work, host))
    except OSError as error:
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE, ""
    return ended.status, ended.stdout.decode("utf-8", "replace")


def _command(dom0: Dom0, path: str) -> List[str]:
    """The script by its own #! line; a Python one by the Python that this dom0 is said to have."""
    if dom0.interpreter is None or not os.path.isfile(path) or not os.access(path, os.X_OK):
        return [path]
    with open(path, "rb") as file:
        first = file.readline()
    return [dom0.interpreter, path] if first.startswith(b"#!") and b"python" in first else [path]
