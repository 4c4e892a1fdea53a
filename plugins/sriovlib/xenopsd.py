"""What xenopsd was told of a VM that it starts: all that can be known of its devices while xapi is silent.

xapi tells it before each start, so before the hooks. It keeps that in /var/run/nonpersistent/xenopsd, in the
folder BACKEND/VM/<vm uuid>: a file `config`, and a file `pci.<address>` for each device that it will plug
(xen-api: ocaml/xenopsd/lib/xenops_utils.ml, FileFS; xenops_server.ml, PCI_DB; the backend is `classic`;
ocaml/xapi/xapi_xenops.ml, pcis_of_vm, names devices by their full addresses in lower case).
"""

from typing import List, Optional

from .host import Host

FOLDER = "/var/run/nonpersistent/xenopsd"
DEVICE = "pci."


def devices(host: Host, vm_uuid: str) -> Optional[List[str]]:
    """The addresses that a start of the VM plugs, xapi's own choices (GPUs, VFs of its own SR-IOV) too; None
    where nothing is kept of the VM in a way that we know."""
    kept = [host.names(f"{FOLDER}/{backend}/VM/{vm_uuid}") for backend in host.names(FOLDER)]
    names = [name for folder in kept for name in folder]
    if "config" not in names:
        return None
    return [name[len(DEVICE) :] for name in names if name.startswith(DEVICE)]
