"""A box with TLS before its hosts, and sriovctl on a workstation that reaches it so."""

import os
import re
import sys
from contextlib import ExitStack, contextmanager
from typing import Any, Iterator

import certificate_maker
import pytest
import tls_front
from box import PoolInABox
from box_host import BoxHost
from certificate_maker import Made
from sriovctl import login
from sriovctl.client import Client
from sriovctl.grammar import read

PASSWORD = "a password of the box"


class Fronts:
    """`master` stands before the first host."""

    def __init__(self, box: PoolInABox, folder: str, stack: ExitStack) -> None:
        self.box = box
        self.folder = folder
        self.own = self.made("host1")
        self._stack = stack
        self.master = self.before(box.hosts[0])

    def before(self, host: BoxHost, show: Any = None) -> tls_front.Front:
        """Another host's; the members name it as its address where it is the master."""
        front = tls_front.front(self.box.xapi.url_of(host.ref), show or self.own)
        made = self._stack.enter_context(front)
        self.box.xapi.database.set("host", host.ref, "address", made.address)
        return made

    def made(self, name: str, **options: Any) -> Made:
        return certificate_maker.make(self.folder, name, **options)

    def connect(self, *words: str) -> Any:
        """A connection as commands have it."""
        args = read(["--host", self.master.address, "--fingerprint", self.own.fingerprint, *words, "vms"])
        return login.connect(Client(args, login.connect, local=False))


@contextmanager
def made(folder: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fronts]:
    for name in [name for name in os.environ if re.match("SRIOVCTL_(?!.*_DIR)", name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SRIOVCTL_PASSWORD", PASSWORD)
    with ExitStack() as stack:
        box = stack.enter_context(PoolInABox(interpreter=sys.executable, password=PASSWORD))
        yield Fronts(box, folder, stack)
