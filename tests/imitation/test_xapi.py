"""What the imitation of xapi does beyond the transcripts: several hosts and several callers."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any, Iterator, List

import pytest
import XenAPI
from hosts import HostDescription
from plugin_calls import Dom0
from values import Failure
from xapi import Xapi

RESPONSE = """#!/bin/sh
echo '<methodResponse><params><param><value><struct>'
echo '<member><name>Status</name><value>Success</value></member>'
echo "<member><name>Value</name><value>$({command})</value></member>"
echo '</struct></value></param></params></methodResponse>'
"""


def put_plugin(folder: Path, name: str, command: str) -> None:
    """A plugin whose result is what a command prints."""
    path = folder / name
    path.write_text(RESPONSE.format(command=command))
    path.chmod(0o755)


def folder_of(root: Path, host: str) -> Path:
    folder = root / host
    folder.mkdir()
    return folder


@pytest.fixture
def xapi() -> Iterator[Xapi]:
    with Xapi() as xapi:
        yield xapi


def at_once(count: int, call: Any) -> List[str]:
    """The outcomes of as many callers, let go together."""
    outcomes: List[str] = []
    start = threading.Barrier(count)

    def caller(number: int) -> None:
        start.wait()
        try:
            call(number)
            outcomes.append("Success")
        except Failure as failure:
            outcomes.append(failure.description[0])

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_a_plugin_runs_on_the_host_that_is_named(xapi: Xapi, tmp_path: Path) -> None:
    hosts = {}
    for name in ("host1", "host2"):
        folder = folder_of(tmp_path, name)
        put_plugin(folder, "where", f"echo on {name}")
        hosts[name] = xapi.add_host(HostDescription(name, name, f"dom0 of {name}"), Dom0(str(folder)))
    with XenAPI.Session(xapi.listen()) as client:
        client.login_with_password("root", xapi.password, "1.0", "a test")
        for name, host in hosts.items():
            assert client.xenapi.host.call_plugin(host, "where", "any", {}) == f"on {name}"
        (pool,) = client.xenapi.pool.get_all_records().values()
    assert pool["master"] == hosts["host1"]


def test_a_dead_host_takes_no_plugin_call(xapi: Xapi, tmp_path: Path) -> None:
    """hooks-waiting.json: a plugin call to a dead member."""
    dead = HostDescription("host1", "host1", "dom0")
    host = xapi.add_host(dead, Dom0(str(folder_of(tmp_path, "host1"))))
    xapi.database.set("host_metrics", xapi.database.get("host", host, "metrics"), "live", False)
    with pytest.raises(Failure) as caught:
        xapi.call("host.call_plugin", host, "no-such", "f", {})
    assert caught.value.description == ["HOST_OFFLINE", host]


def test_plugin_calls_run_side_by_side(xapi: Xapi, tmp_path: Path) -> None:
    """plugin.json: three calls that begin together end together. Here each waits until all have begun."""
    folder = folder_of(tmp_path, "host1")
    begun = folder_of(tmp_path, "begun")
    count = f"ls {begun} | wc -l"
    put_plugin(folder, "meet", f"mktemp {begun}/XXXXXX; while [ $({count}) -lt 3 ]; do sleep 0.05; done")
    host = xapi.add_host(HostDescription("host1", "host1", "dom0"), Dom0(str(folder)))
    assert at_once(3, lambda _: xapi.call("host.call_plugin", host, "meet", "f", {})) == ["Success"] * 3


def test_of_callers_that_add_one_key_one_wins(xapi: Xapi) -> None:
    """maps.json: eight callers add the same key at once."""
    vm = xapi.database.create("VM", {})
    outcomes = at_once(8, lambda number: xapi.database.add_to("VM", vm, "other_config", "k", str(number)))
    assert Counter(outcomes) == {"Success": 1, "MAP_DUPLICATE_KEY": 7}


def test_no_key_is_lost_where_callers_add_their_own(xapi: Xapi) -> None:
    """maps.json: five callers add ten keys each."""
    vm = xapi.database.create("VM", {})

    def add_ten(number: int) -> None:
        for key in range(10):
            xapi.database.add_to("VM", vm, "other_config", f"{number}-{key}", "")

    assert at_once(5, add_ten) == ["Success"] * 5
    assert len(xapi.database.get("VM", vm, "other_config")) == 50
