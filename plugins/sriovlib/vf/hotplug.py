"""One VF out of a running HVM domain, or into one: the steps, their order, and how each is verified.

Out: QEMU asks the guest, and the device goes from QEMU when the guest has let go; then it is reset, Xen takes
it from the domain, and last the key `dev-N` goes out of xenstore. In: the key first, then Xen, then QEMU. So
whatever a domain has is in xenstore at any moment, where xenopsd and everybody else look, and a call that was
killed is finished, or taken back, by the next one: each step looks at what is there. (xenopsd writes the key
last, as a start that fails ends with the domain: ocaml/xenopsd/xc/device.ml, PCI.add.)

What a domain has is the word of Xen and of QEMU. Where one does not answer, that VF stays as it is.
"""

import errno
import os
import time
from typing import Collection, Dict, List, Optional

from ..machine import pci, qmp, xen_control, xenstore
from ..machine.host import Host
from ..machine.xen_control import XenControl
from . import pciback

PAUSE = 0.3  # between two looks at what the guest has let go; each is a connection to QEMU
ASK_SECONDS = 10  # from one request to the guest to the next
RESET_SECONDS = 10  # a function-level reset takes 0.1 s
BACK_SECONDS = 10  # for a guest to let go of what it was just given, where the rest failed


class NotDone(Exception):
    """The VF could not be plugged, or not unplugged; a sentence without its end, for people."""


# -- what there is -----------------------------------------------------------------------------------


def present(host: Host, domid: int, addresses: Collection[str]) -> List[str]:
    """Those of the VFs that the domain has, or may have: in QEMU, or noted in xenstore. Raises NotDone."""
    noted = xenstore.plugged(host, domid)
    if noted is None:
        raise NotDone("xenstore does not answer")
    in_qemu = _in_qemu(host, domid)
    return [address for address in addresses if address in noted or address in in_qemu]


def takes_devices(control: XenControl, domid: int, address: str) -> bool:
    """Whether the domain was made for devices; one that was not never takes one. Raises NotDone. `address`:
    of any device of the host."""
    try:
        control.is_free(domid, address)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise NotDone(_of_xen(domid, error)) from error
    return True


def _in_qemu(host: Host, domid: int) -> Collection[str]:
    try:
        with qmp.connected(host, domid) as monitor:
            return qmp.devices(monitor)
    except qmp.QmpError as error:
        raise NotDone(str(error)) from error


# -- out ---------------------------------------------------------------------------------------------


def unplug(
    host: Host, control: XenControl, domid: int, addresses: Collection[str], seconds: float
) -> Dict[str, str]:
    """Takes VFs out of the domain; those that stay, and why. The guest has `seconds` to let go."""
    try:
        kept = dict.fromkeys(
            _asked_for(host, domid, addresses, time.monotonic() + seconds),
            f"the guest has not let go of it within {seconds:g} s",
        )
    except qmp.QmpError as error:
        return dict.fromkeys(addresses, str(error))
    for address in addresses:
        if address not in kept:
            try:
                _take_out(host, control, domid, address)
            except NotDone as error:
                kept[address] = str(error)
    return kept


def _asked_for(host: Host, domid: int, addresses: Collection[str], deadline: float) -> List[str]:
    """Asks the guest to let go of devices, and waits; those that it still has. Raises QmpError. A guest that
    boots forgets what it was asked before its ACPI was ready, so it is asked again (QEMU from 6.2 to 8.0 does
    not pass that on)."""
    ask_at = time.monotonic()
    while True:
        with qmp.connected(host, domid) as monitor:
            there = qmp.devices(monitor)
            kept = [address for address in addresses if address in there]
            if time.monotonic() >= ask_at:
                for address in kept:
                    qmp.ask_for(monitor, there[address])
                ask_at += ASK_SECONDS
        if not kept or time.monotonic() >= deadline:
            return kept
        time.sleep(PAUSE)


def _take_out(host: Host, control: XenControl, domid: int, address: str) -> None:
    """Of a device that QEMU does not have (any more). It is reset before it leaves the domain: whatever the
    guest has left it doing must not go on in dom0's memory, or in a next guest's."""
    try:
        for memory in xen_control.memory_of(host, address):
            control.allow(domid, memory, False)
        if takes_devices(control, domid, address) and not control.is_free(domid, address):
            _reset(host, address)
            control.deassign(domid, address)
            if not control.is_free(domid, address):
                raise NotDone("Xen took it from the domain, and yet says that a domain has it")
    except OSError as error:
        if error.errno != errno.ENODEV:  # else another domain has it, and this one has not
            raise NotDone(_of_xen(domid, error)) from error
    _note(host, domid, address, False)


