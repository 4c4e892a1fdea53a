"""The last error of each PF, as restore and set_vf_count left it for `status`: /run/sriov/restore.json."""

import json
from typing import Dict, Optional

from ..machine.host import RUN_FOLDER, Host

PATH = f"{RUN_FOLDER}/restore.json"


def read(host: Host) -> Dict[str, Optional[str]]:
    """PF address -> its error; None where there was none."""
    try:
        found = json.loads(host.read(PATH))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def note(host: Host, errors: Dict[str, Optional[str]]) -> None:
    """Keeps those of other PFs. The caller holds the lock `vfs`."""
    try:
        host.replace_file(PATH, json.dumps({**read(host), **errors}).encode())
    except OSError as error:
        host.log(f"{PATH}: {error.strerror}")
