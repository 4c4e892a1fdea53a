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

from .errors import SriovError
from .host import Host

INITRD_SECONDS = 600

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
        """The counts in force at the next boot, port by port; a single value counts for all."""
        match = self._option().search(self.text)
        numbers = [int(word) if word.isdigit() else 0 for word in match.group(2).split(",")] if match else []
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
        before = rf"^[ \t]*options[ \t]+{re.escape(self.driver)}\b[^\n]*?[ \t]"
        return re.compile(rf"({before}{re.escape(self.name)}=)([^\s]*)", re.MULTILINE)


def _path(driver: str) -> str:
    return f"/etc/modprobe.d/{driver}.conf"


def find(host: Host, driver: Optional[str]) -> Optional[Parameter]:
    """The driver's parameter, or None for a driver that makes VFs through sysfs."""
    text = host.text(_path(driver)) if driver else None
    if driver is None or text is None:
        return None
    comments = {}
    for line in text.splitlines():
        match = _COMMENT.fullmatch(line)
        if match:
            comments[match.group(1).strip()] = match.group(2)
    name = comments.get("VFs-param")
    if not name:
        return None
    limits = [comments.get(f"VFs-maxvfs-by-{who}", "") for who in ("default", "user")]
    numbers = [int(limit) for limit in limits if limit.isdigit()]
    return Parameter(driver, name, min(numbers) if numbers else None, text + "\n")


def is_array(host: Host, parameter: Parameter) -> bool:
    """`modinfo` says `max_vfs:Maximum number ... (array of int)`."""
    answer = host.run(["modinfo", "--parameters", parameter.driver])
    for line in answer.stdout.splitlines():
        name, _, description = line.partition(":")
        if name.strip() == parameter.name:
            return "(array of" in description
    return False


def write(host: Host, parameter: Parameter, text: str) -> None:
    """The file with this text, and an initrd that has it, made by the host's own tool; or the file
    as it was, and an error."""
    before = host.read_bytes(parameter.path)
    host.replace_file(parameter.path, text.encode())
    release = host.run(["uname", "-r"]).stdout.strip()
    answer = host.run(["dracut", "-f", f"/boot/initrd-{release}.img", release], seconds=INITRD_SECONDS)
    if answer.status == 127:
        answer = host.run(["update-initramfs", "-u", "-k", release], seconds=INITRD_SECONDS)
    if answer.status != 0:
        host.replace_file(parameter.path, before)
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"The initrd could not be rebuilt for {parameter.path}: {answer.complaint}.",
            "Mend what the tool says, then call again; the file is as it was.",
        )
