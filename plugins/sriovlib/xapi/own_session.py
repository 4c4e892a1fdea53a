"""A session with xapi, known by its reference: that of the plugin's caller, or one that we made."""


class OwnSession:
    def __init__(self, reference: str) -> None:
        self.reference = reference
