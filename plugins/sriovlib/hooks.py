"""The xapi hooks of a VM's life: what each does, and how it ends.

xenopsd runs them as `SCRIPT -vmuuid U -reason R`, and goes on after exit status 0 or 1; another status stops
what was to be done, and standard output is what the user reads (xen-api: ocaml/xapi/xapi_hooks.ml). For a VM
without devices a hook is over after one call to xapi, so most of the library is imported only where needed.
"""

import sys
import time
from contextlib import ExitStack
from typing import Any, Callable, Dict, Sequence, Tuple

from . import startnotes
from .errors import SriovError
from .host import Host, this_machine
from .xapi import Xapi, XapiFailure, logged_in

REFUSED = 2
# What a xapi says that has no master, or has just been started: no start is ordered by such a one.
STARTING_UP = ("HOST_STILL_BOOTING", "HOST_IS_SLAVE", "SESSION_INVALID")
SILENT_SECONDS = 10  # a xapi that does not answer for so long is taken for silent
ANSWER_SECONDS = 30  # and so is one that takes that long for an answer

RUNNING = ("Running", "Paused")  # what a VM is said to be while it reboots
REBOOTS = ("clean-reboot", "hard-reboot")  # the reasons of a VM's end that is none


class Failing(SriovError):
    """xapi is there, and fails: then it may be a start that it ordered, which must not go on unjudged."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "SRIOV_XAPI_SILENT",
            f"Whether the VM's devices are right here cannot be judged, for xapi fails: {why}.",
            "Start the VM again; `xe host-list` and `xe task-list` show whether xapi and the pool's master "
            "answer.",
        )


class Silent(Failing):
    """xapi does not answer: only a guest's own reboot needs none."""


def run(hook: str, argv: Sequence[str]) -> int:
    """The exit status. Whatever happens, a VM with devices does not start unjudged."""
    options = dict(zip(argv[1::2], argv[2::2]))
    vm_uuid, reason = options.get("-vmuuid", ""), options.get("-reason", "")
    host = this_machine()
    try:
        act: Callable[[Host, str, str], None] = {
            "vm-pre-start": pre_start,
            "vm-pre-resume": pre_resume,
            "vm-post-destroy": post_destroy,
        }[hook]
        act(host, vm_uuid, reason)
        return 0
    except SriovError as error:
        refusal = error
        host.log(f"{hook} {vm_uuid}: {error.code}: {error}")
    except Exception as error:
        refusal = _unforeseen(host, hook, error)
    if hook == "vm-post-destroy":
        return 0  # the domain is gone: there is nothing left to refuse
    _print(refusal, vm_uuid, host)
    return REFUSED


def pre_start(host: Host, vm_uuid: str, _reason: str) -> None:
    """Returns where the VM may start. What a start plugs xapi knows; what a guest's own reboot plugs, which
    needs no xapi, the note of its last start says."""
    note = startnotes.read(host, vm_uuid)
    with ExitStack() as stack:
        try:
            session, found = _ask(host, vm_uuid, stack)
        except Silent as silent:
            host.log(f"{vm_uuid}: {silent.message}")
            if note is None:
                return
            session, found = None, {}
        if session is not None:
            ref, vm = _must_be_there(found, vm_uuid)
            if not _has_entries(vm) and note is None:
                return
        from . import start

        if note is not None and (session is None or vm["power_state"] in RUNNING):
            permitted = start.reboot(note)
        elif vm["power_state"] in RUNNING:
            permitted = start.reboot_without_note(host, session, ref, vm)
        elif _has_entries(vm):
            permitted = start.start(host, session, ref, vm)
        else:
            _release(host, vm_uuid, reboots=False)
            return
    start.arrive(host, vm_uuid, permitted)


def pre_resume(host: Host, vm_uuid: str, _reason: str) -> None:
    """Returns where the VM may be resumed. There is no resume without xapi."""
    with ExitStack() as stack:
        session, found = _ask(host, vm_uuid, stack)
        ref, vm = _must_be_there(found, vm_uuid)
        if not _has_entries(vm):
            return
        from . import start

        permitted = start.resume(host, session, ref, vm)
    start.arrive(host, vm_uuid, permitted)


def post_destroy(host: Host, vm_uuid: str, reason: str) -> None:
    """What the VM had on this host it has no more. Needs no xapi."""
    if startnotes.read(host, vm_uuid) is not None:
        _release(host, vm_uuid, reboots=reason in REBOOTS)


def _has_entries(vm: Dict[str, Any]) -> bool:
    """A text of blanks and commas is no entry to xapi either."""
    return bool(vm["other_config"].get("pci", "").strip(", \t\r\n"))


def _release(host: Host, vm_uuid: str, reboots: bool) -> None:
    from . import departure

    try:
        departure.leave(host, vm_uuid, reboots)
    except Exception as error:  # no start waits for this
        host.log(f"{vm_uuid}: its VFs could not be set back: {type(error).__name__}: {error}")


def _ask(host: Host, vm_uuid: str, stack: ExitStack) -> Tuple[Any, Dict[str, Any]]:
    """A session of ours until the end of `stack`, and the VM's record by its reference; tries again for a
    while, for a toolstack that is being restarted does not answer. Raises Silent."""
    deadline = time.monotonic() + SILENT_SECONDS
    while True:
        try:
            session = stack.enter_context(logged_in(host, ANSWER_SECONDS))
            query = f'field "uuid" = "{vm_uuid}"'
            return session, Xapi(host, session, ANSWER_SECONDS).call("VM.get_all_records_where", query)
        except OSError as error:
            stack.close()
            if time.monotonic() > deadline:
                raise Silent(str(error) or type(error).__name__) from error
        except XapiFailure as failure:
            stack.close()
            if time.monotonic() > deadline:
                if failure.details[0] in STARTING_UP:
                    raise Silent(str(failure)) from failure
                raise Failing(str(failure)) from failure
        time.sleep(0.2)


def _must_be_there(found: Dict[str, Any], vm_uuid: str) -> Tuple[str, Dict[str, Any]]:
    for ref, record in found.items():
        return ref, record
    raise SriovError(
        "SRIOV_NOT_FOUND",
        f"xapi knows no VM {vm_uuid}, so nobody knows which devices it would take.",
        "See `xe vm-list`.",
    )


def _unforeseen(host: Host, hook: str, error: Exception) -> SriovError:
    if isinstance(error, (XapiFailure, OSError)):
        host.log(f"{hook}: {type(error).__name__}: {error}")
        return Silent(str(error) or type(error).__name__)
    import traceback  # takes milliseconds, and is hardly ever wanted

    for line in traceback.format_exc().splitlines():
        host.log(line)
    return SriovError(
        "SRIOV_INTERNAL_ERROR",
        f"{hook} failed in a way that was not foreseen: {type(error).__name__}: {error}.",
        "The system log of this host (`grep sriov /var/log/daemon.log`, or journalctl) has the details; "
        "please report them. To start the VM without VFs, take other_config:pci out.",
    )


def _print(refusal: SriovError, vm_uuid: str, host: Host) -> None:
    from . import product
    from .safetext import safe

    words = [refusal.code, vm_uuid, product.read(host).get("INSTALLATION_UUID", "-")]
    task = getattr(refusal, "task", None)  # of a start that is queued in the place of this one
    first = " ".join(words + ([task] if task else []))
    text = "\n".join(safe(line) for line in (first, refusal.message, refusal.hint) if line)
    sys.stdout.buffer.write((text + "\n").encode("utf-8", "replace"))
    sys.stdout.flush()
