"""A pool as a real Prometheus sees it: what sriovctl and sriov-metrics write, read by a real node_exporter,
the queries of the dashboard, and alerts that fire."""

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set

import prometheus
import pytest
from managed_pool import Pool, alike, other_slot
from metered import PF0, VF0, Metered
from prometheus import Prometheus
from sriovctl import main
from sriovlib.config import sriov_conf
from sriovlib.machine import pci

pytestmark = [pytest.mark.story, prometheus.needed]

DOCS = Path(__file__).resolve().parents[2] / "docs" / "prometheus"
TRIED = Path(__file__).with_name("alerts.test.yml")
RULES, DASHBOARD = DOCS / "sriov.rules.yml", DOCS / "grafana-dashboard.json"
POOL_FILE = "host/run/sriov/pool.prom"  # where the timer of dom0 has it
NAME = 'web "1"\\\nx'


class Scene:
    """Two hosts and one without the package. On the first `NAME` runs with a VF that has lost its VLAN,
    and no VF is free; on the second `db` was re-placed, and the file wants more VFs. The traffic of `NAME` is
    told by a host of its own, whose driver counts drops."""

    def __init__(self, pool: Pool, metered: Metered, file: Path) -> None:
        self.pool, self.metered, self.file = pool, metered, file
        self._arrange()
        metered.write(sriov_conf.PATH, "[host]\ntextfile = yes\n")
        assert metered.service.is_wanted()
        metered.starts(self.web, {VF0: 1})
        self.carry()
        self.write()

    def _arrange(self) -> None:
        pool = self.pool
        db = pool.with_vf("db")
        pool.restarts(db, pool.other)
        self.web = pool.with_vf(NAME, vlan="12")
        for number in range(3):
            self.last = pool.with_vf(f"other{number}")
        pool.start(self.web, pool.one)
        assert pool.devices(self.web) == [VF0]
        pool.one.machine.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "vlan", "0"])
        other = pool.other.machine
        wanted = other.read(sriov_conf.PATH).replace("vfs = 4", "vfs = 6")
        other.replace_file(sriov_conf.PATH, wanted.encode())
        pool.box.add_host(alike(3), plugin=None)

    def write(self) -> None:
        """As the timer does, each few minutes; the status says that a host has no package."""
        assert main.run(["metrics", "-o", str(self.file)], local=False) == 4

    def carry(self) -> None:
        """A period, in which the VM's VF carries something."""
        port = self.metered.port(PF0)
        self.metered.cards.carry(port, 0, 500, 50)
        counted = self.metered.cards.counted[port][0]
        for name in ("tx_packets", "rx_dropped", "tx_dropped"):
            counted[name] = counted.get(name, 0) + 5
        self.metered.period()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prometheus")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Prometheus]:
    """Its alerts fire at once: their times are promtool's to see, below."""
    rules = folder / "rules.yml"
    rules.write_text(re.sub(r"^ +for: .*\n", "", RULES.read_text(), flags=re.MULTILINE))
    file = folder / POOL_FILE
    with Prometheus.reading(folder, file.parent, file, rules) as server:
        yield server


@pytest.fixture(scope="module")
def scene(folder: Path, server: Prometheus) -> Iterator[Scene]:
    """Arranged while Prometheus begins, for which it takes five seconds."""
    with ExitStack() as stack:
        patch = pytest.MonkeyPatch()
        stack.callback(patch.undo)
        pool = stack.enter_context(Pool.made(other_slot))
        patch.setenv("SRIOVCTL_HOST", pool.box.url)
        patch.setenv("SRIOVCTL_PASSWORD", pool.box.xapi.password)
        for name in ("CONFIG", "DATA", "CACHE"):
            patch.setenv(f"SRIOVCTL_{name}_DIR", str(folder / name))
        metered = Metered(folder, patch)
        for end in (metered.rrdd.stop, metered.xenstored.stop, metered.service.end):
            stack.callback(end)
        pfs, vfs = pci.functions(metered.host)
        patch.setattr(pci, "functions", lambda _host: ([pf._replace(driver="i40e") for pf in pfs], vfs))
        metered.write("/proc/kallsyms", "ffffffffc0a00000 t i40e_get_vf_stats\t[i40e]\n")
        made = Scene(pool, metered, folder / POOL_FILE)
        server.wait_for("sriov_vf_rx_bytes_total and on () sriov_host_up")
        made.carry()
        server.wait_for("rate(sriov_vf_rx_bytes_total[20s]) > 0")
        yield made


