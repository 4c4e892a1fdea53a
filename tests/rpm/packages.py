"""The packages that these tests install: ours, from copies of this tree, and such that only provide names."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, NamedTuple, Sequence

from scratch import XAPI_D
from watch import Library, library

HOME = "/usr/libexec/xapi-sriov"
PLUGIN = XAPI_D + "/plugins/sriov"
RESTORE = "/usr/sbin/sriov-restore"
METRICS = "/usr/sbin/sriov-metrics"
ALERTS = "/usr/sbin/sriov-alerts"

# What XCP-ng 8.3 has, as far as packages ask for it.
OF_DOM0 = {"python3": "3.6.8", "iproute": "4.11.0", "kmod": "20", "/bin/sh": "", "/usr/bin/python3": ""}

_HEAD: Sequence[str] = (
    "Name: for-the-tests",
    "Version: 1",
    "Release: 1",
    "Summary: For the tests",
    "License: BSD-2-Clause",
    "BuildArch: noarch",
)


class Package(NamedTuple):
    """A built package of ours, and the library that is in it."""

    path: str
    version: str
    library: Library

    @property
    def tree(self) -> str:
        """Where it is on a host."""
        return f"{HOME}/{self.version}-1"

    @property
    def library_folder(self) -> str:
        return self.tree + "/plugins/sriovlib"

    @property
    def links(self) -> Dict[str, str]:
        """The entry points: link -> what it leads to."""
        hooks = ("vm-pre-start", "vm-pre-resume", "vm-post-destroy", "vm-pre-migrate", "vm-pre-suspend")
        return {
            PLUGIN: self.tree + "/plugins/sriov",
            **{f"{XAPI_D}/{hook}/50-xapi-sriov": self.tree + "/hooks/xapi/xapi-sriov" for hook in hooks},
            RESTORE: self.tree + "/hooks/boot/sriov-restore",
            METRICS: self.tree + "/hooks/boot/sriov-metrics",
            ALERTS: self.tree + "/hooks/boot/sriov-alerts",
        }


def copy(tree: Path, folder: Path) -> Path:
    """What our package is built from, at another place."""
    folder.mkdir()
    for name in ("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md"):
        (folder / name).write_bytes((tree / name).read_bytes())
    for name in ("docs", "hooks", "plugins", "rpm", "scripts"):
        shutil.copytree(str(tree / name), str(folder / name), ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def make_older(tree: Path) -> None:
    """Makes of a copy one of an older version, with a module and an entry point that we have no more."""
    for name, version in (
        ("plugins/sriovlib/__init__.py", 'VERSION = "{}"'),
        ("rpm/xapi-sriov.spec", "Version: {}"),
    ):
        text = (tree / name).read_text()
        (tree / name).write_text(re.sub(version.format(r"[0-9.]+"), version.format("0.0.1"), text))
    (tree / "plugins" / "sriovlib" / "bygone.py").write_text('"""A subject that we have no more."""\n')
    common = tree / "rpm" / "scriptlets" / "common"
    bygone = XAPI_D + "/vm-pre-reboot/50-xapi-sriov=hooks/boot/sriov-restore\n"
    common.write_text(common.read_text().replace(PLUGIN + "=", bygone + PLUGIN + "="))


def build(tree: Path) -> Package:
    """Builds our package from a copy, as of a fixed moment."""
    command = [str(tree / "scripts" / "build-rpm"), str(tree / "built")]
    environment = dict(os.environ, SOURCE_DATE_EPOCH="1700000000")
    built = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    path = built.stdout.decode().strip()
    version = os.path.basename(path).split("-")[2]
    return Package(path, version, library(str(tree / "plugins" / "sriovlib")))


def providing(folder: Path, names: Dict[str, str]) -> str:
    """A package without files that provides names, with versions or without."""
    provides = [f"Provides: {name}{f' = {version}' if version else ''}" for name, version in names.items()]
    return _build(folder, [*_HEAD, *provides, "%description", "What dom0 has.", "%files"])


def careless(folder: Path) -> str:
    """A package that does what ours must not: it unpacks a plugin where xapi runs it."""
    file = XAPI_D + "/plugins/careless"
    install = ["install -d %{buildroot}" + os.path.dirname(file), "echo '#!/bin/sh' >%{buildroot}" + file]
    files = ["%files", f"%attr(755,root,root) {file}"]
    return _build(folder, [*_HEAD, "%description", "Careless.", "%install", *install, *files])


def _build(folder: Path, spec: Sequence[str]) -> str:
    folder.mkdir()
    (folder / "package.spec").write_text("\n".join(spec) + "\n")
    defines = ["--define", f"_topdir {folder}", "--define", "_build_name_fmt package.rpm"]
    subprocess.run(["rpmbuild", "-bb", "--quiet", *defines, str(folder / "package.spec")], check=True)
    return str(folder / "RPMS" / "package.rpm")
