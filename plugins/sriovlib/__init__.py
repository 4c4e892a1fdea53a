"""SR-IOV on one XenServer / XCP-ng host, and VFs for the VMs of its pool."""

VERSION = "0.1.0"


def hold() -> None:
    """Entry points call this: the package waits for calls that still run before it removes the library, of
    which they may load modules until they end."""
    import fcntl
    import os

    folder = os.open(os.path.dirname(os.path.abspath(__file__)), os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(folder, fcntl.LOCK_SH)  # until the process ends