def _reset(host: Host, address: str) -> None:
    """As xenopsd does before a VF comes and when a domain ends, and as there a VF that refuses is no reason
    to stop (device.ml, do_flr)."""
    device = f"{pci.DEVICES}/{address}/reset"
    path, text = (device, "1") if host.exists(device) else (f"{pciback.DRIVER}/do_flr", address)
    try:
        host.write_attribute_within(path, text, RESET_SECONDS)
    except OSError as error:
        host.log(f"{address} could not be reset: {error.strerror}")


def _note(host: Host, domid: int, address: str, plugged: bool) -> None:
    """Writes the key of xenstore, or removes it, and reads it back."""
    try:
        (xenstore.plug if plugged else xenstore.unplug)(host, domid, address)
    except OSError as error:
        raise NotDone(f"xenstore: {error.strerror}") from error
    now = xenstore.plugged(host, domid)
    if now is None or (address in now) != plugged:
        raise NotDone("xenstore did not take the change")


# -- in ----------------------------------------------------------------------------------------------


def plug(host: Host, control: XenControl, domid: int, address: str, first_slot: Optional[int] = None) -> bool:
    """Gives the domain a VF that no other domain has; False where it had it already. Raises NotDone, and then
    the domain does not have it, unless the sentence says so. `first_slot`: of the guest's PCI bus, where the
    device `dev-0` is and the others follow; None: QEMU chooses."""
    if not host.exists(f"{pci.DEVICES}/{address}"):
        raise NotDone("this host has no such device")
    in_qemu = address in _in_qemu(host, domid)
    free = _is_free(control, domid, address)
    if in_qemu and free:
        raise NotDone("QEMU has it, and Xen has not; it comes right when the VM is shut down and started")
    if in_qemu:
        had = address in (xenstore.plugged(host, domid) or {})
        _note(host, domid, address, True)
        return not had
    _note(host, domid, address, True)
    try:
        if not free:
            _retake(control, domid, address)
        _give(host, control, domid, address, first_slot)
    except NotDone as error:
        left = _taken_back(host, control, domid, address)
        raise NotDone(f"{error}{left}") from error
    return True


def _is_free(control: XenControl, domid: int, address: str) -> bool:
    try:
        return control.is_free(domid, address)
    except OSError as error:
        raise NotDone(_of_xen(domid, error)) from error


def _retake(control: XenControl, domid: int, address: str) -> None:
    """Some guest has it, and this one's QEMU does not: a call was cut off here, or it is another's."""
    try:
        control.deassign(domid, address)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise NotDone("Xen has assigned it to another domain, or does not know it") from error
        raise NotDone(_of_xen(domid, error)) from error


def _give(host: Host, control: XenControl, domid: int, address: str, first_slot: Optional[int]) -> None:
    slot = None if first_slot is None else first_slot + _number(host, domid, address)
    try:
        pciback.take(host, address)
        _reset(host, address)
        _quarantine(host, control, address)
        control.assign(domid, address)
        for memory in xen_control.memory_of(host, address):
            control.allow(domid, memory, True)
    except OSError as error:
        raise NotDone(_of_xen(domid, error)) from error
    try:
        with qmp.connected(host, domid) as monitor:
            qmp.add(monitor, address, slot)
            if address not in qmp.devices(monitor):
                raise NotDone("QEMU took it, and yet does not list it")
    except qmp.QmpError as error:
        raise NotDone(str(error)) from error
    if _is_free(control, domid, address):
        raise NotDone("Xen assigned it, and yet says that no domain has it")


def _number(host: Host, domid: int, address: str) -> int:
    """N of the key `dev-N` of a device of the domain."""
    numbers = (xenstore.plugged(host, domid) or {}).get(address)
    if not numbers:
        raise NotDone("xenstore does not tell its number")
    return numbers[0]


def _quarantine(host: Host, control: XenControl, address: str) -> None:
    """As xenopsd does before it assigns (device.ml, PCI.quarantine). It protects dom0 from what the device
    does when it has left the domain; whether the domain gets it, the assignment tells."""
    try:
        control.quarantine(address)
    except OSError as error:
        host.log(f"{address} could not be quarantined: {error.strerror}")


def _taken_back(host: Host, control: XenControl, domid: int, address: str) -> str:
    """After a plug that failed in the middle: what is left of it, in words that follow a sentence."""
    kept = unplug(host, control, domid, [address], BACK_SECONDS)
    return f"; and it could not be taken back: {kept[address]}" if kept else ""


def _of_xen(domid: int, error: OSError) -> str:
    if error.errno == errno.EOPNOTSUPP:
        return "Xen made the VM's domain as one that takes no device; a move or its next start makes another"
    if error.errno == errno.ESRCH:
        return f"domain {domid} is gone"
    if error.errno == errno.EACCES:
        return "Xen does not understand dom0's libxenctrl, which is of another version"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or os.strerror(error.errno or 0)}"
