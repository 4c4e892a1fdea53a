"""SR-IOV on one XenServer / XCP-ng host, and VFs for the VMs of its pool."""

VERSION = "0.1.0"


def hold(entry: str) -> None:
    """Entry points call this first, with their own `__file__`. Before the package removes a library it waits
    for the calls that run, which may load modules of it until they end. A call whose link led to another
    version before it could be waited for begins again there. The others go on with the light `typing`."""
    import fcntl
    import os
    import sys

    library = os.path.dirname(os.path.abspath(__file__))
    folder = os.open(library, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(folder, fcntl.LOCK_SH)  # until the process ends
    tree = os.path.dirname(os.path.dirname(library))
    if os.path.islink(entry) and not os.path.realpath(entry).startswith(tree + os.sep):
        os.execv(entry, sys.argv)
    from . import light_modules

    light_modules.install()
