"""Drivers that make VFs by a module parameter: `/etc/modprobe.d/DRIVER.conf`, in agreement with xapi.

XenServer describes such a driver in comments of that file, and xapi then uses no sysfs (xen-api:
ocaml/networkd/lib/network_utils.ml, module Modprobe):

    # VFs-param: max_vfs
    # VFs-maxvfs-by-default: 7
    # VFs-maxvfs-by-user: 4
    options igb max_vfs=4,0

One value a port where the parameter is an array, in the order of the ports' addresses.
"""

import re
from typing import List, NamedTuple, Optional, Sequence

from . import hostconfig
from .errors import SriovError
from .host import NOT_FOUND, Host

INITRD_SECONDS = 600
UNFINISHED = (hostconfig.BOOT, "initrd")  # in /etc/sriov.conf: the driver whose initrd is still to be made

_COMMENT = re.compile(r"\s*# ([^:]+):\s*(\S.*?)\s*")


class Parameter(NamedTuple):
    """What the file says of a driver. `maximum` is the smaller of default and user's limit."""

    driver: str
    name: str
    maximum: Optional[int]
    text: str

    @property
    def path(self) -> str:
        return _path(self.driver)

    def values(self, ports: int) -> List[int]:
        """The counts in force at the next boot, port by port; a single value counts for all. Of several
        `options` lines modprobe takes the last."""
        found = list(self._option().finditer(self.text))
        words = re.sub(r"\\\n", "", found[-1].group(2)).split(",") if found else []
        numbers = [int(word) if word.isdecimal() else 0 for word in words]
        if len(numbers) == 1:
            numbers *= ports
        return (numbers + [0] * ports)[:ports]

    def with_values(self, values: Sequence[int], is_array: bool) -> str:
        """The file's text with these counts; every other line and option as it was."""
        option = ",".join(map(str, values)) if is_array else str(values[0])
        if self._option().search(self.text):
            return self._option().sub(lambda match: match.group(1) + option, self.text)
        newline = "" if not self.text or self.text.endswith("\n") else "\n"
        return f"{self.text}{newline}options {self.driver} {self.name}={option}\n"

    def _option(self) -> "re.Pattern[str]":
        """The option on a line `options DRIVER ...`, which a backslash continues on the next one."""
        inside = r"(?:[^\n]|\\\n)*?"
        before = rf"^[ \t]*options[ \t]+{re.escape(self.driver)}(?=[ \t]){inside}[ \t\n]"
        return re.compile(rf"({before}{re.escape(self.name)}=)((?:[^\s\\]|\\\n)*)", re.MULTILINE)


def _path(driver: str) -> str:
    return f"/etc/modprobe.d/{driver}.conf"


def find(host: Host, driver: Optional[str]) -> Optional[Parameter]:
    """The driver's parameter, or None for a driver that makes VFs through sysfs."""
    try:
        text = host.read_bytes(_path(driver or "")).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    assert driver is not None
    comments = {}
    for line in text.splitlines():
        match = _COMMENT.fullmatch(line)
        if match:
            comments[match.group(1).strip()] = match.group(2)
    name = comments.get("VFs-param")
    if not name:
        return None
    limits = [comments.get(f"VFs-maxvfs-by-{who}", "") for who in ("default", "user")]
    numbers = [int(limit) for limit in limits if limit.isdecimal()]
    return Parameter(driver, name, min(numbers) if numbers else None, text)


def is_array(host: Host, parameter: Parameter) -> bool:
    """`modinfo` says `max_vfs:Maximum number ... (array of int)`."""
    answer = host.run(["modinfo", "--parameters", parameter.driver])
    for line in answer.stdout.splitlines():
        name, _, description = line.partition(":")
        if name.strip() == parameter.name:
            return "(array of" in description
    return False


def set_values(host: Host, parameter: Parameter, values: Sequence[int], is_array: bool) -> bool:
    """The file with these counts, and an initrd that has it; whether anything had to be done. A call
    that is cut off before the initrd is there leaves a note, so that the next one makes it."""
    text = parameter.with_values(values, is_array)
    unfinished = hostconfig.read(host).document.get(*UNFINISHED) == parameter.driver
    if text == parameter.text and not unfinished:
        return False
    section, key = UNFINISHED
    hostconfig.update(host, section, {key: parameter.driver})
    before = host.read_bytes(parameter.path)
    try:
        host.replace_file(parameter.path, text.encode("utf-8", "surrogateescape"))
        _rebuild_initrd(host, parameter)
    except BaseException:
        host.replace_file(parameter.path, before)
        hostconfig.update(host, section, {key: None})
        raise
    hostconfig.update(host, section, {key: None})
    return True


def _rebuild_initrd(host: Host, parameter: Parameter) -> None:
    """By the host's own tool: dracut, as xapi calls it."""
    release = host.run(["uname", "-r"]).stdout.strip()
    answer = host.run(["dracut", "-f", f"/boot/initrd-{release}.img", release], seconds=INITRD_SECONDS)
    if answer.status == NOT_FOUND:
        answer = host.run(["update-initramfs", "-u", "-k", release], seconds=INITRD_SECONDS)
    if answer.status != 0:
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"The initrd could not be rebuilt for {parameter.path}: {answer.complaint}.",
            "Mend what the tool says, then call again; the file is as it was.",
        )
