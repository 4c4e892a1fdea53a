"""A host whose files are those of pyfakefs, and whose commands say what the test wants them to say."""

import errno
import os
import struct
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import kernel_net
import kernel_netlink
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.machine.command import NOT_FOUND, Completed, Running
from sriovlib.machine.host import COMMAND_SECONDS, Host
from sriovlib.machine.xenstored import DIRECTORY

DEVICES = "/sys/bus/pci/devices"
NET = "/sys/class/net"


class _Answered(Running):
    def __init__(self, answer: Completed) -> None:
        self._failed = answer
        self._trace = None


class AnsweringHost(Host):
    """`said`: a command's name, or its whole line -> what it prints, or the status with which it fails. Any
    other command is not there. Of the kernel: `link NAME`, `link INDEX`, `addresses` -> the messages that it
    answers over netlink; it refuses all else."""

    def __init__(self, said: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__()
        self.said: Dict[str, Any] = dict(said or {})
        self.asked: List[str] = []  # what was run, and what it was told

    def start(self, argv: Sequence[str], input_text: Optional[str] = None) -> Running:
        words = " ".join(argv)
        self.asked.append(words if input_text is None else f"{words}\n{input_text}")
        said = self.said.get(words, self.said.get(argv[0], NOT_FOUND))
        if isinstance(said, str):
            return _Answered(Completed(argv, 0, said, ""))
        return _Answered(Completed(argv, said, "", "refused"))

    def kernel_log(self) -> List[bytes]:
        """By `kernel log` -> its lines, with or without the time in front."""
        found = []
        for number, line in enumerate(self.said.get("kernel log", "").splitlines()):
            text = line.partition("] ")[2] if line.startswith("[") else line
            found.append(f"6,{number},{number},-;{text}\n SUBSYSTEM=pci\n".encode())
        return found

    def xenstore(self, questions: Sequence[Tuple[int, str]]) -> List[Optional[bytes]]:
        """By `xenstore` -> full path -> value; it does not answer where nothing is said."""
        if "xenstore" not in self.said:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        values: Dict[str, str] = self.said["xenstore"]
        found: List[Optional[bytes]] = []
        for kind, key in questions:
            below = {path[len(key) + 1 :].split("/")[0] for path in values if path.startswith(key + "/")}
            text = (
                "".join(f"{name}\0" for name in sorted(below)) if kind == DIRECTORY else values.get(key, "")
            )
            found.append(text.encode() if below or key in values else None)
        return found

    def netlink(self, request: bytes) -> List[bytes]:
        question = "addresses"
        if struct.unpack_from("=IH", request)[1] == kernel_netlink.GET_LINK:
            _family, _type, index = struct.unpack_from("=BxHi", request, 16)
            name = kernel_netlink.attributes(request[32:]).get(3, b"").rstrip(b"\0").decode()
            question = f"link {name or index}"
        messages: List[bytes] = self.said.get(question, [kernel_netlink.refusal(1)])
        return messages

    def run(
        self, argv: Sequence[str], seconds: float = COMMAND_SECONDS, input_text: Optional[str] = None
    ) -> Completed:
        return self.start(argv, input_text).finish(seconds)

    def log(self, text: str) -> None:
        pass


def add_pf(fs: FakeFilesystem, address: str, device: str, driver: str, vfs: int, **more: object) -> None:
    """A function that can do SR-IOV, `device` as in `15b3:1003`, with its VFs right behind it.

    `more`: `pci_class` (six digits), `attributes` (name -> text)."""
    folder = f"{DEVICES}/{address}"
    _function(fs, address, device, driver, str(more.get("pci_class", "020000")))
    fs.create_file(f"{folder}/sriov_totalvfs", contents="16\n")
    fs.create_file(f"{folder}/sriov_numvfs", contents=f"{vfs}\n")
    attributes = more.get("attributes", {})
    assert isinstance(attributes, dict)
    for name, text in attributes.items():
        fs.create_file(f"{folder}/{name}", contents=f"{text}\n")
    for number in range(vfs):
        vf = vf_address(address, number)
        _function(fs, vf, device, "pciback", "020000")
        fs.create_symlink(f"{folder}/virtfn{number}", f"../{vf}")
        fs.create_symlink(f"{DEVICES}/{vf}/physfn", f"../{address}")


def vf_address(pf: str, number: int) -> str:
    """Of function F those of the slot F + 1: as a card might have them."""
    return f"{pf[:8]}{int(pf[-1]) + 1:02x}.{number}"


def _function(fs: FakeFilesystem, address: str, device: str, driver: str, pci_class: str) -> None:
    folder = f"{DEVICES}/{address}"
    text = f"DRIVER={driver}\nPCI_CLASS={pci_class}\nPCI_ID={device.upper()}\n"
    fs.create_file(f"{folder}/uevent", contents=text)
    fs.create_symlink(f"{folder}/driver", f"../../drivers/{driver}")


def add_interface(fs: FakeFilesystem, address: str, name: str, mac: str, **attributes: object) -> None:
    """An interface of the function, up and with a link; `attributes` as in its folder of sysfs."""
    folder = f"{DEVICES}/{address}/net/{name}"
    told = {"address": mac, "flags": "0x1003", "carrier": 1, "speed": 10000, "dev_port": 0, **attributes}
    for attribute, value in told.items():
        fs.create_file(f"{folder}/{attribute}", contents=f"{value}\n")
    fs.create_symlink(f"{NET}/{name}", folder)
    fs.create_symlink(f"{folder}/device", f"../../../{address}")


def shows(*interfaces: str, vfs: int, mac: str = kernel_net.NO_MAC, kind: int = 1) -> Dict[str, Any]:
    """What the kernel tells of interfaces that each tell of the VFs. `kind`: ARPHRD_..., 32: InfiniBand."""
    settings = [kernel_net.VfSettings(mac, spoof_check=False)] * vfs
    return {
        f"link {name}": [kernel_netlink.new_link(name, index, settings, kind)]
        for index, name in enumerate(interfaces, 2)
    }


def has_addresses(*pairs: Tuple[str, str]) -> Dict[str, Any]:
    """What it tells of dom0's addresses, by interface: these, and lo's."""
    named = list(enumerate([("lo", "127.0.0.1/8"), *pairs], 1))
    messages = [kernel_netlink.new_address(index, text) for index, (_, text) in named]
    links = {f"link {index}": [kernel_netlink.new_link(name, index, None)] for index, (name, _) in named}
    return {"addresses": [*messages, kernel_netlink.done()], **links}
