"""A running VM without its VFs for a while: moved to another host with VFs there, suspended and resumed, or
only detached. The plugin does each step that matters; what is shown, and what is done after a failure, goes
by what the pool says at that moment.
"""

from typing import Any, Callable, Dict, Optional

from . import tasks
from .errors import INTERRUPTED, Failed, as_failed
from .names import Vm
from .pool import Host, Pool
from .tasks import Tell


def migrate(pool: Pool, vm: Vm, target: Host, tell: Tell, **args: str) -> Dict[str, Any]:
    """Until the VM runs there with VFs of that host; what migrate_vm answers. Raises Failed, which says where
    the VM is then."""

    def doing() -> str:
        if "dry_run" in args:
            return "looking at what may be in its way"
        record = pool.call("VM.get_record", vm.ref)
        if record["resident_on"] == target.ref:
            return f"VM {vm.name} runs on host {target.name} and gets VFs there"
        if "pool_migrate" in record["current_operations"].values():
            return f"xapi moves VM {vm.name} to host {target.name}"
        return f"the guest of VM {vm.name} lets its VFs go"

    return _asked(pool, vm, doing, tell, "migrate_vm", host_uuid=target.uuid, **args)


def detach(pool: Pool, vm: Vm, tell: Tell, **args: str) -> Dict[str, Any]:
    """What detach_vfs answers."""
    what = f"the guest of VM {vm.name} lets its VFs go"
    return _asked(pool, vm, lambda: what, tell, "detach_vfs", **args)


def attach(pool: Pool, vm: Vm, tell: Tell) -> Dict[str, Any]:
    """What attach_vfs answers."""
    what = "the pool looks where it runs, and whether its VFs are to be plugged there"
    return _asked(pool, vm, lambda: what, tell, "attach_vfs")


def suspend(pool: Pool, vm: Vm, tell: Tell, **args: str) -> Dict[str, Any]:
    """Its VFs are detached, and it is suspended; what detach_vfs answers. Raises Failed; then it has its VFs
    again, or the message says what is."""
    detached = detach(pool, vm, tell, **args)
    name = f"VM {vm.name}"
    try:
        tasks.done(pool, name, f"{name} is being suspended", tell, "VM.suspend", vm.ref)
    except (Failed, KeyboardInterrupt) as error:
        why = as_failed(error)
        if pool.call("VM.get_power_state", vm.ref) == "Suspended":
            return detached
        try:
            answer = attach(pool, vm, tell)
        except Failed as second:
            raise Failed(why.code, f"{why.message} {second.message}", second.hint) from error
        raise Failed(why.code, f"{why.message} {attached(pool, vm, answer)}", why.hint) from error
    return detached


def resume(pool: Pool, vm: Vm, host: Optional[Host], tell: Tell) -> None:
    """It runs, on that host if one is named. Raises Failed."""
    name = f"VM {vm.name}"
    method, place = ("VM.resume_on", [host.ref]) if host else ("VM.resume", [])
    try:
        tasks.done(pool, name, f"{name} is being resumed", tell, method, vm.ref, *place, False, False)
    except (Failed, KeyboardInterrupt) as error:
        why = as_failed(error)
        if pool.call("VM.get_power_state", vm.ref) != "Running":
            raise Failed(why.code, f"{why.message} {where(pool, vm)}", why.hint) from error


def renew(pool: Pool, vm: Vm, tell: Tell, **args: str) -> Dict[str, Any]:
    """A resumed VM has a domain that takes no device (xen-api: ocaml/xapi/xapi_xenops.ml, resume tells
    xenopsd of the VM as it is suspended, without entries). It moves, in its place, to one that does, and gets
    its VFs; what migrate_vm answers. Raises Failed; then it runs as before."""
    here = pool.host(pool.call("VM.get_resident_on", vm.ref))
    if here is None:
        raise Failed("VM_BAD_POWER_STATE", where(pool, vm), "See what stopped it, and start it.")
    what = f"VM {vm.name} moves to a domain that takes VFs, on host {here.name}"
    return _asked(pool, vm, lambda: what, tell, "migrate_vm", host_uuid=here.uuid, **args)


def where(pool: Pool, vm: Vm) -> str:
    """A sentence: whether it runs, where, what xapi does with it, and whether a move of it is not over."""
    try:
        record = pool.call("VM.get_record", vm.ref)
        rows = pool.master("list_assignments", vm_uuid=vm.uuid)["vms"]
    except (Failed, KeyboardInterrupt):
        return f"It is not known where VM {vm.name} runs now."
    state, move = record["power_state"], rows[0].get("move") if rows else None
    doing = sorted(set(record["current_operations"].values()))
    if state != "Running":
        at = f"VM {vm.name} is {state.lower()}"
    else:
        host = pool.host(record["resident_on"])
        at = f"VM {vm.name} runs on host {host.name if host else '?'}"
    if doing:
        return f"{at}, and xapi is at {', '.join(doing)}."
    return f"{at}, without its VFs ({move['state']})." if move is not None else f"{at}."


def attached(pool: Pool, vm: Vm, answer: Dict[str, Any]) -> str:
    """The sentence that attach_vfs answers."""
    if not answer["changed"]:
        return where(pool, vm)
    if answer["host_uuid"] is None:
        return f"VM {vm.name} does not run; it has its VFs from its next start."
    return f"VM {vm.name} runs on host {pool.host_name(answer['host_uuid'])}, with its VFs."


def _asked(
    pool: Pool, vm: Vm, what: Callable[[], str], tell: Tell, function: str, **args: str
) -> Dict[str, Any]:
    """What the master answers. Its own errors say where the VM is; after any other it may still be at it."""
    try:
        return dict(tasks.master(pool, what, tell, function, vm_uuid=vm.uuid, **args))
    except (Failed, KeyboardInterrupt) as error:
        why = as_failed(error)
        if why.code.startswith("SRIOV_"):
            raise
        goes_on = " The pool goes on with it." if why.code == INTERRUPTED else ""
        raise Failed(
            why.code,
            f"{why.message}{goes_on} {where(pool, vm)}",
            f"When that is over, `sriovctl attach {vm.uuid}` ends what is left of it: the VM has its VFs "
            "then, wherever it runs.",
        ) from error
