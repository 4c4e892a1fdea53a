"""VF settings by dom0's `ip`: what it prints, and what it is told. Few processes, however many VFs."""

import re
from functools import lru_cache
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .host import Completed, Host
from .vfsettings import FRESH, NO_MAC, VfSettings, as_text

COMMAND = ("ip", "-details", "link", "show")  # all interfaces of the host
BATCH = ("ip", "-force", "-batch", "-")  # any number of changes; one that fails does not stop the others

_INTERFACE = re.compile(r"\d+: ([^:@\s]+)[:@]")
_VF = re.compile(r"\s+vf (\d+)\s+(?:MAC|link/\S+) ([0-9a-fA-F:]+)(.*)")


def parse(answer: Completed) -> Dict[str, Dict[int, VfSettings]]:
    """Interface -> VF index -> settings, of what `COMMAND` printed; nothing where it failed.

    Its text is read and not its JSON, which the `ip` of XCP-ng 8.3 does not have. The old one says
    `vf 0 MAC 02:..`, a new one `vf 0     link/ether 02:.. brd ff:..`; both leave out what is zero
    or what the driver does not report (iproute2: ip/ipaddress.c, print_vfinfo).
    """
    found: Dict[str, Dict[int, VfSettings]] = {}
    vfs: Dict[int, VfSettings] = {}
    for line in answer.stdout.splitlines() if answer.status == 0 else ():
        if line[:1] != " ":
            match = _INTERFACE.match(line)
            if match:
                vfs = found.setdefault(match.group(1), {})
        elif line.lstrip().startswith("vf "):
            vf = _VF.match(line)
            if vf:
                vfs[int(vf.group(1))] = _settings(vf.group(2).lower(), vf.group(3))
    return found


_PART = re.compile(
    r"(?:^|, )([a-z_ -]+?) (\d+|802\S+?|on|off|auto|enable|disable)(?:Mbps| \(Mbps\))?(?=,|$|\s)"
)


@lru_cache(maxsize=None)  # of hundreds of VFs most are alike but for their MACs
def _words(rest: str) -> Mapping[str, str]:
    return dict(_PART.findall(rest))


def _settings(mac: str, rest: str) -> VfSettings:
    """One line's settings: `, vlan 100, qos 3, spoof checking on`. What is not understood is not told."""
    words = _words(rest)

    def switch(name: str) -> Optional[bool]:
        return words[name] == "on" if name in words else None

    return VfSettings(
        # an InfiniBand port has an address of 20 bytes there, which is no MAC
        mac=mac if len(mac) == len(NO_MAC) else None,
        vlan=int(words.get("vlan", 0)),
        qos=int(words.get("qos", 0)),
        vlan_protocol=words.get("vlan protocol", "802.1q").lower(),
        min_tx_rate=int(words.get("min_tx_rate", 0)),
        max_tx_rate=int(words.get("max_tx_rate", words.get("tx rate", 0))),  # the second from old kernels
        spoof_check=switch("spoof checking"),
        trust=switch("trust"),
        link_state=words.get("link-state"),
    )


class Change(NamedTuple):
    """One line for `ip -batch`: settings of a VF that the kernel takes together. `tolerable`: the driver
    tells none of them, and what is wanted is what a fresh VF has, so a driver that cannot is right."""

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


def changes(number: int, now: VfSettings, wanted: Mapping[str, Any]) -> List[Change]:
    """What has to be said to bring VF `number` from `now` to `wanted`. A setting that is not wanted is
    not touched, one that is already so is not said again; one that the driver does not tell is."""
    told = now._asdict()
    before = FRESH._replace(**{name: value for name, value in told.items() if value is not None})
    after = before._replace(**wanted)
    found = []
    for group in _GROUPS:
        names = tuple(name for name in group if name in wanted)
        if any(told[name] is None or wanted[name] != told[name] for name in names):
            tolerable = all(told[name] is None and wanted[name] == getattr(FRESH, name) for name in names)
            found.append(Change(number, names, _in_words(group, before, after), tolerable))
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


def apply(host: Host, interface: str, wanted: Sequence[Change]) -> Dict[int, str]:
    """Says all of it in one process. The changes that were refused (their places in `wanted`) and the
    kernel's words; the others are done."""
    if not wanted:
        return {}
    lines = [f"link set dev {interface} vf {change.number} {change.words}" for change in wanted]
    answer = host.run(BATCH, input_text="".join(line + "\n" for line in lines))
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
