"""Pools that many tests begin with."""

from pathlib import Path
from typing import Iterator

import hurry
import pytest
from managed_pool import FOREIGN, Pool
from metered import Metered, has_run


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


@pytest.fixture
def metered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Metered]:
    """A host with VFs whose traffic is counted; none is in use."""
    made = Metered(tmp_path, monkeypatch)
    yield made
    made.service.end()
    made.xenstored.stop()
    made.rrdd.stop()


@pytest.fixture
def running(metered: Metered) -> Metered:
    """See has_run."""
    return has_run(metered)
