"""What goes wrong around a command: pipes that break, Ctrl-C, narrow terminals, nobody to ask, many hosts."""

import json
import os
import re
import subprocess
import sys
import threading
from typing import Any, Callable, Dict, List

import pytest
import workstation
from as_program import PROGRAM
from box_host import plugin_of_version, set_plugin
from managed_pool import Pool
from sriovctl import grammar
from sriovctl.connection import Remote
from terminal_session import Terminal

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]


@pytest.mark.usefixtures("ctl")
def test_terminal_of_60_columns() -> None:
    with Terminal(["vfs"], columns=60, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
        lines = terminal.shown.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split()[0] == "NAME"


@pytest.mark.usefixtures("ctl")
def test_map_on_a_terminal_of_60_columns(pool: Pool) -> None:
    pool.assign(pool.vm("a name that is too long for a column \U0001f600"), network="xenbr1", on=pool.one)
    with Terminal(["map"], columns=60) as terminal:
        assert terminal.end() == 0
        shown = terminal.shown
    assert "\x1b[30;46mA\x1b[0m\x1b[32m...\x1b[0m" in shown
    lines = re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()
    assert max(map(len, lines)) <= 60
    assert "      0 A..." in lines


def test_colours_on_a_terminal_and_not_elsewhere(ctl: Ctl) -> None:
    with Terminal(["status"]) as terminal:
        assert "\x1b[32mready\x1b[0m" in terminal.until("host2")
    with Terminal(["status"], NO_COLOR="1") as terminal:
        assert "\x1b[" not in terminal.until("host2")
    assert "\x1b[" not in ctl("status").out


@pytest.mark.usefixtures("ctl")
def test_failure_and_warning_in_colours(pool: Pool) -> None:
    with Terminal(["park", "nobody"]) as terminal:
        assert terminal.end() == 1
        assert terminal.shown.startswith("\x1b[31merror: \x1b[0mThere is no VM `nobody`.\n")
        assert terminal.shown.endswith("\x1b[2m  (NOT_FOUND)\x1b[0m\n")
    pool.with_vf("web", on=pool.one)
    set_plugin(pool.other, None)
    with Terminal(["assign", "web", "--network", "xenbr1"]) as terminal:
        assert "\x1b[33mwarning: \x1b[0m" in terminal.until("warning")


@pytest.mark.usefixtures("ctl")
def test_watch_until_ctrl_c() -> None:
    with Terminal(["status", "--watch", "--interval", "0.1"]) as terminal:
        terminal.until("host2")
        terminal.until("host2", again=True)
        terminal.type("\x03")
        assert "Interrupted." in terminal.until("Interrupted.")
        assert terminal.end() == 130


@workstation.ONLY
@pytest.mark.usefixtures("ctl")
def test_setup_is_watched() -> None:
    with Terminal(["setup", "status", "--watch", "--interval", "0.1"]) as terminal:
        terminal.until("No setup is under way")
        terminal.until("No setup is under way", again=True)
        terminal.type("\x03")
        assert terminal.end() == 130


def test_what_is_no_look_is_not_watched(pool: Pool, ctl: Ctl) -> None:
    """Nor asked for again and again where it is not understood."""
    before = pool.everything()
    for words in (["setup", "--pf", "eth1", "--count", "4"], ["setup", "stop"]):
        said = ctl(*words, "--watch", "--yes")
        assert (said.status, "Only a status is watched." in said.err) == (2, True)
    assert pool.everything() == before
    assert ctl("vfs", "--port", "", "--watch").status == 2
    assert ctl("vfs", "host1", "--port", "host2/eth1", "--watch").status == 2


@pytest.mark.usefixtures("ctl")
def test_reader_that_has_enough() -> None:
    command = f'"{sys.executable}" "{PROGRAM}" vfs -o json | head -1'
    done = subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.stdout, done.stderr) == (b"[\n", b"")


