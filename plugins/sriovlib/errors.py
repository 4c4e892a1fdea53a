"""Errors that a caller sees: a stable code, what happened, what to do about it."""

from typing import Callable, NamedTuple

from .safetext import shortened


class SriovError(Exception):
    """A refused call.

    `code` is one of the stable codes that users and scripts rely on (`SRIOV_...`), `message` is one
    sentence that names the thing, `hint` says what to do. The plugin turns it into the XenAPI error
    `[code, message, hint]`.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Problem(NamedTuple):
    """A reason why VFs cannot be had or given, as `status` lists it; its code has no prefix."""

    code: str
    message: str
    hint: str


def unforeseen(what: str, error: Exception, log: Callable[[str], None]) -> SriovError:
    """`SRIOV_INTERNAL_ERROR` for a bug of ours, while it is handled; its traceback goes to the log."""
    import traceback  # takes milliseconds, and is hardly ever wanted

    for line in traceback.format_exc().splitlines():
        log(line)
    return SriovError(
        "SRIOV_INTERNAL_ERROR",
        f"{what} failed unexpectedly: {type(error).__name__}: {error}.",
        "Please report it, with the lines of this host's system log (`grep sriov /var/log/daemon.log`, or "
        "journalctl).",
    )


def bad_argument(name: str, value: str, accepted: str) -> SriovError:
    """`SRIOV_BAD_ARGUMENT` for a call's argument; `accepted` says what it takes."""
    said = f"Argument {name}: `{shortened(value, 80)}` is not accepted."
    return SriovError("SRIOV_BAD_ARGUMENT", said, f"It takes {accepted}.")
