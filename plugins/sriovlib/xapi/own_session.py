"""A session that is known by its reference: xapi's caller's, or one that was made by JSON-RPC."""


class OwnSession:
    """`Xapi` takes it in the place of a `XenAPI.Session`."""

    def __init__(self, reference: str) -> None:
        self._session = reference
