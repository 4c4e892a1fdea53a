"""The document of `apply`: what ports and VMs are to have, checked. Pure; found.py looks its names up.

ports:
  host1/eth1: 8              # how many VFs; a host may be a pattern: "*/eth1"
vms:
  web:                       # a name or UUID
    host: host1              # of which host its VFs are to be; may be left out
    vfs:                     # all that it is to have
      - network: xenbr1      # one of network, pf, vf, device
        vlan: 12             # settings as in configure_vf
        profile: router      # or this
"""

import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from sriovlib.config import vf_settings
from sriovlib.safetext import safe
from sriovlib.vf import profiles

from . import nodes
from .nodes import Node

KINDS = ("network", "pf", "vf", "device")
_PORT = ("count",)
_VM = ("host", "vfs")
_VF = (*KINDS, "profile", *vf_settings.NAMES)


class Place(NamedTuple):
    """Where in the file something stands."""

    file: str
    line: Optional[int]
    path: str

    def __str__(self) -> str:
        return ":".join([self.file, *([str(self.line)] if self.line else [])]) + f": {self.path}"


class Port(NamedTuple):
    name: str  # HOST/PORT
    vfs: int
    place: Place


class Vf(NamedTuple):
    """`settings` are those beside the profile, in the ledger's words."""

    kind: str
    value: str
    settings: Dict[str, str]
    profile: Optional[str]
    place: Place

    @property
    def all_settings(self) -> Dict[str, str]:
        return {**(profiles.SETTINGS[self.profile] if self.profile else {}), **self.settings}


class Vm(NamedTuple):
    name: str
    host: Optional[str]
    vfs: Tuple[Vf, ...]
    place: Place


class Document(NamedTuple):
    ports: Tuple[Port, ...]
    vms: Tuple[Vm, ...]


