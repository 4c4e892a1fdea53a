"""scripts/measure-dom0-cost: what an administrator is told, by an `xl` and VIFs that are imitated.

The command of a way is a shell script that gives dom0 the CPU and the VIF the bytes of its arguments.
"""

import importlib.machinery
import importlib.util
import io
import os
import re
import signal
import struct
import subprocess
import sys
from typing import Any, List, Sequence

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "scripts", "measure-dom0-cost")
UUID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
OTHER = "1f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
DOM0 = "c0ffee00-0000-4000-8000-000000000001"
GIB = 1 << 30
IDLE = 0.25  # CPU-seconds a second

XL = """#!/bin/sh
[ "$*" = "list -v" ] || exit 2
cat "$0.head"
printf 'Domain-0  0 4096 8 r----- %s.0 %s - -\\n' "$(cat "$0.seconds")" c0ffee00-0000-4000-8000-000000000001
cat "$0.guests"
"""
MOVER = """#!/bin/sh
# CPU-seconds of dom0, bytes that the VIF's end in dom0 received (the VM sent), bytes that it sent
xl=${0%/*}/xl counters=${0%/*}/net/vif7.0/statistics
echo $(($(cat $xl.seconds) + $1)) > $xl.seconds
echo $(($(cat $counters/rx_bytes) + $2)) > $counters/rx_bytes
echo $(($(cat $counters/tx_bytes) + $3)) > $counters/tx_bytes
"""


class Dom0:
    """A host on which VM `web` runs, with one VIF."""

    def __init__(self, folder: Any, monkeypatch: Any) -> None:
        self.folder = folder
        self.program("xl", XL)
        self.program("move", MOVER)
        self.write("xl.head", "Name ID Mem VCPUs State Time(s) UUID Reason-Code Security Label\n")
        self.write("xl.seconds", "1000")
        self.guests(f"web server 7 512 1 -b---- 50.5 {UUID} - -\n")
        self.vif("vif7.0")
        self.vif("vif70.0", 5)
        self.now = 0.0
        self.script = loaded()
        monkeypatch.setattr(self.script, "NET", str(folder / "net"))
        monkeypatch.setattr(self.script.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(self.script.time, "sleep", self.sleep)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def program(self, name: str, text: str) -> None:
        self.write(name, text)
        (self.folder / name).chmod(0o755)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def guests(self, rows: str) -> None:
        self.write("xl.guests", rows)

    def vif(self, name: str, count: int = 0) -> None:
        for counter in ("rx_bytes", "tx_bytes"):
            self.write(f"net/{name}/statistics/{counter}", f"{count}\n")

    def sleep(self, seconds: float) -> None:
        """dom0 goes on having its idle share."""
        self.now += seconds
        path = self.folder / "xl.seconds"
        path.write_text(str(int(path.read_text()) + int(seconds * IDLE)))

    def move(self, cpu: int, sent: int = 0, received: int = 0) -> str:
        return f"{self.folder}/move {cpu} {sent} {received}"

    def run(self, *options: str, vm: str = "web server", gib: str = "2") -> int:
        return int(self.script.main([vm, "--gib", gib, "--idle", "20", *options]))

    def process(
        self,
        *options: str,
        vm: str = "web server",
        stdout: Any = subprocess.PIPE,
        before: Sequence[str] = (),
        **variables: str,
    ) -> "subprocess.CompletedProcess[bytes]":
        """As a user runs it."""
        command = [*before, sys.executable, SCRIPT, vm, "--gib", "2", "--idle", "0.1", *options]
        environment = {**os.environ, **variables}
        return subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, env=environment, timeout=60, check=False
        )

    def refusal(self, *options: str, **more: str) -> str:
        with pytest.raises(self.script.Failure) as refused:
            self.run(*options, **more)
        return str(refused.value)


