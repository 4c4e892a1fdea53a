"""A real Prometheus and node_exporter for a test: on free ports of this machine alone, asked over HTTP."""

import http.server
import json
import re
import shutil
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

import pytest

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-node-exporter": "prometheus-node-exporter",
}
SECONDS = 30  # that any of them may take
# From one scrape to the next, and for each: one that takes longer makes all samples of its job stale.
INTERVAL = "1s"
EVALUATION = "100ms"  # from one look at the alerts to the next
_ADDRESS = re.compile(r'Listening on".*address=(127\.0\.0\.1:[1-9][0-9]*)')
_missing = sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})

needed = pytest.mark.skipif(
    bool(_missing), reason=f"no real Prometheus reads the metrics: install {', '.join(_missing)} (Debian)"
)


class Sample(NamedTuple):
    """Labels without the metric's name."""

    labels: Dict[str, str]
    value: float


def wait_for(there: Callable[[], Any], instead: Callable[[], Any]) -> Any:
    """What `there` answers, as soon as that is true; `instead` tells what there is if it never is."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = there()
        if found:
            return found
        assert time.monotonic() < deadline, instead()
        time.sleep(0.02)


@contextmanager
def _listening(folder: Path, command: Sequence[str]) -> Iterator[str]:
    """The address at which the program listens."""
    log = folder / f"{command[0]}.log"
    with open(str(log), "wb") as file:
        process = subprocess.Popen(
            [*command, "--web.listen-address=127.0.0.1:0"],
            cwd=str(folder),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )

    def address() -> str:
        said = log.read_text(errors="replace")
        assert process.poll() is None, said
        found = _ADDRESS.search(said)
        return found.group(1) if found else ""

    try:
        yield wait_for(address, lambda: log.read_text(errors="replace"))
    finally:
        process.kill()
        process.wait()


@contextmanager
def node_exporter(folder: Path, textfiles: Path) -> Iterator[str]:
    """Its address; it reads the files of that folder and tells of nothing else."""
    options = ["--web.disable-exporter-metrics", "--collector.disable-defaults", "--collector.textfile"]
    directory = f"--collector.textfile.directory={textfiles}"
    with _listening(folder, ["prometheus-node-exporter", *options, directory]) as address:
        yield address


@contextmanager
def openmetrics(file: Path) -> Iterator[str]:
    """The address of a server that answers with that file, and says that it is OpenMetrics."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not file.exists():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
            self.end_headers()
            self.wfile.write(file.read_bytes())

        def log_message(self, format: str, *_args: Any) -> None:
            pass

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _job(name: str, target: str) -> Dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [target]}]}


class Prometheus:
    def __init__(self, address: str) -> None:
        self._address = address
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    @classmethod
    @contextmanager
    def reading(cls, folder: Path, textfiles: Path, metrics: Path, rules: Path) -> Iterator["Prometheus"]:
        """One that reads the folder of text files by a node_exporter, and the file `metrics` as OpenMetrics,
        with `openmetrics_` before its names; and goes by these rules."""
        renamed = {
            "source_labels": ["__name__"],
            "regex": "(sriov_.*)",
            "target_label": "__name__",
            "replacement": "openmetrics_$1",
        }
        with node_exporter(folder, textfiles) as node, openmetrics(metrics) as served:
            jobs = [_job("node", node), {**_job("openmetrics", served), "metric_relabel_configs": [renamed]}]
            often = dict.fromkeys(("scrape_interval", "scrape_timeout"), INTERVAL)
            often["evaluation_interval"] = EVALUATION
            configuration = {"global": often, "scrape_configs": jobs, "rule_files": [str(rules)]}
            (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
            command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
            with _listening(folder, command) as address:
                yield cls(address)

    def query(self, expression: str) -> List[Sample]:
        """As of a moment when node_exporter was not late; none while Prometheus is not ready to answer."""
        data = wait_for(lambda: self._in_time(expression), lambda: expression)
        return [
            Sample(
                {name: text for name, text in one["metric"].items() if name != "__name__"},
                float(one["value"][1]),
            )
            for one in data["result"]
        ]

    def _in_time(self, expression: str) -> Any:
        now = repr(time.time())
        late = self._ask("query", query='up{job="node"} == 0', time=now)
        if late is None:
            return {"result": []}
        return None if late["result"] else self._ask("query", query=expression, time=now)

    def wait_for(self, expression: str) -> List[Sample]:
        """The samples, once there are some."""
        found: List[Sample] = wait_for(lambda: self.query(expression), lambda: expression)
        return found

    def firing(self) -> Dict[str, List[Dict[str, Any]]]:
        """The alerts that fire, by name."""
        found: Dict[str, List[Dict[str, Any]]] = {}
        for one in (self._ask("alerts") or {"alerts": []})["alerts"]:
            if one["state"] == "firing":
                found.setdefault(one["labels"]["alertname"], []).append(one)
        return found

    def _ask(self, what: str, **parameters: str) -> Any:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with self._open(f"http://{self._address}/api/v1/{what}{query}", timeout=SECONDS) as answer:
                said = json.loads(answer.read().decode())
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it has only begun
                return None
            raise AssertionError(error.read().decode()) from error
        assert said["status"] == "success", said
        return said["data"]