class Wrong(NamedTuple):
    """An error in the file."""

    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def read(file: str, text: str) -> Tuple[Document, List[Wrong]]:
    """The document, and all that is wrong with it: what is wrong is left out. `file` is its name."""
    reader = _Reader(file)
    try:
        whole = nodes.parse(text)
    except nodes.Unreadable as error:
        what = f"{error.message}. {error.hint}".strip().rstrip(".")
        return Document((), ()), [Wrong(Place(file, error.line, "the document"), what)]
    return reader.document(whole), reader.wrong


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self.wrong: List[Wrong] = []

    def document(self, whole: Node) -> Document:
        top = self._keys(whole, "", ("ports", "vms"), "the document")
        ports = [self._port(*one) for one in self._named(top.get("ports"), "ports", "a port: HOST/eth1")]
        vms = [self._vm(*one) for one in self._named(top.get("vms"), "vms", "a VM")]
        return Document(
            tuple(one for one in ports if one is not None), tuple(one for one in vms if one is not None)
        )

    def _port(self, name: str, path: str, node: Node) -> Optional[Port]:
        place = self._place(node, path)
        if "/" not in name:
            self._no(place, "a port is named HOST/eth1, or */eth1 for that of each host")
            return None
        if isinstance(node.value, dict):
            node = self._keys(node, path, _PORT, "a port").get("count", Node(None, node.line))
        number = self._text(node, path, "a number of VFs")
        if number is None:
            return None
        if not re.fullmatch("[0-9]{1,5}", number):
            self._no(place, f"`{safe(number)}` is not a number of VFs")
            return None
        return Port(name, int(number), place)

    def _vm(self, name: str, path: str, node: Node) -> Optional[Vm]:
        keys = self._keys(node, path, _VM, "a VM")
        host = self._text(keys["host"], f"{path}.host", "the name of a host") if "host" in keys else None
        if "vfs" not in keys:
            if isinstance(node.value, dict):
                self._no(self._place(node, path), "its list `vfs` is missing; `vfs: []` takes all VFs back")
            return None
        listed = keys["vfs"]
        if not isinstance(listed.value, list):
            self._no(self._place(listed, f"{path}.vfs"), "this must be a list, `[]` for none")
            return None
        vfs = [self._vf(one, f"{path}.vfs[{place}]") for place, one in enumerate(listed.value)]
        return Vm(name, host, tuple(one for one in vfs if one is not None), self._place(node, path))

    def _vf(self, node: Node, path: str) -> Optional[Vf]:
        place, keys = self._place(node, path), self._keys(node, path, _VF, "a VF")
        if not isinstance(node.value, dict):
            return None
        kinds = [kind for kind in KINDS if kind in keys]
        if len(kinds) != 1:
            self._no(place, f"exactly one of {', '.join(KINDS)} says which VF")
            return None
        kind = kinds[0]
        value = self._text(keys[kind], f"{path}.{kind}", "a name")
        profile = None
        if "profile" in keys:
            profile = self._text(keys["profile"], f"{path}.profile", "a profile")
            if profile is not None and profile not in profiles.SETTINGS:
                where = self._place(keys["profile"], f"{path}.profile")
                self._no(where, f"`{safe(profile)}` is not one of: {', '.join(profiles.SETTINGS)}")
                profile = None
        beside = (*profiles.SETTINGS[profile], "qos", "vlan_protocol") if profile else ()
        settings: Dict[str, str] = {}
        for name in vf_settings.NAMES:
            text = self._text(keys[name], f"{path}.{name}", "a value") if name in keys else None
            if text is None or text == vf_settings.DEFAULT:
                continue
            where = self._place(keys[name], f"{path}.{name}")
            if name in beside:
                self._no(where, f"profile {profile} sets it")
                continue
            try:
                settings[name] = vf_settings.as_text(vf_settings.parse_value(name, text))
            except ValueError as accepted:
                self._no(where, f"`{safe(text)}` is not {accepted}, or default")
        wrong = vf_settings.contradiction(
            {name: vf_settings.parse_value(name, text) for name, text in settings.items()}, None
        )
        if wrong:
            self._no(self._place(keys.get(wrong[0], node), f"{path}.{wrong[0]}"), f"it takes {wrong[1]}")
        return None if value is None else Vf(kind, value, settings, profile, place)

    # -- parts of any document -----------------------------------------------------------------------------

    def _keys(self, node: Node, path: str, known: Tuple[str, ...], what: str) -> Dict[str, Node]:
        """The known keys of a mapping."""
        place = self._place(node, path)
        if not isinstance(node.value, dict):
            self._no(place, f"{what} must be keys with values: {', '.join(known)}")
            return {}
        self._doubles(node, path)
        for name, one in node.value.items():
            if name not in known:
                where = self._place(one, f"{path}.{name}".lstrip("."))
                self._no(where, f"unknown key; {what} has {', '.join(known)}")
        return {name: one for name, one in node.value.items() if name in known}

    def _named(self, node: Optional[Node], path: str, what: str) -> List[Tuple[str, str, Node]]:
        """Name, path and node of each member of a mapping by names."""
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, dict):
            self._no(self._place(node, path), f"each line must name {what}")
            return []
        self._doubles(node, path)
        return [(name, f"{path}.{name}", one) for name, one in node.value.items()]

    def _doubles(self, node: Node, path: str) -> None:
        for name in node.doubles:
            self._no(self._place(node, f"{path}.{name}".lstrip(".")), "this key stands there twice")

    def _text(self, node: Node, path: str, what: str) -> Optional[str]:
        if isinstance(node.value, str) and safe(node.value) != node.value:
            self._no(self._place(node, path), "this has a character that xapi does not take")
            return None
        if isinstance(node.value, str) and node.value.strip():
            return node.value.strip()
        self._no(self._place(node, path), f"{what} is missing")
        return None

    def _place(self, node: Node, path: str) -> Place:
        return Place(self._file, node.line, safe(path) or "the document")

    def _no(self, place: Place, what: str) -> None:
        self.wrong.append(Wrong(place, what))
