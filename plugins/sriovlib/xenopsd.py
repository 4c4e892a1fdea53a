"""What xenopsd was told of a VM that it starts: all that can be known of its devices while xapi is silent.

xapi tells it before each start, so before the hooks. It keeps that in /var/run/nonpersistent/xenopsd, in the
folder BACKEND/VM/<vm uuid>: a file `config`, and a file `pci.<device>` for each device that it will plug
(xen-api: ocaml/xenopsd/lib/xenops_utils.ml, FileFS; xenops_server.ml, PCI_DB; the backend is `classic`).
"""

from .host import Host

FOLDER = "/var/run/nonpersistent/xenopsd"


def plugs_nothing(host: Host, vm_uuid: str) -> bool:
    """Whether it is certain that a start of the VM takes no device. Not where nothing is kept of the VM."""
    kept = [host.names(f"{FOLDER}/{backend}/VM/{vm_uuid}") for backend in host.names(FOLDER)]
    names = [name for folder in kept for name in folder]
    return "config" in names and not any(name.startswith("pci") for name in names)
