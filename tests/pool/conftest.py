"""Pools that many tests begin with."""

import sys
from typing import Iterator

import pytest
from administrator import Administrator, two_hosts
from box import PoolInABox
from box_host import set_vfs
from caller import Caller
from estate import Estate, alike, other_slot
from machine_description import default_description

ETH1 = "0000:07:00.0"


@pytest.fixture
def pool() -> Iterator[Administrator]:
    """Two usual hosts, each with four VFs on eth1."""
    with two_hosts(ETH1) as pool:
        yield pool


@pytest.fixture
def caller() -> Iterator[Caller]:
    """Somebody at the only host of a pool, with four VFs on eth1."""
    with PoolInABox([default_description(1)], interpreter=sys.executable) as box:
        set_vfs(box.hosts[0], ETH1, 4)
        with box.session() as session:
            yield Caller(box, session)


@pytest.fixture(scope="module")
def hosts_alike() -> Iterator[Estate]:
    with PoolInABox([alike(1), alike(2)], interpreter=sys.executable) as box:
        yield Estate(box)


@pytest.fixture(scope="module")
def hosts_with_other_slots() -> Iterator[Estate]:
    with PoolInABox([alike(1), other_slot(2)], interpreter=sys.executable) as box:
        yield Estate(box)


@pytest.fixture
def estate(hosts_alike: Estate) -> Iterator[Estate]:
    """Two hosts alike, which have our package with its hooks."""
    yield hosts_alike
    hosts_alike.clear()


@pytest.fixture
def mixed(hosts_with_other_slots: Estate) -> Iterator[Estate]:
    """The same, but their cards are in different slots, so that each change of hosts takes a re-placement."""
    yield hosts_with_other_slots
    hosts_with_other_slots.clear()