@pytest.mark.usefixtures("ctl")
def test_names_in_any_letters_without_a_locale(pool: Pool) -> None:
    """As from cron, on Python 3.6."""
    pool.assign(pool.vm("Z\u00fcrich-\u4eee\u60f3"), network="xenbr1", on=pool.one)
    for command in ("vms", "map"):
        done = subprocess.run(
            [sys.executable, PROGRAM, command],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
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
    assert "There is no command `stats`. Is `status` meant?" in ctl("stats").err
    told = ctl("vfs", "--fre").err
    assert "error: `--fre` is not understood here. Is `--free` meant?\n  `sriovctl vfs --help`" in told
    assert len(told.splitlines()) == 3
    assert "every problem of the pool" in ctl().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("assign db --nework x", "`--nework` is not understood here. Is `--network` meant?"),
        ("wait web --fro=ready", "`--fro=ready` is not understood here. Is `--for` meant?"),
        ("--pol lab status", "`--pol` is not understood here. Is `--pool` meant?"),
        ("assgn db --nework x", "There is no command `assgn`. Is `assign` meant?"),
        ("assign db", "one of the arguments --network --pf --vf --device is required"),
        ("install", "the following arguments are required: RPM"),
        ("setup stop host1", "`sriovctl setup stop` is for all hosts of the setup."),
        ("setup host1", "Which ports get VFs?"),
    ],
)
def test_a_mistyped_word_is_named_and_not_what_is_missing_without_it(ctl: Ctl, words: str, said: str) -> None:
    told = ctl(*words.split())
    assert (told.status, f"error: {said}\n" in told.err) == (2, True), told.err


