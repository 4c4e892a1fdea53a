"""Pools that many tests begin with."""

from typing import Iterator

import hurry
import pytest
from managed_pool import FOREIGN, Pool


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Two hosts alike with our hooks and four VFs on eth1, or what the marker `pool` says: see Pool.made."""
    with Pool.marked(request) as pool:
        yield pool


@pytest.fixture
def web(pool: Pool) -> str:
    """A VM with an entry by hand."""
    return pool.vm("web", pci=FOREIGN)


@pytest.fixture
def hurried() -> Iterator[None]:
    """Waits of the product take a tenth of their time."""
    with hurry.hurry():
        yield
