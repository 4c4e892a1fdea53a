"""What the kernel's log says of SR-IOV: some refusals have their reason nowhere else."""

import os
import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .host import Host

DEVICE = "/dev/kmsg"

NO_MMIO_SPACE, NO_BUS_NUMBERS, DRIVER_WITHOUT_SRIOV = (
    "NO_MMIO_SPACE",
    "NO_BUS_NUMBERS",
    "DRIVER_WITHOUT_SRIOV",
)

# Kernel: drivers/pci/iov.c and setup-res.c (BARs 7 to 12 are those of the VFs), from 4.19 on. Compiled only
# when a line may fit, which on most hosts none does.
_VF_BAR = r"BAR (?:[789]|1[012])\b"
_EVIDENCE = (
    (NO_MMIO_SPACE, r"not enough MMIO resources for SR-IOV"),
    (NO_MMIO_SPACE, rf"\b(?:{_VF_BAR}|VF BAR \d).*(?:no space for|failed to assign|can't assign)"),
    (NO_BUS_NUMBERS, r"SR-IOV: bus number out of range|can't enable \d+ VFs \(bus"),
    (DRIVER_WITHOUT_SRIOV, r"(?i)driver (?:does not|doesn't) support SR-?IOV configuration via sysfs"),
)
_COMPLAINTS = (
    "not enough mmio resources",
    "no space for",
    "failed to assign",
    "can't assign",
    "bus number out of range",
    "can't enable",
    "configuration via sysfs",
)
_DEVICE = r"\b([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])"
_BAR = rf"{_DEVICE}: (VF )?BAR (\d+)\b"
_LINK = r"(?i)\blink\b.*\b(?:up|down|ready)\b"


class Evidence(NamedTuple):
    """One finding: a code of `problems`, and the line that says so."""

    code: str
    line: str


def read(path: str) -> List[bytes]:
    """All records of the device: one a read (Linux: Documentation/ABI/testing/dev-kmsg). Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = []
    try:
        while True:
            try:
                found.append(os.read(descriptor, 8192))
            except BrokenPipeError:
                pass  # the next one has just been overwritten
    except BlockingIOError:
        return found
    finally:
        os.close(descriptor)


def _records(host: Host) -> List[bytes]:
    try:
        return host.kernel_log()
    except OSError:
        return []


def _line(record: bytes) -> str:
    """Of `6,339,5140900,-;text` and lines on its device."""
    head, _, text = record.partition(b";")
    when = b"".join(head.split(b",")[2:3])
    return (b"[%b] %b" % (when, text.partition(b"\n")[0])).decode("utf-8", "replace")


def lines(host: Host) -> List[str]:
    """The log's lines, each with its time in front as `[MICROSECONDS] `; none where it cannot be read."""
    return [_line(record) for record in _records(host)]


def of_vfs(host: Host) -> List[str]:
    """Those that `evidence` looks at, of thousands."""
    return [
        _line(record)
        for record in _records(host)
        if b"BAR" in record or b"IOV" in record or b"VFs" in record or b"] type " in record
    ]


def code_of(line: str) -> Optional[str]:
    """The code of `problems` that a line of the log is evidence of."""
    found = _kind(line)
    return None if found is None else _EVIDENCE[found][0]


def _kind(line: str) -> Optional[int]:
    if not _may_complain(line):
        return None
    return next((at for at, (_, pattern) in enumerate(_EVIDENCE) if re.search(pattern, line)), None)


def _may_complain(line: str) -> bool:
    """Not for nearly every line, and much cheaper than the patterns, each of which has one of these words."""
    lower = line.lower()
    return any(words in lower for words in _COMPLAINTS)


def is_of_link(line: str) -> bool:
    """Whether the line tells that a cable's link came or went, as it does whenever a PF is brought up."""
    return bool(re.search(_LINK, line))


def without_time(line: str) -> str:
    """The line as its driver said it. Behind the time a kernel may name its caller (PRINTK_CALLER)."""
    return re.sub(r"^\[[^\]]*\]\s*(?:\[ *[TC]\d+\]\s*)?", "", line.strip())


def evidence(log: Iterable[str], vfs: Mapping[str, str]) -> Dict[str, List[Evidence]]:
    """PCI address -> what the log says against SR-IOV on it: for each BAR and each kind of event the last
    line, unless it is over. A BAR's is when the kernel found room in a later try, all of a PF's when one of
    its VFs (`vfs`: address -> PF) was born later."""
    found: Dict[str, Dict[Tuple[int, int], Evidence]] = {}
    for line in log:
        if found and "] type " in line:
            found.pop(vfs.get(_born(line), ""), None)
        if not _may_complain(line) and not (found and ": assigned" in line):
            continue
        number = _number_of_bar(line)
        kind = _kind(line)
        address = re.search(_DEVICE, line)
        if address is None:
            continue
        if kind is not None:
            key = (kind, -1 if number is None else number)
            found.setdefault(address.group(1), {})[key] = Evidence(_EVIDENCE[kind][0], without_time(line))
        elif number is not None and ": assigned" in line:
            of_device = found.get(address.group(1), {})
            for key in [key for key in of_device if key[1] == number]:
                del of_device[key]
    return {address: list(kinds.values()) for address, kinds in found.items() if kinds}


def _born(line: str) -> str:
    """The address of a VF that is born: `pci 0000:07:10.0: [8086:10ed] type 00 class 0x020000`
    (drivers/pci/probe.c, pci_setup_device). Its PF had room for its VFs then."""
    words = line.partition("] type ")[0].split()
    return words[-2].rstrip(":") if len(words) > 1 else ""


def _number_of_bar(line: str) -> Optional[int]:
    """Of the VFs' BARs: `BAR 7` is what newer kernels call `VF BAR 0`."""
    match = re.search(_BAR, line)
    if match is None:
        return None
    return int(match.group(3)) if match.group(2) else int(match.group(3)) - 7


def newer(before: Sequence[str], after: Sequence[str]) -> List[str]:
    """The lines of the log that came after it was read the first time. Its ring drops the oldest, so that
    what is left of the first reading is where the second one begins."""
    for dropped in range(len(before)):
        left = len(before) - dropped
        if left <= len(after) and after[left - 1] == before[-1] and list(after[:left]) == before[dropped:]:
            return list(after[left:])
    return list(after)
