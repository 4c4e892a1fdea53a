"""Running domains and their devices as xenstore tells them, and what is no answer of xenstored's."""

import errno
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from answering_host import AnsweringHost
from sriovlib.machine import xenstore, xenstored
from sriovlib.machine.host import Host
from sriovlib.machine.xenstored import DIRECTORY, READ

UUID = "0f1e2d3c-0000-4000-8000-0123456789ab"
CAFE = xenstore.Domain(7, UUID, "caf\u00e9")


def backend(domid: int, *addresses: str) -> Dict[str, str]:
    folder = f"{xenstore.BACKENDS}/{domid}/0"
    found = {f"{folder}/frontend": f"/local/domain/{domid}/device/pci/0", f"{folder}/num_devs": "2"}
    for number, address in enumerate(addresses):
        found.update({f"{folder}/dev-{number}": address, f"{folder}/vdev-{number}": "0000:00:00.00"})
    return found


def domain(number: int, **keys: str) -> Dict[str, str]:
    return {f"/local/domain/{number}/{key}": value for key, value in keys.items()}


STORE = {
    **backend(7, "0000:07:10.0", "0000:07:10.2"),
    **domain(7, domid="7", vm=f"/vm/{UUID}", name="caf\u00e9"),
    **backend(8, "0000:07:11.0"),  # it has died, and left its backend behind
    **backend(9, "0000:07:12.0"),
    **domain(9, domid="9", vm=f"/vm/{UUID}"),
}


def test_running_domains_and_their_devices() -> None:
    owners = xenstore.owners(AnsweringHost({"xenstore": STORE}))
    nameless = CAFE._replace(domid=9, name=None)
    assert owners == {"0000:07:10.0": CAFE, "0000:07:10.2": CAFE, "0000:07:12.0": nameless}


def test_no_backend_folder_is_no_domain_and_no_xenstore_is_no_answer() -> None:
    assert xenstore.owners(AnsweringHost({"xenstore": {}})) == {}
    assert xenstore.owners(AnsweringHost()) is None


def test_what_one_domain_has_and_is() -> None:
    host = AnsweringHost({"xenstore": {**STORE, "/local/domain/7/domain-type": "hvm"}})
    assert xenstore.plugged(host, 7) == {"0000:07:10.0": [0], "0000:07:10.2": [1]}
    assert xenstore.plugged(host, 99) == {}
    assert xenstore.domains_of(host, UUID) == [7, 9]
    assert (xenstore.vms(host), xenstore.vms(AnsweringHost())) == ([UUID], None)
    assert (xenstore.kind(host, 7), xenstore.kind(host, 9)) == ("hvm", None)


def test_where_nobody_answers_nothing_is_known() -> None:
    host = AnsweringHost()
    assert (xenstore.plugged(host, 7), xenstore.domains_of(host, UUID), xenstore.kind(host, 7)) == (None,) * 3


# -- the socket --------------------------------------------------------------------------------------


class Xenstored:
    """Answers each question by its key; of what it says `parts` at a time."""

    def __init__(self, root: Path) -> None:
        self.path = f"{root}{xenstored.SOCKET}"
        self.answers: Dict[str, bytes] = {}  # key -> message
        self.whole = 1 << 20
        self.parts = 1 << 20
        self.asked: List[str] = []
        os.makedirs(os.path.dirname(self.path))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(5)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._socket.accept()
            with client, client.makefile("rb") as stream:
                while True:
                    head = stream.read(16)
                    if len(head) < 16:
                        break
                    kind, number, _transaction, length = struct.unpack("=IIII", head)
                    key = stream.read(length).rstrip(b"\0").decode()
                    self.asked.append(key)
                    said = self.answers.get(key) or message(kind, number, key.encode())
                    said = said[: self.whole]
                    for at in range(0, len(said), self.parts):
                        client.sendall(said[at : at + self.parts])
                    if self.whole < len(said) + 1:
                        break


def message(kind: int, number: int, body: bytes) -> bytes:
    return struct.pack("=IIII", kind, number, 0, len(body)) + body


def refusal(name: str) -> bytes:
    return message(16, 0, name.encode() + b"\0")


@pytest.fixture
def daemon(tmp_path: Path) -> Xenstored:
    return Xenstored(tmp_path)


@pytest.fixture
def host(daemon: Xenstored, tmp_path: Path) -> Host:
    assert daemon
    return Host(str(tmp_path))


def test_many_questions_and_their_answers_in_order(daemon: Xenstored, host: Host) -> None:
    keys = [f"/key/{number}" for number in range(70)]
    daemon.parts = 7
    assert host.xenstore([(READ, key) for key in keys]) == [key.encode() for key in keys]
    assert daemon.asked == keys
    assert host.xenstore([]) == []


def test_what_is_not_there_and_what_is_refused(daemon: Xenstored, host: Host) -> None:
    daemon.answers = {"/none": refusal("ENOENT")}
    assert host.xenstore([(DIRECTORY, "/none"), (READ, "/a")]) == [None, b"/a"]
    for name, code in (("EACCES", errno.EACCES), ("E2BIG", errno.E2BIG), ("EODD", errno.EIO)):
        daemon.answers = {"/refused": refusal(name)}
        with pytest.raises(OSError) as error:  # noqa: PT011 (its number is what is asked for)
            host.xenstore([(READ, "/refused")])
        assert error.value.errno == code


@pytest.mark.parametrize("length", range(18))
def test_an_answer_that_breaks_off(daemon: Xenstored, host: Host, length: int) -> None:
    daemon.whole = length
    with pytest.raises(OSError, match="xenstored has closed the connection"):
        host.xenstore([(READ, "/a/key")])
    assert xenstore.owners(host) is None


@pytest.mark.parametrize("said", [message(READ, 7, b"x"), message(DIRECTORY, 0, b"x"), message(15, 0, b"x")])
def test_an_answer_to_another_question(daemon: Xenstored, host: Host, said: bytes) -> None:
    daemon.answers = {"/a": said}
    with pytest.raises(OSError, match="Bad message"):
        host.xenstore([(READ, "/a")])


def test_no_xenstored(tmp_path: Path) -> None:
    owners: Optional[Any] = xenstore.owners(Host(str(tmp_path)))
    assert owners is None
