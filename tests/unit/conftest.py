"""Property tests wait as long as it takes: a machine that is busy with other things is no failure."""

from pathlib import Path

import pytest
from host_files import HostFiles
from hypothesis import HealthCheck, settings
from small_pool import SmallPool
from sriovlib.machine.host import Host

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def pool() -> SmallPool:
    return SmallPool()


@pytest.fixture
def fs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostFiles:
    """The files of each `Host()` that the test makes: none yet."""
    monkeypatch.setattr(Host.__init__, "__defaults__", (str(tmp_path),))
    return HostFiles(str(tmp_path))
