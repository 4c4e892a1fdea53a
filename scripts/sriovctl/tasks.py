"""Long calls of xapi: started as tasks and waited for."""

import time
from typing import Any, Callable, Dict

from .errors import Failed, Restarting, of_xapi
from .names import Vm
from .pool import Host, Pool

POLL_SECONDS = 1.0  # from one look to the next
SILENT_SECONDS = 120.0  # for which xapi may be gone, as while its toolstack restarts
_RUNS = ("pending", "cancelling")

Tell = Callable[[str], None]


def done(pool: Pool, asked: str, what: str, tell: Tell, method: str, *params: Any) -> None:
    """Calls `Async.METHOD` and waits for its end; raises its failure. `asked` names who was asked (`host
    web1`), `what` is what is being done. Interrupted, it cancels the task and waits until that has ended:
    what it was doing is then over, one way or the other."""
    wait(pool, asked, what, tell, pool.call(f"Async.{method}", *params))


def wait(pool: Pool, asked: str, what: str, tell: Tell, task: str) -> None:
    """The same for a task that has been started."""
    tell(what)
    try:
        record = _ended(pool, task, what, tell)
    except KeyboardInterrupt:
        tell(f"{what}: interrupted, waiting for its end")
        try:
            pool.call("task.cancel", task)
        except Failed:
            pass  # it cannot be cancelled, or has just ended
        _ended(pool, task, what, tell)
        raise
    try:
        pool.call("task.destroy", task)
    except Failed:
        pass  # xapi forgets it by itself
    if record["status"] != "success":
        raise of_xapi(record["error_info"] or ["TASK_CANCELLED"], asked)


def start_on(pool: Pool, vm: Vm, host: Host, tell: Tell) -> None:
    """Until the VM runs there. A start that our hook ends to give it other VFs is followed by another."""
    what = f"VM {vm.name} is being started on host {host.name}"
    try:
        done(pool, f"host {host.name}", what, tell, "VM.start_on", vm.ref, host.ref, False, False)
    except Restarting as restarting:
        task = pool.call("task.get_by_uuid", restarting.task)
        wait(pool, f"host {host.name}", f"{what}, with other VFs", tell, task)


def _ended(pool: Pool, task: str, what: str, tell: Tell) -> Dict[str, Any]:
    silent_since = None
    while True:
        try:
            record: Dict[str, Any] = pool.call("task.get_record", task)
            silent_since = None
            if record["status"] not in _RUNS:
                return record
        except Failed as failed:
            now = time.monotonic()
            silent_since = silent_since or now
            if failed.code != "NO_ANSWER" or now - silent_since > SILENT_SECONDS:
                raise
            tell(f"{what}: xapi does not answer now")
        else:
            tell(what)
        time.sleep(POLL_SECONDS)