def loaded() -> Any:
    loader = importlib.machinery.SourceFileLoader("measure_dom0_cost", SCRIPT)
    spec = importlib.util.spec_from_loader("measure_dom0_cost", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def dom0(tmp_path: Any, monkeypatch: Any) -> Dom0:
    return Dom0(tmp_path, monkeypatch)


def numbers(row: str) -> List[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", row)]


def test_the_table_says_what_a_gib_costs_by_either(dom0: Dom0, capfd: Any) -> None:
    sends, receives = dom0.move(40, sent=2 * GIB), dom0.move(20, received=2 * GIB)
    vf = dom0.move(1)
    ways = ["--vif-sends", sends, "--vif-receives", receives, "--vf-sends", vf, "--vf-receives", vf]
    assert dom0.run("--rounds", "3", *ways) == 0
    _, columns, sent, received, idle, _ = capfd.readouterr().out.splitlines()
    assert columns.split() == ["BY", "VIF", "BY", "VF", "VF", "/", "VIF"]
    assert numbers(sent) == pytest.approx([20.0] * 3 + [0.5] * 3 + [2.5] * 3, abs=0.2)
    assert numbers(received) == pytest.approx([10.0] * 3 + [0.5] * 3 + [5.0] * 3, abs=0.2)
    assert numbers(idle) == [25.0] * 3


def test_idle_is_taken_off_for_as_long_as_the_traffic_takes(dom0: Dom0, monkeypatch: Any, capfd: Any) -> None:
    """By hand: between the two times that Enter is pressed 100 s pass, in which dom0 has 25 s for itself."""

    class Keys:
        @staticmethod
        def readline() -> str:
            if dom0.now > 20 or pressed:
                dom0.sleep(100)
                dom0.write("net/vif7.0/statistics/rx_bytes", str(2 * GIB))
            pressed.append(True)
            return "\n"

    pressed: List[bool] = []
    monkeypatch.setattr("sys.stdin", Keys())
    assert dom0.run("--rounds", "1", "--vif-sends", "hand") == 0
    assert numbers(capfd.readouterr().out.splitlines()[2]) == [0.0] * 3


def test_the_spread_is_shown(dom0: Dom0, capfd: Any) -> None:
    dom0.program("move", MOVER.replace("+ $1", "+ ($(cat $xl.seconds) / 100 % 10) + $1"))
    assert dom0.run("--rounds", "3", "--vif-sends", dom0.move(100, sent=2 * GIB)) == 0
    middle, least, most = numbers(capfd.readouterr().out.splitlines()[2])
    assert least < middle < most


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (1_000_000, "xl's times have steps of 0.1 s, here 0.05 CPU-seconds per GiB."),
        (3_000_000, "xl's times have steps of 0.27 s, here 0.13 CPU-seconds per GiB."),
        (20_000_000, "xl's times have steps of 2.1 s, here 1.1 CPU-seconds per GiB."),
    ],
)
def test_xls_times_get_coarse_the_longer_dom0_is_up(dom0: Dom0, capfd: Any, seconds: int, told: str) -> None:
    """A float has 24 binary digits, and xl has nanoseconds in it."""
    (step,) = re.findall(r"of (\S+) s,", told)
    (bits,) = struct.unpack("I", struct.pack("f", seconds * 1e9))
    one, next_one = struct.unpack("ff", struct.pack("II", bits, bits + 1))
    assert max(0.1, (next_one - one) / 1e9) == pytest.approx(float(step), rel=0.05)
    dom0.write("xl.seconds", str(seconds))
    dom0.run("--rounds", "1", "--vf-sends", "true")
    assert capfd.readouterr().out.splitlines()[-1] == told


def test_what_the_command_takes_in_dom0_is_its_own(dom0: Dom0, monkeypatch: Any, capfd: Any) -> None:
    """Of 40 s that dom0 had, 30 were the command's."""
    taken = iter([5.0, 35.0])
    monkeypatch.setattr(dom0.script, "children_seconds", lambda: next(taken))
    assert dom0.run("--rounds", "1", "--vif-sends", dom0.move(40, sent=2 * GIB)) == 0
    assert numbers(capfd.readouterr().out.splitlines()[2]) == [5.0] * 3


@pytest.mark.parametrize(
    ("way", "sent", "received", "told"),
    [
        ("vif-sends", GIB, 0, "50% of the bytes of --gib as what it sends"),
        ("vif-sends", GIB, 0, "they went another way"),
        ("vif-receives", 2 * GIB, 0, "100% of the bytes of --gib as what it sends and 0% of them as what it"),
        ("vif-sends", 3 * GIB, 0, "150% of the bytes of --gib as what it sends"),
        ("vif-sends", 3 * GIB, 0, "the command moves more"),
        ("vf-sends", 2 * GIB, 0, "VF traffic must not go by a VIF"),
        ("vf-receives", GIB, 0, "50% of the bytes of --gib as what it sends"),
    ],
)
def test_bytes_that_went_another_way(dom0: Dom0, way: str, sent: int, received: int, told: str) -> None:
    assert told in dom0.refusal(f"--{way}", dom0.move(40, sent, received))


def test_a_vm_that_is_not_there_or_not_the_only_one(dom0: Dom0) -> None:
    way = ("--vf-sends", dom0.move(1))
    assert dom0.refusal(*way, vm="db") == "no VM db runs on this host; these do: web server"
    assert "no VM Domain-0" in dom0.refusal(*way, vm="Domain-0")
    dom0.guests("".join(f"web {n} 512 1 -b---- 5.5 {uuid} - -\n" for n, uuid in ((7, UUID), (8, OTHER))))
    assert f"({UUID}, {OTHER})" in dom0.refusal(*way, vm="web")
    assert dom0.run("--rounds", "1", *way, vm=OTHER) == 0


def test_a_vm_that_reboots_in_between(dom0: Dom0) -> None:
    dom0.program("reboot", f"#!/bin/sh\necho 'web 9 512 1 -b---- 5.5 {UUID} - -' > {dom0.folder}/xl.guests\n")
    assert "has stopped, moved or rebooted" in dom0.refusal("--vf-sends", "reboot")


