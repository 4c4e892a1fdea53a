"""What goes wrong with the lab itself, and says nothing of the product."""


class LabError(Exception):
    """A host did not boot, a command in dom0 ended badly, the image cannot be made."""