def test_help_of_a_command_begins_with_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        grammar.read(["wait", "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: sriovctl wait [OPTION]... --for {ready,running-with-vfs} VM|HOST\n")
    assert shown.index("--within") < shown.index("--host")
    with pytest.raises(SystemExit):
        grammar.read(["setup", "--help"])
    shown = capsys.readouterr().out
    assert shown.index("--count") < shown.index("--host")


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
def test_many_hosts_at_once(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of a pool comes in the slowest host's time, not in the sum of all: each call waits until all
    hosts have been asked."""
    pool.box.add_hosts(7)
    real, all_asked = Remote.call, threading.Barrier(8)

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if "status" in params:
            all_asked.wait(60)
        return real(connection, method, *params)

    monkeypatch.setattr(Remote, "call", call)
    said = ctl("status")
    assert (said.status, len(said.rows)) == (0, 9), said.err


@pytest.mark.pool(hosts=1)
def test_500_vms(pool: Pool, ctl: Ctl) -> None:
    for number in range(500):
        pool.box.add_vm(f"vm{number}")
    web = pool.with_vf("web", on=pool.one)
    assert ctl("vms").rows[1][0] == "web"
    assert ctl("vms", web[:13]).rows[1][0] == "web"  # the beginning of its UUID
    said = ctl("vms", "vm4")
    assert said.status == 0
    assert said.err == "VM vm4 has no VFs.\n"
    assert "may be" in ctl("vms", "vm").err


@pytest.mark.parametrize("answer", ["[]", "null", '"up"', "[1]", "{}", '[{"weather": 1}]', "no JSON"])
@pytest.mark.pool(hosts=1)
def test_another_plugin_of_our_name(pool: Pool, ctl: Ctl, tmp_path: Any, answer: str) -> None:
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
    for command in ("status", "pfs", "vfs", "map", "doctor", "vms", "conflicts"):
        said = ctl(command)
        assert said.status in (0, 1, 4), command
        assert "INTERNAL_ERROR" not in said.err, command
        shown = command in ("doctor", "map")  # which have it in their data
        assert said.status == 0 or "error:" in said.err or shown, command


WORDS_OF_OTHERS: List[Any] = [  # function, and what one host answers of it
    ("status", {"version": "1", "pfs": 5}),
    ("status", {"version": "1", "iommu": "on"}),
    ("status", {"version": "1", "problems": [{"code": "X"}]}),
    ("list_pfs", [{"address": 5, "num_vfs": "x"}]),
    ("list_pfs", [{"address": "0000:07:00.0", "num_vfs": 4, "problems": [1]}]),
    ("list_vfs", [{"address": "0000:07:10.0", "index": 0, "state": "free", "assigned_to": "web"}]),
    ("list_vfs", [{"address": None, "index": None}]),
]


@pytest.mark.parametrize(("function", "answer"), WORDS_OF_OTHERS)
def test_another_plugin_on_one_host_costs_its_rows_only(
    pool: Pool, ctl: Ctl, tmp_path: Any, function: str, answer: Any
) -> None:
    answer_always(pool.other, tmp_path, {function: answer})
    command = {"status": "status", "list_pfs": "pfs", "list_vfs": "vfs"}[function]
    for words in ([command], [command, "-o", "csv"], *([["map"]] if command != "status" else [])):
        said = ctl(*words)
        assert said.status == 4
        assert "host1" in said.out
        assert "host2" in said.out + said.err
        assert "INTERNAL_ERROR" not in said.err


@pytest.mark.pool(hosts=1)
@pytest.mark.parametrize(
    "words",
    [
        ("assign", "other", "--network", "xenbr1"),
        ("unassign", "web", "--all"),
        ("reinstate", "web"),
        ("adopt", "web"),
        ("park", "web"),
        ("count", "host1/eth2", "2"),
        ("configure", "host1/0000:07:10.4", "--vlan", "3"),
        ("explain", "web"),
    ],
)
def test_another_plugin_that_is_told_to_change(pool: Pool, ctl: Ctl, tmp_path: Any, words: Any) -> None:
    pool.with_vf("web")
    pool.vm("other")
    answer_always(pool.one, tmp_path, {"list_assignments": pool.call("list_assignments")})
    said = ctl(*words)
    assert "answered" in said.err
    assert "unexpectedly" not in said.err


def answer_always(host: Any, folder: Any, answers: Dict[str, Any]) -> None:
    """The host gets a plugin that answers so, and everything else with an empty object."""
    texts = {function: json.dumps(answer) for function, answer in answers.items()}
    plugin = folder / "other"
    plugin.write_text(
        "import XenAPIPlugin\n"
        "class Any(dict):\n"
        "    def __contains__(self, name): return True\n"
        f"    def __getitem__(self, name): return lambda session, args: {texts!r}.get(name, '{{}}')\n"
        "XenAPIPlugin.dispatch(Any())\n"
    )
    set_plugin(host, str(plugin))


CHANGES = [
    ("assign", "other", "--network", "xenbr1"),
    ("assign", "--all-of", "tagged", "--network", "xenbr1", "--yes"),
    ("unassign", "web", "--all"),
    ("park", "web"),
    ("relocate", "web", "host2", "--yes"),
    ("count", "host1/eth2", "2"),
]


@pytest.mark.parametrize("words", CHANGES)
def test_unknown_column_of_a_command_that_changes(pool: Pool, ctl: Ctl, words: Any) -> None:
    """Exit status 2 says that nothing was done."""
    pool.with_vf("web")
    pool.vm("other", tags=["tagged"])
    before = pool.everything(), pool.vfs()
    said = ctl(*words, "--columns", "NAME,NOPE")
    assert (said.status, said.out) == (2, "")
    assert "There is no column NOPE here." in said.err
    assert (pool.everything(), pool.vfs()) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("vms", ""), "VM"),
        (("vfs", "--vm", ""), "--vm"),
        (("metrics", "host1", ""), "HOST"),
        (("assign", "web", "--network", "xenbr1", "--on", ""), "--on"),
        (("unassign", "web", "--request", ""), "--request"),
        (("unassign", "web", "--all", "--pool", ""), "--pool"),
        (("setup", "--pf", "", "--count", "4"), "--pf"),
    ],
)
def test_empty_word(ctl: Ctl, words: Any, named: str) -> None:
    """A variable of a script that is not set is no option that was left out."""
    said = ctl(*words)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"usage: sriovctl {words[0]} ")
    assert f"\nerror: {named} is empty: is a variable not set?\n" in said.err


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e400", "99999999999999999999", "soon"])
@pytest.mark.parametrize("words", [("status", "--timeout"), ("wait", "host1", "--for", "ready", "--within")])
def test_time_that_is_none(ctl: Ctl, words: Any, text: str) -> None:
    said = ctl(*words, text)
    assert (said.status, said.out) == (2, "")
    assert "86400 seconds" in said.err


@pytest.mark.usefixtures("ctl")
@pytest.mark.parametrize("words", [("status",), ("vfs", "-o", "json"), ("map",), ("apply", "-", "--dry-run")])
def test_output_to_a_full_disk(words: Any) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, PROGRAM, *words],
            input='{"ports": {"host1/eth2": 2}}',
            stdout=full,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
    assert done.returncode == 1
    assert "The output cannot be written: No space left on device." in done.stderr
    assert "INTERNAL_ERROR" not in done.stderr


@pytest.mark.usefixtures("ctl")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(closed: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" "$1" status {closed}', sys.executable, PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_setup_in_a_format_for_programs(ctl: Ctl) -> None:
    assert ctl("setup", "status", "-o", "json").json == []
