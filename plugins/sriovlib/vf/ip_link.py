"""What `ip` is told of the settings of VFs: one process, however many VFs."""

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ..config import vf_settings
from ..config.vf_settings import UNSET, VfSettings, as_text
from ..machine import pci, sysfs
from ..machine.command import NOT_FOUND, TIMED_OUT, Completed
from ..machine.host import Host
from .kernel_settings import TELL_SPEED

BATCH = ("ip", "-force", "-batch", "-")  # any number of changes; one that fails does not stop the others


def no_limit(host: Host, pf: pci.PhysicalFunction, interface: str) -> int:
    """The rate that ends a limit, see `changes`."""
    return (sysfs.speed(host, interface) or 0) if pf.driver in TELL_SPEED else 0


class Change(NamedTuple):
    """One line for `ip -batch`: settings of a VF that the kernel takes together. `tolerable`: the driver
    tells none of them, and what is wanted is none of it, so a driver that cannot is right."""

    interface: str
    number: int
    settings: Tuple[str, ...]
    words: str
    tolerable: bool


_GROUPS: Tuple[Tuple[str, ...], ...] = (
    ("mac",),
    ("vlan", "qos", "vlan_protocol"),
    ("max_tx_rate", "min_tx_rate"),
    ("spoof_check",),
    ("trust",),
    ("link_state",),
)


_NONE_OF_IT = UNSET._replace(link_state="auto")


def changes(
    interface: str, number: int, now: VfSettings, wanted: Mapping[str, Any], no_limit: int = 0
) -> List[Change]:
    """What has to be said to bring VF `number` from `now` to `wanted`. A setting that is not wanted is
    not touched, one that is already so is not said again; one that the driver does not tell is. `no_limit` is
    what the driver takes for the end of a limit, in Mbit/s."""
    told = now._asdict()
    before = UNSET._replace(**vf_settings.values(now))
    after = before._replace(**wanted)
    if before.max_tx_rate and not after.max_tx_rate:
        after = after._replace(max_tx_rate=no_limit)
    found = []
    for group in _GROUPS:
        names = tuple(name for name in group if name in wanted)
        if any(told[name] is None or wanted[name] != told[name] for name in names):
            tolerable = all(
                told[name] is None and wanted[name] == getattr(_NONE_OF_IT, name) for name in names
            )
            found.append(Change(interface, number, names, _in_words(group, before, after), tolerable))
    return found


def _in_words(group: Tuple[str, ...], before: VfSettings, after: VfSettings) -> str:
    """A group in the words of `ip link set PF vf N ...`."""
    if "vlan" in group:
        words = f"vlan {after.vlan} qos {after.qos}"
        # without a protocol old drivers are asked in the way they know
        return words if after.vlan_protocol == "802.1q" else f"{words} proto {after.vlan_protocol}"
    if "max_tx_rate" in group:
        words = f"max_tx_rate {after.max_tx_rate}"
        return (
            f"{words} min_tx_rate {after.min_tx_rate}" if after.min_tx_rate or before.min_tx_rate else words
        )
    word = {"mac": "mac", "spoof_check": "spoofchk", "trust": "trust", "link_state": "state"}[group[0]]
    return f"{word} {as_text(getattr(after, group[0]))}"


def apply(host: Host, wanted: Sequence[Change]) -> Dict[int, str]:
    """Says all of it in one process. The changes that were refused (their places in `wanted`) and the
    kernel's words; the others are done."""
    if not wanted:
        return {}
    lines = [f"link set dev {change.interface} vf {change.number} {change.words}" for change in wanted]
    answer = host.run(BATCH, input_text="".join(line + "\n" for line in lines))
    if answer.status in (NOT_FOUND, TIMED_OUT):  # one by one each would take as long
        return dict.fromkeys(range(len(wanted)), answer.stderr)
    failed = _failed(answer) if answer.status else {}
    if answer.status and not failed:  # ip stops at a word that it does not know, and names no line
        answers = [host.run(["ip", *line.split()]) for line in lines]
        failed = {place: _said(one.stderr) for place, one in enumerate(answers) if one.status}
    return {place: why for place, why in failed.items() if not wanted[place].tolerable}


def _failed(answer: Completed) -> Dict[int, str]:
    """Which lines failed: the kernel's words stand before `Command failed -:LINE`."""
    failed: Dict[int, str] = {}
    said = ""
    for line in answer.stderr.splitlines():
        match = re.match(r"Command failed -:(\d+)", line)
        if match:
            failed[int(match.group(1)) - 1] = _said(said)
            said = ""
        elif line.strip():
            said = line
    return failed


def _said(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return re.sub(r"^(?:RTNETLINK answers|Error): ", "", lines[-1].strip()) if lines else "refused"
