"""Property tests wait as long as it takes: a machine that is busy with other things is no failure."""

from typing import Iterator

import pytest
import small_pool
from hypothesis import HealthCheck, settings
from small_pool import SmallPool

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def pool() -> SmallPool:
    return SmallPool()


@pytest.fixture(scope="session", autouse=True)
def small_pools_answer() -> Iterator[None]:
    with small_pool.answering():
        yield
