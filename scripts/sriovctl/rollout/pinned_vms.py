"""VMs that xapi cannot move away from a host: they are shut down and started again, or go to another host in
another way. Each step looks first, as those of steps.py.
"""

import threading
from functools import partial
from typing import Dict, Sequence

from .. import migration, names, relocation, tasks
from ..errors import INTERRUPTED, Failed
from ..names import Vm
from ..pool import Host, Pool
from ..tasks import Tell
from .plan import MIGRATE


def shut_down(pool: Pool, uuids: Sequence[str], tell: Tell) -> None:
    """Cleanly, all at once."""
    failures: Dict[str, Failed] = {}

    def stop(name: str, ref: str) -> None:
        try:
            tasks.done(pool, f"VM {name}", what, tell, "VM.clean_shutdown", ref)
        except Failed as failed:
            failures[name] = failed

    running = [
        vm
        for vm in map(partial(names.vm_of_uuid, pool), uuids)
        if vm and vm.record["power_state"] == "Running"
    ]
    what = f"{', '.join(vm.name for vm in running)} is being shut down"
    threads = [threading.Thread(target=stop, args=(vm.name, vm.ref), daemon=True) for vm in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, failed in failures.items():
        raise Failed(
            "VM_NOT_STOPPED",
            f"VM {name} was not shut down: {failed.message}",
            "Shut it down yourself, then `sriovctl setup resume`.",
        )


def start(pool: Pool, uuid: str, host: Host, tell: Tell) -> None:
    """There, if it is halted."""
    vm = names.vm_of_uuid(pool, uuid)
    if vm is None or vm.record["power_state"] != "Halted":
        return
    try:
        tasks.start_on(pool, vm, host, tell)
    except Failed as failed:
        raise Failed(
            "VM_NOT_STARTED",
            f"VM {vm.name} was not started on host {host.name}: {failed.message}",
            f"Start it yourself (`xe vm-start uuid={uuid}`). {failed.hint}".strip(),
        ) from failed


def without_home(pool: Pool, uuid: str) -> Failed:
    """What is said of a VM that was shut down, and whose host has left the pool."""
    vm = names.vm_of_uuid(pool, uuid)
    name = vm.name if vm else uuid
    return Failed(
        "VM_WITHOUT_HOST",
        f"VM {name} was shut down by this setup, and its host is not in this pool any more.",
        f"If it is halted, start it elsewhere: `sriovctl relocate {uuid} HOST --start`, or without VFs "
        f"`xe vm-start uuid={uuid}`.",
    )


def leave(
    pool: Pool, uuid: str, how: str, home: Host, others: Sequence[Host], allowed: Dict[str, str], tell: Tell
) -> None:
    """To the first of these hosts that can have it, with VFs of that host if it has requests. `how`: MIGRATE,
    never by a shutdown; else while it runs if that can be, and if not it is started there. `allowed`: see
    relocation.planned. Failed: none can, and it is where it was."""
    whys = []
    for other in others:
        vm = names.vm_of_uuid(pool, uuid)
        if vm is None or (vm.record["power_state"] == "Running" and vm.record["resident_on"] != home.ref):
            return
        try:
            if how == MIGRATE:
                migration.migrate(pool, vm, other, tell, **allowed)
            else:
                _relocate(pool, vm, other, allowed, tell)
            return
        except Failed as failed:
            if failed.code == INTERRUPTED:
                raise
            now = names.vm_of_uuid(pool, uuid)
            if now is not None and now.record["resident_on"] == other.ref:
                raise  # it has come there, and something is amiss
            whys.append(str(failed))
    found = names.vm_of_uuid(pool, uuid)
    name = found.name if found else uuid
    raise Failed(
        "VM_NOT_RELOCATED",
        f"VM {name} was not brought from host {home.name} to another. {' '.join(whys)}".strip(),
        "With --pinned shutdown it is down while its host reboots.",
    )


def _relocate(pool: Pool, vm: Vm, other: Host, allowed: Dict[str, str], tell: Tell) -> None:
    try:
        move = relocation.planned(pool, vm, other, True, allowed)
    except Failed as failed:
        if failed.code != "NO_REQUESTS":
            raise
        _plainly(pool, vm, other, tell)
        return
    if move is not None:
        relocation.relocate(move, tell)


def _plainly(pool: Pool, vm: Vm, other: Host, tell: Tell) -> None:
    """A VM without requests."""
    pool.call_for(other, "VM.assert_can_boot_here", vm.ref, other.ref)
    shut_down(pool, [vm.uuid], tell)
    start(pool, vm.uuid, other, tell)
