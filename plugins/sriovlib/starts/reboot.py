"""A VM reboots here: it keeps what its last start gave it, and what is plugged in addition is judged.

xapi tells xenopsd of each change of a running VM, and xenopsd takes a new list of devices over where all that
is plugged is still in it (xen-api: ocaml/xapi/xapi_xenops.ml, Xenopsd_metadata.update; ocaml/xenopsd/lib/
xenops_server.ml: import_metadata, and PCI_DB.remove', which raises Device_is_connected). So an entry that was
added while the VM ran is plugged when it reboots, and one that was replaced is not.
"""

from typing import List, Optional, Sequence

from ..errors import SriovError
from ..machine import dom0_devices
from ..machine.host import Host
from ..pool import pci_entries
from ..pool.networks import Record
from ..safetext import line
from ..vf.start_notes import NO_NOTE, Note
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi
from . import facts, judge, pin, start
from .handover import Permitted

JUDGING_SECONDS = 20  # a guest waits

_START_AGAIN = "Start the VM: its entries do not name this device any more."
_CHANGED = SriovError(
    judge.NOT_PLACED,
    "The VM's entries were changed while it ran, and it is not known what xenopsd will plug now.",
    "Start the VM: a start uses its present entries.",
)


def reboot(
    host: Host,
    session: OwnSession,
    ref: str,
    record: Record,
    note: Optional[Note],
    plugs: Optional[Sequence[str]],
) -> Optional[Permitted]:
    """Raises SriovError where it would take from dom0 or from another VM, and XapiError where that cannot be
    judged; None where there is nothing to see to. What else is wrong with it stays: a VM is not given other
    VFs while it runs.

    `note`: of the VM's last start; none where the package came after it, or /run was emptied. `plugs`: what
    xenopsd will plug (xenopsd.devices).
    """
    text = record["other_config"].get("pci", "")
    named = pci_entries.plugging_order(text)
    added = _added(note, plugs, named)
    _tell_of_another_order(host, session, record, note, named)
    if not added:
        return _as_before(note, plugs)
    unnamed = [f"0/{address}" for address in added if address not in named]
    pci = ",".join(filter(None, [text, *unnamed]))
    asked = {**record, "other_config": {**record["other_config"], "pci": pci}}
    view = facts.look(host, Xapi(host, session, JUDGING_SECONDS), ref, asked)
    if note is None:
        if view.vm.resident_on != view.host:  # one that runs elsewhere does not reboot here
            return start.start(host, session, ref, asked)._replace(plugs=plugs)
        view = view._replace(own_lease={})  # it has run with them since before the package came
    xapis = [address for address in view.devices if _is_xapis(view.devices[address])]
    added = [address for address in added if address in named or address not in xapis]
    refusals = [
        refusal if refusal.address in named else refusal._replace(hint=_START_AGAIN)
        for refusal in judge.judge(view)
        if refusal.address in added and refusal.code in (judge.NEEDED, judge.IN_USE, judge.NOT_ASSIGNED)
    ]
    if refusals:
        raise start.refused(refusals)
    xapi = Xapi(host, session, JUDGING_SECONDS)
    pin.pin(host, xapi, view.vm, view.vm.named, view.pool.here.member)
    lease = view.entry.lease if view.entry else None
    is_here = lease is not None and lease.host == view.host
    settings = start.settings_of(view.entry) if is_here else {}
    requests = start.requests_of(view.entry) if is_here else {}
    had = note or NO_NOTE
    own = {vf: settings[vf] for vf in settings if vf in added}
    numbers = {**had.requests, **{vf: requests[vf] for vf in own}}
    return Permitted([*had.devices, *added], {**had.settings, **own}, None, view.seen, plugs, numbers)


def _tell_of_another_order(
    host: Host, session: OwnSession, record: Record, note: Optional[Note], named: Sequence[str]
) -> None:
    """xenopsd has taken over where each device of a running VM has its place now, if it has taken over the
    list (see above), and plugs them so. No reboot fails for that; but it must not happen without a word."""
    own = [address for address in note.devices if address in note.settings] if note else []
    exchanged = pci_entries.in_another_order(named, own)
    if note is None or not exchanged or not set(note.devices).issubset(named):
        return
    message = (
        f"VM {line(record['name_label'])} reboots, and its guest sees its VFs in another order than before "
        f"({', '.join(exchanged)}; before: {', '.join(own)}), because its other_config:pci was changed while "
        "it ran. To put them in the order of its requests again, shut it down and start it."
    )
    host.log(f"{record['uuid']}: {message}")
    xapi = Xapi(host, session, JUDGING_SECONDS)
    start.tell(host, xapi, record["uuid"], "SRIOV_STALE_ENTRIES", message)


def unjudged(
    host: Host, vm_uuid: str, note: Optional[Note], plugs: Optional[Sequence[str]], why: SriovError
) -> Optional[Permitted]:
    """Where xapi is silent a reboot goes on only if it is known that nothing more than before is plugged.
    Else raises `why`: a VF that pciback has may be a halted VM's."""
    if plugs is None or in_addition(note, plugs):
        raise why
    host.log(f"{vm_uuid} reboots with the devices of its last start, without xapi: {why.message}")
    return _as_before(note, plugs)


def in_addition(note: Optional[Note], plugs: Sequence[str]) -> List[str]:
    """What xenopsd plugs that the last start did not."""
    had = note.devices if note else []
    return [address for address in plugs if address not in had]


def _added(note: Optional[Note], plugs: Optional[Sequence[str]], named: Sequence[str]) -> List[str]:
    """As in_addition. Where nothing is known of xenopsd, by what it does with a list of entries: it takes one
    over that still has all that is plugged. What it has made of another is not known: raises SriovError."""
    if plugs is None:
        if not set(note.devices if note else ()).issubset(named):
            raise _CHANGED
        plugs = named
    return in_addition(note, plugs)


def _as_before(note: Optional[Note], plugs: Optional[Sequence[str]]) -> Optional[Permitted]:
    return Permitted(note.devices, note.settings, None, None, plugs, note.requests) if note else None


def _is_xapis(device: judge.Device) -> bool:
    """Whether xapi gave it to the VM itself, for a VIF."""
    return bool(set(dom0_devices.XAPIS).intersection(device.carries))
