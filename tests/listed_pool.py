"""A pool whose `list_assignments` is called without a server, for tests of what is kept of its answer: an
imitated xapi, and hosts that tell what they are made to tell."""

import json
import os
from typing import Any, Callable, Optional, Tuple

import asked_pool
import pytest
from calls import Origin
from sriovlib.calls.list_assignments import list_assignments
from sriovlib.machine.host import Host
from sriovlib.pool import kept_answer, ledger
from sriovlib.pool.ledger import NO_ENTRY, Choice, Lease, Request
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import Xapi
from told_pool import FarHost, ToldPool, patched

HOSTS = 2  # each may be the master
VF = "0000:07:10.{}"


class ListedPool(ToldPool):
    """`hits`: how many answers were kept ones."""

    def __init__(self, folder: str, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.by_xapi = asked_pool.Pool(folder)
        self.hosts = self.hosts[:HOSTS]
        self.asked_by = 0
        self.hits = 0
        patched(patch, self)
        patch.setattr(Xapi, "call", self._call)
        patch.setattr(Xapi, "call_for_each", self._call_for_each)
        load = kept_answer.load

        def counted(host: Host, key: str) -> Optional[str]:
            found = load(host, key)
            self.hits += found is not None
            return found

        patch.setattr(kept_answer, "load", counted)
        network = self.database.create("network", {"name_label": "lan", "bridge": "xenbr1"})
        for ref in self.by_xapi.refs:
            values = {"device": "eth1", "network": network, "host": ref, "physical": True, "VLAN": -1}
            self.database.create("PIF", values)

    @property
    def database(self) -> Any:
        return self.by_xapi.database

    def called(self, ref: str) -> FarHost:
        return self.hosts[self.by_xapi.refs.index(ref)]

    def _call(self, method: str, *params: Any) -> Any:
        origin = Origin(self.by_xapi.refs[self.asked_by], local=True)
        xapi = self.by_xapi.xapi
        session = asked_pool.answered(xapi, origin, "session.login_with_password", "root", "")
        return asked_pool.answered(xapi, origin, method, session, *params)

    def _call_for_each(self, member: str, take: Callable[[Any], object], method: str, *params: Any) -> Any:
        found = self._call(method, *params)
        for element in found.pop(member):
            take(element)
        return found

    def checked(self, number: int = 0) -> bool:
        """Whether a call on that host answers what was kept. One that has nothing answers the same."""
        before = self.hits
        found = self.lists(number, self.by_xapi.hosts[number])
        is_kept = self.hits > before
        self.anew += 1
        assert sorted_lists(found) == sorted_lists(
            self.lists(number, Host(f"{self.folder}/anew-{self.anew}"))
        )
        return is_kept

    def lists(self, number: int, host: Host) -> Any:
        """What the call answers on that host, with what is kept in `host`."""
        self.asked_by = number
        path = host.path("/etc/xensource-inventory")
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(f"INSTALLATION_UUID='{self.hosts[number].uuid}'\n")
        return json.loads(list_assignments(host, OwnSession(""), {}))


def of_pool(pool: ListedPool) -> Tuple[str, str, str]:
    return "pool", pool.by_xapi.xapi.pool, "other_config"


def lease(pool: ListedPool, vm: str, number: int, host: int = 0) -> None:
    """The VM is leased that VF, and has its entry."""
    uuid = pool.database.get("VM", vm, "uuid")
    request = Request(1, Choice("device", "8086:10ed"), {"mac": f"02:00:00:00:00:0{number}"})
    vfs = {1: VF.format(number)}
    entry = NO_ENTRY._replace(
        requests=(request,), next_number=2, lease=Lease(pool.hosts[host].uuid, vfs, number + 1, {}, {})
    )
    keys = ledger.keys(pool.database.get(*of_pool(pool))).get(uuid, [])
    for key in keys:
        pool.database.remove_from(*of_pool(pool), key.name)
    pool.database.add_to(*of_pool(pool), f"{ledger.PREFIX}{uuid}.{number + 1}", ledger.render(entry))
    pool.database.set("VM", vm, "other_config", {"pci": f"0/{VF.format(number)}", ledger.MARK: uuid})


def sorted_lists(value: Any) -> Any:
    """Some lists of an answer are in the order in which xapi told its objects."""
    if isinstance(value, dict):
        return {name: sorted_lists(one) for name, one in value.items()}
    return sorted(map(sorted_lists, value), key=json.dumps) if isinstance(value, list) else value
