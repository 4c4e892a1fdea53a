"""SR-IOV on one XenServer / XCP-ng host, and VFs for the VMs of its pool."""

import fcntl
import os

VERSION = "0.1.0"

# Held until the process ends: the package waits for it before it replaces or removes modules that we
# may still load.
_FOLDER = os.open(os.path.dirname(os.path.abspath(__file__)), os.O_RDONLY | os.O_CLOEXEC)
fcntl.flock(_FOLDER, fcntl.LOCK_SH)
