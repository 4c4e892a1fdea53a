"""Several callers at once, as processes: a lock of files keeps processes apart, and not always threads."""

import os
import sys
import traceback
import warnings
from typing import Any, Callable


def child(act: Callable[[], Any]) -> int:
    """The PID of a child process that does this; it ends with 0, or with 1 where it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest-xdist has a thread, which waits
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return pid


def status(pid: int) -> int:
    """The child's exit status, when it has ended."""
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])
