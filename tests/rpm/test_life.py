"""Installation, upgrade and erasure on a host, with xapi looking on."""

import fcntl
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, List

import packages
import pytest
import scratch
import watch
from installed import (
    ALERTS_ENABLED,
    CONFIGURATION,
    ENABLED,
    METRICS_ENABLED,
    POOL_METRICS_ENABLED,
    answering_version,
    compiled_modules,
    links,
)
from packages import PLUGIN, Package
from scratch import XAPI_D, Dom0
from watch import Library, watching

BYGONE_HOOK = "vm-pre-reboot/50-xapi-sriov"


def test_a_new_installation(host: Dom0, package: Package, libraries: List[Library]) -> None:
    with watching(host, libraries) as watched:
        host.rpm_succeeds("--install", package.path)
    assert watched.stumbled == set()
    # the folder of the other hooks was not there before
    assert watched.events == ["plugins/sriov MOVED_TO", "vm-pre-start/50-xapi-sriov MOVED_TO"]

    assert links(host, package) == package.links
    assert answering_version(host) == package.version
    assert os.path.lexists(host.path(ENABLED))
    assert os.path.lexists(host.path(METRICS_ENABLED))
    assert not os.path.lexists(host.path(POOL_METRICS_ENABLED))
    assert os.path.lexists(host.path(ALERTS_ENABLED))
    assert compiled_modules(host) == set(package.library)
    assert host.run("sriovctl", "--version").said == f"sriovctl {package.version}\n"
    lines = host.read(CONFIGURATION).splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_systemd_understands_the_service(host: Dom0, package: Package) -> None:
    host.rpm_succeeds("--install", package.path)
    for unit in (
        "sriov-restore.service",
        "sriov-xapi-started.service",
        "sriov-metrics.service",
        "sriov-pool-metrics.service",
        "sriov-pool-metrics.timer",
        "sriov-alerts.service",
        "sriov-alerts.timer",
    ):
        ended = host.run("systemd-analyze", "verify", "--man=no", unit)
        assert "sriov" not in ended.said


def test_an_upgrade(host: Dom0, older: Package, package: Package, libraries: List[Library]) -> None:
    host.rpm_succeeds("--install", older.path)
    host.write(CONFIGURATION, "# as the administrator wants it\n")
    os.unlink(host.path(ENABLED))
    os.unlink(host.path(METRICS_ENABLED))
    os.unlink(host.path(ALERTS_ENABLED))

    with watching(host, libraries) as watched:
        host.rpm_succeeds("--upgrade", package.path)
    assert watched.stumbled == set()
    # to the new version, each at one go
    for entry in (path[len(XAPI_D) + 1 :] for path in package.links if path.startswith(XAPI_D)):
        assert [event for event in watched.events if event.startswith(entry)] == [entry + " MOVED_TO"]
    assert links(host, package) == package.links
    assert answering_version(host) == package.version
    assert host.read(CONFIGURATION) == "# as the administrator wants it\n"
    assert not os.path.lexists(host.path(ENABLED))
    assert not os.path.lexists(host.path(METRICS_ENABLED))
    assert not os.path.lexists(host.path(ALERTS_ENABLED))
    assert [path for path in host.files() if BYGONE_HOOK in path or older.tree in path] == []
    assert compiled_modules(host) == set(package.library)


def test_every_call_during_an_upgrade_is_answered(host: Dom0, older: Package, package: Package) -> None:
    host.rpm_succeeds("--install", older.path)
    answers = []
    ended = threading.Event()

    def call() -> None:
        while not ended.is_set():
            answers.append(answering_version(host))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        host.rpm_succeeds("--upgrade", package.path)
        host.rpm_succeeds("--upgrade", "--oldpackage", older.path)
        host.rpm_succeeds("--upgrade", package.path)
    finally:
        ended.set()
        caller.join()
    assert set(answers) == {older.version, package.version}


def test_an_upgrade_waits_for_calls_that_run(host: Dom0, older: Package, package: Package) -> None:
    host.rpm_succeeds("--install", older.path)
    library = os.open(host.path(older.library_folder), os.O_RDONLY)
    fcntl.flock(library, fcntl.LOCK_SH)  # as each call does
    upgrade = threading.Thread(target=host.rpm_succeeds, args=("--upgrade", package.path))
    upgrade.start()
    try:
        wait_until(lambda: somebody_waits_for(library))
        assert links(host, package) == package.links
        assert watch.library(host.path(older.library_folder)) == older.library
    finally:
        os.close(library)
        upgrade.join()
    assert answering_version(host) == package.version


def somebody_waits_for(descriptor: int) -> bool:
    inode = f":{os.fstat(descriptor).st_ino} "
    with open("/proc/locks") as locks:
        return any("->" in line and inode in line for line in locks)


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + scratch.SECONDS
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_downgrade(host: Dom0, older: Package, package: Package, libraries: List[Library]) -> None:
    host.rpm_succeeds("--install", package.path)
    with watching(host, libraries) as watched:
        host.rpm_succeeds("--upgrade", "--oldpackage", older.path)
    assert watched.stumbled == set()
    assert answering_version(host) == older.version
    assert os.access(host.resolve(f"{XAPI_D}/{BYGONE_HOOK}"), os.X_OK)


