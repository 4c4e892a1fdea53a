"""Suspend and resume on a host: operations that a device which xapi knows forbids (vm_migrate: the third).

What a real host does beyond xapi's checks is xen-api: ocaml/xenopsd/lib/xenops_server.ml. So a resume
plugs other_config:pci as it is then, blindly, where it goes to, and its domain may have devices if the record
has entries then: what xenopsd was told before the VM was suspended is forgotten, but for last_booted_record
(xapi_xenops.ml, update_vm_internal: Xenopsd_metadata.pull). vm-pre-resume runs when the domain is there and
its devices are not.
"""

from typing import TYPE_CHECKING

import vm_metadata
import vm_notes
import vm_placement
import vm_start
from calls import Calls, Context, operation_call
from values import NULL, Failure
from vm_operations import Operation, operation
from vm_rules import PAUSED, RUNNING, SUSPENDED

if TYPE_CHECKING:
    from xapi import Xapi


def suspend(context: Context, vm: str) -> None:
    xapi = context.xapi
    with operation(context, vm, "suspend"):
        vm_notes.note_wish(xapi, vm, False)
        _check_storage(xapi, vm)
        suspend_there(xapi, vm, vm_start.forwarded(xapi, vm))


def suspend_there(xapi: "Xapi", vm: str, host: str) -> None:
    with xapi.life.queue(vm):
        vm_start.hook(xapi, vm, host, "vm-pre-suspend", "suspend")
        uuid = xapi.database.get("VM", vm, "uuid")
        exported = xapi.life.xenopsd(xapi, host).export_metadata(uuid)
        xapi.life.hypervisor(xapi, host).save(uuid)
        vm_start.power_off(xapi, vm, host, "suspend")
        xapi.database.set("VM", vm, "last_booted_record", exported["domains"])
        vm_notes.note_stopped(xapi, vm, SUSPENDED)


def _check_storage(xapi: "Xapi", vm: str) -> None:
    """There must be a place for the image: the VM's, its host's or the pool's."""
    database = xapi.database
    host = database.get("VM", vm, "resident_on")
    places = [database.get("VM", vm, "suspend_SR"), database.get("pool", xapi.pool, "suspend_image_SR")]
    if database.exists("host", host):
        places.append(database.get("host", host, "suspend_image_sr"))
    if not set(places) - {NULL, ""}:
        raise Failure("VM_NO_SUSPEND_SR", vm)


def resume(context: Context, vm: str, start_paused: bool, _force: bool) -> None:
    with operation(context, vm, "resume") as under_way:
        resume_there(under_way, vm_placement.choose(context.xapi, vm), start_paused)


def resume_on(context: Context, vm: str, host: str, start_paused: bool, _force: bool) -> None:
    vm_placement.check_asked_for(context.xapi, host)
    with operation(context, vm, "resume_on") as under_way:
        vm_placement.check(context.xapi, vm, host)
        resume_there(under_way, host, start_paused)


def resume_there(under_way: Operation, host: str, start_paused: bool) -> None:
    """A refused one leaves the VM suspended."""
    xapi, vm = under_way.xapi, under_way.vm
    xapi.forward(host)
    vm_metadata.push(xapi, vm, host)
    with xapi.life.queue(vm):
        vm_start.hook(xapi, vm, host, "vm-pre-resume")
        under_way.look_whether_cancelled()
        domain = vm_start.plug(xapi, vm, host)
        vm_notes.note_running(xapi, vm, host, domain, PAUSED if start_paused else RUNNING)
        vm_start.hook(xapi, vm, host, "vm-post-resume")


CALLS: Calls = {
    "VM.suspend": operation_call(suspend),
    "VM.resume": operation_call(resume, "bool", "bool"),
    "VM.resume_on": operation_call(resume_on, "ref", "bool", "bool"),
}
