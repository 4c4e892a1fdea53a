"""What goes wrong around a command: pipes that break, Ctrl-C, narrow terminals, nobody to ask, many hosts."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List

import pytest
from box_host import plugin_of_version, set_plugin
from managed_pool import Pool

pytestmark = pytest.mark.story

LONGEST_SECONDS = 120.0  # without a new character
PROGRAM = os.path.abspath(f"{__file__}/../../../scripts/sriovctl")
Ctl = Callable[..., Any]


def remote(pool: Pool) -> Dict[str, str]:
    return {**os.environ, "SRIOVCTL_HOST": pool.box.url, "SRIOVCTL_PASSWORD": pool.box.xapi.password}


@contextmanager
def on_terminal(pool: Pool, *words: str, columns: int = 80, **environment: str) -> Iterator[Any]:
    """The program in a pseudo-terminal of its own: its process, and where to read and type."""
    master, slave = pty.openpty()
    program = subprocess.Popen(
        ["/bin/sh", "-c", f'stty cols {columns} -echo; exec "$@"', "sh", sys.executable, PROGRAM, *words],
        env={**remote(pool), "TERM": "xterm", **environment},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield program, master
    finally:
        program.kill()
        program.wait()
        os.close(master)


def read_until(terminal: int, words: str) -> str:
    """What is shown until these words are there, or until the program has ended."""
    shown = b""
    while words.encode() not in shown:
        ready, _, _ = select.select([terminal], [], [], LONGEST_SECONDS)
        assert ready, f"it hangs, and has shown {shown!r}"
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    return shown.decode()


def test_terminal_of_60_columns(pool: Pool) -> None:
    with on_terminal(pool, "vfs", columns=60, NO_COLOR="1") as (program, terminal):
        lines = read_until(terminal, "host2/eth1:3").splitlines()
        assert program.wait(60) == 0
    assert max(map(len, lines)) <= 60
    assert lines[0].split()[0] == "NAME"


def test_map_on_a_terminal_of_60_columns(pool: Pool) -> None:
    pool.assign(pool.vm("a name that is too long for a column \U0001f600"), network="xenbr1", on=pool.one)
    with on_terminal(pool, "map", columns=60) as (program, terminal):
        shown = read_until(terminal, "until its end")
        assert program.wait(60) == 0
    assert "\x1b[30;46mA\x1b[0m\x1b[32m...\x1b[0m" in shown
    lines = re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()
    assert max(map(len, lines)) <= 60
    assert "      0 A..." in lines


def test_colours_on_a_terminal_and_not_elsewhere(pool: Pool, ctl: Ctl) -> None:
    with on_terminal(pool, "status") as (_, terminal):
        assert "\x1b[32mready\x1b[0m" in read_until(terminal, "host2")
    with on_terminal(pool, "status", NO_COLOR="1") as (_, terminal):
        assert "\x1b[" not in read_until(terminal, "host2")
    assert "\x1b[" not in ctl("status").out


def test_watch_until_ctrl_c(pool: Pool) -> None:
    with on_terminal(pool, "status", "--watch", "--interval", "0.1") as (program, terminal):
        read_until(terminal, "host2")
        read_until(terminal, "\x1b[2J")
        program.send_signal(signal.SIGINT)
        assert "Interrupted." in read_until(terminal, "Interrupted.")
        assert program.wait(60) == 130


def test_reader_that_has_enough(pool: Pool) -> None:
    command = f'"{sys.executable}" "{PROGRAM}" vfs -o json | head -1'
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=remote(pool), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert (done.stdout, done.stderr) == (b"[\n", b"")


def test_names_in_any_letters_without_a_locale(pool: Pool) -> None:
    """As from cron, on Python 3.6."""
    pool.assign(pool.vm("Z\u00fcrich-\u4eee\u60f3"), network="xenbr1", on=pool.one)
    for command in ("vms", "map"):
        done = subprocess.run(
            [sys.executable, PROGRAM, command],
            env={**remote(pool), "PYTHONIOENCODING": "ascii"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert "Z\u00fcrich-\u4eee\u60f3" in done.stdout.decode("utf-8")


def test_nobody_to_ask_for_the_pool(monkeypatch: pytest.MonkeyPatch, ctl: Ctl) -> None:
    monkeypatch.delenv("SRIOVCTL_HOST")
    said = ctl("status", "--no-input")
    assert (said.status, "--host" in said.err) == (2, True)


def test_what_is_not_understood(ctl: Ctl) -> None:
    for words in (["stats"], ["status", "--out", "json"], ["vfs", "--state", "busy"], []):
        said = ctl(*words)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith("usage: sriovctl")


def test_older_and_newer_plugins(pool: Pool, ctl: Ctl, tmp_path: Any) -> None:
    """A key that is not known is shown in JSON and troubles nobody; an older plugin is named by doctor."""
    plugin = plugin_of_version(str(tmp_path / "newer"), "9.0.0")
    status = os.path.join(os.path.dirname(plugin), "sriovlib", "calls", "status.py")
    with open(status) as file:
        text = file.read()
    with open(status, "w") as file:
        file.write(text.replace('"version": VERSION,', '"version": VERSION, "weather": {"rain": True},'))
    set_plugin(pool.other, plugin)
    assert ctl("status").rows[2][:2] == ["host2", "ready"]
    assert ctl("status", "host2", "-o", "json").json[0]["weather"] == {"rain": True}
    assert "9.0.0 on host2" in ctl("doctor").err


@pytest.mark.pool(hosts=1)
def test_many_hosts_at_once(pool: Pool, ctl: Ctl) -> None:
    """The table of a pool comes in the slowest host's time, not in the sum of all."""
    pool.box.add_hosts(7)
    begun = time.monotonic()
    one = ctl("status", "host1")
    alone = time.monotonic() - begun
    begun = time.monotonic()
    rows: List[List[str]] = ctl("status").rows
    together = time.monotonic() - begun
    assert (one.status, len(rows)) == (0, 9)
    assert together < 8 * alone


