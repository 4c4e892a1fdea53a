"""dom0's commands: what they get, what they answer, and that none is waited for longer than is allowed."""

import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, List, Optional

import forked
import pytest
from sriovlib.machine.command import NOT_FOUND, TIMED_OUT, Completed, Running

PYTHON = sys.executable


def run(*argv: str, given: Optional[str] = None, seconds: float = 60) -> Completed:
    return Running(argv, given).finish(seconds)


def python(text: str, given: Optional[str] = None, seconds: float = 60) -> Completed:
    return run(PYTHON, "-ISc", text, given=given, seconds=seconds)


def open_ends() -> List[str]:
    return sorted(os.listdir("/proc/self/fd"))


def leaves_no_end(act: Callable[[], object]) -> bool:
    """Done in a process of its own: in this one threads of imitations, and garbage, close others."""

    def alone() -> None:
        gc.disable()
        before = open_ends()
        act()
        assert open_ends() == before

    return forked.status(forked.child(alone)) == 0


LONG = "y" * 300_000 + "\u20ac\ud800"


@pytest.mark.parametrize("given", [None, "", "link set\n", LONG], ids=["none", "empty", "line", "long"])
@pytest.mark.parametrize(
    "what",
    [
        "sys.stdout.write(sys.stdin.read()); sys.stderr.write('said'); sys.exit(3)",
        "print('x' * 300_000); sys.stderr.write('z' * 300_000); print(len(sys.stdin.read()))",
        "print('takes nothing')",
        "sys.stdout.buffer.write(b'a\\r\\nb\\rc\\n\\xff\\xe2\\x82'); os.kill(os.getpid(), 9)",
        "os.write(1, b'no end of line'); os.close(1); os.close(2); sys.exit(7)",
        "os.close(1); os.close(2); sys.exit(len(sys.stdin.buffer.read()) % 100)",
        "print(os.environ['LC_ALL'], os.getsid(0) == os.getpid(), sorted(os.listdir('/proc/self/fd')))",
        "print([line for line in open('/proc/self/status') if line.startswith('SigIgn')])",
    ],
)
def test_a_command_is_as_subprocess_runs_it(what: str, given: Optional[str]) -> None:
    program = f"import os, sys; {what}"
    assert leaves_no_end(lambda: python(program, given))
    done = python(program, given)
    process = subprocess.Popen(
        [PYTHON, "-ISc", program],
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=dict(os.environ, LC_ALL="C"),
    )
    stdout, stderr = process.communicate(None if given is None else given.encode("utf-8", "replace"))
    texts = [
        text.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n") for text in (stdout, stderr)
    ]
    assert (done.status, done.stdout, done.stderr) == (process.returncode, *texts)


def test_what_cannot_be_started_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path}/file:{tmp_path}:/nowhere")
    commands = (["none"], ["not-executable"], ["/nowhere/none"], [f"{tmp_path}/file/none"], ["a\0b"])
    told = [(run(*argv).status, run(*argv).stderr) for argv in commands]
    reasons = ["No such file or directory", "Permission denied", "No such file or directory"]
    assert told == [(NOT_FOUND, why) for why in [*reasons, "No such file or directory", "Invalid argument"]]
    assert leaves_no_end(lambda: [run(*argv) for argv in commands])


def test_the_first_of_path_that_can_be_started_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, mode in (("a", 0o600), ("b", 0o700), ("c", 0o700)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ip").write_text(f"#!/bin/sh\necho {name} $1\n")
        (tmp_path / name / "ip").chmod(mode)
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}/a:{tmp_path}/b:{tmp_path}/c")
    assert run("ip", "link").stdout == "b link\n"


def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    text = f"""
import os, time
child = os.fork()
if child: open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{child}}")
print("begun", flush=True)
time.sleep(600)"""
    running = Running([PYTHON, "-ISc", text])
    end = time.monotonic() + 60
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    done = running.finish(0.05)
    assert (done.status, done.stderr) == (TIMED_OUT, "no end after 0.05 seconds, killed")
    for pid in (tmp_path / "pids").read_text().split():
        while Path(f"/proc/{pid}/stat").exists():
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":  # its new parent has not looked yet
                break
            assert time.monotonic() < end
            time.sleep(0.01)
    assert leaves_no_end(lambda: python("import time; time.sleep(600)", seconds=0.05))


def test_one_that_closes_its_outputs_and_goes_on_is_ended_too() -> None:
    done = python("import os, time; os.close(1); os.close(2); time.sleep(600)", seconds=0.5)
    assert done.status == TIMED_OUT


def test_without_the_first_three_ends() -> None:
    """Whoever started us has closed them."""
    plugins = str(Path(__file__).resolve().parents[2] / "plugins")
    program = f"""
import os, sys
sys.path.insert(0, {plugins!r})
kept = os.dup(1)
from sriovlib.machine.command import Running
for end in range(3):
    os.close(end)
done = Running(["/bin/sh", "-c", "read line; echo got $line; echo to stderr >&2"], "input\\n").finish(60)
os.write(kept, f"{{done.status}} {{done.stdout!r}} {{done.stderr!r}}".encode())
"""
    said = subprocess.check_output([PYTHON, "-ISc", program])
    assert said.decode() == "0 'got input\\n' 'to stderr\\n'"


def test_where_the_kernel_forgets_ended_processes() -> None:
    """Whoever started us ignores SIGCHLD."""
    plugins = str(Path(__file__).resolve().parents[2] / "plugins")
    program = f"""
import signal, sys
sys.path.insert(0, {plugins!r})
from sriovlib.machine.command import Running
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for argv in (["/nowhere/ip"], ["/bin/sh", "-c", "echo linked"]):
    done = Running(argv).finish(60)
    print(done.status, done.stdout.strip(), done.stderr)
"""
    said = subprocess.check_output([PYTHON, "-ISc", program], universal_newlines=True)
    assert said.splitlines() == ["127  No such file or directory", "0 linked "]
