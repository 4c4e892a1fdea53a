"""The xapi hooks of a VM's life: what each does, and how it ends.

xenopsd runs them as `SCRIPT -vmuuid U -reason R`, and goes on after exit status 0 or 1; another status stops
what was to be done, and standard output is what the user reads (xen-api: ocaml/xapi/xapi_hooks.ml). For a VM
without devices a hook is over after one call to xapi, so most of the library is imported only where needed.
"""

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..errors import SriovError, unforeseen
from ..machine.host import XENOPSD, Host, this_machine
from ..vf import start_notes
from ..xapi.kept_session import first_call
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiError

if TYPE_CHECKING:
    from ..pool.ledger import Move
    from .handover import Permitted

REFUSED = 2
SILENT_SECONDS = 10  # for how long xapi is asked again while it does not answer
ANSWER_SECONDS = 30  # for one answer
REBOOT_SECONDS = 3  # for one in a reboot that can do without
# For how long a reboot that needs xapi asks again: as long as a toolstack takes to restart. A guest that
# waits is better than a halted VM, and whoever rebooted from inside is not there to start it.
TOOLSTACK_SECONDS = 60

RUNNING = ("Running", "Paused")  # what a VM is said to be while it reboots
STARTS = ("vm-pre-start", "vm-pre-resume")
REBOOTS = ("clean-reboot", "hard-reboot")  # the reasons of a VM's end that is none


class Silent(SriovError):
    """xapi does not answer, or fails."""

    def __init__(self, why: XapiError) -> None:
        super().__init__(
            "SRIOV_XAPI_SILENT",
            f"Cannot check the VM's PCI devices on this host: xapi did not answer ({why}).",
            "Start the VM again when `xe host-list` and `xe task-list` answer.",
        )


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
            "vm-pre-migrate": pre_migrate,
            "vm-pre-suspend": pre_move,
        }[hook]
        act(host, vm_uuid, reason)
        return 0
    except SriovError as error:
        refusal = error
        host.log(f"{hook} {vm_uuid}: {error.code}: {error}")
    except XapiError as error:
        refusal = Silent(error)
        host.log(f"{hook} {vm_uuid}: {error}")
    except Exception as error:  # a bug of ours must not let a start pass
        refusal = unforeseen(hook, error, host.log)
        refusal.hint += " To start the VM without VFs, remove its other_config:pci."
    if hook == "vm-post-destroy":
        return 0  # the domain is gone: there is nothing left to refuse
    _print(refusal, vm_uuid, host)
    if hook in STARTS and not isinstance(refusal, Silent):
        _unpin(host, vm_uuid)  # the VM was blocked for this start, or its reboot is refused: it has ended
    return REFUSED


def pre_start(host: Host, vm_uuid: str, _reason: str) -> None:
    """Returns where the VM may start. What a start plugs xapi knows; what a reboot plugs xenopsd does, and
    most of it is in the note of the VM's last start, so that it needs no xapi."""
    try:
        if start_notes.reboots(host, vm_uuid):
            _reboot(host, vm_uuid)
        else:
            _start(host, vm_uuid)
    finally:
        start_notes.unmark(host, vm_uuid)


def pre_resume(host: Host, vm_uuid: str, _reason: str) -> None:
    """Returns where the VM may be resumed."""
    _start(host, vm_uuid, resumes=True)


def _start(host: Host, vm_uuid: str, resumes: bool = False) -> None:
    note = start_notes.read(host, vm_uuid)
    with ExitStack() as stack:
        try:
            session, ref, vm = _ask(host, vm_uuid, stack)
        except Silent as silent:
            _unless_it_plugs_nothing(host, vm_uuid, silent)
            return
        if vm["blocked_operations"] and vm["power_state"] not in RUNNING and not _has_entries(vm):
            from . import pin  # blocks of ours that Xen Orchestra wrote back after the VM's last end

            pin.lift(host, Xapi(host, session), ref, vm)
        is_away = not resumes and not _has_entries(vm) and _move(host, session, vm) is not None
        if not (_has_entries(vm) or is_away or note or _xenopsd_names_some(host, vm_uuid)):
            return
        from ..machine import xenopsd
        from . import handover, reboot, start

        plugs = xenopsd.devices(host, vm_uuid)
        permitted: Optional[Permitted]
        if vm["power_state"] in RUNNING:  # a reboot that could not be marked as one
            permitted = reboot.reboot(host, session, ref, vm, note, plugs)
        elif _has_entries(vm) or is_away:
            judged = start.resume if resumes else start.start
            permitted = judged(host, session, ref, vm, plugs)
        else:
            if note is not None:
                _release(host, vm_uuid, reboots=False)
            handover.note_xapis(host, vm_uuid, plugs)
            return
    if permitted:
        handover.arrive(host, vm_uuid, permitted)


