"""Drivers that make VFs by a module parameter in `/etc/modprobe.d/DRIVER.conf`, read as xapi reads it.

XenServer describes such a driver in comments of that file, and xapi then uses no sysfs (xen-api:
ocaml/networkd/lib/network_utils.ml, module Modprobe):

    # VFs-param: max_vfs
    # VFs-maxvfs-by-default: 7
    # VFs-maxvfs-by-user: 4
    options igb max_vfs=4,0

Where the parameter is an array, each device takes the element of its own number: the driver counts all
devices that it probes, SR-IOV or not, in the order of their addresses (`bd_number` in Intel's own igb and
ixgbe), and one value alone is that of the first (kernel/params.c: param_array). Otherwise one number counts
for all.
"""

import fnmatch
import re
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from ..config import ini, sriov_conf
from ..errors import SriovError
from ..machine import initrd, modprobe_conf, pci
from ..machine.host import Host
from ..machine.modprobe_conf import Setting
from ..safetext import plural
from . import pciback

UNFINISHED = (sriov_conf.BOOT, "initrd")  # in /etc/sriov.conf: the driver whose initrd is still to be made

# Their arrays have one element a port (and one for both), not one a device (kernel: mlx4/main.c, num_vfs).
_BY_PORT = ("mlx4_core",)
_NUMBER = re.compile(r"0[xX](?P<hex>[0-9a-fA-F]{1,8})|0(?P<octal>[0-7]{1,10})|(?P<decimal>0|[1-9][0-9]{0,8})")


class Parameter(NamedTuple):
    """What the file says of a driver. `maximum` is the smaller of default and user's limit."""

    driver: str
    name: str
    maximum: Optional[int]
    text: str

    @property
    def path(self) -> str:
        return _path(self.driver)

    def with_value(self, value: str) -> str:
        """The file's text with this value; every other line and option as it was."""
        text, own = self.text, modprobe_conf.in_text(self.text, self.path, self.driver, self.name)
        places = [setting for setting in own if setting.command == "options"]
        for setting in reversed(places):
            text = text[: setting.start] + value + text[setting.end :]
        if places:
            return text
        text += "" if text.endswith("\n") else "\n"
        text += "\n" if text.endswith("\\\n") else ""  # that line would go on
        return f"{text}options {self.driver} {self.name}={value}\n"


class Outlook(NamedTuple):
    """What the next load of the driver gives its devices; `setting` is None where no file gives the parameter
    a value."""

    devices: List[str]
    is_array: bool
    setting: Optional[Setting]

    def vfs_of(self, address: str) -> Optional[int]:
        """None where that is not known."""
        if address not in self.devices:
            return None
        words = self.setting.value.split(",") if self.setting else []
        place = self.devices.index(address) if self.is_array else 0
        return _number(words[place]) if place < len(words) else 0

    def value_with(self, address: str, count: int) -> str:
        """The parameter's value with another count for this device; for all where it is no array."""
        if not self.is_array:
            return str(count)
        words = self.setting.value.split(",") if self.setting else []
        words = [word or "0" for word in words] + ["0"] * (len(self.devices) - len(words))
        words[self.devices.index(address)] = str(count)
        return ",".join(words)


def _number(word: str) -> Optional[int]:
    """As the kernel reads it (kstrtoint, base 0); a negative number is 0, what the kernel refuses is None."""
    match = _NUMBER.fullmatch(word.lstrip("+"))
    if match is None:
        return 0 if re.fullmatch("-[0-9]{1,9}", word) else None
    digits = match.groupdict()
    if digits["hex"]:
        return int(digits["hex"], 16)
    return int(digits["octal"], 8) if digits["octal"] else int(digits["decimal"])


def _path(driver: str) -> str:
    return f"/etc/modprobe.d/{driver}.conf"


def find(host: Host, driver: Optional[str]) -> Optional[Parameter]:
    """The driver's parameter, or None for a driver that makes VFs through sysfs. Of two comments alike xapi
    takes the first. `SRIOV_BOOT_CONFIG` where the file cannot be read."""
    if driver is None:
        return None
    text = modprobe_conf.read(host, _path(driver))
    comments: Dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(":")
        if name.startswith("# ") and value.strip():
            comments.setdefault(name[2:].strip(), value.strip())
    name = comments.get("VFs-param", "")
    if not re.fullmatch("[A-Za-z0-9_-]+", name):
        return None
    limits = [ini.number(comments.get(f"VFs-maxvfs-by-{who}")) for who in ("default", "user")]
    numbers = [limit for limit in limits if limit is not None]
    return Parameter(driver, name, min(numbers) if numbers else None, text)


