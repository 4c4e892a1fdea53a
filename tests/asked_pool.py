"""Two hosts whose xapi is asked without a server, for tests of what is kept of its records."""

import json
import os
from typing import Any, Callable, Dict, List, Optional

from calls import Origin
from dispatch import answer
from hosts import HostDescription, Nic
from plugin_calls import Dom0
from sriovlib.machine.host import Host
from sriovlib.pool import records
from sriovlib.pool.records import HOSTS, LEDGER, VMS, Part, Records
from sriovlib.xapi import session
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import Xapi, XapiFailure
from values import Failure
from xapi import Xapi as Imitation

PARTS = (HOSTS, LEDGER, VMS)
CLASSES = {"vm": "VM", "pif": "PIF"}  # as the API names them, where events have other names
FIRST, SECOND = 0, 1  # hosts


class Pool:
    """Two hosts, each with a dom0 of its own, and an imitated xapi that is asked without a server."""

    def __init__(self, folder: str) -> None:
        self.xapi = Imitation()
        self.refs: List[str] = []
        self.hosts: List[Host] = []
        for number in (FIRST, SECOND):
            nics = [Nic("eth0", "02:00:00:00:00:01", "xenbr0", management=True)]
            uuid = f"00000000-0000-4000-8000-00000000000{number}"
            description = HostDescription(f"host{number}", uuid, uuid.replace("4000", "4001"), nics)
            self.refs.append(self.xapi.add_host(description, Dom0(os.devnull)))
            self.hosts.append(Host(f"{folder}/{number}"))
            self.listen(number)

    @property
    def database(self) -> Any:
        return self.xapi.database

    def listen(self, number: int) -> None:
        """A socket of the xapi there, which nobody answers."""
        path = self.hosts[number].path(session.SOCKET)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f"{path}-new", "w"):
            pass
        os.replace(f"{path}-new", path)

    def records(self, number: int, vanishing: Optional[str] = None) -> Records:
        return Records(self.hosts[number], Asked(self, number, vanishing))

    def vm(self, **values: Any) -> str:
        return str(self.database.create("VM", {"name_label": "a VM", "VCPUs_max": 1, **values}))

    def truth(self, part: Part) -> Dict[str, Any]:
        """What xapi has, with the fields that concern us, by the database itself."""
        return {name: self._truth(name) for name in part.classes}

    def _truth(self, name: str) -> Dict[str, Any]:
        class_name = CLASSES.get(name, name)
        found = self.database.records(class_name, self.database.refs(class_name))
        kept = {ref: records._kept_of(name, record) for ref, record in found.items()}
        return {ref: {**records._USUAL[name], **one} for ref, one in kept.items() if one is not None}


def answered(xapi: Imitation, origin: Origin, method: str, *params: Any) -> Any:
    """What xapi says to a call, as it comes over the socket."""
    try:
        found = answer(xapi, origin, method, [*params])
    except Failure as failure:
        raise XapiFailure(failure.description) from failure
    return json.loads(json.dumps(found))


class Asked(Xapi):
    """xapi as that host asks it, in a session of its own. The VM `vanishing` goes while xapi tells of it: it
    was counted, and is in no event."""

    def __init__(self, pool: Pool, number: int, vanishing: Optional[str] = None) -> None:
        super().__init__(pool.hosts[number], OwnSession(""))
        self._pool = pool
        self._origin = Origin(pool.refs[number], local=True)
        self._vanishing = vanishing
        self.asked: List[Any] = []
        self._own = answer(pool.xapi, self._origin, "session.login_with_password", ["root", ""])

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append((method, params))
        return answered(self._pool.xapi, self._origin, method, self._own, *params)

    def call_for_each(self, member: str, take: Callable[[Any], object], method: str, *params: Any) -> Any:
        found = self.call(method, *params)
        for element in found.pop(member):
            if element["ref"] != self._vanishing or element["operation"] == "del":
                take(element)
            else:
                self._pool.database.destroy("VM", self._vanishing)
        return found

    def was_told_all(self) -> List[bool]:
        """Of each event.from."""
        return [params[1] == "" for method, params in self.asked if method == "event.from"]
