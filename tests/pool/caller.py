"""Calls of the library in this process, whose calls to xapi can be cut, failed, or met by something else."""

import os
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from box import PoolInABox
from sriovlib.errors import SriovError
from sriovlib.pool import ledger, master
from sriovlib.xapi.session import Xapi, XapiSilent

FOREIGN = "3/0000:00:1b.0"  # an entry by hand
WRITES = "VM.add_to_other_config"  # the last of the writes of a call; then the VM is looked at again


class Caller:
    """An administrator at the first host, and the VM that all is about."""

    def __init__(self, box: PoolInABox, session: Any) -> None:
        self.box = box
        self.session = session
        self.host = box.hosts[0].machine
        self.vm = str(session.xenapi.VM.get_uuid(box.add_vm("web", other_config={"pci": FOREIGN})))

    def act(self, function: Callable[..., Any], **args: str) -> Any:
        name = function.__name__
        return master.act(self.host, self.session, name, {"vm_uuid": self.vm, **args}, function)

    @property
    def ref(self) -> str:
        return str(self.session.xenapi.VM.get_by_uuid(self.vm))

    def pool_keys(self) -> Dict[str, str]:
        (pool,) = self.session.xenapi.pool.get_all()
        return dict(self.session.xenapi.pool.get_other_config(pool))

    def state(self) -> Tuple[Any, Any, Any]:
        record = self.session.xenapi.VM.get_record(self.ref)
        return self.pool_keys(), record["other_config"], record["platform"]

    def entry(self) -> ledger.Entry:
        found = ledger.read(self.pool_keys())
        assert found.unreadable == {}
        return found.entries.get(self.vm, ledger.NO_ENTRY)

    def forget(self) -> None:
        """The VM has no key in the ledger, as before its first request."""
        (pool,) = self.session.xenapi.pool.get_all()
        for name in self.key_names():
            self.session.xenapi.pool.remove_from_other_config(pool, name)

    def key_names(self) -> List[str]:
        """Those of the VM in the ledger; two of a call that was cut off."""
        return [key.name for key in ledger.keys(self.pool_keys()).get(self.vm, [])]


def cut_at(number: int, call: Callable[[], Any]) -> bool:
    """Does `call` in a process that is gone just before its call number `number` to xapi; whether it came
    that far."""
    child = os.fork()
    if child == 0:
        real, count = Xapi.call, [0]

        def counted(self: Xapi, method: str, *params: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                os._exit(9)
            return real(self, method, *params)

        Xapi.call = counted  # type: ignore[method-assign]
        try:
            call()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) in (0, 9), "the call itself failed"
    return os.WEXITSTATUS(status) == 9


def failed_at(monkeypatch: pytest.MonkeyPatch, number: int, call: Callable[[], Any]) -> Tuple[Any, List[str]]:
    """The error of `call` when xapi refuses the connection once, at that call; and the methods called."""
    real = Xapi.call
    methods: List[str] = []

    def counted(self: Xapi, method: str, *params: Any) -> Any:
        methods.append(method)
        if len(methods) == number:
            raise XapiSilent("xapi is not there")
        return real(self, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Xapi, "call", counted)
        try:
            call()
        except SriovError as error:
            return error, methods
    return None, methods


@contextmanager
def meanwhile(method: str, act: Callable[[], Any], number: int = 1) -> Iterator[None]:
    """Just before the library's first call of that method, or a later one, somebody does this."""
    real, count = Xapi.call, [0]

    def call(self: Xapi, name: str, *params: Any) -> Any:
        count[0] += name == method
        if name == method and count[0] == number:
            act()
        return real(self, name, *params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Xapi, "call", call)
        yield
    assert count[0] >= number
