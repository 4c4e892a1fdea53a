"""The code that is measured: this tree, or a commit's beside it, whose layout may be another. What is started
of it is found here; the rest takes it as it is."""

import os
import shutil
import subprocess
from typing import List, NamedTuple

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START = os.path.join(REPOSITORY, "tests", "bench", "dom0", "start.py")
BUILD = os.path.join(REPOSITORY, "build", "bench")


class NotThere(Exception):
    """The tree has none of what would be measured."""


class Tree(NamedTuple):
    name: str
    root: str

    @property
    def plugin(self) -> str:
        return self._first("plugins/sriov")

    @property
    def restore(self) -> str:
        return self._first("hooks/boot/sriov-restore")

    @property
    def client(self) -> str:
        return self._first("scripts/sriovctl")

    def hook(self, name: str) -> str:
        """Either all hooks are one script, or each is its own."""
        return self._first("hooks/xapi/xapi-sriov", f"hooks/xapi/{name}")

    def _first(self, *names: str) -> str:
        for name in names:
            path = os.path.join(self.root, name)
            if os.path.exists(path):
                return path
        raise NotThere(f"it has no {names[-1]}")


def command(interpreter: str, program: str) -> List[str]:
    """How a Python starts the program: with the flags of its first line. Those that keep it from importing
    our sitecustomize need a detour, dom0/start.py."""
    with open(program, encoding="utf-8") as file:
        flags = file.readline().split()[1:]
    return [interpreter, *flags, START, program] if flags else [interpreter, program]


THIS = Tree("this", REPOSITORY)


def of_commit(commit: str) -> Tree:
    """Its files in build/bench, made anew."""
    asked = ["git", "-C", REPOSITORY, "rev-parse", "--verify", "--short", f"{commit}^{{commit}}"]
    short = subprocess.check_output(asked, encoding="ascii").strip()
    root = os.path.join(BUILD, "commits", short)
    shutil.rmtree(os.path.dirname(root), ignore_errors=True)
    os.makedirs(root)
    archive = subprocess.check_output(["git", "-C", REPOSITORY, "archive", short])
    subprocess.run(["tar", "--extract", "--directory", root], input=archive, check=True)
    return Tree(short, root)
