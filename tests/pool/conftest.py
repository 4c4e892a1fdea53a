"""Pools that many tests begin with."""

import sys
from typing import Iterator

import hurry
import pytest
from box import PoolInABox
from estate import Estate, alike, other_slot
from managed_pool import FOREIGN, Pool


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Two hosts alike with our hooks and four VFs on eth1, or what the marker `pool` says: see Pool.made."""
    marks = reversed(list(request.node.iter_markers("pool")))
    options = {name: value for mark in marks for name, value in mark.kwargs.items()}
    with Pool.made(**options) as pool:
        yield pool


@pytest.fixture
def web(pool: Pool) -> str:
    """A VM with an entry by hand."""
    return pool.vm("web", pci=FOREIGN)


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


@pytest.fixture
def hurried() -> Iterator[None]:
    """Waits of the product take a tenth of their time."""
    with hurry.hurry():
        yield
