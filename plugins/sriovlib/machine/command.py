"""dom0's commands: started without a shell, ended after a time, and what they answered.

By fork and exec: to load subprocess takes a sixth of a start with a VF, ten times as long as to fork.
"""

import os
import time
from select import POLLIN, POLLOUT, poll
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .host import COMMAND_SECONDS

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
        try:
            self._child, self._stdin, self._outputs = _started(argv, input_text is not None)
        except OSError as error:
            self._failed = Completed(argv, NOT_FOUND, "", os.strerror(error.errno or 0))

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
        texts: Dict[int, List[bytes]] = {output: [] for output in self._outputs}
        try:
            status = self._communicate(texts, time.monotonic() + seconds)
            if status is None:
                self._kill()
                return Completed(self._argv, TIMED_OUT, "", f"no end after {seconds:g} seconds, killed")
        finally:
            for end in (*self._outputs, *self._stdin):
                os.close(end)
        stdout, stderr = (_text(texts[output]) for output in self._outputs)
        return Completed(self._argv, status, stdout, stderr)

    def _communicate(self, texts: Dict[int, List[bytes]], deadline: float) -> Optional[int]:
        """Gives it its input, takes what it says, and waits for its end. Its status; None at the deadline."""
        rest = memoryview((self._input or "").encode("utf-8", "replace"))
        waiting = poll()
        for output in self._outputs:
            waiting.register(output, POLLIN)
        for stdin in self._stdin:
            os.set_blocking(stdin, False)
            waiting.register(stdin, POLLOUT)
        told = 0  # outputs that it has closed
        while told < len(self._outputs) or self._stdin:
            if time.monotonic() >= deadline:
                return None
            for end, _ in waiting.poll(1000 * min(1, max(0, deadline - time.monotonic()))):
                if end in self._stdin:
                    rest = _given(end, rest)
                    if not rest:
                        waiting.unregister(end)
                        os.close(end)
                        self._stdin = []
                    continue
                part = os.read(end, 1 << 16)
                texts[end].append(part)
                if not part:
                    waiting.unregister(end)
                    told += 1
        return _end_of(self._child, deadline)

    def _kill(self) -> None:
        """Ends the command and its children; one that hangs in the kernel is left behind."""
        import signal

        try:
            os.killpg(self._child, signal.SIGKILL)
        except OSError:
            return
        _end_of(self._child, time.monotonic() + 1)


def _started(argv: Sequence[str], has_input: bool) -> Tuple[int, List[int], List[int]]:
    """Its process; where its input goes, if it has one; where its two outputs come from. Raises OSError."""
    ends: List[int] = []  # all of ours, of which some are handed out
    try:
        ends.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        while ends[-1] < 3:  # somebody has closed one of the first three, which the command needs
            ends.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        null = ends[-1]
        pipes = []
        for _ in range(4):
            pipes.append(os.pipe())
            ends += pipes[-1]
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr), (from_exec, exec_failed) = pipes
        child = os.fork()
        if child == 0:
            _become(argv, (stdin if has_input else null, stdout, stderr), exec_failed)
        os.close(exec_failed)
        ends.remove(exec_failed)
        number = os.read(from_exec, 16)  # nothing when it has become the command
        if number:
            _end_of(child, float("inf"))
            raise OSError(int(number), os.strerror(int(number)))
        handed = [to_stdin] if has_input else []
        ends = [end for end in ends if end not in (*handed, from_stdout, from_stderr)]
        return child, handed, [from_stdout, from_stderr]
    finally:
        for end in ends:
            os.close(end)


def _become(argv: Sequence[str], ends: Sequence[int], exec_failed: int) -> None:
    """In the new process; does not return."""
    number = 0
    try:
        for place, end in enumerate(ends):
            os.dup2(end, place)
        for end in map(int, os.listdir("/proc/self/fd")):
            if end > 2 and end != exec_failed:  # which exec closes
                _close(end)
        os.setsid()  # so that its children can be ended with it
        signals: Any = __import__("_signal")  # the module signal loads enum
        signals.signal(signals.SIGPIPE, signals.SIG_DFL)  # which Python ignores
        number = _exec(argv, dict(os.environ, LC_ALL="C"))
    except OSError as error:
        number = error.errno or 0
    finally:
        os.write(exec_failed, str(number or 22).encode())  # EINVAL: a NUL in a word
        os._exit(NOT_FOUND)


def _close(end: int) -> None:
    try:
        os.close(end)
    except OSError:
        pass  # it was that of the listing


def _exec(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Becomes the program that PATH has first, or tells the error's number."""
    number = 2  # ENOENT
    folders = [""] if "/" in argv[0] else os.environ.get("PATH", os.defpath).split(":")
    for folder in folders:
        try:
            os.execve(os.path.join(folder, argv[0]), list(argv), environment)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            number = error.errno or number
    return number


def _given(end: int, rest: memoryview) -> memoryview:
    """What is left of the input; nothing where the command takes no more."""
    try:
        return rest[os.write(end, rest) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]


def _end_of(child: int, deadline: float) -> Optional[int]:
    """The process's exit status, or minus the signal that ended it; None where it has not ended in time."""
    delay = 0.0005
    while True:
        try:
            ended, status = os.waitpid(child, os.WNOHANG)
        except ChildProcessError:  # somebody has made the kernel forget ended processes
            return 0
        if ended:
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(delay)
        delay = min(2 * delay, 0.05)


def _text(parts: Sequence[bytes]) -> str:
    text = b"".join(parts).decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
