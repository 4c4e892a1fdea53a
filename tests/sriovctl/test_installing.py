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


def test_host_without_room(ctl: Ctl, rpm: str, hosts: Callable[[int], Path]) -> None:
    """The half that found room does not stay there."""
    (hosts(1) / "full").touch()
    said = ctl("install", rpm, "host2", "--yes")
    assert said.status == 1
    assert "could not be copied to host host2" in said.err
    assert "No space left on device" in said.err
    assert sorted(path.name for path in hosts(1).iterdir()) == ["commands", "full"]


def test_what_is_not_known_is_not_said(ctl: Ctl, rpm: str, hosts: Callable[[int], Path]) -> None:
    """rpm that cannot tell is no host without the package; a connection that ended is no failed rpm."""
    (hosts(0) / "greeting").write_text("Authorized users only.\n")
    (hosts(1) / "database").touch()
    broken = ctl("install", rpm, "host2")
    assert (broken.status, "rpmdb open failed" in broken.err) == (1, True)
    assert "not installed" not in broken.err + broken.out
    assert "Nothing is to be done" not in broken.err
    greeted = ctl("install", rpm, "host1", "--dry-run")
    assert (greeted.status, greeted.rows[1][1]) == (0, "0.1.0-1")
    (hosts(0) / "lost").touch()
    lost = ctl("install", rpm, "host1", "--yes")
    assert (lost.status, "has what it had" in lost.err) == (1, False)
    assert "ended while rpm was at work" in lost.err


@pytest.mark.usefixtures("hosts")
def test_nothing_is_asked_and_nothing_read(ctl: Ctl, rpm: str, tmp_path: Path) -> None:
    """In a loop over hosts standard input is the list. --no-input counts for ssh's questions too."""
    ssh, seen = tmp_path / "bin" / "ssh", tmp_path / "seen"
    os.rename(ssh, tmp_path / "bin" / "real")
    ssh.write_text(f'#!/bin/sh\necho "$@" >>{seen}\nreadlink /proc/self/fd/0 >>{seen}\nexec real "$@"\n')
    ssh.chmod(0o755)
    assert ctl("install", rpm, "--no-input", "--yes").status == 0
    asked, read = seen.read_text().splitlines()[:2]
    assert "BatchMode=yes" in asked
    assert read == "/dev/null"


def test_file_of_any_name(ctl: Ctl, rpm: str, hosts: Callable[[int], Path]) -> None:
    """It is called otherwise there, where a shell reads the name."""
    odd = f"{os.path.dirname(rpm)}/a:b $(touch x) 'c'.rpm"
    os.rename(rpm, odd)
    assert ctl("install", odd, "host2", "--yes").status == 0
    assert "rpm --upgrade --oldpackage --replacepkgs /var/tmp/xapi-sriov-0.2.0-1.noarch.rpm" in (
        (hosts(1) / "commands").read_text()
    )


def test_file_that_is_not_the_package(ctl: Ctl, tmp_path: Path, hosts: Callable[[int], Path]) -> None:
    other = tmp_path / "other.rpm"
    other.write_bytes(b"PK" + b"\0" * 200)
    assert "is no RPM of xapi-sriov" in ctl("install", str(other)).err
    assert ctl("install", str(tmp_path / "none.rpm")).status == 1
    assert not (hosts(0) / "commands").exists()


def test_not_in_dom0(pool: Pool, ctl_of: Ctl, rpm: str) -> None:
    said = ctl_of(pool.one, "install", rpm)
    assert (said.status, "does not run in dom0" in said.err) == (1, True)
