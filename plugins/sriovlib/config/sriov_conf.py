"""`/etc/sriov.conf`: what this host is meant to be, kept over reboots; read and edited by people too.

[host]
# load pciback at each boot
pciback = yes
# each command and each write goes to the system log (see Host.debug)
debug = yes
# xapi's statistics of VMs are not told what their VFs carry (see traffic/service.py)
metrics = no
# or they are also in /run/sriov/metrics.prom, for node_exporter
textfile = yes

[xen before enable_iommu]
# a boot entry = the IOMMU options that it had (empty: none); disable_iommu puts them back
xe = iommu=0

[pf 0000:07:00.0]
# the port's permanent MAC: it is found again when the card moves to another slot
mac = 00:1b:21:00:01:00
# (of an InfiniBand port its GUID: guid = f4:52:14:03:00:7b:cb:a1)
vfs = 16

[vf 0000:07:00.0 3]
# settings of VF 3 of that PF; one that is not given is not touched
mac = 02:00:00:00:00:03
vlan = 12
"""

import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from ..errors import SriovError
from ..machine import pci
from ..machine.host import Host
from ..safetext import is_plain_number
from . import ini, vf_settings
from .ini import Document

PATH = "/etc/sriov.conf"

HOST, BOOT, XEN_BEFORE = "host", "boot", "xen before enable_iommu"
_KEYS = {
    HOST: ("pciback", "debug", "metrics", "textfile"),
    BOOT: ("initrd",),
    XEN_BEFORE: None,  # any key
}
_GUID = r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){7}"

_SHOWN = 300  # characters of what is wrong with a line
Wrong = Callable[[str, str, str], None]  # section, key, what is wrong with it


class PfConfig(NamedTuple):
    """What the file says of one PF. `vfs` is None where it says nothing of their number."""

    address: str
    mac: Optional[str]
    vfs: Optional[int]
    settings: Dict[int, Dict[str, Any]]  # VF number -> setting -> value
    guid: Optional[str] = None  # of an InfiniBand port, eight bytes; it has no MAC

    @property
    def known_by(self) -> Optional[str]:
        """What the card is recognised by, wherever it sits."""
        return self.guid or self.mac


class HostConfig(NamedTuple):
    """The whole file. `errors` are sentences, each with its line; lines with errors do not count."""

    document: Document
    pfs: Dict[str, PfConfig]
    errors: List[str]
    readable: bool = True  # False: the file exists but cannot be read

    @property
    def pciback(self) -> bool:
        return bool(ini.boolean(self.document.get(HOST, "pciback")))

    @property
    def metrics(self) -> bool:
        return ini.boolean(self.document.get(HOST, "metrics")) is not False

    @property
    def textfile(self) -> bool:
        return bool(ini.boolean(self.document.get(HOST, "textfile")))


def pf_section(address: str) -> str:
    return f"pf {address}"


def vf_section(pf_address: str, number: int) -> str:
    return f"vf {pf_address} {number}"


def interpret(document: Document) -> HostConfig:
    """The meaning of the text, read strictly. In the result all sections have their addresses in full, as the
    next change writes them."""
    document = _in_full(document)
    errors = list(document.errors)
    pfs: Dict[str, PfConfig] = {}

    def wrong(section: str, key: str, text: str) -> None:
        errors.append(f"line {document.places[section, key]}: {text[:_SHOWN]}")

    for section, values in document.sections.items():
        address, number = _functions(section) or ("", None)
        if section in _KEYS:
            _own_values(section, values, wrong)
        elif pci.parse_address(address) is None:
            wrong(section, "", f"[{section}] is not a section of this file")
        elif number is None:
            pf = pfs.get(address, PfConfig(address, None, None, {}))
            pfs[address] = _pf_values(pf, section, values, wrong)
        else:
            pf = pfs.setdefault(address, PfConfig(address, None, None, {}))
            pf.settings[number] = _vf_values(section, values, wrong)
    _look_for_doubles(pfs, wrong)
    return HostConfig(document, pfs, errors)


def _functions(section: str) -> Optional[Tuple[str, Optional[int]]]:
    """The PF of `pf ADDRESS` and None, or of `vf ADDRESS NUMBER` and that; None for any other section."""
    words = section.split()
    if len(words) == 2 and words[0] == "pf":
        return words[1], None
    if len(words) == 3 and words[0] == "vf" and is_plain_number(words[2], 6):
        return words[1], int(words[2])
    return None


def _in_full(document: Document) -> Document:
    """People write `[pf 3B:00.0]` too."""
    names = {}
    for section in document.sections:
        written, number = _functions(section) or ("", None)
        address = pci.parse_address(written)
        if address is not None:
            names[section] = pf_section(address) if number is None else vf_section(address, number)
    return ini.renamed(document, names) if any(old != new for old, new in names.items()) else document


