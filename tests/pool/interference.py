"""What comes between: a hook that waits, calls of dom0's programs that are watched, and calls of the library
in this process that are cut off, failed, or met by something else."""

import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Iterator, List

import database
import pytest
from box import PoolInABox
from box_host import BoxHost
from calls import Context
from checks import until
from sriovlib.errors import SriovError
from sriovlib.xapi.session import Xapi, XapiSilent
from values import Failure

WRITES = "VM.add_to_other_config"  # the last of the writes of a call; then the VM is looked at again


class Gate:
    """A start hook of that name on that host, before ours or after it, that lets nobody through for the time
    being."""

    def __init__(self, host: BoxHost, name: str) -> None:
        self._host, self._threads = host, ThreadPoolExecutor(1)
        self._folder = host.machine.path(f"/tmp/{name}-{time.monotonic()}")
        self.script = os.path.join(host.machine.path("/etc/xapi.d/vm-pre-start"), name)
        os.makedirs(self._folder)
        with open(self.script, "w") as file:
            go = f"{self._folder}/go"
            file.write(f"#!/bin/sh\ntouch {self._folder}/$2\n")
            file.write(f"for n in $(seq 2400); do [ -e {go} ] && exit 0; sleep 0.05; done\nexit 3\n")
        os.chmod(self.script, 0o755)

    def hold(self, start: Callable[[str, BoxHost], Any], vm: str) -> None:
        """Begins with `start` of the VM on this host, and comes back when it is here."""
        self._held = self._threads.submit(start, vm, self._host)
        self.wait_for(vm)

    def result(self) -> Any:
        """Lets it through: what it comes to."""
        self.open()
        return self._held.result()

    def wait_for(self, vm_uuid: str) -> None:
        """Until the VM's start is there."""
        until(lambda: os.path.exists(os.path.join(self._folder, vm_uuid)))

    def open(self) -> None:
        with open(os.path.join(self._folder, "go"), "w"):
            pass

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.open()
        self._threads.shutdown()
        os.unlink(self.script)


@contextmanager
def calls_watched(
    box: PoolInABox, host: BoxHost, act: Callable[[int, str], Any] = lambda *_: None
) -> Iterator[List[str]]:
    """Before each call that a program of this host's dom0 makes, `act` is told its number and name."""
    seen: List[str] = []
    lock = threading.Lock()
    table = box.xapi.calls

    def watched(context: Context, *params: Any, name: str) -> Any:
        if context.origin.local and context.origin.host == host.ref:
            with lock:
                seen.append(name)
                number = len(seen)
            act(number, name)
        return table[name].function(context, *params)

    box.xapi.calls = {
        name: call._replace(function=partial(watched, name=name)) for name, call in table.items()
    }
    try:
        yield seen
    finally:
        box.xapi.calls = table


@contextmanager
def xapi_fails(box: PoolInABox, host: BoxHost, call: str, times: int = 1000) -> Iterator[None]:
    """The first so many of these calls from the host's dom0 end in an error."""
    failed: List[int] = []

    def act(number: int, name: str) -> None:
        if name == call and len(failed) < times:
            failed.append(number)
            raise Failure("INTERNAL_ERROR", "Db_exn.DBCache_NotFound")

    with calls_watched(box, host, act):
        yield
    assert failed


def cut_at(number: int, call: Callable[[], Any]) -> bool:
    """Does `call` in a process that is gone just before its call number `number` to xapi; whether it came
    that far."""
    with database.all_still():
        child = os.fork()
    if child == 0:
        with calls_told(lambda now, *_: os._exit(9) if now == number else None):
            try:
                call()
            except BaseException:
                os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) in (0, 9), "the call itself failed"
    return os.WEXITSTATUS(status) == 9


def all_cuts(call: Callable[[], Any]) -> Iterator[int]:
    """Cuts `call` off before its first call to xapi, its second and so on, until nothing is left to cut; each
    time the caller of this looks at what is there, and puts it back."""
    for number in itertools.count(1):
        cut = cut_at(number, call)
        yield number
        if not cut:
            assert number > 10
            return


@contextmanager
def calls_told(act: Callable[..., Any], answered: bool = False) -> Iterator[List[str]]:
    """Before each call that the library makes in this process, or when it is `answered`, `act` is told its
    number, method and parameters; the list has the methods. What it raises, the call fails with."""
    real, real_for_each, methods = Xapi.call, Xapi.call_for_each, []

    def told(function: Callable[..., Any], self: Xapi, *params: Any, method: str, of_method: Any) -> Any:
        methods.append(method)
        number = len(methods)
        if not answered:
            act(number, method, *of_method)
        answer = function(self, *params)
        if answered:
            act(number, method, *of_method)
        return answer

    def call(self: Xapi, method: str, *params: Any) -> Any:
        return told(real, self, method, *params, method=method, of_method=params)

    def call_for_each(self: Xapi, member: str, take: Any, method: str, *params: Any) -> Any:
        return told(real_for_each, self, member, take, method, *params, method=method, of_method=params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Xapi, "call", call)
        patch.setattr(Xapi, "call_for_each", call_for_each)
        yield methods


def all_failures(call: Callable[[], Any]) -> Iterator[SriovError]:
    """xapi refuses the connection once: at the first of the calls of `call`, at the second and so on. Each
    time its error, until it has none."""
    for number in itertools.count(1):

        def act(now: int, *_anything: Any, wanted: int = number) -> None:
            if now == wanted:
                silent()

        failed: List[SriovError] = []
        with calls_told(act):
            try:
                call()
            except SriovError as error:
                failed.append(error)
        if not failed:
            assert number > 10
            return
        yield failed[0]


def silent(*_anything: Any) -> None:
    raise XapiSilent("xapi is not there")


@contextmanager
def meanwhile(method: str, act: Callable[[], Any], number: int = 1) -> Iterator[None]:
    """Just before the library's first call of that method, or a later one, somebody does this."""
    count = [0]

    def told(_number: int, name: str, *_params: Any) -> None:
        count[0] += name == method
        if name == method and count[0] == number:
            act()

    with calls_told(told):
        yield
    assert count[0] >= number