def test_what_ends_it_early_costs_the_round_that_it_is_in(dom0: Dom0, capfd: Any) -> None:
    """The command of the third round fails."""
    left = dom0.folder / "left"
    left.write_text("xx\n")
    dom0.program("vf", f'#!/bin/sh\nread -r x <{left}; echo "${{x#x}}" >{left}; [ "$x" ]\n')
    sends = ["--vif-sends", dom0.move(40, sent=2 * GIB)]
    assert "--vf-sends: the command ended with status 1: vf" in dom0.refusal(*sends, "--vf-sends", "vf")
    head, _, sent, *_ = capfd.readouterr().out.splitlines()
    assert "of 2 rounds of 2 GiB" in head
    assert numbers(sent) == pytest.approx([20.0] * 3 + [0.0] * 6, abs=0.2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_costs_the_round_that_it_comes_in(dom0: Dom0, number: signal.Signals) -> None:
    """As one that is sent where an ssh is cut off."""
    first = f"{dom0.folder}/first"
    second = f"kill -{int(number)} $PPID && exec sleep 60 >/dev/null 2>&1"
    dom0.program("vf", f"#!/bin/sh\n[ -e {first} ] && {second}\n: > {first}\n")
    done = dom0.process("--vf-sends", "vf")
    assert done.returncode == 1
    assert b"of 1 round of 2 GiB" in done.stdout
    assert done.stderr.endswith(f"measure-dom0-cost: ended by {number.name}\n".encode())


def test_nohup_has_it_go_on_where_an_ssh_is_cut_off(dom0: Dom0) -> None:
    dom0.program("vf", "#!/bin/sh\nkill -HUP $PPID\n")
    done = dom0.process("--rounds", "2", "--vf-sends", "vf", before=["nohup"])
    assert done.returncode == 0, done.stderr
    assert b"of 2 rounds of 2 GiB" in done.stdout


def test_a_table_that_stdout_does_not_take(dom0: Dom0) -> None:
    with open("/dev/full", "wb") as full:
        done = dom0.process("--rounds", "1", "--vf-sends", "true", stdout=full)
    assert done.returncode == 1
    assert b"of 1 round of 2 GiB" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"stdout cannot be written (No space left on device): the table is above" in done.stderr


def test_a_name_that_the_locale_cannot_write(dom0: Dom0) -> None:
    dom0.guests(f"w\u00e9b 7 512 1 -b---- 50.5 {UUID} - -\n")
    done = dom0.process("--rounds", "1", "--vf-sends", "true", vm="w\u00e9b", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr


def test_without_a_whole_round_there_is_no_table(dom0: Dom0, capfd: Any) -> None:
    assert "ended with status 1" in dom0.refusal("--vf-sends", "false")
    assert capfd.readouterr().out == ""


def test_a_vm_without_vif(dom0: Dom0) -> None:
    dom0.guests(f"dark 9 512 1 -b---- 5.5 {OTHER} - -\n")
    assert "VM dark has no VIF" in dom0.refusal("--vif-sends", dom0.move(1), vm="dark")
    assert dom0.run("--rounds", "1", "--vf-sends", dom0.move(1), vm="dark") == 0


def test_what_cannot_be_run(dom0: Dom0, monkeypatch: Any) -> None:
    assert "the command ended with status 1: false" in dom0.refusal("--vf-sends", "false")
    dom0.program("broken", "#!/no/such\n")
    assert "--vf-sends: broken cannot be run" in dom0.refusal("--vf-sends", "broken -x")
    dom0.program("xl", "#!/bin/sh\necho 'must be root' >&2; exit 1\n")
    assert "must be root. Run this as root in dom0" in dom0.refusal("--vf-sends", "true")
    monkeypatch.setenv("PATH", "/no/such")
    assert "xl cannot be run" in dom0.refusal("--vf-sends", "/bin/true")


def test_nobody_presses_enter(dom0: Dom0, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "nobody presses Enter" in dom0.refusal("--vf-sends", "hand")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "what is to be measured?"),
        (["--vf-sends", ""], "it is empty; `hand` is for"),
        (["--vf-sends", "sh -c 'Web"], "'sh -c 'Web' is no command: no closing quotation"),
        (["--vf-sends", "/no/such -x"], "there is no command '/no/such' here in dom0"),
        (["--rounds", "0", "--vf-sends", "true"], "'0' is not a whole number"),
        (["--idle", "nan", "--vf-sends", "true"], "'nan' is not a number from 0.1 to 86400"),
        (["--idle", "1e300", "--vf-sends", "true"], "'1e300' is not a number from 0.1 to 86400"),
        (["--gib", "ten", "--vf-sends", "true"], "'ten' is not a number from 0.001 to 1e+06"),
    ],
)
def test_arguments_that_make_no_sense(dom0: Dom0, capfd: Any, options: List[str], told: str) -> None:
    with pytest.raises(SystemExit) as refused:
        dom0.run(*options)
    assert refused.value.code == 2
    assert told in capfd.readouterr().err
