"""What xapi forgets when it is told that a VM has moved: that its QEMU is to be restarted after an update.

xapi notes that in the VM's record and takes it out in VM.pool_migrate_complete, as a VM that has moved has
another QEMU (xen-api: ocaml/xapi/xapi_vm_migrate.ml; xapi_vm_lifecycle.ml, remove_pending_guidance). One
that has stayed where it was has the former one. The first of the fields is there since 1.303.0, the others
since 24.10.0 (ocaml/idl/datamodel_vm.ml, datamodel_lifecycle.ml).
"""

from typing import Any, List, Mapping

FIELDS = ("pending_guidances", "pending_guidances_recommended", "pending_guidances_full")
DEVICE_MODEL = "restart_device_model"


def forgotten(record: Mapping[str, Any], vm_name: str) -> List[str]:
    """In a sentence, if there is something. `record`: the VM's, before xapi is told; `vm_name` with UUID."""
    fields = [field for field in FIELDS if DEVICE_MODEL in record.get(field, ())]
    if not fields:
        return []
    return [
        f"An update asks for VM {vm_name} to have its QEMU restarted ({DEVICE_MODEL} in its "
        f"{' and '.join(fields)}), and xapi forgets that as it is told of the VM's VFs. Move the VM to an "
        "updated host, or shut it down and start it."
    ]
