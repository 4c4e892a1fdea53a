"""Errors that a caller sees: a stable code, what happened, what to do about it."""

from typing import NamedTuple


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
