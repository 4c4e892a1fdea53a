"""The password of a user: from a file, the environment, the keyring, or a person at the terminal.

Never from an argument: every user of a machine sees those of all its processes.
"""

import argparse
import os
import stat
import sys
from typing import Any, Callable, Optional

from sriovlib.safetext import safe

from .errors import Failed
from .settings import Target

SERVICE = "sriovctl"  # what our passwords are called in the keyring
_WAYS = "--password-file FILE, SRIOVCTL_PASSWORD, or keyring = true in pools.toml and `sriovctl login`"


def password(target: Target, options: argparse.Namespace, warn: Callable[[str], None]) -> str:
    """Raises Failed where there is none."""
    if target.password is not None:
        return target.password
    if target.password_file is not None:
        return from_file(target.password_file, warn)
    if target.keyring:
        kept = _kept(target, warn)
        if kept is not None:
            return kept
    return asked(target, options)


def from_file(path: str, warn: Callable[[str], None]) -> str:
    """Its first line; `-` is standard input."""
    try:
        if path == "-":
            line = sys.stdin.readline()
        else:
            with open(path, encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                if stat.S_ISREG(mode) and mode & 0o077 and os.name == "posix":
                    warn(f"Others may read or write {safe(path)}, which has a password: `chmod 600` it.")
                line = file.readline()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise Failed("NO_PASSWORD", f"The password file {safe(path)} cannot be read: {why}.", "") from error
    word = line.rstrip("\r\n")
    if not word:
        where = "Standard input" if path == "-" else safe(path)
        raise Failed("NO_PASSWORD", f"{where} has no password in its first line.", "")
    return word


def asked(target: Target, options: argparse.Namespace) -> str:
    """From a person at the terminal, even where standard input is something else."""
    of = f"user {safe(target.user)} of {target.address}"
    if options.no_input:
        raise Failed("NO_PASSWORD", f"No password for {of}, and --no-input forbids to ask.", f"Use {_WAYS}.")
    if not _has_terminal():
        raise Failed("NO_PASSWORD", f"No password for {of}, and nobody can be asked here.", f"Use {_WAYS}.")
    import getpass

    try:
        word = getpass.getpass(f"Password of {of}: ")
    except EOFError:
        word = ""
    if not word:
        raise Failed("NO_PASSWORD", f"No password for {of}.", "")
    return word


def _has_terminal() -> bool:
    """getpass asks at /dev/tty, else on standard input, where it would show what is typed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    except OSError:
        return sys.stdin.isatty()


# -- the keyring -------------------------------------------------------------------------------------------


def keep(target: Target, word: str) -> None:
    """Raises Failed where there is no keyring, or it does not want to."""
    _of_keyring(lambda keyring: keyring.set_password(SERVICE, _entry(target), word))


def forget(target: Target) -> bool:
    """Whether there was one."""

    def delete(keyring: Any) -> bool:
        if keyring.get_password(SERVICE, _entry(target)) is None:
            return False
        keyring.delete_password(SERVICE, _entry(target))
        return True

    return bool(_of_keyring(delete))


def _kept(target: Target, warn: Callable[[str], None]) -> Optional[str]:
    """None where it has none, or is out of reach: then there is still the terminal."""
    try:
        word: Optional[str] = _of_keyring(lambda keyring: keyring.get_password(SERVICE, _entry(target)))
    except Failed as failed:
        warn(f"{failed.message} {failed.hint}")
        return None
    return word


def _entry(target: Target) -> str:
    return f"{target.user}@{target.key}"


def _of_keyring(act: Callable[[Any], Any]) -> Any:
    try:
        import keyring
    except ImportError as error:
        raise Failed(
            "NO_KEYRING",
            "The Python package keyring is not installed.",
            "Install it beside sriovctl: `pipx inject xapi-sriov keyring`.",
        ) from error
    try:
        return act(keyring)
    except Exception as error:  # its own, and whatever the system's keyring behind it has come upon
        said = safe(str(error) or type(error).__name__).rstrip(".")
        raise Failed("NO_KEYRING", f"The keyring does not work: {said}.", "") from error
