"""dom0's commands: started without a shell, ended after a time, and what they answered."""

import os
import time
from typing import Callable, NamedTuple, Optional, Sequence

COMMAND_SECONDS = 30  # a dom0 command that takes longer hangs
NOT_FOUND, TIMED_OUT = 127, 124  # exit statuses as sh and timeout(1) use them


class Completed(NamedTuple):
    """What a command did. `status` is 127 where there is no such command, 124 where it was killed
    for taking too long, negative where a signal ended it."""

    argv: Sequence[str]
    status: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line for people: what it was, and the last thing it said."""
        said = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return f"{' '.join(self.argv)}: {said[-1] if said else f'exit status {self.status}'}"


class Running:
    """A command that was started and goes on while we do something else."""

    _trace: Optional[Callable[[str, float, str], None]] = None

    def __init__(
        self,
        argv: Sequence[str],
        input_text: Optional[str] = None,
        trace: Optional[Callable[[str, float, str], None]] = None,
    ) -> None:
        """`trace`: see `Host.trace`."""
        self._argv = argv
        self._input = input_text
        self._trace = trace
        self._begun = time.monotonic()
        self._failed: Optional[Completed] = None
        import subprocess  # most starts need none, and it takes a fourth of their time to load

        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if input_text is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that its children can be ended with it
                env=dict(os.environ, LC_ALL="C"),
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            text = os.strerror(error.errno or 0)
            self._failed = Completed(argv, NOT_FOUND, "", text)

    def finish(self, seconds: float = COMMAND_SECONDS) -> Completed:
        """Waits for its end and says what it did; kills it after `seconds`."""
        answer = self._finish(seconds)
        if self._trace is not None:
            lines = (self._input or "").splitlines()
            said = f", {answer.stderr.strip().splitlines()[0]}" if answer.stderr.strip() else ""
            self._trace(" | ".join([" ".join(self._argv), *lines]), self._begun, f"{answer.status}{said}")
        return answer

    def _finish(self, seconds: float) -> Completed:
        if self._failed is not None:
            return self._failed
        import subprocess

        try:
            stdout, stderr = self._process.communicate(self._input, timeout=seconds)
        except subprocess.TimeoutExpired:
            self._kill()
            return Completed(self._argv, TIMED_OUT, "", f"no end after {seconds:g} seconds, killed")
        return Completed(self._argv, self._process.returncode, stdout, stderr)

    def _kill(self) -> None:
        """Ends the command and its children; one that hangs in the kernel is left behind."""
        import signal
        import subprocess

        try:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate(timeout=1)
        except (OSError, subprocess.TimeoutExpired):
            pass
