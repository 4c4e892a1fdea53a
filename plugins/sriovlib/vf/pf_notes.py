"""What is noted of PFs until the next boot, one JSON object a file in /run/sriov, with PF addresses as keys.

The caller holds the lock `vfs` when it writes. A note that cannot be read is none, and one that cannot be
written is logged.
"""

import json
from typing import Any, Dict, Mapping, Optional

from ..machine.host import RUN_FOLDER, Host

# PF -> its last error, null where there was none; written by restore and set_vf_count, read by `status`.
LAST_ERRORS = f"{RUN_FOLDER}/restore.json"
# The same of restore alone: a set_vf_count that failed has put the file back, and told its caller.
_FAILURES = f"{RUN_FOLDER}/restore-failures.json"
OF_HOST = "host"  # in the place of a PF: what restore could not do that is of no single one
# PF -> [how many VFs its driver was asked for, how many it made]. QAT makes all that the card has, and then
# takes no other number (kernel: adf_sriov_configure); others make fewer when they run out of queues or
# interrupts. Asking again would only end the VFs, so it is asked once.
_COUNTS = f"{RUN_FOLDER}/driver-counts.json"


def read(host: Host, path: str) -> Dict[str, Any]:
    try:
        found = json.loads(host.read(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write(host: Host, path: str, notes: Mapping[str, Any]) -> None:
    """Replaces the notes of these PFs; those of others stay."""
    before = read(host, path)
    after = {**before, **notes}
    try:
        if after != before:
            host.make_folder(RUN_FOLDER)
            host.replace_file(path, json.dumps(after).encode())
    except OSError as error:
        host.log(f"{path}: {error.strerror}")


def note_restored(host: Host, errors: Mapping[str, Optional[str]]) -> None:
    """PF, or OF_HOST -> why it is not as /etc/sriov.conf wants it; None: it is."""
    for path in (LAST_ERRORS, _FAILURES):
        write(host, path, errors)


def failures(host: Host) -> Dict[str, str]:
    """PF, or OF_HOST -> what could not be restored of it."""
    noted = read(host, _FAILURES)
    return {pf: error for pf, error in noted.items() if isinstance(error, str) and error}


def note_count(host: Host, pf: str, asked: int, made: int) -> None:
    write(host, _COUNTS, {pf: [asked, made]})


def made_for(host: Host, pf: str, asked: Optional[int]) -> Optional[int]:
    """How many VFs the driver made when it was last asked for `asked`; None where it made as many, or was not
    asked."""
    found = read(host, _COUNTS).get(pf)
    if not isinstance(found, list) or len(found) != 2:
        return None
    return found[1] if found[0] == asked != found[1] else None
