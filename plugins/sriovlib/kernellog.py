"""What the kernel's log says of SR-IOV: some refusals have their reason nowhere else."""

import re
from typing import Dict, List, NamedTuple, Optional

from .host import Completed

COMMAND = ("dmesg",)

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
_DEVICE = r"\b([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])"
_ASSIGNED = rf"{_DEVICE}: (?:{_VF_BAR}|VF BAR \d).*: assigned"
_LINK = r"(?i)\blink\b.*\b(?:up|down|ready)\b"


class Evidence(NamedTuple):
    """One finding: a code of `problems`, and the line that says so."""

    code: str
    line: str


def code_of(line: str) -> Optional[str]:
    """The code of `problems` that a line of the log is evidence of."""
    if not _is_of_vfs(line):
        return None
    return next((code for code, pattern in _EVIDENCE if re.search(pattern, line)), None)


def _is_of_vfs(line: str) -> bool:
    """Whether it may be: not for nearly every line, and much cheaper than the patterns."""
    if "BAR" in line:
        return "VF BAR" in line or re.search(_VF_BAR, line) is not None
    return "IOV" in line or "VFs" in line


def is_of_link(line: str) -> bool:
    """Whether the line tells that a cable's link came or went, as it does whenever a PF is brought up."""
    return bool(re.search(_LINK, line))


def without_time(line: str) -> str:
    return re.sub(r"^\[[^\]]*\]\s*", "", line.strip())


def evidence(answer: Completed) -> Dict[str, List[Evidence]]:
    """PCI address -> what the log says against SR-IOV on it, each code once with its last line."""
    found: Dict[str, Dict[str, Evidence]] = {}
    for line in filter(_is_of_vfs, answer.stdout.splitlines()):
        assigned = re.search(_ASSIGNED, line) if "assigned" in line else None
        if assigned:  # the kernel found room in a later try
            found.get(assigned.group(1), {}).pop(NO_MMIO_SPACE, None)
        code = code_of(line)
        address = re.search(_DEVICE, line) if code else None
        if code and address:
            found.setdefault(address.group(1), {})[code] = Evidence(code, without_time(line))
    return {address: list(codes.values()) for address, codes in found.items()}
