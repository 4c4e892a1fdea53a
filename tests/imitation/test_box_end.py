"""When a box is closed nothing that it has started is at work any more, wherever it was: its folder goes."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import pytest
import XenAPI
from box import PoolInABox
from box_host import set_plugin
from checks import refused, until

# Writes one file after the other into a folder of its host, and makes that anew where it has gone.
WRITER = """#!/usr/bin/python3
import os, sys, time
{before}
with open({told!r}, "w") as file:
    file.write(str(os.getpid()))
os.rename({told!r}, {told!r} + ".pid")
for number in range(1000000):
    os.makedirs({folder!r}, exist_ok=True)
    open(os.path.join({folder!r}, str(number)), "w").close()
    time.sleep(0.0002)
"""
# As a daemon makes itself one: no parent, no session, no descriptor of whoever started it.
A_DAEMON = """
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.closerange(0, 64)
"""


class Writer:
    """A program in a host of the box: its text, and whether it is at work."""

    def __init__(self, box: PoolInABox, told: Path, before: str = "") -> None:
        folder = box.hosts[0].machine.path("/var/written")
        self._told = str(told / "writer")
        self.text = WRITER.format(before=before, told=self._told, folder=folder)
        self._pid = 0

    def wait(self) -> None:
        """Until it writes."""
        until(lambda: os.path.exists(self._told + ".pid"))
        with open(self._told + ".pid") as file:
            self._pid = int(file.read())

    def is_at_work(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True


def in_background(work: Callable[..., Any], *arguments: Any) -> threading.Thread:
    def run() -> None:
        with suppress(Exception):  # the box has hung up
            work(*arguments)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def close(box: PoolInABox, writer: Writer) -> None:
    writer.wait()
    assert writer.is_at_work()
    box.close()
    assert not writer.is_at_work()
    assert not os.path.exists(box.folder)


def put_plugin(box: PoolInABox, tmp_path: Path, text: str) -> None:
    plugin = tmp_path / "sriov"
    plugin.write_text(text)
    plugin.chmod(0o755)
    set_plugin(box.hosts[0], str(plugin))


def start_with_hook(box: PoolInABox, text: str) -> None:
    box.put_hook(box.hosts[0], "vm-pre-start", text)
    box.start(box.add_vm("a"), box.hosts[0])


def test_a_plugin_that_a_client_waits_for(box: PoolInABox, tmp_path: Path) -> None:
    writer = Writer(box, tmp_path)
    put_plugin(box, tmp_path, writer.text)
    client = in_background(box.call, box.hosts[0], "status")
    close(box, writer)
    client.join()


def test_a_child_of_a_hook_that_is_no_python(box: PoolInABox, tmp_path: Path) -> None:
    """The start did not wait for it."""
    writer = Writer(box, tmp_path)
    program = tmp_path / "program"
    program.write_text(writer.text)
    start_with_hook(box, f"#!/bin/sh\n{sys.executable} {program} >/dev/null &\n")
    close(box, writer)


def test_orphans_die_with_their_host(box: PoolInABox, tmp_path: Path) -> None:
    """Here a daemon that a hook has left behind. A power cut spares nothing, and nothing else."""
    writer = Writer(box, tmp_path, A_DAEMON)
    start_with_hook(box, writer.text)
    writer.wait()
    box.lose(box.hosts[1])
    assert writer.is_at_work()
    box.lose(box.hosts[0])
    until(lambda: not writer.is_at_work())


def test_starts_that_are_queued(box: PoolInABox, tmp_path: Path) -> None:
    """One is at its hook, the next waits for its turn: that one is not taken any more."""
    writer = Writer(box, tmp_path)
    box.put_hook(box.hosts[0], "vm-pre-start", writer.text)
    vm = box.add_vm("a")
    for _ in range(2):
        box.xapi.call("Async.VM.start_on", vm, box.hosts[0].ref, False, False)
    with box.xapi.life.changed:
        assert box.xapi.life.changed.wait_for(lambda: box.xapi.life.waiting == 1, 60)
    close(box, writer)
    assert box.xapi.database.get("VM", vm, "current_operations") == {}


def test_a_call_to_a_host_that_hangs(box: PoolInABox, tmp_path: Path) -> None:
    """It would be carried out as soon as the host answers again: here at the end."""
    began = tmp_path / "began"
    put_plugin(box, tmp_path, f"open({str(began)!r}, 'w').close()\n")
    asked = threading.Event()
    contact = box.xapi.reach.contact

    def watched(host: str) -> None:
        asked.set()
        contact(host)

    box.xapi.reach.contact = watched  # type: ignore[method-assign] # to look on
    box.xapi.reach.hang(box.hosts[0].ref)
    client = in_background(box.call, box.hosts[0], "status")
    assert asked.wait(60)
    box.close()
    client.join()
    assert not began.exists()


def test_a_connection_that_says_nothing(box: PoolInABox) -> None:
    silent = XenAPI.Session(box.url)
    silent.login_with_password("root", "password", "1.0", "a client")  # its connection stays open
    box.close()
    with pytest.raises(ConnectionError):
        silent.xenapi.VM.get_all()


def test_a_box_that_is_closed_takes_nothing_on(box: PoolInABox) -> None:
    vm = box.add_vm("a")
    box.close()
    assert refused(box.start, vm)[0] == "TASK_CANCELLED"
