"""Which PCI devices running domains have: xenstore knows, with or without xapi. And what is written there of
a device that a running domain gets or loses."""

import errno
from typing import Dict, List, NamedTuple, Optional, Sequence

from ..safetext import is_number, is_uuid
from . import pci
from .host import Host
from .xenstored import DIRECTORY, READ

BACKENDS = "/local/domain/0/backend/pci"
SECONDS = 10  # for a change


class Domain(NamedTuple):
    """A running domain: the VM that it is, if xenstore says so."""

    domid: int
    vm_uuid: Optional[str]
    name: Optional[str]


def owners(host: Host) -> Optional[Dict[str, Domain]]:
    """Device address -> the running domain that has it; None where xenstore does not answer.

    xenopsd and libxl alike write `backend/pci/DOMID/0/dev-N = "0000:07:10.0"` (xen-api:
    ocaml/xenopsd/xc/device.ml; libxl: libxl_pci.c). No such folder means no such domain.
    """
    try:
        (domids,) = _names(host, [BACKENDS])
        of_domain = zip(domids, _names(host, [f"{BACKENDS}/{domid}" for domid in domids]))
        folders = [
            (int(domid), f"{BACKENDS}/{domid}/{number}") for domid, numbers in of_domain for number in numbers
        ]
        keys = [
            (domid, f"{folder}/{name}")
            for (domid, folder), names in zip(folders, _names(host, [folder for _, folder in folders]))
            for name in names
            if _number(name) is not None
        ]
        values = _values(host, [key for _, key in keys])
        found = [(pci.parse_address(text or ""), domid) for (domid, _), text in zip(keys, values)]
        domains = _domains(host, sorted({domid for _, domid in found}))
    except (OSError, ValueError):
        return None
    return {address: domains[domid] for address, domid in found if address and domid in domains}


def vms(host: Host) -> Optional[List[str]]:
    """The UUIDs of the VMs that have a domain here, xapi knowing of it or not; None where xenstore does not
    answer."""
    try:
        (names,) = _names(host, ["/local/domain"])
        values = _values(host, [f"/local/domain/{name}/vm" for name in names if name.isdigit()])
    except OSError:
        return None
    return sorted({uuid for uuid in map(_uuid, values) if uuid is not None})


def domains_of(host: Host, vm_uuid: str) -> Optional[List[int]]:
    """The numbers of the VM's domains here: one, or two while it is moved within this host; none where it
    does not run here, None where xenstore does not answer."""
    try:
        (names,) = _names(host, ["/local/domain"])
        domids = sorted(int(name) for name in names if name.isdigit())
        return [domid for domid, domain in _domains(host, domids).items() if domain.vm_uuid == vm_uuid]
    except OSError:
        return None


def kind(host: Host, domid: int) -> Optional[str]:
    """`hvm`, `pv`, `pvh` or `pv-in-pvh` as xenopsd writes it (xen-api: ocaml/xenopsd/xc/domain.ml); None
    where nobody has written it, or xenstore does not answer."""
    try:
        return _values(host, [f"/local/domain/{domid}/domain-type"])[0]
    except OSError:
        return None


def plugged(host: Host, domid: int) -> Optional[Dict[str, List[int]]]:
    """Device address -> the numbers N of the keys `dev-N` that name it, of a domain; None: unknown."""
    folder = f"{BACKENDS}/{domid}/0"
    found: Dict[str, List[int]] = {}
    try:
        (names,) = _names(host, [folder])
        numbers = [number for number in map(_number, names) if number is not None]
        values = _values(host, [f"{folder}/dev-{number}" for number in numbers])
    except OSError:
        return None
    for number, text in zip(numbers, values):
        address = pci.parse_address(text or "")
        if address is not None:
            found.setdefault(address, []).append(number)
    return found


def _number(key: str) -> Optional[int]:
    """N of `dev-N`; None of another key."""
    return int(key[4:]) if key.startswith("dev-") and is_number(key[4:]) else None


def _names(host: Host, folders: Sequence[str]) -> List[List[str]]:
    """What is in each folder; nothing where there is none such. Raises OSError."""
    answers = host.xenstore([(DIRECTORY, folder) for folder in folders])
    return [
        [name.decode("utf-8", "replace") for name in (one or b"").split(b"\0") if name] for one in answers
    ]


def _values(host: Host, keys: Sequence[str]) -> List[Optional[str]]:
    """The text of each key; None where there is none such. Raises OSError."""
    answers = host.xenstore([(READ, key) for key in keys])
    return [None if one is None else one.decode("utf-8", "replace") for one in answers]


def plug(host: Host, domid: int, address: str) -> None:
    """Notes the device as the domain's, with the number after the greatest, as xenopsd does (xen-api: ocaml/
    xenopsd/xc/device.ml, PCI.add; xenops_server_xen.ml, get_next_pci_index). Raises OSError."""
    now = plugged(host, domid)
    if now is None:
        raise OSError(errno.EIO, "xenstore does not answer")
    if address not in now:
        number = max((number for numbers in now.values() for number in numbers), default=-1) + 1
        _change(host, "xenstore-write", f"{BACKENDS}/{domid}/0/dev-{number}", address)


def unplug(host: Host, domid: int, address: str) -> None:
    """Takes the device out of those of the domain. A key that stayed would make xenopsd reset the device when
    the domain ends, whosesoever it is by then (ocaml/xenopsd/xc/domain.ml, destroy). Raises OSError."""
    now = plugged(host, domid)
    if now is None:
        raise OSError(errno.EIO, "xenstore does not answer")
    for number in now.get(address, ()):
        _change(host, "xenstore-rm", f"{BACKENDS}/{domid}/0/dev-{number}")


def _change(host: Host, *argv: str) -> None:
    answer = host.run(argv, SECONDS)
    if answer.status != 0:
        raise OSError(errno.EIO, answer.complaint)


def _uuid(vm: Optional[str]) -> Optional[str]:
    """Of `/vm/UUID`, behind which old toolstacks write a number."""
    uuid = (vm or "")[len("/vm/") :][:36]
    return uuid if is_uuid(uuid) else None


def _domains(host: Host, domids: List[int]) -> Dict[int, Domain]:
    """The domains that there are: one that died may leave its backend behind. Raises OSError."""
    keys = ("domid", "vm", "name")
    values = _values(host, [f"/local/domain/{domid}/{key}" for domid in domids for key in keys])
    found = {}
    for place, domid in enumerate(domids):
        exists, vm, name = values[3 * place : 3 * place + 3]
        if exists is not None or vm is not None or name is not None:
            found[domid] = Domain(domid, _uuid(vm), name)
    return found
