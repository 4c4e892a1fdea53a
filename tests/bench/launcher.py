"""Starts programs, one at a time, and measures each. A process of its own, because it must be a small one:
Linux counts what a process was before it became another program (fork, exec) as that program's memory, so
no program seems to need less than this one.

Reads a line of JSON for each program, `{"argv", "environment", "output"}`, and answers it with a line.
"""

import json
import os
import sys
import time
from typing import Any, Dict, List


def measured(argv: List[str], environment: Dict[str, str], output: str) -> Dict[str, Any]:
    """Runs a program as xapi does, its outputs going to two files. CPU time is that of all
    processes that it started too; memory is that of the largest."""
    started = time.monotonic()
    process = os.fork()
    if process == 0:
        try:
            os.chdir("/")
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, path in ((1, output), (2, output + ".err")):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
            os.execve(argv[0], argv, environment)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - started
    cpu = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu": cpu, "peak_kib": usage.ru_maxrss, "status": status}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(measured(**json.loads(line))), flush=True)
