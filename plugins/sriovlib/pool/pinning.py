"""What keeps a running VM with VFs on its host: xapi itself, or VM.blocked_operations of ours. Pure.

xapi refuses to move or suspend a VM with a device that it has a PCI object of (VM_HAS_PCI_ATTACHED). It makes
these for the classes 01, 02 and 03 only, when it starts and when it changes SR-IOV itself (xen-api:
ocaml/xapi/xapi_pci.ml, update_pcis; xapi_xenops.ml, update_pci). A VM with none of these would be moved, and
lose its devices on the way, so its operations are blocked until xapi knows one. xapi checks blocks before all
else, at once on a running VM, and copies them to no clone (xapi_vm_lifecycle.ml, check_operation_error;
xapi_vm_clone.ml). A revert brings those back that the VM had at its snapshot (xapi_vm_snapshot.ml,
do_not_copy), and Xen Orchestra copies them to VMs that it restores (@xen-orchestra/backups,
_incrementalVm.mjs).
"""

from typing import Any, Dict, Mapping, Sequence

from ..safetext import listed, shortened

OPERATIONS = ("pool_migrate", "migrate_send", "suspend", "checkpoint")
_OURS = "xapi-sriov: "


def ours(record: Mapping[str, Any]) -> Dict[str, str]:
    """Operation -> text, of the blocks in a VM's record that were set for VFs, of this VM or of the one that
    it was restored from. Those of others are not among them."""
    blocked: Mapping[str, str] = record["blocked_operations"]
    if not blocked:
        return {}  # as of most
    return {name: blocked[name] for name in OPERATIONS if blocked.get(name, "").startswith(_OURS)}


def reason(vm: str, host: str, devices: Sequence[str]) -> str:
    """The text of a block, which xapi shows to whoever tries."""
    return (
        f"{_OURS}VM {shortened(vm, 60)} has {listed(devices)} of host {host}, of which xapi has no PCI "
        "object, so it would move or suspend the VM and lose them. Shut the VM down to move it. "
        "`xe-toolstack-restart` on that host, where they are network VFs, lets xapi know them and lifts "
        "this. On a halted VM or on a copy it is out of date: remove it from blocked_operations there."
    )


def known(host: str, devices: Sequence[str]) -> str:
    """The query for the PCI objects of these devices. `host`: its reference. xapi finds the object of a
    plugged device by just this address."""
    any_of = " or ".join(f'field "pci_id" = "{address}"' for address in devices)
    return f'field "host" = "{host}" and ({any_of})'
