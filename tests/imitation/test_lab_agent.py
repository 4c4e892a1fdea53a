"""What the lab pushes into its dom0 is there and can be imported, in the one folder that dom0 has it in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import toolstack

IMPORT_ALL = """
import importlib, os, sys
folders = sys.argv[1:]
sys.path[:0] = folders
for name in sorted(os.listdir(folders[0])):
    importlib.import_module(name.split(".")[0]) if name.endswith(".py") else None
import agent, sriovlib, XenAPIPlugin
assert all(module.__file__.startswith(folders[0]) for module in (agent, sriovlib))
"""


class Folder:
    """A lab host of which there is the disk only."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def push(self, target_folder: str, *sources: str) -> None:
        folder = self.root + target_folder
        os.makedirs(folder, exist_ok=True)
        for source in sources:
            target = os.path.join(folder, os.path.basename(source))
            assert not os.path.lexists(target), f"two files of the name {os.path.basename(source)}"
            copy: Any = shutil.copytree if os.path.isdir(source) else shutil.copy
            copy(source, target)

    def exists(self, _path: str) -> bool:
        return True

    def run(self, _command: str) -> str:
        return "null"


def test_the_agent_imports_all_that_is_pushed(tmp_path: Path) -> None:
    host: Any = Folder(tmp_path)
    toolstack.bring_xapi(host)
    folders = [host.root + toolstack.IN_DOM0, host.root + toolstack.PYTHON_PACKAGES]
    subprocess.check_call([sys.executable, "-I", "-c", IMPORT_ALL, *folders], cwd="/")


def test_the_python_program_of_the_lab_compiles() -> None:
    with open(os.path.join(toolstack.PUSHED, "xen-cmdline"), "rb") as file:
        compile(file.read(), "xen-cmdline", "exec")
