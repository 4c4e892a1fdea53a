"""What stories of `setup` share: bare hosts, and what they are when they are set up."""

from typing import Any, Callable, List

import pytest
from box import PoolInABox
from box_host import BoxHost
from igb_hosts import COMMENTS, CONF, i350
from machine_description import Description, default_description
from managed_pool import Pool
from sriovctl.connection import Connection
from sriovctl.errors import Unreachable, XapiFailed
from values import Failure

Ctl = Callable[..., Any]
SETUP = ("setup", "--pf", "eth1", "--count", "4")


def bare(number: int) -> Description:
    """As an installer leaves it, with the IOMMU turned off by somebody."""
    return default_description(number, xen_options="iommu=0")


def with_igb(number: int) -> Description:
    """Another card, whose driver makes its VFs when it is loaded."""
    usual = default_description(number, xen_options="iommu=1")
    return usual._replace(cards=(*usual.cards, i350(3, ("0000:09:00.0", "0000:09:00.1"))))


def igb_by_place(host: BoxHost) -> None:
    """Its file has a number for each port, so that the management's can have none."""
    host.machine.replace_file(CONF, f"{COMMENTS}options igb max_vfs=0,0,0\n".encode())


def bare_hosts(hosts: int = 2) -> pytest.MarkDecorator:
    return pytest.mark.pool(describe=bare, hosts=hosts, ports=(), by_kernel=True)


def is_set_up(pool: Pool, host: BoxHost) -> bool:
    status = pool.call("status", host)
    vfs = [vf["driver"] for vf in pool.call("list_vfs", host, pf="eth1")]
    return bool(
        status["iommu"]["active"] and status["pciback"]["persistent"] and vfs == ["pciback"] * 4
    ) and in_service(pool, host)


def in_service(pool: Pool, host: BoxHost) -> bool:
    record = pool.box.xapi.database.record("host", host.ref)
    return bool(record["enabled"]) and not record["current_operations"]


def keys(pool: Pool) -> List[str]:
    """Of a setup, in the pool."""
    return sorted(key for key in pool.pool_keys() if key.startswith("sriov-setup"))


def boots(pool: Pool, host: BoxHost) -> str:
    """Of the host: its last one; empty: none since the story began."""
    return str(pool.box.xapi.database.get("host", host.ref, "other_config").get("boot_time", ""))


def let_it_look_dead(pool: Pool) -> None:
    """So long after its last sign of life that nobody is held to be at a setup."""
    pool.box.xapi.life.clock.pass_seconds(60)


class Direct(Connection):
    """Calls of the box's xapi, without a network. `lose` is a method whose next answer is lost."""

    def __init__(self, box: PoolInABox) -> None:
        self._box = box
        self.lose = ""

    def call(self, method: str, *params: Any) -> Any:
        try:
            answer = self._box.xapi.call(method, *params)
        except Failure as failure:
            raise XapiFailed(failure.description) from failure
        if method == self.lose:
            self.lose = ""
            raise Unreachable("lost")
        return answer
