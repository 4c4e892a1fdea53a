"""install: the package on all hosts over ssh, versions compared first."""

import os
from pathlib import Path
from typing import Any, Callable

import pytest
from managed_pool import Pool

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]
FAKE = os.path.abspath(f"{__file__}/../fake_ssh")


@pytest.fixture
def rpm(tmp_path: Path) -> str:
    """A file whose lead is that of xapi-sriov 0.2.0-1, as rpmbuild writes it."""
    path = tmp_path / "xapi-sriov-0.2.0-1.noarch.rpm"
    path.write_bytes(
        b"\xed\xab\xee\xdb\x03\x00\x00\x00\x00\x01" + b"xapi-sriov-0.2.0-1".ljust(66, b"\0") + b"x" * 99
    )
    return str(path)


@pytest.fixture
def hosts(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """The folder of the host with this number, which stands for what ssh reaches there."""
    for name in ("ssh", "scp"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        os.symlink(FAKE, tmp_path / "bin" / name)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("HOSTS", str(tmp_path))

    def folder(number: int) -> Path:
        return tmp_path / str(pool.api("host.get_address", pool.hosts[number].ref))

    for number in range(2):
        folder(number).mkdir()
    (folder(0) / "version").write_text("0.1.0-1")
    return folder


def test_hosts_without_it_and_with_an_older_one(ctl: Ctl, rpm: str, hosts: Callable[[int], Path]) -> None:
    planned = ctl("install", rpm, "--dry-run")
    assert "host1 (" in planned.err
    assert "0.1.0-1 -> 0.2.0-1" in planned.err
    assert "not installed -> 0.2.0-1" in planned.err
    assert "rpm --upgrade" in planned.err
    assert not (hosts(1) / "version").exists()

    done = ctl("install", rpm, "--yes")
    assert done.status == 0
    assert done.rows[1:] == [["host1", "0.1.0-1", "0.2.0-1", "yes"], ["host2", "-", "0.2.0-1", "yes"]]
    assert sorted(path.name for path in hosts(1).iterdir()) == ["commands", "version"]
    again = ctl("install", rpm)
    assert (again.status, "Nothing is to be done." in again.err) == (0, True)


def test_host_that_fails_and_one_that_is_not_reached(
    ctl: Ctl, rpm: str, hosts: Callable[[int], Path]
) -> None:
    (hosts(0) / "broken").touch()
    partly = ctl("install", rpm, "--yes")
    assert partly.status == 4
    assert "rpm on host host1 failed: error: no space left on device" in partly.err
    (hosts(1) / "version").unlink()
    os.rename(hosts(1), f"{hosts(1)}.gone")
    lost = ctl("install", rpm, "host2", "--yes")
    assert lost.status == 1
    assert "No ssh to host host2" in lost.err


def test_file_that_is_not_the_package(ctl: Ctl, tmp_path: Path, hosts: Callable[[int], Path]) -> None:
    other = tmp_path / "other.rpm"
    other.write_bytes(b"PK" + b"\0" * 200)
    assert "is no RPM of xapi-sriov" in ctl("install", str(other)).err
    assert ctl("install", str(tmp_path / "none.rpm")).status == 1
    assert not (hosts(0) / "commands").exists()


def test_not_in_dom0(pool: Pool, ctl_of: Ctl, rpm: str) -> None:
    said = ctl_of(pool.one, "install", rpm)
    assert (said.status, "does not run in dom0" in said.err) == (1, True)
