"""`/etc/sriov.conf`: what this host is meant to be, kept over reboots; read and edited by people too.

[host]
# load pciback at each boot
pciback = yes

[xen before enable_iommu]
# a boot entry = the IOMMU options that it had (empty: none); disable_iommu puts them back
xe = iommu=0

[pf 0000:07:00.0]
# the port's permanent MAC: it is found again when the card moves to another slot
mac = 00:1b:21:00:01:00
vfs = 16

[vf 0000:07:00.0 3]
# settings of VF 3 of that PF; one that is not given is not touched
mac = 02:00:00:00:00:03
vlan = 12
"""

import re
from typing import Any, Dict, List, NamedTuple, Optional

from . import ini, pci, vfsettings
from .errors import SriovError
from .host import Host
from .ini import Document

PATH = "/etc/sriov.conf"

HOST, BOOT, XEN_BEFORE = "host", "boot", "xen before enable_iommu"
_KEYS = {HOST: ("pciback",), BOOT: ("regenerate",), XEN_BEFORE: None}  # None: any key
_PF = re.compile(r"pf (\S+)")
_VF = re.compile(r"vf (\S+) (\d+)")


class PfConfig(NamedTuple):
    """What the file says of one PF. `vfs` is None where it says nothing of their number."""

    address: str
    mac: Optional[str]
    vfs: Optional[int]
    settings: Dict[int, Dict[str, Any]]  # VF number -> setting -> value


class HostConfig(NamedTuple):
    """The whole file. `errors` are sentences, each with its line; what they speak of does not count."""

    document: Document
    pfs: Dict[str, PfConfig]
    errors: List[str]

    @property
    def pciback(self) -> bool:
        return bool(ini.boolean(self.document.get(HOST, "pciback")))


def pf_section(address: str) -> str:
    return f"pf {address}"


def vf_section(pf_address: str, number: int) -> str:
    return f"vf {pf_address} {number}"


def interpret(document: Document) -> HostConfig:
    """The meaning of the text: strict, line by line."""
    errors = list(document.errors)
    pfs: Dict[str, PfConfig] = {}

    def wrong(section: str, key: str, text: str) -> None:
        errors.append(f"line {document.places[section, key]}: {text}")

    def pf_of(address: str) -> PfConfig:
        return pfs.setdefault(address, PfConfig(address, None, None, {}))

    for section, values in document.sections.items():
        pf, vf = _PF.fullmatch(section), _VF.fullmatch(section)
        match = pf or vf
        address = pci.parse_address(match.group(1)) if match else None
        if section in _KEYS:
            known = _KEYS[section]
            for key in values:
                if known is not None and key not in known:
                    wrong(section, key, f"[{section}] has no key `{key}`; it has {', '.join(known)}")
            if section == HOST and "pciback" in values and ini.boolean(values["pciback"]) is None:
                wrong(section, "pciback", f"pciback is `{values['pciback']}`, it takes yes or no")
        elif match is None or address is None:
            wrong(section, "", f"[{section}] is no section of this file")
        elif pf:
            pfs[address] = _pf_values(pf_of(address), section, values, wrong)
        elif vf:
            number = int(vf.group(2))
            settings = pf_of(address).settings.setdefault(number, {})
            for key, text in values.items():
                try:
                    settings[key] = vfsettings.parse_value(key, text)
                except ValueError as accepted:
                    wrong(section, key, f"{key} is `{text}`, it takes {accepted}")
                except KeyError:
                    wrong(section, key, f"a VF has no setting `{key}`")
    return HostConfig(document, pfs, errors)


def _pf_values(pf: PfConfig, section: str, values: Dict[str, str], wrong: Any) -> PfConfig:
    for key, text in values.items():
        number = ini.number(text)
        if key == "vfs" and number is not None:
            pf = pf._replace(vfs=number)
        elif key == "vfs":
            wrong(section, key, f"vfs is `{text}`, it takes a number")
        elif key == "mac" and vfsettings.is_mac(text):
            pf = pf._replace(mac=text.lower())
        elif key == "mac":
            wrong(section, key, f"mac is `{text}`, it takes six pairs of hexadecimal digits with `:` between")
        else:
            wrong(section, key, f"a PF has no key `{key}`; it has mac, vfs")
    return pf


def read(host: Host) -> HostConfig:
    """The file; empty where there is none. A file that cannot be read at all is an error in it."""
    try:
        data = host.read_bytes(PATH)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        broken = interpret(ini.parse(""))
        return broken._replace(errors=[f"the file cannot be read: {error.strerror}"])
    return interpret(ini.parse(data.decode("utf-8", "surrogateescape")))


def as_bytes(document: Document) -> bytes:
    return "".join(line + "\n" for line in document.lines).encode("utf-8", "surrogateescape")


def write(host: Host, document: Document) -> None:
    """Replaces the file, whole or not at all; one that would be empty goes. The caller holds the
    lock `config`. A file that is there and cannot be read is not replaced: nobody knows what it says."""
    try:
        if host.exists(PATH):
            host.read_bytes(PATH)
        if document.lines:
            host.replace_file(PATH, as_bytes(document))
        else:
            host.remove_file(PATH)
    except OSError as error:
        raise SriovError(
            "SRIOV_CONFIG_NOT_WRITTEN",
            f"{PATH} could not be written: {error.strerror}.",
            "Make room or make it writable, then call again; nothing was changed.",
        ) from error


def replace(host: Host, before: HostConfig, document: Document) -> None:
    """Writes the document, if it differs from what was read."""
    if document.lines != before.document.lines:
        with host.lock("config", f"writing {PATH}"):
            write(host, document)


def update(host: Host, section: str, values: Dict[str, Optional[str]]) -> None:
    """Sets or takes out (None) keys of one section."""
    if values:
        with host.lock("config", f"writing [{section}]"):
            write(host, ini.changed(read(host).document, section, values))
