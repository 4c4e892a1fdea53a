"""A host whose files are those of pyfakefs, and whose commands say what the test wants them to say."""

from typing import Dict, List, Mapping, Optional, Sequence, Union

from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.machine.command import COMMAND_SECONDS, NOT_FOUND, Completed, Running
from sriovlib.machine.host import Host

DEVICES = "/sys/bus/pci/devices"
NET = "/sys/class/net"


class _Answered(Running):
    def __init__(self, answer: Completed) -> None:
        self._failed = answer
        self._trace = None


class AnsweringHost(Host):
    """`said`: a command's name, or its whole line -> what it prints, or the status with which it fails. Any
    other command is not there."""

    def __init__(self, said: Optional[Mapping[str, Union[str, int]]] = None) -> None:
        super().__init__()
        self.said: Dict[str, Union[str, int]] = dict(said or {})
        self.asked: List[str] = []  # what was run, and what it was told

    def start(self, argv: Sequence[str], input_text: Optional[str] = None) -> Running:
        words = " ".join(argv)
        self.asked.append(words if input_text is None else f"{words}\n{input_text}")
        said = self.said.get(words, self.said.get(argv[0], NOT_FOUND))
        if isinstance(said, str):
            return _Answered(Completed(argv, 0, said, ""))
        return _Answered(Completed(argv, said, "", "refused"))

    def run(
        self, argv: Sequence[str], seconds: float = COMMAND_SECONDS, input_text: Optional[str] = None
    ) -> Completed:
        return self.start(argv, input_text).finish(seconds)

    def log(self, text: str, priority: int = 0) -> None:
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


def ip_shows(*interfaces: str, vfs: int, mac: str = "00:00:00:00:00:00") -> Dict[str, str]:
    """What `ip -details link show` says of interfaces that each tell of the VFs."""
    lines = []
    for index, name in enumerate(interfaces, 2):
        lines.append(f"{index}: {name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP")
        lines += [f"    vf {number} MAC {mac}, spoof checking off, link-state auto" for number in range(vfs)]
    return {"ip -details link show": "\n".join(lines) + "\n"}
