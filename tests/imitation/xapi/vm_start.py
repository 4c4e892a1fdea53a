"""Starting and ending VMs: what xapi and a host's xenopsd do, hooks and devices in their order.

Imitates vm-life.json, passthrough.json and hooks.json; where they are silent, xen-api:
ocaml/xenopsd/lib/xenops_server.ml (atomics_of_operation). So the list of devices is read before the hooks
run, a reboot plugs that list again with what was added to it since (vm_metadata.tell), and a failed start
leaves no domain and runs no further hook.
"""

from functools import partial
from typing import TYPE_CHECKING

import vm_hooks
import vm_metadata
import vm_placement
import vm_rules
from calls import Call, Calls, Context, operation_call
from hypervisor import CannotStart
from values import NULL, Failure, internal_error
from vm_notes import guest_of, note_running, note_stopped, note_wish
from vm_operations import Operation, operation, standing, stop_others
from vm_rules import HALTED, PAUSED, RUNNING, SUSPENDED

if TYPE_CHECKING:
    from xapi import Xapi

# What hooks are told. VM.shutdown is a clean one, where the guest takes part in it (hooks.json).
_REASONS = {
    "clean_shutdown": "clean-shutdown",
    "hard_shutdown": "hard-shutdown",
    "shutdown": "clean-shutdown",
    "clean_reboot": "clean-reboot",
    "hard_reboot": "hard-reboot",
}


# -- what xenopsd does -----------------------------------------------------------------------------


def hook(xapi: "Xapi", vm: str, host: str, name: str, reason: str = "none", domain: str = "") -> None:
    """`domain`: the UUID of its domain, where that has another (VM_hook_script_stable)."""
    uuid = xapi.database.get("VM", vm, "uuid")
    further = xapi.life.hypervisor(xapi, host).arguments_of_hooks(domain or uuid)
    vm_hooks.run(xapi, host, name, reason, ["-vmuuid", uuid, *further])


def boot(under_way: Operation, host: str) -> int:
    """The domain's number."""
    xapi, vm = under_way.xapi, under_way.vm
    under_way.look_whether_cancelled()
    hook(xapi, vm, host, "vm-pre-start")
    under_way.look_whether_cancelled()
    return plug(xapi, vm, host)


def plug(xapi: "Xapi", vm: str, host: str) -> int:
    """A domain with the devices that xenopsd was told of, or none and xenopsd's reason."""
    xenopsd, uuid = xapi.life.xenopsd(xapi, host), xapi.database.get("VM", vm, "uuid")
    xenopsd.begin_domain(uuid)
    try:
        return xenopsd.hypervisor.start(guest_of(xapi, vm, host), xenopsd.known(uuid).addresses)
    except CannotStart as error:
        xenopsd.end_domain(uuid)
        raise internal_error(f"xenopsd internal error: {error}") from None


def unplug(xapi: "Xapi", vm: str, host: str) -> None:
    """The end of the domain; its devices stay with pciback."""
    uuid = xapi.database.get("VM", vm, "uuid")
    xapi.life.hypervisor(xapi, host).stop(uuid)
    xapi.life.xenopsd(xapi, host).end_domain(uuid)
    xapi.database.set("VM", vm, "attached_PCIs", [])


def is_up(xapi: "Xapi", vm: str, host: str) -> bool:
    uuid = xapi.database.get("VM", vm, "uuid")
    return xapi.life.hypervisor(xapi, host).domain(uuid) is not None


def power_off(xapi: "Xapi", vm: str, host: str, reason: str) -> None:
    """With the hooks before and after it. A refusal of the first leaves the domain as it is."""
    hook(xapi, vm, host, "vm-pre-shutdown", reason)
    unplug(xapi, vm, host)
    hook(xapi, vm, host, "vm-post-destroy", reason)


def power_cycle(under_way: Operation, host: str, reason: str) -> None:
    xapi, vm = under_way.xapi, under_way.vm
    power_off(xapi, vm, host, reason)
    hook(xapi, vm, host, "vm-pre-reboot")
    domain = boot(under_way, host)
    note_running(xapi, vm, host, domain)


# -- calls -----------------------------------------------------------------------------------------