def _reboot(host: Host, vm_uuid: str) -> None:
    """As a start where the record says that the VM does not run: then the reboot came to an end before it
    was through, and this is another start, so soon after it. One that plugs nothing, and was given nothing
    before, asks nobody."""
    from ..machine import xenopsd

    note = start_notes.read(host, vm_uuid)
    plugs = xenopsd.devices(host, vm_uuid)
    if note is None and plugs == []:
        return
    from . import handover, reboot

    as_before = note is not None and plugs is not None and not reboot.in_addition(note, plugs)
    seconds, answer = (0, REBOOT_SECONDS) if as_before else (TOOLSTACK_SECONDS, SILENT_SECONDS)
    with ExitStack() as stack:
        try:
            session, ref, vm = _ask(host, vm_uuid, stack, seconds, answer)
        except Silent as silent:  # also where this is another start, soon after a reboot that was none
            permitted = reboot.unjudged(host, vm_uuid, note, plugs, silent)
        else:
            if vm["power_state"] not in RUNNING:
                stack.close()
                _start(host, vm_uuid)
                return
            permitted = reboot.reboot(host, session, ref, vm, note, plugs)
    if permitted:
        handover.arrive(host, vm_uuid, permitted)


def pre_move(host: Host, vm_uuid: str, _reason: str) -> None:
    """Returns where the VM has no device here by a request or an entry. xapi refuses such moves before, by
    itself or by what pin.py blocks; but others write VM.blocked_operations too: Xen Orchestra takes away at a
    backup's end what it has blocked at its beginning. A refused move leaves the VM running."""
    note = start_notes.read(host, vm_uuid)
    stay = sorted(note.settings) if note else []
    stay = stay or _plugged_by_entries(host, vm_uuid)
    if stay:
        raise SriovError(
            "SRIOV_VM_NOT_HALTED",
            f"The VM has {', '.join(stay)} of this host, which would stay behind: it cannot be moved or "
            "suspended.",
            "Shut it down, and start it where you want it: it gets VFs there.",
        )


def pre_migrate(host: Host, vm_uuid: str, reason: str) -> None:
    """As pre_move; and returns where a VM whose VFs were unplugged comes to a domain that takes devices, and
    is given none. Any change of the VM's record (its name, its clock) makes xapi tell xenopsd that it takes
    none, its entries go from there a moment after they went from the record, and what the move itself carries
    is what xenopsd has now: the other host plugs all of that, and a device that it cannot plug costs the VM
    (xen-api: ocaml/xapi/xapi_xenops.ml, Xenopsd_metadata.update; ocaml/xenopsd/lib/xenops_server.ml,
    VM_migrate, VM_receive_memory)."""
    pre_move(host, vm_uuid, reason)
    if start_notes.read(host, vm_uuid) is None:
        return
    from ..machine import xenopsd, xenstore

    owners = xenstore.owners(host) or {}
    away = [
        one
        for one in xenopsd.devices(host, vm_uuid) or ()
        if one not in owners or owners[one].vm_uuid not in (vm_uuid, None)
    ]
    if away:
        raise SriovError(
            "SRIOV_BUSY",
            f"xenopsd has not heard yet that {', '.join(away)} left the VM, and the other host would plug "
            "what has that address there.",
            "Call `migrate_vm`, which moves it with VFs of the other host; or try again in a minute.",
        )
    if xenopsd.takes_devices(host, vm_uuid) is False and _is_to_have_vfs(host, vm_uuid):
        raise SriovError(
            "SRIOV_BUSY",
            "The VM's record was changed after its VFs were unplugged, so it would come to the other host as "
            "a VM that takes none.",
            "Call `migrate_vm` again; or `attach_vfs`, which gives it its VFs here.",
        )


def _is_to_have_vfs(host: Host, vm_uuid: str) -> bool:
    """Whether its VFs are away and are to come back where it goes. One that has arrived somewhere, and could
    not have VFs there, loses nothing: its host may have to be evacuated just for that."""
    from ..pool import ledger

    with ExitStack() as stack:
        session, _, vm = _ask(host, vm_uuid, stack)
        move = _move(host, session, vm)
    return move is not None and move.state != ledger.ARRIVED


def _plugged_by_entries(host: Host, vm_uuid: str) -> List[str]:
    """What the VM's domain has of what its entries name. Its note does not say whose a device is, and there
    is none where /run was full. Whether what xapi itself gave the VM (GPUs) can be moved, xapi knows."""
    from ..machine import xenopsd, xenstore
    from ..pool import pci_entries

    if xenopsd.devices(host, vm_uuid) == []:
        return []
    with ExitStack() as stack:
        _, _, vm = _ask(host, vm_uuid, stack)
    named = pci_entries.plugging_order(pci_entries.readable(vm["other_config"]))
    owners = xenstore.owners(host) if named else {}
    if owners is None:
        return named
    return [one for one in named if one in owners and owners[one].vm_uuid in (vm_uuid, None)]


