"""The packages and hosts of these tests."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator, List, NamedTuple

import pytest
from rpm import dom0
from rpm.dom0 import Dom0
from rpm.watch import Library, library


class Package(NamedTuple):
    """A built package of ours, and the library that is in it."""

    path: str
    version: str
    library: Library


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("installing packages below another root folder takes root: run this as root")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


def copy(tree: Path, folder: Path) -> Path:
    """What a package is built from, at another place."""
    folder.mkdir()
    for name in ("LICENSE", "README.md"):
        (folder / name).write_bytes((tree / name).read_bytes())
    for name in ("hooks", "plugins", "rpm", "scripts"):
        shutil.copytree(str(tree / name), str(folder / name), ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def build(tree: Path) -> Package:
    """Builds the package of a tree, as of a fixed moment."""
    command = [str(tree / "scripts" / "build-rpm"), str(tree / "built")]
    environment = dict(os.environ, SOURCE_DATE_EPOCH="1700000000")
    built = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    path = built.stdout.decode().strip()
    version = os.path.basename(path).split("-")[2]
    return Package(path, version, library(str(tree / "plugins" / "sriovlib")))


@pytest.fixture(scope="session")
def tree(folder: Path) -> Path:
    """This tree, as it was when the tests began."""
    return copy(Path(dom0.ROOT), folder / "this")


@pytest.fixture(scope="session")
def package(tree: Path) -> Package:
    """The package of this tree."""
    return build(tree)


@pytest.fixture(scope="session")
def older(folder: Path, tree: Path) -> Package:
    """An older package, with a module and with an entry point in a hook folder that ours has no more."""
    old = copy(tree, folder / "older")
    init = old / "plugins" / "sriovlib" / "__init__.py"
    init.write_text(re.sub('VERSION = ".*"', 'VERSION = "0.0.1"', init.read_text()))
    (old / "plugins" / "sriovlib" / "bygone.py").write_text('"""A subject that we have no more."""\n')
    common = old / "rpm" / "scriptlets" / "common"
    bygone = "vm-pre-reboot/50-xapi-sriov=hooks/boot/sriov-restore\n"
    common.write_text(common.read_text().replace("plugins/sriov=", bygone + "plugins/sriov="))
    return build(old)


@pytest.fixture(scope="session")
def packages_of_dom0(folder: Path) -> str:
    return dom0.dom0_packages(str(folder / "dom0"), dom0.PACKAGES)


@pytest.fixture
def hosts() -> Iterator[str]:
    """A folder for hosts, on the file system of their template."""
    made = tempfile.mkdtemp(prefix="hosts-", dir=os.path.dirname(dom0.template()))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def host(hosts: str, packages_of_dom0: str) -> Dom0:
    """A host that has never seen our package."""
    return dom0.make(os.path.join(hosts, "dom0"), packages_of_dom0)


@pytest.fixture
def libraries(package: Package, older: Package) -> List[Library]:
    return [package.library, older.library]
