"""What a shell offers at the cursor: of the grammar, and names that earlier commands have read."""

import json
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
import workstation
from as_program import PROGRAM
from managed_pool import Pool
from sriovctl import completion, grammar, main, seen_names, settings

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]
UUID = "11111111-2222-3333-4444-555555555555"


def offered(line: str) -> List[str]:
    """At the end of the line, on a workstation."""
    return completion.complete(line, lambda: False)[0]


# -- of the grammar ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sriovctl stat", ["status"]),
        ("sriovctl --no-input stat", ["status"]),
        ("sriovctl --user me stat", ["status"]),
        ("sriovctl vfs --fr", ["--free"]),
        ("sriovctl setup sta", ["status"]),
        ("sriovctl setup --pinned ", ["migrate", "relocate", "shutdown", "stop"]),
        ("sriovctl vfs --state d", ["dom0"]),
        ("sriovctl vfs --state=d", ["dom0"]),  # bash goes on behind the =
        ("sriovctl status -o js", ["json"]),
        ("sriovctl assign web --link-state ", ["auto", "disable", "enable"]),
        ("sriovctl assign web --vlan-protocol 802.1a", ["802.1ad"]),
        ("sriovctl status --user ", []),
        ("sriovctl nonsense ", []),
        ("sriovctl status --passw", ["--password-file"]),
        ("sriovctl 'stat", []),
    ],
)
def test_words_of_the_grammar(line: str, words: List[str]) -> None:
    assert offered(line) == words


def test_every_command_is_offered() -> None:
    assert offered("sriovctl ") == sorted(command.name for command in grammar.COMMANDS)


def test_files_are_left_to_the_shell() -> None:
    assert completion.complete("sriovctl vfs --password-file ", lambda: False) == ([], completion.FILES)
    assert completion.complete("sriovctl install x", lambda: False) == ([], completion.FILES)


# -- names ---------------------------------------------------------------------------------------------------


def test_names_that_commands_have_read(pool: Pool, ctl: Ctl) -> None:
    """Each command adds what it has read; what it has not stays."""
    pool.vm("web server")
    assert offered("sriovctl status h") == []
    ctl("pfs", "host1")
    assert offered("sriovctl status h") == ["host1", "host2"]
    assert offered("sriovctl count host1/eth") == ["host1/eth0", "host1/eth1", "host1/eth2"]
    assert offered("sriovctl count host2/eth") == []
    ctl("status")
    assert offered("sriovctl count host2/eth") == ["host2/eth0", "host2/eth1", "host2/eth2"]
    ctl("vfs", "host2")
    assert offered("sriovctl configure host2/eth1:") == ["0", "1", "2", "3"]  # bash goes on behind the :
    ctl("explain", "web")
    assert offered("sriovctl unassign w") == ["web_server"]
    assert ctl("unassign", "web_server", "--all").status == 0
    ctl("assign", "web", "--network", "Pool-wide network associated with eth1")
    assert "Pool-wide_network_associated_with_eth1" in offered("sriovctl assign web --network ")


def test_names_in_dom0(pool: Pool, ctl_of: Ctl) -> None:
    ctl_of(pool.other, "status")
    there = completion.complete("sriovctl status h", lambda: True)[0]
    assert there == ["host1", "host2"]
    assert offered("sriovctl --host elsewhere status h") == []


@workstation.ONLY
def test_names_of_each_pool(pool: Pool, ctl: Ctl, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "pools.toml").write_text(
        f'[pools.lab]\nhost = "{pool.box.url}"\n[pools.far]\nhost = "h7"\n'
    )
    assert ctl("--pool", "lab", "status").status == 0
    monkeypatch.delenv("SRIOVCTL_HOST")
    assert offered("sriovctl --pool ") == ["far", "lab"]
    assert offered("sriovctl --pool=lab status h") == ["host1", "host2"]
    assert offered("sriovctl --pool far status h") == []
    assert offered("sriovctl status h") == []  # of which pool?
    assert offered("sriovctl trust h7") == ["h7"]
    assert offered("sriovctl unassign web --vf h") == []  # an address of a VF


def kept(*names: str, at: float) -> Dict[str, Any]:
    return {"host": {"at": at, "names": list(names)}}


