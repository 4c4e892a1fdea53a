"""A VM reboots here: it keeps what its last start gave it, and what is plugged in addition is judged.

xapi tells xenopsd of each change of a running VM, and xenopsd takes a new list of devices over where all that
is plugged is still in it (xen-api: ocaml/xapi/xapi_xenops.ml, Xenopsd_metadata.update; ocaml/xenopsd/lib/
xenops_server.ml: import_metadata, and PCI_DB.remove', which raises Device_is_connected). So an entry that was
added while the VM ran is plugged when it reboots, and one that was replaced is not.
"""

from typing import Any, List, Optional, Sequence

from ..errors import SriovError
from ..machine import dom0_devices
from ..machine.host import Host
from ..pool import pci_entries
from ..pool.networks import Record
from ..vf.start_notes import Note
from ..xapi.session import Xapi, XapiError
from . import facts, judge, start
from .facts import View
from .handover import Permitted
from .judge import Refusal

JUDGING_SECONDS = 20  # a guest waits

_START_ANEW = "Start the VM: its entries do not name this device any more."
_CHANGED = SriovError(
    judge.NOT_PLACED,
    "The VM's entries were changed while it ran, and what xenopsd plugs now is not known.",
    "Start the VM: a start goes by its entries.",
)


def reboot(
    host: Host, session: Any, ref: str, vm: Record, note: Optional[Note], plugs: Optional[Sequence[str]]
) -> Optional[Permitted]:
    """Raises SriovError where it would take from dom0 or from another VM, and what xapi fails with where that
    cannot be judged; None where there is nothing to see to. What else is wrong with it stays: a VM is not
    given other VFs while it runs.

    `note`: of the VM's last start; none where the package came after it, or /run was emptied. `plugs`: what
    xenopsd will plug (xenopsd.devices).
    """
    text = vm["other_config"].get("pci", "")
    named = pci_entries.plugging_order(text)
    added = _added(note, plugs, named)
    _tell_of_another_order(host, session, vm, note, named)
    if not added:
        return _as_before(note)
    unnamed = [f"0/{address}" for address in added if address not in named]
    asked = {**vm, "other_config": {**vm["other_config"], "pci": ",".join(filter(None, [text, *unnamed]))}}
    view = facts.look(host, Xapi(host, session, JUDGING_SECONDS), ref, asked)
    here = view.pool.member
    if note is None and vm["resident_on"] != here.ref:  # one that runs elsewhere does not reboot here
        return start.start(host, session, ref, asked)
    added = [address for address in added if address in named or not _is_xapis(view, address)]
    if note is None:  # it has run with them since before the package came
        view = view._replace(own_lease={})
    refusals = [
        refusal if refusal.address in named else refusal._replace(hint=_START_ANEW)
        for refusal in _taking(view, asked)
        if refusal.address in added
    ]
    if refusals:
        raise start.refused(refusals)
    lease = view.entry.lease if view.entry else None
    settings = start.settings_of(view.entry) if lease and lease.host == here.uuid else {}
    had = note or Note(0, [], {})
    own = {vf: settings[vf] for vf in settings if vf in added}
    return Permitted([*had.devices, *added], {**had.settings, **own}, None)


def _tell_of_another_order(
    host: Host, session: Any, vm: Record, note: Optional[Note], named: Sequence[str]
) -> None:
    """xenopsd has taken over where each device of a running VM has its place now, if it has taken over the
    list (see above), and plugs them so. No reboot ends for that; but it is not to happen without a word."""
    own = [address for address in note.devices if address in note.settings] if note else []
    exchanged = pci_entries.in_another_order(named, own)
    if note is None or not exchanged or not set(note.devices).issubset(named):
        return
    message = (
        f"{vm['name_label']} reboots, and its guest sees its VFs in another order than before "
        f"({', '.join(exchanged)}; before: {', '.join(own)}): its other_config:pci was changed while it ran. "
        "Shut it down and start it, and they are in the order of its requests again."
    )
    host.log(f"{vm['uuid']}: {message}")
    try:
        Xapi(host, session, JUDGING_SECONDS).call(
            "message.create", "SRIOV_STALE_ENTRIES", start.MESSAGE_PRIORITY, "VM", vm["uuid"], message
        )
    except XapiError as error:  # a message is a comfort
        host.log(f"{vm['uuid']}: no message: {error}")


def unjudged(
    host: Host, vm_uuid: str, note: Optional[Note], plugs: Optional[Sequence[str]], why: SriovError
) -> Optional[Permitted]:
    """What more than before is plugged nobody can judge now, so the reboot goes on only where that is known
    to be nothing. Else raises `why`: a VF that pciback has may be a halted VM's."""
    if plugs is None or in_addition(note, plugs):
        raise why
    host.log(f"{vm_uuid} reboots, and xapi is not needed for that: {why.message}")
    return _as_before(note)


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


def _as_before(note: Optional[Note]) -> Optional[Permitted]:
    return Permitted(note.devices, note.settings, None) if note else None


def _taking(view: View, vm: Record) -> List[Refusal]:
    judged = view.judge(vm["uuid"], vm["other_config"]["pci"])
    return [one for one in judged if one.code in (judge.NEEDED, judge.IN_USE, judge.NOT_ASSIGNED)]


def _is_xapis(view: View, address: str) -> bool:
    """Whether xapi gave it to the VM itself, for a VIF."""
    return bool(set(dom0_devices.XAPIS).intersection(view.devices[address].carries))
