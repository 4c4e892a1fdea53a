"""`sriovctl metrics`: the pool for Prometheus, and what is not said of hosts that do not answer."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, List

import pytest
from box_host import BoxHost
from managed_pool import OTHER_SLOTS, Pool
from sriovctl.errors import Failed
from sriovctl.pool import Pool as CtlPool

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]
UNIT = Path(__file__).resolve().parents[2] / "hooks" / "boot" / "sriov-pool-metrics.service"


def samples(text: str, name: str) -> List[str]:
    """Of a metric, without its name and the pool's, which all have."""
    assert text.endswith("\n# EOF\n")
    start = name + '{pool="host1"'
    found = [line for line in text.splitlines() if line.startswith(name + "{")]
    assert all(line.startswith(start) for line in found)
    return ["{" + line[len(start) :].lstrip(",") for line in found]


def test_metrics_of_a_pool(pool: Pool, ctl: Ctl) -> None:
    web = pool.vm('web "1"\\\nx')
    pool.assign(web, network="xenbr1", on=pool.one)
    pool.start(web, pool.one)
    said = ctl("metrics")
    assert (said.status, said.err) == (0, "")
    text = said.out
    assert samples(text, "sriov_host_up") == ['{host="host1"} 1', '{host="host2"} 1']
    assert samples(text, "sriov_host_ready") == ['{host="host1"} 1', '{host="host2"} 1']
    assert samples(text, "sriov_host_drift") == ['{host="host1"} 0', '{host="host2"} 0']
    port = 'host="host1",pf="eth1",pci_address="0000:07:00.0"'
    assert [line for line in samples(text, "sriov_pf_vfs") if port in line] == [
        f'{{{port},state="{state}"}} {number}'
        for state, number in (
            *(("free", 3), ("assigned", 0), ("in-use", 1)),
            *(("dom0", 0), ("reserved", 0), ("unknown", 0)),
        )
    ]
    info = next(line for line in samples(text, "sriov_pf_info") if port in line)
    assert (
        info == f'{{{port},driver="ixgbe",network="Pool-wide network associated with eth1",numa_node="0"}} 1'
    )
    vf = 'host="host1",pf="eth1",pci_address="0000:07:10.0",vf="0",state="in-use"'
    named = f'vm_uuid="{web}",vm="web \\"1\\"\\\\ x"'
    assert samples(text, "sriov_vf_vm") == [f"{{{vf},{named}}} 1"]
    assert samples(text, "sriov_vm_requests") == [f"{{{named}}} 1"]


def test_a_host_that_is_lost_has_no_numbers(pool: Pool, ctl: Ctl) -> None:
    pool.box.lose(pool.other)
    said = ctl("metrics")
    assert said.status == 4
    assert said.err.count("Host host2 is offline.") == 1
    assert samples(said.out, "sriov_host_up") == ['{host="host1"} 1', '{host="host2"} 0']
    others = [line for line in said.out.splitlines() if 'host="host2"' in line]
    assert [line for line in others if not line.startswith(("sriov_host_up", "sriov_conflicts"))] == []


def plugin_answers(patch: pytest.MonkeyPatch, host: BoxHost, **answers: Any) -> None:
    """That of this host answers these functions so; None: it is busy."""
    real = CtlPool._call

    def call(self: CtlPool, asked: str, method: str, *params: Any) -> Any:
        if method != "host.call_plugin" or params[0] != host.ref or params[2] not in answers:
            return real(self, asked, method, *params)
        if answers[params[2]] is None:
            raise Failed("SRIOV_BUSY", "It is busy.", "Wait.")
        return json.dumps(answers[params[2]])

    patch.setattr(CtlPool, "_call", call)


