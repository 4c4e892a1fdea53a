"""How many VFs a driver made when it was asked for another number; known until the next boot.

QAT makes all that the card has, and then takes no other number (kernel: adf_sriov_configure); others make
fewer when they run out of queues or interrupts. Asking again would only end the VFs, so it is asked once."""

import json
from typing import Dict, List, Optional

from ..machine.host import RUN_FOLDER, Host

NOTE = f"{RUN_FOLDER}/driver-counts.json"  # PF address -> the number asked for, and the number made


def note(host: Host, pf: str, asked: int, made: int) -> None:
    """The caller holds the lock `vfs`."""
    counts = _read(host)
    if counts.get(pf) == [asked, made] or (asked == made and pf not in counts):
        return
    counts.pop(pf, None)
    if asked != made:
        counts[pf] = [asked, made]
    try:
        host.replace_file(NOTE, json.dumps(counts).encode())
    except OSError as error:
        host.log(f"{NOTE}: {error.strerror}")


def made_for(host: Host, pf: str, asked: Optional[int]) -> Optional[int]:
    """What the driver made when it was asked for so many; None where it was not, or made as many."""
    found = _read(host).get(pf)
    return found[1] if found is not None and found[0] == asked else None


def _read(host: Host) -> Dict[str, List[int]]:
    try:
        found = json.loads(host.read(NOTE))
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {pf: pair for pf, pair in pairs if isinstance(pair, list) and len(pair) == 2}
