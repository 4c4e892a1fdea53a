"""What is in the package, and who can read it."""

import os
import subprocess
from pathlib import Path
from typing import List

import packages
from packages import Package
from scratch import ROOT

DOCS = os.path.join(ROOT, "docs")


def query(package: Package, *arguments: str) -> List[str]:
    command = ["rpm", "--query", "--package", *arguments, package.path]
    return subprocess.check_output(command, universal_newlines=True).splitlines()


def test_dom0_of_xcp_ng_8_3_can_read_it(package: Package) -> None:
    # rpm 4.11: no other compression than gzip and xz, and no feature that came later
    assert query(package, "--queryformat", "%{PAYLOADFORMAT} %{PAYLOADCOMPRESSOR}") == ["cpio gzip"]
    assert {name for name in query(package, "--requires") if name.startswith("rpmlib")} == {
        "rpmlib(CompressedFileNames) <= 3.0.4-1",
        "rpmlib(FileDigests) <= 4.6.0-1",
        "rpmlib(PayloadFilesHavePrefix) <= 4.0-1",
    }


def test_package_requires_only_what_hosts_have(package: Package) -> None:
    # a minor version of Python, as an RPM system's own tools would add it, fits one product only
    asked = {name for name in query(package, "--requires") if not name.startswith(("rpmlib", "config"))}
    assert asked == {"/bin/sh", "/usr/bin/python3", "iproute", "kmod", "python3 >= 3.6"}


def test_package_has_the_whole_library_and_no_byte_code(package: Package) -> None:
    files = query(package, "--list")
    modules = {path.partition("/plugins/sriovlib/")[2] for path in files if path.endswith(".py")}
    assert modules - {""} == set(package.library)
    assert not [path for path in files if path.endswith(".pyc") or "__pycache__" in path]


def test_package_has_the_documents_that_hints_name(package: Package) -> None:
    """And what Prometheus and Grafana are given."""
    folder = f"/usr/share/doc/xapi-sriov-{package.version}"
    has = {path.replace("/usr/share/doc/xapi-sriov/", f"{folder}/") for path in query(package, "--docfiles")}
    files = [os.path.join(where, name) for where, _, names in os.walk(DOCS) for name in names]
    assert {os.path.join(folder, os.path.relpath(path, ROOT)) for path in files} <= has
    assert f"{folder}/README.md" in has


def test_package_unpacks_nothing_into_xapis_folders(package: Package) -> None:
    lines = query(package, "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]")
    assert {line for line in lines if "/etc/xapi.d" in line} == {
        "drwxr-xr-x /etc/xapi.d",
        "drwxr-xr-x /etc/xapi.d/plugins",
        "drwxr-xr-x /etc/xapi.d/vm-post-destroy",
        "drwxr-xr-x /etc/xapi.d/vm-pre-migrate",
        "drwxr-xr-x /etc/xapi.d/vm-pre-resume",
        "drwxr-xr-x /etc/xapi.d/vm-pre-start",
        "drwxr-xr-x /etc/xapi.d/vm-pre-suspend",
    }


def test_the_same_commit_gives_the_same_bytes(tree: Path, package: Package, tmp_path: Path) -> None:
    again = packages.build(packages.copy(tree, tmp_path / "elsewhere"))
    assert Path(again.path).read_bytes() == Path(package.path).read_bytes()
