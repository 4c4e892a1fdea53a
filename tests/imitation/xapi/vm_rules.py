"""What may be done with a VM as it is: an operation's refusal, or none.

Pure: it is told what the VM's record, its VM_metrics and VM_guest_metrics say. Imitates vm-life.json and
passthrough.json; the order of the checks, and which operations go together, are those of xen-api,
ocaml/xapi/xapi_vm_lifecycle.ml (check_operation_error).
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from values import Failure, internal_error

HALTED, PAUSED, SUSPENDED, RUNNING = "Halted", "Paused", "Suspended", "Running"
_LIVE = (PAUSED, SUSPENDED, RUNNING)

# In which power states an operation may begin; the order is that of xapi's complaint.
_BEGIN_IN: Dict[Tuple[str, ...], Tuple[str, ...]] = {
    ("snapshot", "revert", "metadata_export"): (HALTED, *_LIVE),
    ("copy", "clone", "start", "start_on", "provision", "make_into_template"): (HALTED,),
    ("changing_static_range", "changing_shadow_memory", "changing_VCPUs"): (HALTED,),
    ("changing_NVRAM", "create_vtpm"): (HALTED,),
    ("checkpoint", "hard_shutdown", "shutdown"): _LIVE,
    ("pause", "clean_shutdown", "clean_reboot", "suspend", "pool_migrate", "sysprep"): (RUNNING,),
    ("resume", "resume_on"): (SUSPENDED,),
    ("export", "destroy"): (HALTED, SUSPENDED),
    ("unpause",): (PAUSED,),
    ("hard_reboot",): (PAUSED, RUNNING),
    ("migrate_send",): (HALTED, SUSPENDED, RUNNING),
    ("changing_dynamic_range",): (HALTED, RUNNING),
}
_STATES = {operation: states for operations, states in _BEGIN_IN.items() for operation in operations}
OPERATIONS = list(_STATES)
_UNLISTED = ("changing_VCPUs", "shutdown")  # never among a VM's allowed operations (vm-life.json)

_OF_TEMPLATES = (
    *("changing_dynamic_range", "changing_static_range", "changing_shadow_memory", "changing_VCPUs"),
    *("changing_NVRAM", "clone", "copy", "export", "metadata_export", "provision", "destroy", "migrate_send"),
)
_OF_SNAPSHOTS = ("revert", "clone", "copy", "export", "destroy", "hard_shutdown", "metadata_export")
_OF_CONTROL_DOMAINS = (
    "metadata_export",
    "changing_dynamic_range",
    "changing_static_range",
    "start",
    "start_on",
)
_MOVES = ("suspend", "checkpoint", "pool_migrate", "migrate_send")
CANNOT_SUSPEND = "data-cant-suspend-reason"  # QEMU's, by xenopsd (xc/device.ml, update_cant_suspend)
_COPIES = ("clone", "copy", "export")
_SNAPSHOTS = ("snapshot", "checkpoint")


# What is looked at in a VM's record.
FIELDS = (
    *("power_state", "current_operations", "blocked_operations", "platform", "attached_PCIs"),
    *("is_a_template", "is_default_template", "is_a_snapshot", "is_control_domain"),
)


class Standing(NamedTuple):
    """What is to be known of a VM."""

    ref: str
    record: Mapping[str, Any]  # its FIELDS
    metrics: Optional[Mapping[str, Any]]  # of its VM_metrics; None: there is no such object
    reported: Mapping[str, str]  # by its guest: VM_guest_metrics.other


def refusal(vm: Standing, operation: str, strict: bool = True) -> Optional[Failure]:
    """Why the operation is refused, None where it is not; raises INTERNAL_ERROR for an unknown operation.

    Without `strict` nobody asks whether the VM may move and what its guest can do (pool_migrate's force).
    """
    if operation not in _STATES:
        raise internal_error('Failure("Unknown tag/contents")')
    record = vm.record
    if operation in record["blocked_operations"]:
        return Failure("OPERATION_BLOCKED", vm.ref, record["blocked_operations"][operation])
    states = _STATES[operation]
    if operation in _COPIES and record["is_a_snapshot"]:
        states = (HALTED, SUSPENDED)
    if record["power_state"] not in states:
        expected = ", ".join(states).lower()
        return Failure("VM_BAD_POWER_STATE", vm.ref, expected, record["power_state"].lower())
    under_way: Mapping[str, str] = record["current_operations"]
    if under_way and not _go_together(operation, list(under_way.values())):
        task, other = next(iter(under_way.items()))
        return Failure("OTHER_OPERATION_IN_PROGRESS", "VM", vm.ref, other, task)
    return _refusal_of_kind(vm, operation) or _refusal_of_guest(vm, operation, strict)


def _go_together(operation: str, under_way: Sequence[str]) -> bool:
    if operation == "hard_shutdown":
        return operation not in under_way
    if operation == "hard_reboot":
        return not {"hard_shutdown", "hard_reboot"}.intersection(under_way)
    return any(operation in group and set(under_way) <= set(group) for group in (_COPIES, _SNAPSHOTS))


def _refusal_of_kind(vm: Standing, operation: str) -> Optional[Failure]:
    """What templates, snapshots and control domains do not do."""
    record = vm.record
    if record["is_a_snapshot"] and operation not in _OF_SNAPSHOTS:
        return Failure("VM_IS_SNAPSHOT", vm.ref, operation)
    if record["is_a_template"] and not record["is_a_snapshot"]:
        default = record["is_default_template"] and operation in ("destroy", "migrate_send")
        if default or operation not in _OF_TEMPLATES:
            return Failure("VM_IS_TEMPLATE", vm.ref, operation)
    if operation == "provision" and not record["is_a_template"]:
        return Failure("PROVISION_ONLY_ALLOWED_ON_TEMPLATE")
    if operation == "revert" and not record["is_a_snapshot"]:
        return Failure("VM_REVERT_FAILED", vm.ref, "OpaqueRef:NULL")
    return None


def _refusal_of_guest(vm: Standing, operation: str, strict: bool) -> Optional[Failure]:
    """What a running guest, its devices, or its platform do not permit."""
    if operation in _MOVES and strict and _is_immobile(vm):
        return Failure("VM_IS_IMMOBILE", vm.ref)
    if vm.record["is_control_domain"] and operation not in _OF_CONTROL_DOMAINS:
        return Failure("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
    if operation in _MOVES and CANNOT_SUSPEND in vm.reported:
        return Failure("VM_NON_SUSPENDABLE", vm.ref, vm.reported[CANNOT_SUSPEND])
    is_guest = vm.record["power_state"] == RUNNING and not _is_paravirtual(vm)
    if is_guest and strict and not _has_feature(vm, operation):
        return Failure("VM_LACKS_FEATURE", vm.ref)
    if operation in _MOVES and vm.record["attached_PCIs"]:
        return Failure("VM_HAS_PCI_ATTACHED", vm.ref)
    return None


def _is_immobile(vm: Standing) -> bool:
    """As it was captured when the VM started; `platform` counts only where there is no VM_metrics."""
    if vm.metrics is not None:
        return bool(vm.metrics["nomigrate"] or vm.metrics["nested_virt"])
    return any(is_true(vm.record["platform"].get(key, "")) for key in ("nomigrate", "nested-virt"))


def _is_paravirtual(vm: Standing) -> bool:
    """Such guests shut down, reboot and suspend without saying that they can."""
    return vm.metrics is not None and vm.metrics["current_domain_type"] == "pv"


def _has_feature(vm: Standing, operation: str) -> bool:
    def says(*features: str) -> bool:
        return any(vm.reported.get(f"feature-{feature}") == "1" for feature in features)

    if operation == "clean_shutdown":
        return says("shutdown", "poweroff")
    if operation == "clean_reboot":
        return says("shutdown", "reboot")
    return operation not in _MOVES or says("suspend")


def is_true(text: str) -> bool:
    """As xapi reads a boolean of `platform` (xen-api: ocaml/xapi/vm_platform.ml)."""
    return text in ("true", "1")


def allowed(vm: Standing) -> List[str]:
    """VM.allowed_operations."""
    listed = (operation for operation in OPERATIONS if operation not in _UNLISTED)
    return [operation for operation in listed if refusal(vm, operation) is None]
