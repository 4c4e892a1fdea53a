"""VMs that are moved and parked: where they are then, and calls to the pool that fail on the way."""

import re
import shlex
import threading
from typing import Any, Callable, Dict, List

import pytest
from calls import Context
from checks import until
from managed_pool import Pool
from sriovctl.connection import Remote
from sriovctl.errors import Unreachable
from workers import Workers

VF, MAC = "0000:07:10.0", "02:16:3e:00:00:05"
SHUTDOWN = "Async.VM.clean_shutdown"


def running(pool: Pool) -> str:
    """A VM that runs on host1 with a VF there."""
    web = pool.with_vf("web", mac=MAC, vlan="12")
    pool.start(web, pool.one)
    return web


def place(pool: Pool, vm: str) -> Any:
    """Whether the VM runs, where, with which VFs; the host of its lease, and its requests."""
    record = pool.record(vm)
    devices = pool.devices(vm) if record["power_state"] == "Running" else None
    row = pool.listed(vm)
    asked = [(one["request"], one["by"], one["value"], one["settings"]) for one in row["requests"]]
    return record["power_state"], record["resident_on"], devices, row["host_uuid"], asked


def full(pool: Pool) -> None:
    for vf in pool.vfs(pool.other, state="free"):
        pool.assign(pool.vm("other"), vf=vf["address"], on=pool.other)


def begins_late(patch: pytest.MonkeyPatch, name: str) -> threading.Event:
    """xapi answers an Async call of this name, and begins with it only once this is set."""
    go, begin = threading.Event(), Workers.start

    def start(workers: Workers, what: str, work: Callable[..., None], *arguments: Any) -> None:
        def late() -> None:
            go.wait(60)
            work(*arguments)

        if what == name:
            begin(workers, what, late)
        else:
            begin(workers, what, work, *arguments)

    patch.setattr(Workers, "start", start)
    return go


def cancelled_too_late(patch: pytest.MonkeyPatch, pool: Pool, name: str) -> None:
    """xapi begins with an Async call of this name when it is asked to cancel it, and has done it before it
    looks at that."""
    go, calls = begins_late(patch, name), pool.box.xapi.calls
    real = calls["task.cancel"]

    def cancel(context: Context, task: str) -> Any:
        go.set()
        until(lambda: bool(pool.box.xapi.database.get("task", task, "status") != "pending"))
        return real.function(context, task)

    patch.setattr(pool.box.xapi, "calls", {**calls, "task.cancel": real._replace(function=cancel)})


class Fault:
    """A call of the client's that fails: `when` says before xapi gets it, or after it has done it, when only
    the answer is lost; `lasts`: all later ones too."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: List[str] = []
        self.at: Dict[str, Any] = {}
        real = Remote.call

        def call(connection: Remote, method: str, *params: Any) -> Any:
            name = params[2] if method == "host.call_plugin" else method
            self.calls.append(name)
            at = self.at
            if at.get("hit") and at["lasts"] and method != "session.logout":
                raise Unreachable("the network is gone")
            if at and not at.get("hit") and self.calls.count(name) == at["number"] and name == at["name"]:
                at["hit"] = True
                if at["when"] == "after":
                    real(connection, method, *params)
                raise Unreachable("the network is gone")
            return real(connection, method, *params)

        patch.setattr(Remote, "call", call)

    def set(self, name: str, number: int, when: str, lasts: bool) -> None:
        self.calls.clear()
        self.at = {"name": name, "number": number, "when": when, "lasts": lasts}

    def clear(self) -> bool:
        hit = bool(self.at.get("hit"))
        self.at = {}
        return hit


def commands(text: str) -> List[List[str]]:
    """The commands of sriovctl in a message."""
    return [shlex.split(words) for words in re.findall("`sriovctl ([^`]*)`", text)]
