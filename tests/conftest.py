"""Where the tests put the machines that they make, and that nothing stays of them. Property tests wait as
long as it takes: a machine that is busy with other things is no failure."""

import shutil
from contextlib import ExitStack
from typing import Iterator

import fake_descriptors
import machine_copy
import pytest
import temporary
from hypothesis import HealthCheck, settings

_whole_run = ExitStack()

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    fake_descriptors.imitate()
    if config.option.basetemp is None:
        # one inside: pytest makes it anew, and the lock on the outer one would be lost
        config.option.basetemp = f"{_whole_run.enter_context(temporary.folder())}/tests"


def pytest_unconfigure() -> None:
    _whole_run.close()


@pytest.fixture(scope="session", autouse=True)
def _machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with machine_copy.kept_in(str(tmp_path_factory.mktemp("machines"))):
        yield


@pytest.fixture(autouse=True)
def _leave_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test made goes when it ends, not when all have ended: a run would need millions of inodes."""
    yield
    made = request.node.funcargs.get("tmp_path")
    if made is not None:
        shutil.rmtree(made, ignore_errors=True)
