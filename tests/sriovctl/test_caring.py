"""doctor, explain and wait: what keeps a pool, a VM or a host from being as it should be."""

import threading
from typing import Any, Callable

import pytest
from box_host import plugin_of_version, set_plugin
from managed_pool import Pool

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]


def test_healthy_pool(ctl: Ctl) -> None:
    said = ctl("doctor")
    assert (said.status, said.out, said.err) == (0, "", "Nothing is wrong.\n")


def test_what_a_look_from_outside_shows(pool: Pool, ctl: Ctl, tmp_path: Any) -> None:
    set_plugin(pool.other, plugin_of_version(str(tmp_path / "older"), "0.0.9"))
    pool.box.xapi.reach.clocks[pool.other.ref] = 60.0
    web = pool.with_vf("web", on=pool.one)
    pool.start(web, pool.one)
    said = ctl("doctor")
    assert said.status == 1
    found = {tuple(row) for row in said.rows}
    assert {("pool", "problem", "VERSIONS_DIFFER"), ("pool", "problem", "CLOCKS_DIFFER")} <= found
    assert "0.0.9 on host2; 0.1.0 on host1" in said.err
    assert "The clock of host2 is" in said.err
    assert [row[:2] for row in said.rows if row[0] == "web"] == [["web", "note"]]


def test_problem_of_a_host_and_one_that_is_silent(pool: Pool, ctl: Ctl) -> None:
    set_plugin(pool.other, None)
    pool.api("host.disable", pool.one.ref)
    found = {tuple(row) for row in ctl("doctor").rows}
    assert {("host2", "problem", "NO_PLUGIN"), ("host1", "note", "HOST_DISABLED")} <= found
    assert ctl("doctor", "host1").status == 0


def test_host_that_hangs_costs_no_more_than_its_patience(pool: Pool, ctl: Ctl) -> None:
    with pool.box.hanging(pool.other):
        said = ctl("status", "--timeout", "2")
    assert said.status == 4
    assert "Host host2 has not answered in 2 s." in said.err


def test_why_a_vm_has_vfs_on_one_host_only(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", on=pool.one)
    for number in range(4):
        pool.with_vf(f"other{number}", on=pool.other)
    said = ctl("explain", "web")
    assert said.status == 0
    assert [row[:2] for row in said.rows[1:]] == [["host1", "yes"], ["host2", "no"]]
    (vf,) = pool.lease(web)["vfs"].values()
    assert f"host1: It has the VFs: {vf} for request 1." in said.err
    assert "SRIOV" not in said.out
    pool.vm("plain")
    assert "asks for no VF" in ctl("explain", "plain").err


def test_waiting_for_a_vm(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", on=pool.one)
    halted = ctl("wait", "web", "--for", "running-with-vfs", "--within", "0.1")
    assert halted.status == 1
    assert "VM web is halted" in halted.err
    start = threading.Timer(1.0, pool.start, (web, pool.one))
    start.start()
    assert ctl("wait", "web", "--for", "running-with-vfs").status == 0
    start.join()


def test_waiting_for_a_host(pool: Pool, ctl: Ctl) -> None:
    assert ctl("wait", "host1", "--for", "ready").status == 0
    pool.box.lose(pool.other)
    lost = ctl("wait", "host2", "--for", "ready", "--within", "0.1")
    assert (lost.status, "offline" in lost.err) == (1, True)
    assert ctl("wait", "host7", "--for", "ready").status == 1
