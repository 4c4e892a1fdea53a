"""Starting and ending VMs: what xapi and a host's xenopsd do, hooks and devices in their order.

Imitates vm-life.json, passthrough.json, hooks.json and hooks-waiting.json; where they are silent, xen-api:
ocaml/xenopsd/lib/xenops_server.ml (atomics_of_operation). So the list of devices is read before the hooks
run, a reboot plugs that list again, and a failed start leaves no domain and runs no further hook.
"""

from typing import TYPE_CHECKING, Any, Dict, List

import pci_list
import vm_hooks
import vm_placement
from calls import Call, Calls, Context
from hypervisor import CannotStart, Guest
from values import NULL, internal_error, now
from vm_operations import Operation, Pushed, operation, stop_others, update_allowed
from vm_rules import HALTED, PAUSED, RUNNING, SUSPENDED, is_true

if TYPE_CHECKING:
    from xapi import Xapi


# -- what xapi notes -------------------------------------------------------------------------------


def push(xapi: "Xapi", vm: str) -> Pushed:
    """xenopsd is told of the VM as its record is now. Every guest that is started gets a device model."""
    with xapi.database.lock:
        platform = xapi.database.get("VM", vm, "platform")
        other_config = xapi.database.get("VM", vm, "other_config")
        xapi.database.set("VM", vm, "platform", {"device-model": "qemu-upstream-compat", **platform})
    addresses = pci_list.addresses(other_config.get("pci", ""))
    pushed = Pushed(addresses, is_true(platform.get("nomigrate", "")))
    xapi.life.pushed[vm] = pushed
    return pushed


def note_running(xapi: "Xapi", vm: str, host: str, domain: int, power_state: str = RUNNING) -> None:
    database = xapi.database
    guest = _guest(xapi, vm)
    hypervisor = xapi.life.hypervisor(xapi, host)
    report, plugged = hypervisor.report(guest), hypervisor.plugged(guest.uuid)
    with database.lock:
        metrics = database.get("VM", vm, "metrics")
        if not database.exists("VM_metrics", metrics):
            metrics = database.create("VM_metrics", {})
        _set(database, "VM_metrics", metrics, _metrics(report))
        known = [pci for pci in database.refs("PCI") if database.get("PCI", pci, "host") == host]
        values = {
            "power_state": power_state,
            "resident_on": host,
            "scheduled_to_be_resident_on": NULL,
            "domid": domain,
            "metrics": metrics,
            # Of devices that xapi has no object for nothing is known (passthrough.json).
            "attached_PCIs": [pci for pci in known if database.get("PCI", pci, "pci_id") in plugged],
            "guest_metrics": database.create("VM_guest_metrics", {"other": dict(report.features)}),
        }
        _forget_guest(database, vm)
        _set(database, "VM", vm, values)
        update_allowed(xapi, vm)


def _metrics(report: Any) -> Dict[str, Any]:
    return {
        "nomigrate": report.nomigrate,
        "current_domain_type": report.domain_type,
        "hvm": report.domain_type == "hvm",
        "start_time": now(),
    }


def note_stopped(xapi: "Xapi", vm: str, power_state: str = HALTED) -> None:
    """The VM is nowhere."""
    with xapi.database.lock:
        _forget_guest(xapi.database, vm)
        values: Dict[str, Any] = {"power_state": power_state, "domid": -1, "attached_PCIs": []}
        nowhere = {"resident_on": NULL, "scheduled_to_be_resident_on": NULL, "guest_metrics": NULL}
        _set(xapi.database, "VM", vm, {**values, **nowhere})
        update_allowed(xapi, vm)


def _forget_guest(database: Any, vm: str) -> None:
    guest = database.get("VM", vm, "guest_metrics")
    if database.exists("VM_guest_metrics", guest):
        database.destroy("VM_guest_metrics", guest)


def _set(database: Any, class_name: str, ref: str, values: Dict[str, Any]) -> None:
    for field, value in values.items():
        database.set(class_name, ref, field, value)


def _guest(xapi: "Xapi", vm: str) -> Guest:
    record = xapi.database.record("VM", vm)
    pushed = xapi.life.pushed.get(vm)
    nomigrate = pushed is not None and pushed.nomigrate
    return Guest(record["uuid"], record["name_label"], record["domain_type"], nomigrate)


# -- what xenopsd does -----------------------------------------------------------------------------


def hook(xapi: "Xapi", vm: str, host: str, name: str, reason: str = "none") -> None:
    uuid = xapi.database.get("VM", vm, "uuid")
    further = xapi.life.hypervisor(xapi, host).arguments_of_hooks(uuid)
    vm_hooks.run(xapi, host, name, reason, ["-vmuuid", uuid, *further])


def boot(under_way: Operation, host: str, pushed: Pushed) -> int:
    """The domain's number."""
    xapi, vm = under_way.xapi, under_way.vm
    under_way.look_whether_cancelled()
    hook(xapi, vm, host, "vm-pre-start")
    under_way.look_whether_cancelled()
    return plug(xapi, vm, host, pushed)


