"""Pools of tests of one module."""

from typing import Iterator

import pytest
import small_pool
from small_pool import SmallPool


@pytest.fixture
def pool() -> SmallPool:
    return SmallPool()


@pytest.fixture(scope="session", autouse=True)
def small_pools_answer() -> Iterator[None]:
    with small_pool.answering():
        yield
