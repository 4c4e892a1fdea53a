"""dom0's commands, answered in this process: which there are, and those of one answer. A command is
there if its file is, so a test that takes the file away takes the command away."""

import os
from typing import Callable, Dict, NamedTuple, Optional, Sequence

from sriovlib.host import NOT_FOUND, Completed

from kernel_sysfs import Sysfs

PATH = ("/sbin", "/usr/sbin", "/bin", "/usr/bin")  # as xapi gives it to plugins


class Answer(NamedTuple):
    status: int = 0
    stdout: str = ""
    stderr: str = ""


def run(sysfs: Sysfs, argv: Sequence[str], input_text: Optional[str]) -> Completed:
    folders = [""] if argv[0].startswith("/") else [folder + "/" for folder in PATH]
    found = [folder + argv[0] for folder in folders if os.access(sysfs.root + folder + argv[0], os.X_OK)]
    if not found:
        return Completed(argv, NOT_FOUND, "", "No such file or directory")
    answer = _commands()[os.path.basename(argv[0])](sysfs, list(argv[1:]), input_text or "")
    return Completed(argv, answer.status, answer.stdout, answer.stderr)


def _commands() -> Dict[str, Callable[[Sysfs, Sequence[str], str], Answer]]:
    return {}


def not_imitated(name: str, arguments: Sequence[str]) -> Answer:
    """For a call that is right on a real host, and that nobody has imitated yet."""
    raise NotImplementedError(f"{name} {' '.join(arguments)}")
