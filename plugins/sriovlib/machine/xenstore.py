"""Which PCI devices running domains have: xenstore knows, with or without xapi. And what is written there of
a device that a running domain gets or loses."""

import errno
import re
from typing import Dict, List, NamedTuple, Optional

from ..safetext import UUID
from . import pci
from .command import Completed
from .host import Host

BACKENDS = "/local/domain/0/backend/pci"
COMMAND = ("xenstore-ls", "-f", BACKENDS)
SECONDS = 10  # it answers at once, or its daemon is gone

_DEVICE = re.compile(re.escape(BACKENDS) + r'/(\d+)/\d+/dev-\d+ = "([^"]*)"')
_PLUGGED = re.compile(r'/dev-(\d+) = "([^"]*)"')
_UUID = re.compile(UUID)


class Domain(NamedTuple):
    """A running domain: the VM that it is, if xenstore says so."""

    domid: int
    vm_uuid: Optional[str]
    name: Optional[str]


def owners(host: Host, answer: Completed) -> Optional[Dict[str, Domain]]:
    """Device address -> the running domain that has it, of what `COMMAND` printed; None where
    xenstore does not answer.

    xenopsd and libxl alike write `backend/pci/DOMID/0/dev-N = "0000:07:10.0"` (xen-api:
    ocaml/xenopsd/xc/device.ml; libxl: libxl_pci.c). No such folder means no such domain.
    """
    if answer.status != 0:
        # xenstore-ls: xs_directory (/local/domain/0/backend/pci): No such file or directory
        none = "xs_directory" in answer.stderr and "No such file" in answer.stderr
        return {} if none else None
    found = [(pci.parse_address(text), int(domid)) for domid, text in _DEVICE.findall(answer.stdout)]
    domains = _domains(host, sorted({domid for _, domid in found}))
    return {address: domains[domid] for address, domid in found if address and domid in domains}


def owners_now(host: Host) -> Optional[Dict[str, Domain]]:
    """As `owners`, of what xenstore says now."""
    return owners(host, host.run(COMMAND, SECONDS))


def domains_of(host: Host, vm_uuid: str) -> Optional[List[int]]:
    """The numbers of the VM's domains here: one, or two while it is moved within this host; none where it
    does not run here, None where xenstore does not answer."""
    answer = host.run(["xenstore-list", "/local/domain"], SECONDS)
    if answer.status != 0:
        return None
    domids = sorted(int(word) for word in answer.stdout.split() if word.isdigit())
    return [domid for domid, domain in _domains(host, domids).items() if domain.vm_uuid == vm_uuid]


def kind(host: Host, domid: int) -> Optional[str]:
    """`hvm`, `pv`, `pvh` or `pv-in-pvh` as xenopsd writes it (xen-api: ocaml/xenopsd/xc/domain.ml); None
    where nobody has written it."""
    answer = host.run(["xenstore-read", f"/local/domain/{domid}/domain-type"], SECONDS)
    return answer.stdout.strip() if answer.status == 0 else None


def plugged(host: Host, domid: int) -> Optional[Dict[str, List[int]]]:
    """Device address -> the numbers N of the keys `dev-N` that name it, of a domain; None: unknown."""
    folder = f"{BACKENDS}/{domid}/0"
    answer = host.run(["xenstore-ls", "-f", folder], SECONDS)
    if answer.status != 0:
        return {} if "No such file" in answer.stderr else None
    found: Dict[str, List[int]] = {}
    for number, text in _PLUGGED.findall(answer.stdout):
        address = pci.parse_address(text)
        if address is not None:
            found.setdefault(address, []).append(int(number))
    return found


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


def _domains(host: Host, domids: List[int]) -> Dict[int, Domain]:
    """The domains that there are: one process for all, and where something is missing one a question.
    A domain that died may leave its backend behind."""
    keys = ("domid", "vm", "name")
    paths = [f"/local/domain/{domid}/{key}" for domid in domids for key in keys]
    answer = host.run(["xenstore-read", *paths], SECONDS) if paths else None
    values: List[Optional[str]] = list(answer.stdout.splitlines()) if answer else []
    if len(values) != len(paths):
        answers = [host.start(["xenstore-read", path]) for path in paths]
        said = [running.finish(SECONDS) for running in answers]
        values = [one.stdout.rstrip("\n") if one.status == 0 else None for one in said]
    found = {}
    for place, domid in enumerate(domids):
        exists, vm, name = values[3 * place : 3 * place + 3]
        uuid = _UUID.search(vm or "")  # "/vm/UUID"
        if exists is not None or vm is not None or name is not None:
            found[domid] = Domain(domid, uuid.group() if uuid else None, _plain(name))
    return found


def _plain(text: Optional[str]) -> Optional[str]:
    """xenstore-read writes a byte that is not printable ASCII as \\xNN (Xen: xenstore_client.c)."""
    if text is None:
        return None
    data = re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes([int(byte.group(1), 16)]), text.encode())
    return data.replace(b"\\\\", b"\\").decode("utf-8", "replace")