def _own_values(section: str, values: Dict[str, str], wrong: Wrong) -> None:
    known = _KEYS[section]
    for key in values:
        if known is not None and key not in known:
            wrong(section, key, f"[{section}] has no key `{key}`; it has {', '.join(known)}")
        elif section == HOST and ini.boolean(values[key]) is None:
            wrong(section, key, f"{key} is `{values[key]}`, it takes yes or no")


def _vf_values(section: str, values: Dict[str, str], wrong: Wrong) -> Dict[str, Any]:
    settings: Dict[str, Any] = {}
    for key, text in values.items():
        try:
            settings[key] = vf_settings.parse_value(key, text)
        except ValueError as error:
            wrong(section, key, f"{key} is `{text}`, it takes {error}")
        except KeyError:
            wrong(section, key, f"a VF has no setting `{key}`")
    contradiction = vf_settings.contradiction(settings, None)
    while contradiction:
        name, accepted = contradiction
        wrong(section, name, f"{name} takes {accepted}")
        del settings[name]
        contradiction = vf_settings.contradiction(settings, None)
    return settings


def _look_for_doubles(pfs: Dict[str, PfConfig], wrong: Wrong) -> None:
    """Of two VFs with one MAC the second gets none."""
    seen: Dict[str, str] = {}
    for pf in pfs.values():
        for number, settings in pf.settings.items():
            section = vf_section(pf.address, number)
            mac = settings.get("mac")
            if mac in seen:
                wrong(section, "mac", f"mac is {mac}, which [{seen[mac]}] has")
                del settings["mac"]
            elif mac:
                seen[mac] = section
            if pf.vfs is not None and number >= pf.vfs:
                wrong(section, "", f"the PF has no VF {number}: vfs is {pf.vfs}")


def _pf_values(pf: PfConfig, section: str, values: Dict[str, str], wrong: Wrong) -> PfConfig:
    for key, text in values.items():
        number = ini.number(text)
        if key == "vfs" and number is not None:
            pf = pf._replace(vfs=number)
        elif key == "vfs":
            wrong(section, key, f"vfs is `{text}`, it takes a number")
        elif key == "mac" and vf_settings.is_mac(text):
            pf = pf._replace(mac=text.lower())
        elif key == "guid" and re.fullmatch(_GUID, text):
            pf = pf._replace(guid=text.lower())
        elif key in ("mac", "guid"):
            pairs = "six" if key == "mac" else "eight"
            wrong(
                section, key, f"{key} is `{text}`, it takes {pairs} pairs of hexadecimal digits, `:` between"
            )
        else:
            wrong(section, key, f"a PF has no key `{key}`; it has mac, guid, vfs")
    return pf


def read(host: Host) -> HostConfig:
    """The file; empty where there is none. Where it cannot be read, that is its one error."""
    try:
        data = host.read_bytes(PATH)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        said = [f"the file cannot be read: {error.strerror}"]
        return HostConfig(ini.parse(""), {}, said, readable=False)
    return interpret(ini.parse(data.decode("utf-8", "surrogateescape")))


def as_bytes(document: Document) -> bytes:
    return "".join(line + "\n" for line in document.lines).encode("utf-8", "surrogateescape")


def _write(host: Host, document: Document) -> None:
    """Replaces the file, whole or not at all; removes one that would be empty."""
    try:
        if document.lines:
            host.replace_file(PATH, as_bytes(document))
        else:
            host.remove_file(PATH)
    except OSError as error:
        raise SriovError(
            "SRIOV_CONFIG_NOT_WRITTEN",
            f"{PATH} could not be written: {error.strerror}.",
            "Make room or make it writable, then call again.",
        ) from error


def edited(before: HostConfig, change: Callable[[HostConfig], Document]) -> HostConfig:
    """What `edit` makes of the file; `before` itself where that is no other. Pure."""
    if not before.readable:
        raise SriovError(
            "SRIOV_CONFIG_NOT_WRITTEN",
            f"{PATH}: {before.errors[0]}.",
            "Correct it or move it away, then call again; nothing was changed.",
        )
    document = change(before)
    return before if document.lines == before.document.lines else interpret(document)


def edit(host: Host, change: Callable[[HostConfig], Document]) -> Tuple[HostConfig, HostConfig]:
    """Changes the file under the lock `config`; what it was and what it is now. A file that cannot be read is
    not replaced."""
    with host.lock("config", f"writing {PATH}"):
        before = read(host)
        after = edited(before, change)
        if after is not before:
            _write(host, after.document)
        return before, after


def update(host: Host, section: str, values: Dict[str, Optional[str]]) -> None:
    """Sets or takes out (None) keys of one section."""
    edit(host, lambda config: ini.changed(config.document, section, values))
