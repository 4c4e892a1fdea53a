"""A program that is forked (fork_server.py) finds and leaves what one that is started does."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Tuple

import pytest
from checks import until
from forked_programs import FORKED
from programs import HERE, AtWork, Ended, Programs, unwatched

BOTH = pytest.mark.parametrize("programs", [HERE, FORKED], ids=["started", "forked"])

TELL = """
import json, os, signal, sys
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "folder": os.getcwd(), "environment": dict(os.environ),
    "name": __name__, "file": __file__, "input": sys.stdin.read(), "leads": os.getsid(0) == os.getpid(),
    "encoding": sys.stdout.encoding, "children": str(signal.getsignal(signal.SIGCHLD)),
    "ours": sorted(
        {"helper", "sitecustomize", "XenAPI", "fork_server", "sriovlib", "machine"}.intersection(sys.modules)
    ),
    "open": [fd for fd in range(3, 64) if os.path.exists("/proc/self/fd/%d" % fd)],
}))
"""


def run(programs: Programs, folder: Path, text: str, at_work: AtWork = unwatched) -> Ended:
    script = folder / "script"
    script.write_text(text)
    return programs.run([os.fsencode(sys.executable), os.fsencode(script)], {}, at_work)


def test_forked_program_finds_the_same_environment(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os\ndel os.environ['PYTHONPATH']\n")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "script")
    told = []
    for programs in (HERE, FORKED):
        (tmp_path / "real" / "script").write_text(TELL)
        words = [
            os.fsencode(word) for word in (sys.executable, str(tmp_path / "link"), "a b", "\u20ac", "\udcff")
        ]
        ended = programs.run(words, {"PYTHONPATH": str(tmp_path / "site"), "ONE": "1"}, unwatched)
        assert (ended.status, ended.stderr) == (0, b"")
        told.append(json.loads(ended.stdout))
    assert told[0] == told[1]
    assert told[0]["path"][:2] == [str(tmp_path / "real"), str(tmp_path / "site")]
    assert told[0]["ours"] == ["sitecustomize"]


ENDS: Tuple[Tuple[str, int, bytes], ...] = (
    ("print('done')", 0, b"done\n"),
    ("import sys; print('half'); sys.exit(3)", 3, b"half\n"),
    ("import sys; sys.exit('why')", 1, b""),
    ("print('half'); raise KeyError('x')", 1, b"half\n"),
    ("import os; print('lost'); os._exit(4)", 4, b""),
    ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, b""),
    ("import atexit; atexit.register(print, 'last'); print('first')", 0, b"first\nlast\n"),
    ("no Python", 1, b""),
)


@BOTH
@pytest.mark.parametrize(("text", "status", "stdout"), ENDS)
def test_forked_program_ends_the_same(
    programs: Programs, tmp_path: Path, text: str, status: int, stdout: bytes
) -> None:
    ended = run(programs, tmp_path, text)
    assert ended[:2] == (status, stdout)


@BOTH
def test_forked_program_can_be_killed(programs: Programs, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    @contextmanager
    def killing(process: Any) -> Iterator[None]:
        until(begun.exists)
        process.kill()
        yield

    text = f"open({str(begun)!r}, 'w').close()\nimport time\ntime.sleep(600)\n"
    assert run(programs, tmp_path, text, killing).status == -signal.SIGKILL


def test_forked_program_killed_as_it_ends() -> None:
    """The wish comes too late or not; the program's status is told either way."""

    @contextmanager
    def killing(process: Any) -> Iterator[None]:
        thread = threading.Thread(target=lambda: [process.kill() for _ in range(2000)])
        thread.start()
        yield
        thread.join()

    words = [b"/bin/true"]
    statuses = {FORKED.run(words, {}, killing).status for _ in range(20)}
    statuses.add(FORKED.run(words, {}, unwatched).status)
    assert statuses <= {0, -signal.SIGKILL}
    assert 0 in statuses


@pytest.mark.parametrize("mode", [0o644, 0o755], ids=["not executable", "no program"])
@BOTH
def test_forked_program_that_cannot_be_executed(programs: Programs, tmp_path: Path, mode: int) -> None:
    (tmp_path / "file").write_bytes(b"\0")
    (tmp_path / "file").chmod(mode)
    with pytest.raises(OSError) as error:  # noqa: PT011 (its number is what is asked for)
        programs.run([os.fsencode(tmp_path / "file")], {}, unwatched)
    assert error.value.errno == (errno.EACCES if mode == 0o644 else errno.ENOEXEC)


A_RUN = """
import sys
from contextlib import contextmanager
from forked_programs import FORKED
@contextmanager
def unwatched(_process):
    yield
FORKED.run([word.encode() for word in sys.argv[1:]], {}, unwatched)
"""


def test_programs_end_when_the_run_of_tests_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f"#!/bin/sh\nsleep 600 &\necho $$ $! >{told}.new\nmv {told}.new {told}\nwait\n"
    (tmp_path / "script").write_text(script)
    (tmp_path / "script").chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}
    run = subprocess.Popen([sys.executable, "-c", A_RUN, str(tmp_path / "script")], env=environment)
    until(told.exists)
    run.kill()
    run.wait()
    of_programs = [f"/proc/{number}" for number in told.read_text().split()]
    until(lambda: not any(map(os.path.exists, of_programs)))
