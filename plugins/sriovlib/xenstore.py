"""Which PCI devices running domains have: xenstore knows, with or without xapi."""

import re
from typing import Dict, List, NamedTuple, Optional

from .host import Completed, Host

BACKENDS = "/local/domain/0/backend/pci"
COMMAND = ("xenstore-ls", "-f", BACKENDS)
SECONDS = 10  # it answers at once, or its daemon is gone

_DEVICE = re.compile(re.escape(BACKENDS) + r'/(\d+)/\d+/dev-\d+ = "([0-9a-fA-F:.]+)"')
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    devices = {match.group(2).lower(): int(match.group(1)) for match in _DEVICE.finditer(answer.stdout)}
    domains = _domains(host, sorted(set(devices.values())))
    return {address: domains[domid] for address, domid in devices.items()}


def _domains(host: Host, domids: List[int]) -> Dict[int, Domain]:
    """One process for all of them; where a domain has gone since, each is asked on its own."""
    if not domids:
        return {}
    paths = [f"/local/domain/{domid}/{key}" for domid in domids for key in ("vm", "name")]
    lines = host.run(["xenstore-read"] + paths, SECONDS).stdout.splitlines()
    if len(lines) != len(paths):
        if len(domids) == 1:
            return {domids[0]: Domain(domids[0], None, None)}
        return {domid: _domains(host, [domid])[domid] for domid in domids}
    found = {}
    for number, domid in enumerate(domids):
        uuid = _UUID.search(lines[2 * number])  # "/vm/UUID"
        found[domid] = Domain(domid, uuid.group() if uuid else None, lines[2 * number + 1])
    return found
