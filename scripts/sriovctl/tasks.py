"""Long calls of xapi: started as tasks and waited for."""

import time
from typing import Any, Callable, Dict

from .errors import INTERRUPTED, NO_ANSWER, Failed, Restarting, as_failed, of_xapi
from .names import Vm
from .pool import PLUGIN, Host, Pool

POLL_SECONDS = 1.0  # from one look to the next
SILENT_SECONDS = 120.0  # for which xapi may be gone, as while its toolstack restarts
_RUNS = ("pending", "cancelling")

Tell = Callable[[str], None]


def done(pool: Pool, asked: str, what: str, tell: Tell, method: str, *params: Any) -> str:
    """Calls `Async.METHOD` and waits for its end; raises its failure. `asked` names who was asked (`host
    web1`), `what` is what is being done. Interrupted, it cancels the task and waits until that has ended:
    what it was doing is then over, one way or the other. Returns the result as xapi keeps it, in XML."""
    try:
        task = pool.call(f"Async.{method}", *params)
    except (Failed, KeyboardInterrupt) as error:
        if as_failed(error).code in (NO_ANSWER, INTERRUPTED):
            _over(pool, what, tell, f"Async.{method}")
        raise
    return wait(pool, asked, what, tell, task)


def _over(pool: Pool, what: str, tell: Tell, name: str) -> None:
    """Waits for all tasks of that name that are there now: the answer to a call was lost, and the task with
    it. xapi makes the task, answers, and only then begins with what was asked (xen-api: ocaml/xapi/
    server_helpers.ml, do_dispatch); until it does, a VM looks as if nothing had been asked."""
    doing = f"{what}: the answer was lost, waiting for the end of what xapi has begun"
    try:
        found = pool.call("task.get_all_records_where", f'field "name__label"="{name}"')
    except Failed:
        return
    for task in [ref for ref, record in found.items() if record["status"] in _RUNS]:
        try:
            _ended(pool, task, lambda: doing, tell)
        except Failed as failed:  # its caller has destroyed it
            if failed.code == NO_ANSWER:
                return


def wait(pool: Pool, asked: str, what: str, tell: Tell, task: str) -> str:
    """The same for a task that has been started."""
    try:
        tell(what)  # a terminal may be slow: xapi goes on meanwhile
        record = _ended(pool, task, lambda: what, tell)
    except KeyboardInterrupt:
        tell(f"{what}: interrupted, waiting for its end")
        try:
            pool.call("task.cancel", task)
        except Failed:
            pass  # it cannot be cancelled, or has just ended
        _ended(pool, task, lambda: what, tell)
        raise
    return _result(pool, asked, task, record)


def _result(pool: Pool, asked: str, task: str, record: Dict[str, Any]) -> str:
    try:
        pool.call("task.destroy", task)
    except Failed:
        pass  # xapi forgets it by itself
    if record["status"] != "success":
        raise of_xapi(record["error_info"] or ["TASK_CANCELLED"], asked)
    return str(record["result"])


def master(pool: Pool, what: Callable[[], str], tell: Tell, function: str, **args: str) -> Any:
    """What the plugin of the pool master answers to a call that takes long; `what` says what is being done
    now. Interrupted, it goes on there."""
    host = pool.master_host
    task = pool.call("Async.host.call_plugin", host.ref, PLUGIN, function, args)
    asked = f"host {host.name}"
    return pool.answered(host, function, _text(_result(pool, asked, task, _ended(pool, task, what, tell))))


def _text(result: str) -> str:
    """A task's result is its value in XML (xen-api: ocaml/xapi/taskHelper.ml, complete)."""
    import xmlrpc.client  # not before: completion must answer at once

    try:
        ((text,), _) = xmlrpc.client.loads(f"<params><param>{result}</param></params>")
    except (ValueError, xmlrpc.client.Error, SyntaxError):
        return ""
    return str(text)


def start_on(pool: Pool, vm: Vm, host: Host, tell: Tell) -> None:
    """Until the VM runs there. A start that our hook ends to give it other VFs is followed by another."""
    what = f"VM {vm.name} is being started on host {host.name}"
    try:
        done(pool, f"host {host.name}", what, tell, "VM.start_on", vm.ref, host.ref, False, False)
    except Restarting as restarting:
        task = pool.call("task.get_by_uuid", restarting.task)
        wait(pool, f"host {host.name}", f"{what}, with other VFs", tell, task)


def _ended(pool: Pool, task: str, what: Callable[[], str], tell: Tell) -> Dict[str, Any]:
    silent_since, doing = None, ""
    while True:
        try:
            doing = what()
            record: Dict[str, Any] = pool.call("task.get_record", task)
            silent_since = None
            if record["status"] not in _RUNS:
                return record
        except Failed as failed:
            now = time.monotonic()
            silent_since = silent_since or now
            if failed.code != NO_ANSWER or now - silent_since > SILENT_SECONDS:
                raise
            tell(f"{doing}: xapi does not answer now".lstrip(": "))
        else:
            tell(doing)
        time.sleep(POLL_SECONDS)
