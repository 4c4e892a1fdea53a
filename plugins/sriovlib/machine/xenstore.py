"""Which PCI devices running domains have: xenstore knows, with or without xapi."""

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