@pytest.mark.parametrize("function", ["status", "list_pfs", "list_vfs"])
def test_a_host_that_answers_in_part_is_not_up(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Or alerts of what it does not tell would end, as if that were over."""
    plugin_answers(monkeypatch, pool.other, **{function: None})
    said = ctl("metrics")
    assert (said.status, said.err.count("It is busy")) == (4, 1)
    assert samples(said.out, "sriov_host_up") == ['{host="host1"} 1', '{host="host2"} 0']
    assert samples(said.out, "sriov_pool_up") == ["{} 1"]


def test_a_master_that_does_not_tell_of_conflicts(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_answers(monkeypatch, pool.one, list_assignments=None)
    text = ctl("metrics").out
    assert samples(text, "sriov_pool_up") == ["{} 0"]
    assert samples(text, "sriov_host_up") == ['{host="host1"} 1', '{host="host2"} 1']


def test_one_host_that_answers_rubbish(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs that host its samples, and no other."""
    pf = {"address": "0000:07:00.0", "num_vfs": 1, "driver": ["ixgbe"]}
    plugin_answers(monkeypatch, pool.other, list_pfs=[pf])
    said = ctl("metrics")
    assert (said.status, "answered list_pfs with something else" in said.err) == (4, True)
    assert {line.partition(",")[0] for line in samples(said.out, "sriov_pf_info")} == {'{host="host1"'}
    assert samples(said.out, "sriov_host_up") == ['{host="host1"} 1', '{host="host2"} 0']


@pytest.mark.parametrize("number", [True, pytest.param(10**400, id="huge")])
def test_a_number_that_is_none(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Of a file that has one Prometheus takes nothing."""
    vm = {"vm_uuid": "x", "vm_name": "web", "replaced_at": number}
    plugin_answers(monkeypatch, pool.one, list_assignments={"vms": [vm], "conflicts": []})
    said = ctl("metrics")
    assert (said.status, samples(said.out, "sriov_pool_up")) == (4, ["{} 0"])


def test_a_list_that_is_null(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin_answers(monkeypatch, pool.other, status={"version": "1", "pfs": None, "problems": None})
    said = ctl("metrics")
    assert (said.status, said.err) == (0, "")


def test_labels_that_no_file_could_carry(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And two samples that have the same ones."""
    pf = {"address": "0000:07:00.0", "num_vfs": 1, "driver": "a\x00\ud800\r\nb"}
    plugin_answers(monkeypatch, pool.other, list_pfs=[pf, pf])
    file = tmp_path / "pool.prom"
    assert ctl("metrics", "-o", str(file)) == (0, "", "")
    with open(str(file), encoding="utf-8", newline="") as written:
        found = [line for line in samples(written.read(), "sriov_pf_info") if "host2" in line]
    assert len(found) == 1
    assert 'driver="a\ufffd\ufffd\ufffd\\nb"' in found[0]


def test_what_does_not_fit_together(pool: Pool, ctl: Ctl) -> None:
    pool.start(pool.vm("first", "0/0000:07:10.0"), pool.one)
    second = pool.vm("second", "0/0000:07:10.0")
    text = ctl("metrics").out
    found = samples(text, "sriov_conflicts")
    assert found
    assert all(line.startswith('{code="') for line in found)
    named = f'{{vm_uuid="{second}",vm="second",code="ENTRY_NOT_LEASED",power_state="halted"}} 1'
    assert named in samples(text, "sriov_vm_conflicts")


def test_each_port_of_a_card_with_two_has_its_network(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By which the traffic of its VFs is told by network; and a device that has none."""
    of_both = {"num_vfs": 4, "driver": "mlx4_core", "interface": "eth1", "link_up": True}
    ports = [
        {"interface": f"eth{number}", "network": pool.network(f"eth{number}"), "link_up": number == 1}
        for number in (1, 2)
    ]
    card = {"address": "0000:07:00.0", **of_both, "ports": ports}
    nvme = {"address": "0000:08:00.0", "num_vfs": 0, "driver": "nvme", "interface": None, "ports": []}
    vfs = [
        {
            "address": f"0000:07:00.{place}",
            "index": place,
            "pf": card["address"],
            "interface": port,
            "state": state,
        }
        for place, (port, state) in enumerate([("eth1", "free"), ("eth2", "in-use"), (None, "free")], 1)
    ]
    plugin_answers(monkeypatch, pool.one, list_pfs=[card, nvme], list_vfs=vfs)
    text = ctl("metrics", "host1").out
    found = [re.findall('pf="(.*?)".*network="(.*?)"', line)[0] for line in samples(text, "sriov_pf_info")]
    names = [f"Pool-wide network associated with eth{number}" for number in (1, 2)]
    assert found == [("eth1", names[0]), ("eth2", names[1]), ("", "")]
    assert [line[-1] for line in samples(text, "sriov_pf_link_up")] == ["1", "0"]
    counted = [
        re.findall('pf="(.*?)".*state="(.*?)"} (.*)', line)[0] for line in samples(text, "sriov_pf_vfs")
    ]
    assert [one[:2] for one in counted if one[2] == "1"] == [
        ("eth1", "free"),
        ("eth2", "in-use"),
        ("", "free"),
    ]
    assert ("eth2", "free", "0") in counted


@OTHER_SLOTS
def test_when_a_vm_was_last_replaced(pool: Pool, ctl: Ctl) -> None:
    """By a call it gets VFs of another host without a re-placement."""
    web = pool.with_vf("web")
    assert samples(ctl("metrics").out, "sriov_vm_replaced_timestamp_seconds") == []
    before = int(time.time())
    pool.restarts(web, pool.other)
    (line,) = samples(ctl("metrics").out, "sriov_vm_replaced_timestamp_seconds")
    labels, when = line.split()
    assert labels == f'{{vm_uuid="{web}",vm="web"}}'
    assert before <= int(when) <= time.time()
    pool.shut_down(web)
    pool.reinstate(web, on=pool.one)
    assert samples(ctl("metrics").out, "sriov_vm_replaced_timestamp_seconds") == []


def test_hosts_of_one_name(pool: Pool, ctl: Ctl) -> None:
    """Of two samples with the same labels Prometheus and node_exporter take neither."""
    pool.api("host.set_name_label", pool.other.ref, "host1")
    expected = [f'{{host="host1 ({host.uuid})"}} 1' for host in (pool.one, pool.other)]
    text = ctl("metrics").out
    assert samples(text, "sriov_host_up") == sorted(expected)
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))


# -- to a file -----------------------------------------------------------------------------------------------


def test_file_is_written_where_a_host_is_lost_too(pool: Pool, ctl: Ctl, tmp_path: Path) -> None:
    file = tmp_path / "pool.prom"
    said = ctl("metrics", "-o", str(file))
    assert (said.status, said.out, said.err) == (0, "", "")
    assert file.read_text() == ctl("metrics").out
    pool.box.lose(pool.other)
    assert ctl("metrics", "-o", str(file)).status == 4
    assert samples(file.read_text(), "sriov_host_up") == ['{host="host1"} 1', '{host="host2"} 0']
    umask = os.umask(0o022)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask  # node_exporter is another user


def test_in_dom0_as_the_timer_runs_it(pool: Pool, ctl_of: Ctl, tmp_path: Path) -> None:
    """On a member, too."""
    (command,) = re.findall("^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    file = tmp_path / "pool.prom"
    program, *words = shlex.split(command.replace("/run/sriov/pool.prom", str(file)))
    assert program == "/usr/bin/sriovctl"
    assert ctl_of(pool.other, *words) == (0, "", "")
    assert samples(file.read_text(), "sriov_host_up") == ['{host="host1"} 1', '{host="host2"} 1']


def test_a_pool_that_is_silent_leaves_the_file(pool: Pool, ctl: Ctl, tmp_path: Path) -> None:
    """Prometheus then sees how old it is."""
    file = tmp_path / "pool.prom"
    ctl("metrics", "-o", str(file))
    before = file.stat()
    pool.box.xapi.password = "another"
    assert ctl("metrics", "-o", str(file)).status == 1
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_node_exporter_would_not_read(ctl: Ctl, tmp_path: Path) -> None:
    said = ctl("metrics", "-o", str(tmp_path / "pool.txt"))
    assert said.status == 2
    assert "does not end with .prom" in said.err
    assert os.listdir(str(tmp_path)) == []


def test_promtool_has_nothing_to_say_of_a_pool(pool: Pool, ctl: Ctl) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    pool.assign(pool.vm("web"), network="xenbr1", on=pool.one)
    ended = subprocess.run(
        ["promtool", "check", "metrics"],
        input=ctl("metrics").out.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert (ended.returncode, ended.stdout) == (0, b"")
