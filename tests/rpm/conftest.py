"""The packages and hosts of these tests."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterator, List

import packages
import pytest
import scratch
from packages import Package
from scratch import Dom0
from watch import Library


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("installing packages below another root folder takes root: run this as root")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="session")
def tree(folder: Path) -> Path:
    """This tree, as it was when the tests began."""
    return packages.copy(Path(scratch.ROOT), folder / "this")


@pytest.fixture(scope="session")
def package(tree: Path) -> Package:
    """The package of this tree."""
    return packages.build(tree)


@pytest.fixture(scope="session")
def older(tree: Path, folder: Path) -> Package:
    """An older package."""
    old = packages.copy(tree, folder / "older")
    packages.make_older(old)
    return packages.build(old)


@pytest.fixture(scope="session")
def of_dom0(folder: Path) -> str:
    """The package that says what a host has."""
    return packages.providing(folder / "of-dom0", packages.OF_DOM0)


@pytest.fixture
def hosts() -> Iterator[str]:
    """A folder for hosts, on the file system of their template."""
    made = tempfile.mkdtemp(prefix="hosts-", dir=os.path.dirname(scratch.template()))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def host(hosts: str, of_dom0: str) -> Dom0:
    """A host that has never seen our package."""
    return scratch.make(os.path.join(hosts, "dom0"), of_dom0)


@pytest.fixture
def libraries(package: Package, older: Package) -> List[Library]:
    """What may be beside a plugin that xapi runs."""
    return [package.library, older.library]
