"""The library's packages: which may import which, and what the client may. A newcomer finds the file for a
change by its place, and docs/architecture.md has the picture of it."""

import ast
import os
import re
from typing import Dict, Iterator, List, Set, Tuple

import sriovlib

LIBRARY = os.path.dirname(os.path.abspath(sriovlib.__file__))
ROOT = os.path.dirname(os.path.dirname(LIBRARY))
CLIENT = os.path.join(ROOT, "scripts", "sriovctl")
OF_CLIENT = (
    *("sriovlib.VERSION.", "sriovlib.safetext.", "sriovlib.errors.", "sriovlib.exposition."),
    *("sriovlib.config.vf_settings.", "sriovlib.vf.profiles."),
    *("sriovlib.pool.GUEST_SECONDS.", "sriovlib.pool.GUEST_MOST_SECONDS."),
)
# Its module `local` asks this host's xapi:
OF_LOCAL = (*OF_CLIENT, "sriovlib.machine.host.", "sriovlib.xapi.session.")

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


def modules(below: str = LIBRARY) -> Iterator[Tuple[str, str]]:
    """Dotted name below the folder, and path."""
    for folder, _folders, names in os.walk(below):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                dotted = os.path.relpath(path, below)[: -len(".py")].replace(os.sep, ".")
                yield dotted.replace(".__init__", ""), path


def tree_of(path: str) -> ast.AST:
    with open(path, encoding="utf-8") as file:
        return ast.parse(file.read())


def imported(name: str, path: str) -> Iterator[str]:
    """What of the library a module imports, at its head or in a function."""
    package = name.split(".") if path.endswith("__init__.py") else name.split(".")[:-1]
    for node in ast.walk(tree_of(path)):
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


def arrows() -> Set[Tuple[str, str]]:
    """Of the picture in docs/architecture.md."""
    with open(os.path.join(ROOT, "docs", "architecture.md"), encoding="utf-8") as file:
        (picture,) = re.findall(r"```mermaid\nflowchart TD\n(.*?)```", file.read(), re.DOTALL)
    chains = [line.split("-->") for line in picture.splitlines()]
    return {(upper.strip(), lower.strip()) for chain in chains for upper, lower in zip(chain, chain[1:])}


def test_the_picture_shows_what_is_imported() -> None:
    drawn = arrows()
    real = {
        (name.split(".")[0], other.split(".")[0])
        for name, path in modules()
        for other in imported(name, path)
        if other.split(".")[0] not in ("VERSION", name.split(".")[0])
    }
    assert drawn - real == set()
    below = set(drawn)
    for _ in FLOORS:
        below |= {(upper, lowest) for upper, lower in below for one, lowest in drawn if one == lower}
    shown = {part for arrow in drawn for part in arrow}
    assert {pair for pair in real - below if shown.issuperset(pair)} == set()
    assert set(FLOOR_OF) - shown == {"light_modules", "light_typing"}


def test_the_client_uses_little_of_the_library() -> None:
    used = [
        (name, f"{node.module}.{alias.name}.")
        for name, path in modules(CLIENT)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sriovlib"
        for alias in node.names
    ]
    assert used
    assert [use for use in used if not use[1].startswith(OF_LOCAL if use[0] == "local" else OF_CLIENT)] == []
