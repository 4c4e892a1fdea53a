"""The library's packages: which may import which. A newcomer finds the file for a change by its place."""

import ast
import os
from typing import Dict, Iterator, List, Set, Tuple

import sriovlib

LIBRARY = os.path.dirname(os.path.abspath(sriovlib.__file__))

# From the top down: a package imports what stands below it; those of one line know nothing of each other.
FLOORS = (
    ("calls",),
    ("starts",),
    ("pool", "traffic"),
    ("vf", "boot"),
    ("config", "xapi"),
    ("machine",),
    ("errors", "exposition"),
    ("safetext", "digest"),
    ("light_modules",),
    ("light_typing",),
)
FLOOR_OF: Dict[str, int] = {part: number for number, parts in enumerate(FLOORS) for part in parts}


def modules() -> Iterator[Tuple[str, str]]:
    """Dotted name below sriovlib, and path."""
    for folder, _folders, names in os.walk(LIBRARY):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                dotted = os.path.relpath(path, LIBRARY)[: -len(".py")].replace(os.sep, ".")
                yield dotted.replace(".__init__", ""), path


def imported(name: str, path: str) -> Iterator[str]:
    """What of the library a module imports, at its head or in a function."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    package = name.split(".") if path.endswith("__init__.py") else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) + 1 - node.level]
            parts = [*base, *((node.module or "").split(".") if node.module else [])]
            for alias in node.names:
                yield ".".join([*parts, alias.name])


def test_packages_import_downwards_only() -> None:
    upwards: List[str] = []
    for name, path in modules():
        own = name.split(".")[0]
        for other in imported(name, path):
            target = other.split(".")[0]
            if target != own and own in FLOOR_OF and target in FLOOR_OF and FLOOR_OF[target] <= FLOOR_OF[own]:
                upwards.append(f"{name} imports {other}")
    assert upwards == []


def test_each_package_has_its_floor() -> None:
    packages: Set[str] = {name.split(".")[0] for name, _path in modules()}
    assert packages - {"__init__"} == set(FLOOR_OF)