def outlook(host: Host, parameter: Parameter, text: Optional[str] = None) -> Outlook:
    """What the driver's next load gives its devices, with `text` in the file; `SRIOV_BOOT_CONFIG` where that
    cannot be told."""
    texts = {parameter.path: parameter.text if text is None else text}
    settings = modprobe_conf.settings(host, parameter.driver, parameter.name, texts)
    found = _devices(host, parameter)
    is_array = _is_array(host, parameter)
    if is_array is None and len(found) > 1:
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"It is not known whether {parameter.name} of the driver {parameter.driver} is one number for "
            f"all its {plural(len(found), 'device')} or one for each.",
            f"`modinfo --field parmtype {parameter.driver}` should say so; nothing was changed.",
        )
    return Outlook(found, bool(is_array), settings[-1] if settings else None)


def _is_array(host: Host, parameter: Parameter) -> Optional[bool]:
    """`modinfo` says `max_vfs:array of int`, one line a parameter (--parameters has descriptions of several
    lines in between); a loaded driver may show the values. None where neither tells. `SRIOV_BOOT_CONFIG`
    where the driver has no such parameter, as after an update: the kernel ignores such an option."""
    driver, name = parameter.driver.replace("-", "_"), parameter.name.replace("-", "_")
    answer = host.run(["modinfo", "--field", "parmtype", parameter.driver])
    for line in answer.stdout.splitlines():
        title, _, kind = line.partition(":")
        if title.replace("-", "_") == name:
            return kind.startswith("array of ")
    shown = host.text(f"/sys/module/{driver}/parameters/{name}")
    if shown is None and answer.status == 0:
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"The driver {parameter.driver} has no parameter {parameter.name}, which {parameter.path} names.",
            "Correct `# VFs-param:` there, or take that line out if the driver makes VFs through sysfs; then "
            "call set_vf_count again.",
        )
    return True if shown and "," in shown else None


def _devices(host: Host, parameter: Parameter) -> List[str]:
    """The devices in the order in which the driver counts them when it is loaded: those that it has, and
    those that it would get because pciback or no driver has them only since then."""
    names = host.names(f"/sys/bus/pci/drivers/{parameter.driver}")
    own = [name for name in names if pci.parse_address(name) == name]
    own = [name for name in own if not host.exists(f"{pci.DEVICES}/{name}/physfn")]  # VFs that it drives too
    idle = _idle(host, {_kind(host, address) for address in own})
    own += [address for address in idle if _is_of(host, address, parameter.driver)]
    return sorted(own, key=pci.address_order)


def _kind(host: Host, address: str) -> Tuple[Optional[str], Optional[str]]:
    folder = f"{pci.DEVICES}/{address}"
    return host.text(f"{folder}/vendor"), host.text(f"{folder}/class")


def _idle(host: Host, kinds: Set[Tuple[Optional[str], Optional[str]]]) -> List[str]:
    """Devices of these kinds that pciback or no driver has, without VFs and without what pciback gets first
    at each boot: where it is built in, it takes what the kernel's command line hides."""
    hidden = re.findall(r"\(([^()]*)\)", host.text(modprobe_conf.COMMAND_LINE) or "")
    first = {pci.parse_address(text) for text in hidden} if pciback.find(host).module is None else set()
    found = []
    for address in host.names(pci.DEVICES):
        folder = f"{pci.DEVICES}/{address}"
        if host.link(f"{folder}/driver") not in (None, pci.PCIBACK) or address in first:
            continue
        if _kind(host, address) in kinds and not host.exists(f"{folder}/physfn"):
            found.append(address)
    return found


def _is_of(host: Host, address: str, driver: str) -> bool:
    answer = host.run(["modinfo", "--field", "alias", driver])
    if answer.status:
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"{address}: it is not known whether {driver} counts it among its devices: {answer.complaint}.",
            "Repair what the tool complains about, then call again; nothing was changed.",
        )
    alias = host.text(f"{pci.DEVICES}/{address}/modalias") or ""
    return any(fnmatch.fnmatchcase(alias, pattern) for pattern in answer.stdout.split())


def counts_by_port(parameter: Parameter) -> bool:
    return parameter.driver in _BY_PORT


def prepare(host: Host, parameter: Parameter, address: str, count: int) -> Tuple[str, Outlook]:
    """The file's text that gives the device `count` VFs at the driver's next load, and what that load gives
    then; `SRIOV_BOOT_CONFIG` where another place wins over the file. Changes nothing."""
    now = outlook(host, parameter)
    if address not in now.devices:
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"{address} is not among the devices of the driver {parameter.driver}, so its place in "
            f"{parameter.name} is not known.",
            "Call again; nothing was changed.",
        )
    if now.vfs_of(address) == count:
        return parameter.text, now
    text = parameter.with_value(now.value_with(address, count))
    after = outlook(host, parameter, text)
    if after.vfs_of(address) != count:
        raise SriovError("SRIOV_BOOT_CONFIG", *_who_wins(parameter, after, address, count))
    return text, after


