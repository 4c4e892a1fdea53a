"""`sriovctl metrics`: the pool for Prometheus, and what is not said of hosts that do not answer."""

import shutil
import subprocess
from typing import Any, Callable, List

import pytest
from managed_pool import Pool

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]


def samples(text: str, name: str) -> List[str]:
    """Of a metric, without its name."""
    assert text.endswith("\n# EOF\n")
    return [line[len(name) :] for line in text.splitlines() if line.startswith((name + "{", name + " "))]


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


def test_what_does_not_fit_together(pool: Pool, ctl: Ctl) -> None:
    pool.start(pool.vm("first", "0/0000:07:10.0"), pool.one)
    pool.vm("second", "0/0000:07:10.0")
    found = samples(ctl("metrics").out, "sriov_conflicts")
    assert found
    assert all(line.startswith('{code="') for line in found)


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
