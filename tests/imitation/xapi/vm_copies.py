"""VMs that come and go as records: clone, snapshot, revert, destroy, and what is a template.

Imitates vm-life.json: a copy, a snapshot and a revert carry other_config, `pci` included. What a revert
brings back was kept when the snapshot was made (VM.snapshot_metadata), not what is written on it later
(xen-api: ocaml/xapi/xapi_vm_snapshot.ml). So a revert brings blocked_operations back, which copies and
snapshots have none of (xapi_vm_clone.ml, copy_vm_record).
"""

import uuid
from typing import TYPE_CHECKING, Any, Dict

import vm_moves
import vm_start
from calls import Call, Calls, Context, operation_call
from schema import CLASSES
from values import now
from vm_operations import new_vm, operation, update_allowed
from vm_rules import HALTED, RUNNING, SUSPENDED

if TYPE_CHECKING:
    from xapi import Xapi

# What is a VM's own, not what it is made as: no copy and no revert takes it over.
_NOT_COPIED = (
    *("uuid", "name_label", "allowed_operations", "current_operations", "power_state", "resident_on"),
    *("scheduled_to_be_resident_on", "domid", "metrics", "guest_metrics", "is_a_template", "is_a_snapshot"),
    *("is_default_template", "is_control_domain", "snapshot_of", "snapshot_time", "parent", "attached_PCIs"),
    *("snapshot_info", "snapshot_metadata", "transportable_snapshot_id", "last_booted_record", "appliance"),
)


def clone(context: Context, vm: str, name: str) -> str:
    with operation(context, vm, "clone"):
        return _copied(context.xapi, vm, name)


def _copied(xapi: "Xapi", vm: str, name: str) -> str:
    """A copy gets a mac_seed of its own; one of a template or a snapshot is a template."""
    with xapi.database.lock:
        values = _made_as(xapi, vm)
        template = bool(xapi.database.get("VM", vm, "is_a_template"))
        other_config = {**values["other_config"], "mac_seed": str(uuid.uuid4())}
        if template:
            other_config["base_template_name"] = xapi.database.get("VM", vm, "name_label")
        values.update(
            name_label=name, is_a_template=template, other_config=other_config, blocked_operations={}
        )
        return new_vm(xapi, values)


def _made_as(xapi: "Xapi", vm: str) -> Dict[str, Any]:
    fields = CLASSES["VM"].values()
    return {
        field.name: xapi.database.get("VM", vm, field.name)
        for field in fields
        if not field.inverse_of and field.name not in _NOT_COPIED
    }


# -- snapshots -------------------------------------------------------------------------------------


def snapshot(context: Context, vm: str, name: str, _without: Any = ()) -> str:
    with operation(context, vm, "snapshot"):
        return _snapshot_of(context.xapi, vm, name)


def checkpoint(context: Context, vm: str, name: str) -> str:
    """A snapshot with memory. A running VM is suspended for it and resumed on its host, all of which is one
    operation (xapi_vm_snapshot.ml, checkpoint)."""
    xapi = context.xapi
    with operation(context, vm, "checkpoint") as under_way:
        if xapi.database.get("VM", vm, "power_state") != RUNNING:
            return _snapshot_of(xapi, vm, name)
        host = vm_start.forwarded(xapi, vm)
        vm_moves.suspend_there(xapi, vm, host)
        xapi.database.set("VM", vm, "resident_on", host)  # a VM that is only suspended is nowhere
        made = _snapshot_of(xapi, vm, name)
        vm_moves.resume_there(under_way, host, start_paused=False)
        return made


def _snapshot_of(xapi: "Xapi", vm: str, name: str) -> str:
    """It comes between the VM and its last one; with memory, if the VM is suspended."""
    database = xapi.database
    with database.lock:
        values = _made_as(xapi, vm)
        suspended = database.get("VM", vm, "power_state") == SUSPENDED
        made = new_vm(
            xapi,
            {
                **values,
                "name_label": name,
                "power_state": SUSPENDED if suspended else HALTED,
                "last_booted_record": database.get("VM", vm, "last_booted_record") if suspended else "",
                "is_a_template": True,
                "is_a_snapshot": True,
                "blocked_operations": {},
                "snapshot_of": vm,
                "snapshot_time": now(),
                "parent": database.get("VM", vm, "parent"),
            },
        )
        xapi.life.snapshots[made] = values
        database.set("VM", vm, "parent", made)
        return made


def revert(context: Context, made: str) -> None:
    """Whatever its VM does: it is halted first, with its hooks; then it is halted, or suspended as the
    checkpoint is (xapi_vm_snapshot.ml, revert)."""
    xapi, database = context.xapi, context.xapi.database
    with operation(context, made, "revert"):
        vm = database.get("VM", made, "snapshot_of")
        if database.get("VM", vm, "power_state") != HALTED:
            vm_start.shut_down(context, vm, "hard_shutdown")
        with database.lock:
            for field, value in (xapi.life.snapshots.get(made) or _made_as(xapi, made)).items():
                database.set("VM", vm, field, value)
            database.set("VM", vm, "parent", made)
            for field in ("power_state", "last_booted_record"):
                database.set("VM", vm, field, database.get("VM", made, field))
            update_allowed(xapi, vm)


# -- templates -------------------------------------------------------------------------------------


def set_is_a_template(context: Context, vm: str, value: bool) -> None:
    if value:
        with operation(context, vm, "make_into_template"):
            context.xapi.database.set("VM", vm, "is_a_template", True)
    else:
        context.xapi.database.set("VM", vm, "is_a_template", False)
    update_allowed(context.xapi, vm)


def destroy(context: Context, vm: str) -> None:
    """Of a snapshot: those after it follow the one before it."""
    xapi, database = context.xapi, context.xapi.database
    with operation(context, vm, "destroy"), database.lock:
        parent = database.get("VM", vm, "parent")
        for child in database.get("VM", vm, "children"):
            database.set("VM", child, "parent", parent)
        for class_name in ("VIF", "VBD"):
            for ref in database.find(class_name, VM=vm):
                database.destroy(class_name, ref)
        metrics = database.get("VM", vm, "metrics")
        if database.exists("VM_metrics", metrics):
            database.destroy("VM_metrics", metrics)
        database.destroy("VM", vm)
        xapi.life.snapshots.pop(vm, None)


CALLS: Calls = {
    "VM.clone": operation_call(clone, "string"),
    "VM.checkpoint": operation_call(checkpoint, "string"),
    "VM.snapshot": operation_call(snapshot, "string", "ref set", optional=1),
    "VM.revert": operation_call(revert),
    "VM.destroy": operation_call(destroy),
    "VM.set_is_a_template": Call(set_is_a_template, ["ref", "bool"]),
}
