"""Plays what roles.json has beside calls: one call by each role, undone between them."""

from typing import Any, Dict, List

from transcript_match import Mismatch
from transcript_player import Place, Step
from transcript_vms import VmPlayer
from values import Failure
from xapi import Xapi

USERS = {
    "ureadonly": "u2001",
    "uvmoperator": "u2002",
    "uvmpoweradmin": "u2003",
    "uvmadmin": "u2004",
    "upooloperator": "u2005",
    "upooladmin": "u2006",
    "unorole": "u2007",
}
# What was so before each role's call, by what the note says that the call does.
_BEFORE: Dict[str, Dict[str, str]] = {
    "set that keeps a protected key as it is": {"pci": "v"},
    "set that drops a protected key": {"pci": "v"},
}


class RolePlayer(VmPlayer):
    """As VmPlayer, and steps of roles."""

    def __init__(self, place: Place, known: Dict[str, str]) -> None:
        super().__init__(place, {**known, "$pci1": known["$pf"]})
        place.xapi.users.update(USERS)
        for role in place.xapi.database.refs("role"):
            name = place.xapi.database.get("role", role, "name_label")
            self.symbols.known[f"$role({name})"] = role

    def play(self, step: Step) -> None:
        if "roles" in step:
            self._by_each_role(dict(step["roles"]), step.get("note", ""))
        else:
            super().play(step)

    def _by_each_role(self, roles: Dict[str, Any], note: str) -> None:
        method, params = roles.pop("call"), self.symbols.given(roles.pop("params"))
        wrong: List[str] = []
        for role, expected in roles.items():
            before = Undo(self.place.xapi, self.symbols.known["$vm"], _BEFORE.get(note, {}))
            session = self.symbols.known.get("$" + role, "OpaqueRef:none")
            answer = self._call(method, [session, *params], "unix")
            before.put_back()
            if _outcome(answer) != expected:
                wrong.append(f"{role}: {expected} was recorded, {answer} was answered")
        if wrong:
            raise Mismatch("; ".join(wrong))


def _outcome(answer: Dict[str, Any]) -> str:
    if answer["Status"] == "Success":
        return "allowed"
    code, *details = answer["ErrorDescription"]
    return f"{code} {details[0]}" if code == "RBAC_PERMISSION_DENIED" else f"allowed, then {code}"


class Undo:
    """The objects as they are now: what is made later goes, and what is changed is put back."""

    def __init__(self, xapi: Xapi, vm: str, other_config: Dict[str, str]) -> None:
        self._xapi, self._vm = xapi, vm
        self._other_config = xapi.database.get("VM", vm, "other_config")
        xapi.database.set("VM", vm, "other_config", {**self._other_config, **other_config})
        self._made = {name: set(xapi.database.refs(name)) for name in ("VM", "network", "message")}

    def put_back(self) -> None:
        xapi, database = self._xapi, self._xapi.database
        try:
            xapi.call("VM.hard_shutdown", self._vm)
        except Failure:
            pass  # it was not started
        database.set("VM", self._vm, "other_config", self._other_config)
        database.set("VM", self._vm, "platform", {})
        for class_name, before in self._made.items():
            for ref in set(database.refs(class_name)) - before:
                database.destroy(class_name, ref)
        for class_name in ("host", "pool", "PCI"):
            for ref in database.refs(class_name):
                database.remove_from(class_name, ref, "other_config", "x")
