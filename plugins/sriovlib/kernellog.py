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

# Kernel: drivers/pci/iov.c and setup-res.c (BARs 7 to 12 are those of the VFs), from 4.19 on.
_EVIDENCE = (
    (NO_MMIO_SPACE, re.compile(r"not enough MMIO resources for SR-IOV")),
    (
        NO_MMIO_SPACE,
        re.compile(r"\b(?:BAR (?:[789]|1[012])|VF BAR \d)\b.*(?:no space for|failed to assign|can't assign)"),
    ),
    (NO_BUS_NUMBERS, re.compile(r"SR-IOV: bus number out of range|can't enable \d+ VFs \(bus")),
    (
        DRIVER_WITHOUT_SRIOV,
        re.compile(r"(?i)driver (?:does not|doesn't) support SR-?IOV configuration via sysfs"),
    ),
)
_ASSIGNED = re.compile(
    r"\b([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): (?:BAR (?:[789]|1[012])|VF BAR \d)\b.*: assigned"
)
_LINK = re.compile(r"(?i)\blink\b.*\b(?:up|down|ready)\b")
_ADDRESS = re.compile(r"\b[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b")


class Evidence(NamedTuple):
    """One finding: a code of `problems`, and the line that says so."""

    code: str
    line: str


def code_of(line: str) -> Optional[str]:
    """The code of `problems` that a line of the log is evidence of."""
    if not any(word in line for word in ("IOV", "BAR", "VFs")):
        return None  # nearly every line; much cheaper than the patterns
    return next((code for code, pattern in _EVIDENCE if pattern.search(line)), None)


def is_of_link(line: str) -> bool:
    """Whether the line tells that a cable's link came or went, as it does whenever a PF is brought up."""
    return bool(_LINK.search(line))


def without_time(line: str) -> str:
    return re.sub(r"^\[[^\]]*\]\s*", "", line.strip())


def evidence(answer: Completed) -> Dict[str, List[Evidence]]:
    """PCI address -> what the log says against SR-IOV on it, each code once with its last line."""
    found: Dict[str, Dict[str, Evidence]] = {}
    for line in answer.stdout.splitlines():
        assigned = _ASSIGNED.search(line) if "assigned" in line else None
        if assigned:  # the kernel found room in a later try
            found.get(assigned.group(1), {}).pop(NO_MMIO_SPACE, None)
        code = code_of(line)
        address = _ADDRESS.search(line) if code else None
        if code and address:
            found.setdefault(address.group(), {})[code] = Evidence(code, without_time(line))
    return {address: list(codes.values()) for address, codes in found.items()}
