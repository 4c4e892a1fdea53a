"""What tests of the imitation share."""

import sys
from typing import Iterator

import pytest
from box import PoolInABox


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    """Two hosts, whose programs run on the Python at hand."""
    with PoolInABox(interpreter=sys.executable) as box:
        yield box