# -- samples -----------------------------------------------------------------------------------------------


def test_names_with_quotes_and_line_breaks(scene: Scene, server: Prometheus) -> None:
    (info,) = server.wait_for("sriov_vf_info")
    assert info.labels["vm"] == 'web\'s\n"name"'
    (vf,) = server.wait_for(f'sriov_vf_vm{{vm_uuid="{scene.web}"}}')
    assert (vf.labels["vm"], vf.labels["host"], vf.labels["state"]) == ('web "1"\\ x', "host1", "in-use")


def test_gauges_of_the_pool(scene: Scene, server: Prometheus) -> None:
    scene.write()
    port = '{host="host1",pf="eth1"}'
    vfs = {one.labels["state"]: one.value for one in server.wait_for(f"sriov_pf_vfs{port}")}
    assert vfs == {"free": 0, "assigned": 3, "in-use": 1, "dom0": 0, "reserved": 0, "unknown": 0}
    up = {one.labels["host"]: one.value for one in server.query("sriov_host_up")}
    assert up == {"host1": 1, "host2": 1, "host3": 0}
    (ago,) = server.query("time() - sriov_vm_replaced_timestamp_seconds")
    assert ago.labels["vm"] == "db"
    assert 0 <= ago.value < 600


def test_output_is_openmetrics(scene: Scene, server: Prometheus) -> None:
    """Prometheus has a strict parser for it."""
    (vf,) = server.wait_for(f'openmetrics_sriov_vf_vm{{vm_uuid="{scene.web}"}}')
    assert vf.labels["vm"] == 'web "1"\\ x'


# -- the dashboard -----------------------------------------------------------------------------------------


def expressions() -> List[str]:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [target["expr"] for panel in document["panels"] for target in panel["targets"]]


def filled(expression: str) -> str:
    """As Grafana sends it, where all is chosen."""
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    values = {one["name"]: one.get("allValue", "") for one in document["templating"]["list"]}
    values["__rate_interval"] = "20s"
    return re.sub(r"\$(\w+)", lambda name: values[name.group(1)], expression)


@pytest.mark.usefixtures("scene")
def test_each_query_of_the_dashboard_gives_data(server: Prometheus) -> None:
    asked = expressions()
    assert len(asked) == 22
    assert [one for one in asked if not server.query(filled(one))] == []