def _who_wins(parameter: Parameter, now: Outlook, address: str, count: int) -> Tuple[str, str]:
    assert now.setting is not None
    words = f"{parameter.name}={now.setting.value}"
    return (
        f"{address} does not get {plural(count, 'VF')} when {parameter.driver} is loaded: "
        f"{now.setting.place} says {words}, and overrides {parameter.path}.",
        f"Take it out there, or write {parameter.name}={now.value_with(address, count)} there; then call "
        "set_vf_count again.",
    )


def advice(host: Host, parameter: Parameter, address: str, wanted: int, there: int) -> Tuple[bool, str]:
    """Whether a reboot brings the device its VFs, and what helps; `there` is how many it has."""
    try:
        now = outlook(host, parameter)
    except SriovError as error:
        return False, f"{error.message} {error.hint}"
    number = now.vfs_of(address)
    if number != wanted:
        ours = now.setting is None or (now.setting.path, now.setting.command) == (parameter.path, "options")
        if ours and number and not now.is_array and len(now.devices) > 1:
            return False, (
                f"{parameter.path} gives each device of {parameter.driver} {plural(number, 'VF')}, for "
                f"{parameter.name} is one number for all: call set_vf_count with count={number} to keep "
                f"that, or with count={wanted} for each of its PFs in {sriov_conf.PATH}."
            )
        if ours or address not in now.devices:
            return False, f"{parameter.path} does not ask for them: call set_vf_count with count={wanted}."
        return False, " ".join(_who_wins(parameter, now, address, wanted))
    missing = _missing(host, parameter, now)
    if missing and missing.sure:
        return False, missing.sentence
    return True, (
        "Reboot the host: its driver makes VFs when it is loaded. If the host was rebooted since, the driver "
        f"makes no other number: call set_vf_count with count={there} to keep that."
    )


def changes_at_boot(host: Host, pf: pci.PhysicalFunction) -> Optional[str]:
    """A sentence where a PF has more VFs than its driver's next load gives it."""
    try:
        parameter = find(host, pf.driver)
        if parameter is None or counts_by_port(parameter):
            return None
        now = outlook(host, parameter)
        number = now.vfs_of(pf.address)
    except SriovError:  # set_vf_count tells it when it matters
        return None
    if number is None or number >= pf.num_vfs:  # of more than it has, a driver may have made fewer
        return None
    where = now.setting.place if now.setting else parameter.path
    return f"{pf.name} has {plural(pf.num_vfs, 'VF')}, and {number} after the next boot, by {where}."


def _missing(host: Host, parameter: Parameter, now: Outlook) -> Optional[initrd.Finding]:
    if now.setting is None or not now.setting.path.startswith("/etc/"):
        return None
    return initrd.against(host, parameter.driver, parameter.name, now.setting.path, now.setting.value)


def is_to_be_set(host: Host, parameter: Parameter, text: str, after: Outlook) -> Tuple[bool, List[str]]:
    """Whether `set_text` has anything to do, and where not, warnings of the initrd that stays."""
    unfinished = sriov_conf.read(host).document.get(*UNFINISHED) == parameter.driver
    if text != parameter.text or unfinished:
        return True, []
    missing = _missing(host, parameter, after)
    is_sure = missing is not None and missing.sure
    return is_sure, [missing.sentence] if missing and not is_sure else []


def set_text(host: Host, parameter: Parameter, text: str, after: Outlook) -> List[str]:
    """Writes this text to the file, and an initrd that has it; warnings. A call that is cut off before the
    initrd is made leaves a note, so that the next one makes it."""
    section, key = UNFINISHED
    sriov_conf.update(host, section, {key: parameter.driver})
    try:
        _write(host, parameter.path, text)
        initrd.rebuild(host, parameter.path)
    except BaseException as error:
        host.log(f"{parameter.path} is put back: {error}")
        _write(host, parameter.path, parameter.text)
        _forget_unfinished(host)
        raise
    _forget_unfinished(host)
    missing = _missing(host, parameter, after)
    return [missing.sentence] if missing else []


def _write(host: Host, path: str, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    try:
        if host.read_bytes(path) != data:
            host.replace_file(path, data)
    except OSError as error:
        raise SriovError(
            "SRIOV_CONFIG_NOT_WRITTEN",
            f"{path} could not be written: {error.strerror}.",
            "Make room or make it writable, then call again.",
        ) from error


def _forget_unfinished(host: Host) -> None:
    """A note that stays does no harm: the next call makes the initrd once more."""
    section, key = UNFINISHED
    try:
        sriov_conf.update(host, section, {key: None})
    except SriovError as error:
        host.log(f"{error.code}: {error.message}")
