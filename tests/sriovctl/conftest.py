"""A pool in a box, and sriovctl at work on it: as on a workstation, and in a host's dom0."""

import json
import os
import signal
import subprocess
import sys
from typing import Any, Callable, Iterator, List, NamedTuple

import pytest
from as_program import PROGRAM
from box_host import BoxHost
from managed_pool import Pool
from sriovctl import main, tasks


class Said(NamedTuple):
    """What a command ended with: exit status, data, messages."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> List[List[str]]:
        """The cells of a table."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


# As for whatever a script starts in the background, or by nohup; the programs of the tests are to have these.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

FOLDERS = ("SRIOVCTL_CONFIG_DIR", "SRIOVCTL_DATA_DIR", "SRIOVCTL_CACHE_DIR")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sriovctl keeps for its user goes nowhere else."""
    for name in FOLDERS:
        monkeypatch.setenv(name, str(tmp_path / name.split("_")[1].lower()))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What xapi does is looked at often."""
    monkeypatch.setattr(tasks, "POLL_SECONDS", 0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A xapi that is gone is given up at once."""
    monkeypatch.setattr(tasks, "SILENT_SECONDS", 0.1)


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """As in tests/pool: two hosts alike with four VFs on eth1, or what the marker `pool` says."""
    with Pool.marked(request) as made:
        yield made


@pytest.fixture
def ctl(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """sriovctl on a workstation, in this process: `ctl("vfs", "--free")`."""
    monkeypatch.setenv("SRIOVCTL_HOST", pool.box.url)
    monkeypatch.setenv("SRIOVCTL_PASSWORD", pool.box.xapi.password)

    def run(*words: str) -> Said:
        capsys.readouterr()
        status = main.run(list(words), local=False)
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def ctl_of() -> Callable[..., Said]:
    """sriovctl in the dom0 of a host: `ctl_of(host, "status")`."""

    def run(host: BoxHost, *words: str) -> Said:
        done = subprocess.run(
            [sys.executable, PROGRAM, *words],
            env={**host.environment, **{name: os.environ[name] for name in FOLDERS}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def write(tmp_path: Any) -> Callable[[str], str]:
    """Writes that into a file; its path."""

    def written(text: str) -> str:
        path = os.path.join(str(tmp_path), "pool.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    return written