@pytest.mark.usefixtures("scene")
def test_legends_and_variables_of_the_dashboard_are_labels(server: Prometheus) -> None:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in document["panels"]:
        for target in panel["targets"]:
            legend = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            for one in server.query(filled(target["expr"])):
                assert legend <= set(one.labels), panel["title"]
    for variable in document["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert match, variable
        assert all(match.group(2) in one.labels for one in server.query(filled(match.group(1))))


def test_dashboard_has_all_metrics_but_those_of_the_alerts(scene: Scene) -> None:
    text = "".join(path.read_text() for path in scene.file.parent.glob("*.prom"))
    metrics: Set[str] = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    shown = " ".join([*expressions(), RULES.read_text()])
    assert {one for one in metrics if one not in shown} == {
        "sriov_host_ready",
        "sriov_pf_link_up",
        "sriov_vm_requests",
    }


def normal(query: str) -> str:
    """Without what differs: periods, what a viewer chooses, how lines are broken."""
    query = re.sub(r",?\w+=~\"\$\w+\"", "", query).replace("{}", "")
    return re.sub(r"rate\(.*?\)", "RATE", " ".join(query.split()))


def test_what_is_not_known_is_not_shown_as_none(scene: Scene, server: Prometheus) -> None:
    """A master that does not tell of conflicts, and a file that is not there."""
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    numbers = {
        panel["title"]: filled(panel["targets"][0]["expr"])
        for panel in document["panels"]
        if panel["type"] == "stat"
    }
    scene.write()
    server.wait_for(numbers["Conflicts"])
    told = re.sub(r"(?m)^sriov_conflicts.*\n", "", scene.file.read_text())
    scene.file.write_text(told)
    server.wait_for(f"({numbers['Conflicts']}) == 0")
    scene.file.write_text(re.sub(r"(?m)^(sriov_pool_up.*) 1$", r"\1 0", told))
    server.wait_for("sriov_pool_up == 0")
    assert server.query(numbers["Conflicts"]) == []
    scene.file.unlink()
    server.wait_for("absent(sriov_pool_up)")
    asked = {title: asked for title, asked in numbers.items() if "_textfile_" not in asked}
    assert len(asked) >= 5
    assert [title for title, one in asked.items() if server.query(one)] == []
    scene.write()
    server.wait_for("sriov_pool_up")


@pytest.mark.parametrize(("by", "panels"), [("vm, vm_uuid", 6), ("network", 2)])
def test_traffic_is_asked_for_as_it_was_tried(by: str, panels: int) -> None:
    """promtool sees below what the query gives where VFs change their VM, and where two hosts tell of one."""
    text = TRIED.read_text()
    (tried,) = {normal(one) for one in re.findall(rf"expr: sum by \({by}\) (\(.*\))$", text, re.MULTILINE)}
    assert [normal(one) for one in expressions()].count(f"sum by ({by}) {tried}") == panels
    document = normal((DOCS.parent / "metrics.md").read_text(encoding="utf-8"))
    assert tried[1:-1] in document


def test_traffic_by_network(scene: Scene, server: Prometheus) -> None:
    """As the document asks for it: of a host's counters the pool knows the network."""
    document = (DOCS.parent / "metrics.md").read_text(encoding="utf-8")
    (asked,) = re.findall(r"^    (sum by \(network\).*?)\n\n", document, re.MULTILINE | re.DOTALL)
    scene.carry()
    (found,) = server.wait_for(asked.replace("[5m]", "[20s]"))
    assert found.labels == {"network": "Pool-wide network associated with eth1"}


# -- configuration -----------------------------------------------------------------------------------------


def promtool(*words: str) -> None:
    ended = subprocess.run(["promtool", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert ended.returncode == 0, ended.stdout.decode()


def test_the_documented_configuration(tmp_path: Path) -> None:
    document = (DOCS.parent / "metrics.md").read_text(encoding="utf-8")
    ((indent, block),) = re.findall(r"^( *)```yaml\n(.*?)```", document, re.MULTILINE | re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(re.sub(f"^{indent}", "", block, flags=re.MULTILINE))
    shutil.copy(str(RULES), str(tmp_path))
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


# -- alerts ------------------------------------------------------------------------------------------------


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_alerts_by_promtool() -> None:
    """Which samples make an alert, after which time, and which make none."""
    promtool("test", "rules", str(TRIED))


def fire(server: Prometheus, *expected: str) -> Dict[str, Any]:
    """Waits until these alerts fire, and no others: each by its name."""
    return firing(server, lambda names: names == set(expected))


def firing(server: Prometheus, so: Callable[[Set[str]], bool]) -> Dict[str, Any]:
    """The alerts, once the names of those that fire are so."""

    def found() -> Optional[Dict[str, Any]]:
        of_each = server.firing()
        return of_each if so(set(of_each)) else None

    return dict(prometheus.wait_for(found, server.firing))


def test_alerts_fire_and_end(scene: Scene, server: Prometheus) -> None:
    others = ("SriovDrift", "SriovVfDegraded", "SriovHostWithoutPackage")
    scene.write()
    of_each = fire(server, "SriovNoFreeVf", *others)
    (full,), (degraded,), (without,) = (
        of_each[name] for name in ("SriovNoFreeVf", "SriovVfDegraded", "SriovHostWithoutPackage")
    )
    assert full["annotations"]["summary"] == "Port eth1 (0000:07:00.0) of host host1 has no free VF"
    assert 'VM web "1"\\ x is without its VF' in degraded["annotations"]["summary"]
    assert without["labels"]["host"] == "host3"

    scene.pool.unassign(scene.last)
    scene.write()
    fire(server, *others)


def test_alerts_of_metrics_that_are_old_or_gone(scene: Scene, server: Prometheus) -> None:
    scene.write()
    long_ago = time.time() - 3600
    os.utime(str(scene.file), (long_ago, long_ago))
    (old,) = firing(server, lambda names: "SriovMetricsOld" in names)["SriovMetricsOld"]
    assert old["labels"]["file"] == str(scene.file)
    scene.file.unlink()
    fire(server, "SriovMetricsGone")
    scene.write()
    over = {"SriovMetricsGone", "SriovMetricsOld"}  # Prometheus goes through the rules one by one
    firing(server, lambda names: names & {"SriovDrift", *over} == {"SriovDrift"})
