"""The power fails in the middle of a transaction: what xapi finds then, and what a second try makes of it."""

import os
from typing import List

import pytest
from installed import ENABLED, answering_version, compiled_modules, links
from packages import HOME, PLUGIN, Package
from scratch import XAPI_D, Dom0
from watch import Library, watching

# moment -> what has just been made, renamed or removed for the first time, as the one calls it who does that
INSTALLATION = {
    "while unpacking": "host.py",
    "when the service is to be enabled": ENABLED,
    "before xapi has it": "/etc/.xapi-sriov.new",
    "when xapi has it": PLUGIN,
    "when xapi has some of the hooks": XAPI_D + "/vm-pre-resume/50-xapi-sriov",
}
UPGRADE = {
    "while unpacking": "host.py",
    "before xapi has it": "/etc/.xapi-sriov.new",
    "when xapi has it": PLUGIN,
    "when the old version goes": "bygone.py",
}
ERASURE = {
    "when xapi has it no more": PLUGIN,
    "when xapi has some of the hooks no more": XAPI_D + "/vm-pre-resume/50-xapi-sriov",
    "when files go": "host.py",
}


def is_in_order(host: Dom0, package: Package) -> None:
    assert links(host, package) == package.links
    assert answering_version(host) == package.version
    assert os.path.lexists(host.path(ENABLED))
    assert compiled_modules(host) == set(package.library)
    assert os.listdir(host.path(HOME)) == [os.path.basename(package.tree)]


@pytest.mark.parametrize("moment", INSTALLATION)
def test_an_installation(host: Dom0, package: Package, libraries: List[Library], moment: str) -> None:
    with watching(host, libraries) as watched:
        host.cut_off_rpm(INSTALLATION[moment], "--install", package.path)
        # where it is recorded as installed already, this is what a package manager's `reinstall` does
        host.rpm_succeeds("--install", "--replacepkgs", package.path)
    assert watched.stumbled == set()
    is_in_order(host, package)


@pytest.mark.parametrize("moment", UPGRADE)
def test_an_upgrade(
    host: Dom0, older: Package, package: Package, libraries: List[Library], moment: str
) -> None:
    host.rpm_succeeds("--install", older.path)
    with watching(host, libraries) as watched:
        host.cut_off_rpm(UPGRADE[moment], "--upgrade", package.path)
        assert answering_version(host) in (older.version, package.version)
        assert host.rpm("--upgrade", "--replacepkgs", package.path).status == 0
    assert watched.stumbled == set()
    is_in_order(host, package)


@pytest.mark.parametrize("moment", ERASURE)
def test_an_erasure(host: Dom0, package: Package, libraries: List[Library], moment: str) -> None:
    before = host.files()
    host.rpm_succeeds("--install", package.path)
    with watching(host, libraries) as watched:
        host.cut_off_rpm(ERASURE[moment], "--erase", "xapi-sriov")
        assert host.rpm("--erase", "xapi-sriov").status == 0
    assert watched.stumbled == set()
    left = set(host.files()) - set(before)
    assert [path for path in left if not path.startswith("/var/tmp/rpm-tmp.")] == []  # rpm's own
