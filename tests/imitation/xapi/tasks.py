"""Tasks: what an Async call leaves behind for its caller to watch. Imitates the tasks of plugin.json."""

import traceback
from typing import Any, Callable, Dict

from calls import Call, Calls, Context
from database import Database, new_ref
from values import Failure, internal_error, now
from wire import xml_value
from workers import Workers

MIGRATION = "Async.VM.pool_migrate"


class Cancelled(Failure):
    """The end of a call whose task was cancelled, at a point where the call looked."""

    def __init__(self, task: str) -> None:
        super().__init__("TASK_CANCELLED", task)


def begin(
    database: Database,
    workers: Workers,
    name: str,
    host: str,
    work: Callable[[str], Any],
    may_be_cancelled: bool = False,
) -> str:
    """Does `work`, which is told its task, in a thread of its own; the reference of the task."""
    values: Dict[str, Any] = {"name_label": name, "resident_on": host, "created": now()}
    values["allowed_operations"] = ["cancel"] if may_be_cancelled else []
    task = database.create("task", values)
    workers.start(name, _finish, database, task, work)
    return task


def look_whether_cancelled(database: Database, task: str) -> None:
    """Raises Cancelled. `task` is empty where a call has none, so that nobody can cancel it."""
    with database.lock:
        wishes = database.get("task", task, "current_operations") if database.exists("task", task) else {}
        if "cancel" in wishes.values():
            raise Cancelled(task)


def is_at(database: Database, task: str, progress: float, may_be_cancelled: bool = True) -> None:
    """How far a migration has come, 0.0 to 1.0. `task` may be none, or that of a call that it is part of."""
    with database.lock:
        if database.exists("task", task) and database.get("task", task, "name_label") == MIGRATION:
            database.set("task", task, "progress", progress)
            if not may_be_cancelled:
                database.set("task", task, "allowed_operations", [])


def _finish(database: Database, task: str, work: Callable[[str], Any]) -> None:
    outcome: Dict[str, Any]
    try:
        # The result of a task is the XML of a value, so its text is escaped once more.
        outcome = {"status": "success", "result": xml_value(work(task))}
    except Cancelled:
        outcome = {"status": "cancelled"}  # without an error_info
    except Failure as failure:
        outcome = {"status": "failure", "error_info": failure.description}
    except Exception as error:
        traceback.print_exc()
        outcome = {"status": "failure", "error_info": internal_error(repr(error)).description}
    with database.lock:
        if database.exists("task", task):  # its caller may have destroyed it
            ended = {"progress": 1.0, "finished": now(), "allowed_operations": []}
            for field, value in {**ended, **outcome}.items():
                database.set("task", task, field, value)


def cancel(context: Context, task: str) -> None:
    """Notes the wish. A plugin call does not look at it, and the note stays; who looks does so at steps of
    its own."""
    context.xapi.database.add_to("task", task, "current_operations", new_ref(), "cancel")


CALLS: Calls = {
    "task.cancel": Call(cancel, ["ref"]),
}
