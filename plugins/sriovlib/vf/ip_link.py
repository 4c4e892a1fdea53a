"""VF settings by dom0's `ip`: what it prints, and what it is told. Few processes, however many VFs."""

import re
from functools import lru_cache
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..config import vf_settings
from ..config.vf_settings import NO_MAC, UNSET, VfSettings, as_text
from ..machine import pci, sysfs
from ..machine.command import NOT_FOUND, TIMED_OUT, Completed
from ..machine.host import Host

COMMAND = ("ip", "-details", "link", "show")  # all interfaces of the host
BATCH = ("ip", "-force", "-batch", "-")  # any number of changes; one that fails does not stop the others

NO_VLAN = 4095  # what mlx4 says where there is none (kernel: mlx4/cmd.c, MLX4_VGT)
# Drivers that tell the link's speed where no rate limits a VF, and take no 0 to end a limit; for a VF with
# link_state enable it is what the fastest cards could do (kernel: qed_sriov.c, qed_get_vf_config and
# qed_set_vf_rate).
TELL_SPEED = ("qede",)
FASTEST = (40000, 100000)
# Drivers that know no limits, and tell a speed in their place (kernel: bnx2x_sriov.c, bnx2x_get_vf_config,
# always 10 Gbit/s; liquidio/lio_main.c, liquidio_get_vf_config, the link's).
WITHOUT_LIMITS = ("bnx2x", "liquidio")

_INTERFACE = re.compile(r"\d+: ([^:@\s]+)[:@]")
_VF = re.compile(r"\s+vf (\d+)\s+(MAC|link/\S+) ([0-9a-fA-F:]+)(.*)")
_GAVE_UP = "Dump terminated"


def parse(answer: Completed) -> Dict[str, Dict[int, VfSettings]]:
    """Interface -> VF index -> settings, of what `COMMAND` printed. Where it failed in the middle that is
    what it had printed before: of the rest, see `cut_off`, nothing is known.

    Its text is read and not its JSON, which the `ip` of XCP-ng 8.3 does not have. The old one says
    `vf 0 MAC 02:..`, a new one `vf 0     link/ether 02:.. brd ff:..`; both leave out what is zero
    or what the driver does not report (iproute2: ip/ipaddress.c, print_vfinfo).
    """
    found: Dict[str, Dict[int, VfSettings]] = {}
    vfs: Dict[int, VfSettings] = {}
    lines = answer.stdout.splitlines()
    if answer.status and not answer.stdout.endswith("\n"):
        del lines[-1:]  # `vlan 1` may be the first half of 12
    for line in lines:
        if line[:1] != " ":
            match = _INTERFACE.match(line)
            vfs = found.setdefault(match.group(1), {}) if match else {}
        elif line.lstrip().startswith("vf "):
            vf = _VF.match(line)
            if vf:
                vfs[int(vf.group(1))] = _settings(_mac(vf.group(2), vf.group(3)), vf.group(4))
    return found


def cut_off(answer: Completed, interface: str) -> Optional[str]:
    """What `ip` says where it does not tell of all VFs of an interface; None where it says nothing. The
    kernel cuts the list of more VFs than a netlink attribute's 64 KiB hold, about 220 (iproute2:
    ip/ipaddress.c, print_linkinfo). Where it gives up at an interface, `ip` prints none at all, and from
    4.12 on ends with status 0 (ipaddr_list_flush_or_save)."""
    said = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    own = [line for line in said if line == f"Truncated VF list: {interface}"]
    if own or not _failed_to_tell(answer):
        return own[0] if own else None
    return said[-1] if said else f"exit status {answer.status}"


def _failed_to_tell(answer: Completed) -> bool:
    return answer.status != 0 or _GAVE_UP in answer.stderr


def _mac(kind: str, octets: str) -> Optional[str]:
    """Of an InfiniBand port it is no MAC. From 5.3 on `ip` prints 20 bytes for whatever is not Ethernet, as
    cxgb4's interface for its VFs' settings (`link/none`), and the MAC is the first six of them."""
    return None if kind == "link/infiniband" else octets.lower()[: len(NO_MAC)]


_PART = re.compile(
    r"(?:^|, )([a-z_ -]+?) (\d+|802\S+?|on|off|auto|enable|disable)(?:Mbps| \(Mbps\))?(?=,|$|\s)"
)


@lru_cache(maxsize=None)  # of hundreds of VFs most are alike but for their MACs
def _words(rest: str) -> Mapping[str, str]:
    return dict(_PART.findall(rest))


def _settings(mac: Optional[str], rest: str) -> VfSettings:
    """One line's settings: `, vlan 100, qos 3, spoof checking on`. What is not understood is not told."""
    words = _words(rest)

    def switch(name: str) -> Optional[bool]:
        return words[name] == "on" if name in words else None

    return VfSettings(
        mac=mac,
        vlan=int(words.get("vlan", 0)) % NO_VLAN,
        qos=int(words.get("qos", 0)),
        vlan_protocol=words.get("vlan protocol", "802.1q").lower(),
        min_tx_rate=int(words.get("min_tx_rate", 0)),
        max_tx_rate=int(words.get("max_tx_rate", words.get("tx rate", 0))),  # the second from old kernels
        spoof_check=switch("spoof checking"),
        trust=switch("trust"),
        link_state=words.get("link-state"),
    )


def read(
    host: Host, answer: Completed, pfs: Sequence[pci.PhysicalFunction]
) -> Dict[str, Dict[int, VfSettings]]:
    """As `parse`, of PFs of this host: what their drivers tell in ways of their own is as all tell it.
    Where `ip` gave up, the PFs that it did not come to are asked for one by one."""
    found = parse(answer)
    names = [(pf, name) for pf in pfs for name in pf.settings_interfaces]
    if _failed_to_tell(answer) and answer.status not in (NOT_FOUND, TIMED_OUT):
        untold = [name for pf, name in names if len(found.get(name, {})) < pf.num_vfs]
        for asked in [host.start([*COMMAND, "dev", name]) for name in untold]:
            for name, vfs in parse(asked.finish()).items():
                found.setdefault(name, {}).update(vfs)
    for pf, name in names:
        if pf.driver in TELL_SPEED:
            found[name] = without_speed(found.get(name, {}), sysfs.speed(host, name))
        elif pf.driver in WITHOUT_LIMITS:
            found[name] = {number: vf._replace(max_tx_rate=0) for number, vf in found.get(name, {}).items()}
    return found


def no_limit(host: Host, pf: pci.PhysicalFunction, interface: str) -> int:
    """The rate that ends a limit, see `changes`."""
    return (sysfs.speed(host, interface) or 0) if pf.driver in TELL_SPEED else 0


def without_speed(vfs: Dict[int, VfSettings], speed: Optional[int]) -> Dict[int, VfSettings]:
    """As a driver of `TELL_SPEED` would tell its VFs if it said 0 where there is no limit."""

    def limits(vf: VfSettings) -> bool:
        return vf.max_tx_rate != speed and not (vf.link_state == "enable" and vf.max_tx_rate in FASTEST)

    return {number: vf if limits(vf) else vf._replace(max_tx_rate=0) for number, vf in vfs.items()}


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