def test_an_erasure_leaves_nothing(host: Dom0, package: Package, libraries: List[Library]) -> None:
    before = host.files()
    host.rpm_succeeds("--install", package.path)
    answering_version(host)
    assert host.run("systemctl", "--quiet", "enable", "sriov-pool-metrics.timer").status == 0
    assert os.path.lexists(host.path(POOL_METRICS_ENABLED))
    host.write("/run/sriov/host.lock", "")
    host.write(package.library_folder + "/__pycache__/errors.cpython-36.pyc", "of another Python")
    with watching(host, libraries) as watched:
        host.rpm_succeeds("--erase", "xapi-sriov")
    assert watched.stumbled == set()
    assert sorted(event for event in watched.events if "50-" in event or "sriov" in event) == [
        "plugins/sriov DELETE",
        "vm-post-destroy/50-xapi-sriov DELETE",
        "vm-pre-migrate/50-xapi-sriov DELETE",
        "vm-pre-resume/50-xapi-sriov DELETE",
        "vm-pre-start/50-xapi-sriov DELETE",
        "vm-pre-suspend/50-xapi-sriov DELETE",
    ]
    assert host.files() == before


def test_an_erasure_keeps_a_configuration_that_was_changed(host: Dom0, package: Package) -> None:
    before = host.files()
    host.rpm_succeeds("--install", package.path)
    host.write(CONFIGURATION, "# as the administrator wants it\n")
    ended = host.rpm("--erase", "xapi-sriov")
    assert ended.status == 0
    assert ended.said == "warning: /etc/sriov.conf saved as /etc/sriov.conf.rpmsave\n"
    assert sorted(set(host.files()) - set(before)) == ["/etc/sriov.conf.rpmsave"]


def test_folders_with_files_of_others_stay(host: Dom0, older: Package) -> None:
    host.rpm_succeeds("--install", older.path)
    host.write(XAPI_D + "/vm-pre-reboot/90-admin", "#!/bin/sh\n", 0o755)
    host.rpm_succeeds("--erase", "xapi-sriov")
    assert os.listdir(host.path(XAPI_D + "/vm-pre-reboot")) == ["90-admin"]


def without_xapi(host: Dom0) -> None:
    """As an installer does it, which puts packages into the root folder of a host in any order."""
    for folder, script in (("plugins", "echo"), ("vm-pre-start", "10-admin")):
        os.unlink(host.path(f"{XAPI_D}/{folder}/{script}"))
        os.rmdir(host.path(f"{XAPI_D}/{folder}"))
    os.rmdir(host.path(XAPI_D))


def without_systemd(host: Dom0) -> None:
    os.unlink(host.path("/bin/systemctl"))


@pytest.mark.parametrize("changed", [without_xapi, without_systemd])
def test_a_host_that_lacks_something(host: Dom0, package: Package, changed: Callable[[Dom0], None]) -> None:
    changed(host)
    before = host.files()
    host.rpm_succeeds("--install", package.path)
    assert answering_version(host) == package.version
    host.rpm_succeeds("--erase", "xapi-sriov")
    assert host.files() == before


def test_a_host_with_an_old_python_is_refused(hosts: str, tmp_path: Path, package: Package) -> None:
    for version in ("2.7.5", "3.4.10"):
        provided = packages.providing(tmp_path / version, dict(packages.OF_DOM0, python3=version))
        host = scratch.make(os.path.join(hosts, version), provided)
        before = host.files()
        ended = host.rpm("--install", package.path)
        assert ended.status != 0
        assert "python3 >= 3.6 is needed by xapi-sriov" in ended.said
        assert host.files() == before


@pytest.mark.parametrize("path", [PLUGIN, XAPI_D + "/vm-pre-start/50-xapi-sriov"])
def test_a_file_of_somebody_else_is_not_replaced(host: Dom0, package: Package, path: str) -> None:
    host.write(path, "#!/bin/sh\necho mine\n", 0o755)
    before = host.files()
    ended = host.rpm("--install", package.path)
    assert ended.status != 0
    assert f"{path} is there already and not of this package." in ended.said
    assert host.read(path) == "#!/bin/sh\necho mine\n"
    assert host.files() == before


def test_an_upgrade_does_not_replace_it_either(host: Dom0, older: Package, package: Package) -> None:
    host.rpm_succeeds("--install", older.path)
    os.unlink(host.path(PLUGIN))
    host.write(PLUGIN, "#!/bin/sh\necho mine\n", 0o755)
    assert host.rpm("--upgrade", package.path).status != 0
    assert host.read(PLUGIN) == "#!/bin/sh\necho mine\n"
    host.rpm_succeeds("--erase", "xapi-sriov")
    assert host.read(PLUGIN) == "#!/bin/sh\necho mine\n"


def test_a_link_to_another_place_is_replaced_and_named(host: Dom0, package: Package) -> None:
    host.write("/root/checkout/sriov", "#!/bin/sh\n", 0o755)
    os.symlink("/root/checkout/sriov", host.path(PLUGIN))
    with watching(host, [package.library]) as watched:
        ended = host.rpm("--install", package.path)
    assert ended.status == 0
    assert ended.said == f"xapi-sriov: {PLUGIN} led to /root/checkout/sriov before.\n"
    assert watched.stumbled == set()
    assert answering_version(host) == package.version


def test_the_watch_sees_what_an_ordinary_package_does(host: Dom0, tmp_path: Path) -> None:
    # rpm writes a file under another name first: what our package must not do is seen where it is done
    careless = packages.careless(tmp_path / "careless")
    with watching(host, []) as watched:
        host.rpm_succeeds("--upgrade", "--force", careless)
    assert any("careless;" in event and "CREATE" in event for event in watched.events)


def test_the_watch_sees_a_torn_library(host: Dom0, package: Package) -> None:
    host.rpm_succeeds("--install", package.path)
    subprocess.run(["truncate", "--size=9", host.path(package.library_folder + "/errors.py")], check=True)
    with watching(host, [package.library]) as watched:
        pass
    assert watched.stumbled == {"plugins/sriov: its library is not whole"}