def test_names_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRIOVCTL_HOST", "h1")
    seen_names._write("h1", kept("host1", at=time.time() - seen_names.OLDEST + 600))
    assert offered("sriovctl status ") == ["host1"]
    seen_names._write("h1", kept("host1", at=time.time() - seen_names.OLDEST - 1))
    assert offered("sriovctl status ") == []
    path = seen_names._path("h1")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    now = time.time()
    odd: List[Any] = [{"at": "x", "names": []}, {"at": now, "names": 5}, {"at": now, "names": [5]}, 5]
    for text in (*(json.dumps({"host": one}) for one in odd), "{"):
        with open(path, "w") as file:
            file.write(text)
        assert offered("sriovctl status ") == []


@pytest.mark.parametrize("name", ["$(reboot)", "a;b", "`x`", "-rf", "a'b", 'a"b', "a*", "a\nb", ""])
def test_names_that_a_shell_would_obey(name: str) -> None:
    """A VM's owner chooses its name; the administrator's shell must not run it."""
    assert seen_names.word(name, UUID) == UUID
    assert seen_names.word("Webserver 2 (new)".replace("(new)", "ä"), UUID) == "Webserver_2_ä"


def test_a_cache_that_is_not_ours_costs_no_command_its_end(ctl: Ctl) -> None:
    assert ctl("status").status == 0
    (name,) = os.listdir(settings.folder("cache"))
    path = Path(settings.folder("cache"), name)
    path.write_text(json.dumps({"port": {"at": 0, "names": 5}}))
    said = ctl("pfs")
    assert (said.status, said.err) == (0, "")
    assert "host1/eth1" in json.loads(path.read_text())["port"]["names"]  # and it is ours again


def test_cache_that_cannot_be_written(ctl: Ctl, tmp_path: Any) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert ctl("status").status == 0


# -- shells --------------------------------------------------------------------------------------------------


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRIOVCTL_HOST", "h1")
    names = [f"host{number}" for number in range(1, 65)]
    vms = {"at": time.time(), "names": [f"vm{number}" for number in range(500)]}
    seen_names._write("h1", {**kept(*names, at=time.time()), "VM": vms})


BASH = """
sriovctl() { "$PYTHON" "$PROGRAM" "$@"; }
. "$SCRIPT"
COMP_LINE=$1 COMP_POINT=${#1}
_sriovctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.usefixtures("seen")
def test_bash_alone() -> None:
    script = os.path.join(os.path.dirname(PROGRAM), "sriovctl.bash")
    environment = {**os.environ, "PYTHON": sys.executable, "PROGRAM": PROGRAM, "SCRIPT": script}

    def shown(line: str) -> List[str]:
        done = subprocess.run(
            ["bash", "-c", BASH, "bash", line], env=environment, stdout=subprocess.PIPE, check=True
        )
        return done.stdout.decode().split()

    assert shown("sriovctl status host6") == ["host6", "host60", "host61", "host62", "host63", "host64"]
    assert shown("sriovctl vfs --state=d") == ["dom0"]


@workstation.ONLY
@pytest.mark.usefixtures("seen")
def test_argcomplete() -> None:
    line = "sriovctl status host6"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": os.path.join(os.environ["SRIOVCTL_CACHE_DIR"], "answer"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    subprocess.run([sys.executable, PROGRAM], env=environment, check=True)
    with open(environment["_ARGCOMPLETE_STDOUT_FILENAME"]) as file:
        words = [word.strip() for word in file.read().split("\n")]
    assert words == ["host6", "host60", "host61", "host62", "host63", "host64"]


IMPORTED = """
import sys
sys.path[0:0] = sys.argv.pop(1).split(":")
from sriovctl import main
main.main(["__complete", "sriovctl unassign vm49"])
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.usefixtures("seen")
def test_answer_comes_at_once() -> None:
    """Beside a Python that does nothing: a machine that is slow is so in both."""
    paths = ":".join(os.path.join(os.path.dirname(PROGRAM), path) for path in (".", "../plugins"))
    command = [sys.executable, "-c", IMPORTED, paths]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    assert done.stdout.decode().split() == ["vm49", *(f"vm{number}" for number in range(490, 500))]
    for slow in ("rich", "XenAPI", "ssl", "http.client", "xmlrpc.client", "yaml", "keyring"):
        assert slow not in done.stderr.decode().split()

    def seconds(command: List[str]) -> float:
        """Of a processor, at best: other tests keep this machine busy."""
        spent = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(spent)

    nothing = seconds([sys.executable, "-c", "pass"])
    assert seconds(command) - nothing < max(0.2, 10 * nothing)


def test_hidden_word_is_in_no_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    assert "__complete" not in capsys.readouterr().out
