"""The last step of a start hook: checks the VM's devices once more, notes them as the VM's, and sets them.

It holds the lock `vfs`, so that no one changes a VF in between. A hook may be killed at any point, so what it
will set is noted first, and nothing comes after this step.
"""

from contextlib import ExitStack
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import SriovError
from ..machine import xenstore
from ..machine.host import LOCK_SECONDS, Host
from ..vf import apply, start_notes
from ..vf.inventory import Inventory
from ..vf.start_notes import Note
from . import release

REBOOT_SECONDS = 600  # of waiting for the lock, where a reboot cannot do without


class Permitted(NamedTuple):
    """A start that may go on, once what it brings has arrived."""

    devices: List[str]  # that xapi will plug
    settings: Dict[str, Dict[str, str]]  # VF -> what its request wants
    ended: Optional[Dict[str, float]]  # starts that came to nothing (judge.View); None in a reboot
    seen: Optional[Inventory] = None  # what it was judged by; None where that took no look
    plugs: Optional[Sequence[str]] = None  # what xenopsd plugs (xenopsd.devices); None: unknown
    requests: Mapping[str, int] = {}  # VF -> the number of its request

    @property
    def wanted(self) -> Dict[str, Dict[str, str]]:
        """The settings of what is plugged."""
        return {vf: self.settings[vf] for vf in self.settings if vf in self.devices}


def arrive(host: Host, vm_uuid: str, permitted: Permitted) -> None:
    """Raises SriovError where a device is another VM's by now, or a setting cannot be applied.

    A reboot does not fail because someone else holds the lock for long: where its VFs are as its last start
    left them it goes on, and otherwise it waits longer.
    """
    there: apply.Vfs = {}
    if permitted.wanted:  # not looked for again where the judge has seen them
        there = apply.look(host) if permitted.seen is None else apply.seen_by(host, permitted.seen)
    apply.wait_for_links(host, there, permitted.wanted)
    is_reboot = permitted.ended is None
    doing = f"the start of {vm_uuid}"
    with ExitStack() as stack:
        try:
            seconds = release.REBOOT_LOCK_SECONDS if is_reboot else LOCK_SECONDS
            stack.enter_context(host.lock("vfs", doing, seconds))
        except SriovError as error:
            if not is_reboot:
                raise
            if _is_as_it_was(host, vm_uuid, permitted, there):
                host.log(f"{vm_uuid} reboots with its VFs as they are: {error.message}")
                _note(host, vm_uuid, permitted)
                return
            host.log(f"{vm_uuid} reboots, and waits for its VFs to be set: {error.message}")
            stack.enter_context(host.lock("vfs", doing, REBOOT_SECONDS))
        _take(host, vm_uuid, permitted, there)


def _take(host: Host, vm_uuid: str, permitted: Permitted, there: apply.Vfs) -> None:
    # Asked again, although the judge has asked: that was before this hook got the lock. A domain that has
    # come since may have a device, its note claims it for CLAIM_SECONDS only, and `sweep` must leave its VFs.
    known = xenstore.owners(host)
    running = known or {}
    starting = {
        address: uuid
        for uuid, note in start_notes.claims(host, vm_uuid).items()
        for address in note.devices
        if permitted.ended is not None and permitted.ended.get(uuid) != note.time
    }
    for address in permitted.devices:
        domain = running.get(address)
        if domain is not None and domain.vm_uuid != vm_uuid:
            raise _taken(address, f"the running VM {domain.name or domain.vm_uuid or domain.domid}")
        if address in starting:
            raise _taken(address, f"the VM {starting[address]}, which is being started")
    wanted = permitted.wanted
    if known is not None:  # else it is not known whose settings those are
        release.sweep(host, vm_uuid, running, permitted.ended or release.NOBODY)
        release.left_behind(host, vm_uuid, set(permitted.devices).difference(wanted), running)
    if wanted:  # others may have set VFs before we had the lock
        there = apply.again(host, there)
    # First noted, then set: what a hook set before it was killed is known, and swept up.
    _note(host, vm_uuid, permitted)
    if wanted:
        others = set(there).difference(wanted) if known is None else set(running)
        try:
            apply.arrive(host, there, wanted, others)
        except SriovError:
            release.end(host, vm_uuid, Note(0, [], wanted), wanted)
            raise


def _is_as_it_was(host: Host, vm_uuid: str, permitted: Permitted, there: apply.Vfs) -> bool:
    """Whether the VM's VFs need no change, and no other domain has its devices."""
    running = xenstore.owners(host) or {}
    foreign = [address for address, domain in running.items() if domain.vm_uuid != vm_uuid]
    return not set(permitted.devices).intersection(foreign) and apply.are_set(there, permitted.wanted)


def note_xapis(host: Host, vm_uuid: str, plugs: Optional[Sequence[str]]) -> None:
    """Notes the devices that xapi itself gives a VM without entries (a GPU, a VF of its own SR-IOV), for its
    reboot. Takes no lock, since such a start waits for nothing of ours."""
    if plugs:
        _note(host, vm_uuid, Permitted([], {}, None, plugs=plugs))


def _note(host: Host, vm_uuid: str, permitted: Permitted) -> None:
    """Also what xapi itself gives the VM: that is no entry, but a reboot plugs it again."""
    wanted, devices = permitted.wanted, permitted.devices
    xapis = [address for address in permitted.plugs or () if address not in devices]
    try:
        settings = {vf: dict(wanted[vf]) for vf in wanted}
        start_notes.write(host, vm_uuid, [*devices, *xapis], settings, permitted.requests)
    except OSError as error:
        host.log(f"{vm_uuid}: its start could not be noted: {error.strerror}")
        if permitted.ended is not None:  # a reboot's own note says the same already
            start_notes.remove(host, vm_uuid)  # the next reboot must not go by what was before


def _taken(address: str, holder: str) -> SriovError:
    return SriovError(
        "SRIOV_VF_IN_USE",
        f"{address} is held by {holder}.",
        "Start the VM when that one has ended, or give it another device.",
    )