def start(context: Context, vm: str, start_paused: bool, _force: bool) -> None:
    with operation(context, vm, "start") as under_way:
        note_wish(context.xapi, vm, True)
        with context.xapi.database.lock:
            host = vm_placement.choose(context.xapi, vm)
            context.xapi.database.set("VM", vm, "scheduled_to_be_resident_on", host)
        _start_there(under_way, host, start_paused)


def start_on(context: Context, vm: str, host: str, start_paused: bool, _force: bool) -> None:
    vm_placement.check_asked_for(context.xapi, host)
    with operation(context, vm, "start_on") as under_way:
        note_wish(context.xapi, vm, True)
        with context.xapi.database.lock:
            vm_placement.check(context.xapi, vm, host)
            context.xapi.database.set("VM", vm, "scheduled_to_be_resident_on", host)
        _start_there(under_way, host, start_paused)


def _start_there(under_way: Operation, host: str, start_paused: bool) -> None:
    xapi, vm = under_way.xapi, under_way.vm
    try:
        xapi.forward(host)
        vm_metadata.push(xapi, vm, host)
        with xapi.life.queue(vm):
            _refuse_running(xapi, vm, host)
            domain = boot(under_way, host)
        note_running(xapi, vm, host, domain, PAUSED if start_paused else RUNNING)
    finally:
        xapi.database.set("VM", vm, "scheduled_to_be_resident_on", NULL)


def _refuse_running(xapi: "Xapi", vm: str, host: str) -> None:
    """Of a domain there that xapi did not know it knows then (xapi_xenops.ml, start: set_resident_on)."""
    domain = xapi.life.hypervisor(xapi, host).domain(xapi.database.get("VM", vm, "uuid"))
    if domain is not None:
        note_running(xapi, vm, host, domain)
        raise Failure("VM_BAD_POWER_STATE", vm, RUNNING, HALTED)


def shut_down(context: Context, vm: str, name: str) -> None:
    xapi = context.xapi
    if name == "hard_shutdown" and name in xapi.database.get("VM", vm, "allowed_operations"):
        stop_others(xapi, vm)
    with operation(context, vm, name):
        note_wish(xapi, vm, False)
        if xapi.database.get("VM", vm, "power_state") == SUSPENDED:
            note_stopped(xapi, vm)
            return
        host = forwarded(xapi, vm)
        with xapi.life.queue(vm):
            try:
                if is_up(xapi, vm, host):
                    power_off(xapi, vm, host, _REASONS[name])
            finally:
                note_end(xapi, vm, host)


def reboot(context: Context, vm: str, name: str) -> None:
    xapi = context.xapi
    with operation(context, vm, name) as under_way:
        host = forwarded(xapi, vm)
        with xapi.life.queue(vm):
            try:
                vm_metadata.tell(xapi, vm)  # nothing that its hooks write is in time
                power_cycle(under_way, host, _REASONS[name])
            finally:
                note_end(xapi, vm, host)


def forwarded(xapi: "Xapi", vm: str) -> str:
    """The host that the VM is on, once it has been reached."""
    host = str(xapi.database.get("VM", vm, "resident_on"))
    xapi.forward(host)
    return host


def note_end(xapi: "Xapi", vm: str, host: str) -> None:
    """However far it came: without a domain the VM is halted."""
    if not is_up(xapi, vm, host):
        note_stopped(xapi, vm)


def assert_can_boot_here(context: Context, vm: str, host: str) -> None:
    vm_placement.check(context.xapi, vm, host)
    vm_placement.check_cpu(context.xapi, vm, host)


def assert_operation_valid(context: Context, vm: str, operation: str) -> None:
    """As xapi refuses it now (xen-api: ocaml/xapi/xapi_vm.ml)."""
    refusal = vm_rules.refusal(standing(context.xapi, vm), operation)
    if refusal is not None:
        raise refusal


CALLS: Calls = {
    "VM.assert_operation_valid": Call(assert_operation_valid, ["ref", "string"]),
    "VM.assert_can_boot_here": Call(assert_can_boot_here, ["ref", "ref"]),
    "VM.start": operation_call(start, "bool", "bool"),
    "VM.start_on": operation_call(start_on, "ref", "bool", "bool"),
    **{
        f"VM.{name}": operation_call(partial(shut_down if "shutdown" in name else reboot, name=name))
        for name in _REASONS
    },
}
