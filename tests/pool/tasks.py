"""Tasks: what an Async call leaves behind for its caller to watch. Imitates the tasks of plugin.json."""

import threading
import traceback
from typing import Any, Callable, Dict

from calls import Call, Calls, Context
from database import Database, new_ref
from values import Failure, internal_error, now
from wire import xml_value


def begin(database: Database, name: str, host: str, work: Callable[[], Any]) -> str:
    """Does `work` in a thread of its own; the reference of its task."""
    task = database.create("task", {"name_label": name, "resident_on": host, "created": now()})
    threading.Thread(target=_finish, args=(database, task, work), name=name, daemon=True).start()
    return task


def _finish(database: Database, task: str, work: Callable[[], Any]) -> None:
    outcome: Dict[str, Any]
    try:
        # The result of a task is the XML of a value, so its text is escaped once more.
        outcome = {"status": "success", "result": xml_value(work())}
    except Failure as failure:
        outcome = {"status": "failure", "error_info": failure.description}
    except Exception as error:
        traceback.print_exc()
        outcome = {"status": "failure", "error_info": internal_error(repr(error)).description}
    with database.lock:
        if database.exists("task", task):  # its caller may have destroyed it
            for field, value in {"progress": 1.0, "finished": now(), **outcome}.items():
                database.set("task", task, field, value)


def create(context: Context, label: str, description: str) -> str:
    values = {"name_label": label, "name_description": description, "created": now()}
    return context.xapi.database.create("task", {**values, "resident_on": context.origin.host})


def destroy(context: Context, task: str) -> None:
    context.xapi.database.destroy("task", task)


def cancel(context: Context, task: str) -> None:
    """Notes the wish. A plugin call does not look at it, and the note stays (plugin.json)."""
    context.xapi.database.add_to("task", task, "current_operations", new_ref(), "cancel")


CALLS: Calls = {
    "task.create": Call(create, ["string", "string"]),
    "task.destroy": Call(destroy, ["ref"]),
    "task.cancel": Call(cancel, ["ref"]),
}
