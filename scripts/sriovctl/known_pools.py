"""The certificates that were taken for a host's at first sight: the file known-pools, a line a host.

    192.0.2.10 3A:5F:...   (address as it is typed, SHA-256 fingerprint)

A line may be removed by hand. The file is written whole and under a lock, so that two processes that add a
line at the same time both do.
"""

import os
import shlex
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Optional

from sriovlib.safetext import safe

from . import files, settings
from .errors import Failed, Usage

NAME = "known-pools"


def path() -> str:
    return os.path.join(settings.folder("data"), NAME)


def fingerprint(address: str) -> Optional[str]:
    """None where that host is not known. A line that cannot be understood is an error, not an unknown host:
    it may have been its."""
    for number, line in enumerate(_lines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#") or words[0] != address:
            continue
        try:
            (found,) = settings.fingerprints(words[1:2])
        except (Usage, ValueError) as error:
            raise Failed(
                "BAD_KNOWN_POOLS",
                f"{path()}, line {number}: no SHA-256 fingerprint follows {safe(address)}.",
                f"Remove the line, then `sriovctl trust {shlex.quote(safe(address))}`.",
            ) from error
        return found
    return None


def keep(address: str, its_fingerprint: str) -> None:
    """In place of the one that was there."""
    _change(lambda lines: [*_without(lines, address), f"{address} {its_fingerprint}"])


def forget(address: str) -> bool:
    """Whether there was one."""
    there = fingerprint(address) is not None
    _change(lambda lines: _without(lines, address))
    return there


def _without(lines: List[str], address: str) -> List[str]:
    return [line for line in lines if line.split()[:1] != [address]]


def _lines() -> List[str]:
    try:
        with open(path(), encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise Failed("BAD_KNOWN_POOLS", f"{path()} cannot be read: {why}.", "") from error


def _change(change: Callable[[List[str]], List[str]]) -> None:
    try:
        os.makedirs(os.path.dirname(path()), mode=0o700, exist_ok=True)
        with _locked(f"{path()}.lock"):
            files.write(path(), "".join(f"{line}\n" for line in change(_lines())), 0o600)
    except OSError as error:
        raise Failed(
            "NOT_KEPT",
            f"{path()} cannot be written: {error.strerror}.",
            "Name the certificate by --fingerprint, which keeps nothing, or another folder by "
            "SRIOVCTL_DATA_DIR.",
        ) from error


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Against other processes; on systems without flock only the writing whole is left."""
    with open(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:
            pass
        yield


def all_known() -> Dict[str, str]:
    """Fingerprints by address, of the lines that have one."""
    return {words[0]: words[1] for words in map(str.split, _lines()) if len(words) == 2}