@pytest.mark.pool(hosts=1)
def test_500_vms(pool: Pool, ctl: Ctl) -> None:
    for number in range(500):
        pool.box.add_vm(f"vm{number}")
    web = pool.with_vf("web", on=pool.one)
    assert ctl("vms").rows[1][0] == "web"
    assert ctl("vms", web[:13]).rows[1][0] == "web"  # the beginning of its UUID
    said = ctl("vms", "vm4")
    assert said.status == 0
    assert "No VM has VFs." in said.err
    assert "may be" in ctl("vms", "vm").err


@pytest.mark.parametrize("answer", ["[]", "null", '"up"', "[1]", "{}", '[{"weather": 1}]', "no JSON"])
@pytest.mark.pool(hosts=1)
@pytest.mark.parametrize("command", ["status", "pfs", "vfs", "map", "doctor", "vms", "conflicts"])
def test_another_plugin_of_our_name(pool: Pool, ctl: Ctl, tmp_path: Any, command: str, answer: str) -> None:
    """Whatever it answers, a sentence is said, and nobody sees a traceback."""
    plugin = tmp_path / "other"
    plugin.write_text(
        "import sys, XenAPIPlugin\n"
        "class Any(dict):\n"
        "    def __contains__(self, name): return True\n"
        f"    def __getitem__(self, name): return lambda session, args: {answer!r}\n"
        "XenAPIPlugin.dispatch(Any())\n"
    )
    for host in pool.hosts:
        set_plugin(host, str(plugin))
    said = ctl(command)
    assert said.status in (0, 1, 4)
    assert "INTERNAL_ERROR" not in said.err
    assert said.status == 0 or "error:" in said.err or command in ("doctor", "map")  # which show it