def post_destroy(host: Host, vm_uuid: str, reason: str) -> None:
    """Releases the VFs that the VM had on this host. Needs no xapi but for a VM whose moves were blocked."""
    if reason in REBOOTS:
        try:
            start_notes.mark_reboot(host, vm_uuid)
        except OSError as error:
            host.log(f"{vm_uuid}: its reboot could not be noted: {error.strerror}")
    else:
        start_notes.unmark(host, vm_uuid)
    if start_notes.read(host, vm_uuid) is not None:
        _release(host, vm_uuid, reason in REBOOTS)
    if reason not in REBOOTS:
        _unpin(host, vm_uuid)


def _unpin(host: Host, vm_uuid: str) -> None:
    """Of a VM that has ended here, or will not start."""
    if not host.exists(f"{start_notes.BLOCKED}{vm_uuid}"):
        return
    from . import pin

    try:
        pin.unpin(host, vm_uuid)
    except Exception as error:  # must not become another exit status
        host.log(f"{vm_uuid}: its moves stay blocked: {type(error).__name__}: {error}")


def _unless_it_plugs_nothing(host: Host, vm_uuid: str, silent: Silent) -> None:
    """Raises `silent`, unless it is certain that the VM has no devices."""
    from ..machine import xenopsd

    if xenopsd.devices(host, vm_uuid) != []:
        raise silent
    host.log(f"{vm_uuid} has no devices, so it starts without a check: {silent.message}")


def _xenopsd_names_some(host: Host, vm_uuid: str) -> bool:
    """Whether xapi may give devices to the VM by itself (GPUs, VFs of its own SR-IOV). Each start asks."""
    return any(host.exists(f"{XENOPSD}/{name}/PCI/{vm_uuid}") for name in host.names(XENOPSD))


def _move(host: Host, session: OwnSession, vm: Dict[str, Any]) -> "Optional[Move]":
    """The one that is not over, and may have taken the VM's entries away. Only a VM with our mark is looked
    for in the ledger."""
    from ..pool import MARK

    if vm["other_config"].get(MARK) != vm["uuid"]:
        return None
    from ..pool import state
    from ..pool.records import Records

    entry = state.read_ledger(Records(host, Xapi(host, session))).entries.get(vm["uuid"])
    return entry.move if entry is not None else None


def _has_entries(vm: Dict[str, Any]) -> bool:
    """A text of blanks and commas is no entry to xapi either."""
    return bool(vm["other_config"].get("pci", "").strip(", \t\r\n"))


def _release(host: Host, vm_uuid: str, reboots: bool) -> None:
    from . import release

    try:
        release.leave(host, vm_uuid, reboots)
    except Exception as error:  # no start waits for this
        host.log(f"{vm_uuid}: its VFs could not be released: {type(error).__name__}: {error}")


def _ask(
    host: Host,
    vm_uuid: str,
    stack: ExitStack,
    seconds: float = SILENT_SECONDS,
    answer: float = ANSWER_SECONDS,
) -> Tuple[OwnSession, str, Dict[str, Any]]:
    """A session that is good until the end of `stack`, the VM's reference and its record; tries again for
    `seconds`, for a toolstack that is being restarted does not answer. Raises Silent."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            query = f'field "uuid" = "{vm_uuid}"'
            session, found = first_call(host, stack, answer, "VM.get_all_records_where", query)
            break
        except XapiError as error:
            stack.close()
            if time.monotonic() >= deadline:
                raise Silent(error) from error
        time.sleep(0.2)
    for ref, record in found.items():
        return session, ref, record
    raise SriovError(
        "SRIOV_NOT_FOUND",
        f"Cannot check the devices of VM {vm_uuid}: xapi has no such VM.",
        "See `xe vm-list`.",
    )


def _print(refusal: SriovError, vm_uuid: str, host: Host) -> None:
    from ..machine import xensource_inventory
    from ..safetext import safe

    words = [refusal.code, vm_uuid, xensource_inventory.read(host).get("INSTALLATION_UUID", "-")]
    task = getattr(refusal, "task", None)  # of a start that is queued in the place of this one
    first = " ".join(words + ([task] if task else []))
    lines = [" ".join(line.splitlines()) for line in (first, refusal.message, refusal.hint) if line]
    text = "\n".join(map(safe, lines))
    sys.stdout.buffer.write((text + "\n").encode("utf-8", "replace"))
    sys.stdout.flush()