def plug(xapi: "Xapi", vm: str, host: str, pushed: Pushed) -> int:
    """A domain with its devices, or none and xenopsd's reason."""
    try:
        return xapi.life.hypervisor(xapi, host).start(_guest(xapi, vm), pushed.addresses)
    except CannotStart as error:
        raise internal_error(f"xenopsd internal error: {error}") from None


def unplug(xapi: "Xapi", vm: str, host: str) -> None:
    """The end of the domain; its devices stay with pciback."""
    xapi.life.hypervisor(xapi, host).stop(xapi.database.get("VM", vm, "uuid"))
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
    domain = boot(under_way, host, xapi.life.pushed[vm])
    note_running(xapi, vm, host, domain)


# -- calls -----------------------------------------------------------------------------------------


def start(context: Context, vm: str, start_paused: bool, _force: bool) -> None:
    with operation(context, vm, "start") as under_way:
        with context.xapi.database.lock:
            host = vm_placement.choose(context.xapi, vm)
            context.xapi.database.set("VM", vm, "scheduled_to_be_resident_on", host)
        _start_there(under_way, host, start_paused)


def start_on(context: Context, vm: str, host: str, start_paused: bool, _force: bool) -> None:
    context.xapi.database.get("host", host, "uuid")
    with operation(context, vm, "start_on") as under_way:
        with context.xapi.database.lock:
            vm_placement.check(context.xapi, vm, host)
            context.xapi.database.set("VM", vm, "scheduled_to_be_resident_on", host)
        _start_there(under_way, host, start_paused)


def _start_there(under_way: Operation, host: str, start_paused: bool) -> None:
    xapi, vm = under_way.xapi, under_way.vm
    try:
        xapi.forward(host)
        pushed = push(xapi, vm)
        with xapi.life.queue(vm):
            domain = boot(under_way, host, pushed)
        note_running(xapi, vm, host, domain, PAUSED if start_paused else RUNNING)
    finally:
        xapi.database.set("VM", vm, "scheduled_to_be_resident_on", NULL)


def clean_shutdown(context: Context, vm: str) -> None:
    _shut_down(context, vm, "clean_shutdown", "clean-shutdown")


def hard_shutdown(context: Context, vm: str) -> None:
    if "hard_shutdown" in context.xapi.database.get("VM", vm, "allowed_operations"):
        stop_others(context.xapi, vm)
    _shut_down(context, vm, "hard_shutdown", "hard-shutdown")


def shutdown(context: Context, vm: str) -> None:
    """A clean one, where the guest takes part in it (hooks.json)."""
    _shut_down(context, vm, "shutdown", "clean-shutdown")


def _shut_down(context: Context, vm: str, name: str, reason: str) -> None:
    xapi = context.xapi
    with operation(context, vm, name):
        if xapi.database.get("VM", vm, "power_state") == SUSPENDED:
            note_stopped(xapi, vm)
            return
        host = forwarded(xapi, vm)
        with xapi.life.queue(vm):
            try:
                if is_up(xapi, vm, host):
                    power_off(xapi, vm, host, reason)
            finally:
                _note_end(xapi, vm, host)


def clean_reboot(context: Context, vm: str) -> None:
    _reboot(context, vm, "clean_reboot", "clean-reboot")


def hard_reboot(context: Context, vm: str) -> None:
    _reboot(context, vm, "hard_reboot", "hard-reboot")


def _reboot(context: Context, vm: str, name: str, reason: str) -> None:
    xapi = context.xapi
    with operation(context, vm, name) as under_way:
        host = forwarded(xapi, vm)
        with xapi.life.queue(vm):
            try:
                power_cycle(under_way, host, reason)
            finally:
                _note_end(xapi, vm, host)


def forwarded(xapi: "Xapi", vm: str) -> str:
    """The host that the VM is on, once it has been reached."""
    host = str(xapi.database.get("VM", vm, "resident_on"))
    xapi.forward(host)
    return host


def _note_end(xapi: "Xapi", vm: str, host: str) -> None:
    """However far it came: without a domain the VM is halted."""
    if not is_up(xapi, vm, host):
        note_stopped(xapi, vm)


def pause(context: Context, vm: str) -> None:
    with operation(context, vm, "pause"):
        context.xapi.database.set("VM", vm, "power_state", PAUSED)


def unpause(context: Context, vm: str) -> None:
    with operation(context, vm, "unpause"):
        context.xapi.database.set("VM", vm, "power_state", RUNNING)


def _call(function: Any, *parameters: str) -> Call:
    return Call(function, ["ref", *parameters], may_be_async=True, may_be_cancelled=True)


def _without_arguments() -> List[Any]:
    return [clean_shutdown, hard_shutdown, shutdown, clean_reboot, hard_reboot, pause, unpause]


CALLS: Calls = {
    "VM.start": _call(start, "bool", "bool"),
    "VM.start_on": _call(start_on, "ref", "bool", "bool"),
    **{f"VM.{function.__name__}": _call(function) for function in _without_arguments()},
}
