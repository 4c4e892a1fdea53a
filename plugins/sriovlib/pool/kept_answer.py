"""The last answer of `list_assignments`, and the key of what it was made of (see inputs), kept in
/run/sriov/assignments of the master. Whoever has inputs with that key has the answer."""

from typing import Optional

from .. import digest
from ..machine.host import RUN_FOLDER, Host
from . import kept_file

PATH = f"{RUN_FOLDER}/assignments"


def load(host: Host, key: str) -> Optional[str]:
    found = kept_file.load(host, PATH, digest.of_library())
    return found.text.content.decode() if found and found.head == key else None


def store(host: Host, key: str, answer: str) -> None:
    kept = kept_file.Kept(key, kept_file.Text.of(answer.encode()))
    kept_file.store(host, PATH, digest.of_library(), kept, "assignments", "keeping an answer")
