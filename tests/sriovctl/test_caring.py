"""doctor, explain and wait: what keeps a pool, a VM or a host from being as it should be."""

import threading
from typing import Any, Callable

import pytest
from box_host import plugin_of_version, set_plugin
from managed_pool import Pool
from sriovctl.pool import Pool as CtlPool

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


def test_vms_that_keep_their_host_from_being_evacuated(pool: Pool, ctl: Ctl) -> None:
    """Xen Orchestra's rolling update takes the first reason, and begins with none of the others."""
    web, late, kept = pool.with_vf("web", on=pool.one), pool.vm("late"), pool.vm("kept")
    pool.box.xapi.restart_toolstack(pool.one.ref)
    pool.start(web, pool.one)
    pool.call("set_vf_count", pool.one, pf="eth2", count="1")
    pool.assign(late, network="xenbr2", on=pool.one)
    for vm in (late, kept):
        pool.start(vm, pool.one)
    pool.api("VM.set_blocked_operations", pool.ref(kept), {"pool_migrate": "ask Ann"})
    said = ctl("doctor")
    assert {tuple(row) for row in said.rows[1:]} == {
        ("web", "note", "VM_HAS_PCI_ATTACHED"),
        ("late", "note", "OPERATION_BLOCKED"),
        ("kept", "problem", "OPERATION_BLOCKED"),
    }
    by_vm = {text.split(":")[0].strip(): text for text in said.err.split("\n\n")}
    web_said, late_said, kept_said = by_vm["web"], by_vm["late"], by_vm["kept"]
    assert "rolling update (6.7.0 and newer), which asks" in web_said
    assert "does not begin" in late_said
    assert "`xe-toolstack-restart` on host1" in late_said
    assert "moving it is blocked, `ask Ann`" in kept_said


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
    assert "host2" in said.err  # the connection and who waits for it have 2 s each: either may say it
    assert "(NO_ANSWER)" in said.err


def test_wish_for_the_custom_field_that_is_none(pool: Pool, ctl: Ctl) -> None:
    (ref,) = pool.api("pool.get_all")
    pool.api("pool.add_to_other_config", ref, "sriov-custom-field", "always")
    for command in ("doctor", "conflicts"):
        said = ctl(command)
        assert "CONFIG_ERROR" in said.out + said.err, command
        assert "sriov-custom-field is `always`, and takes yes or no" in said.out + said.err, command
        assert "other-config:sriov-custom-field=yes` has it kept" in said.out + said.err, command
    assert 'sriov_conflicts{pool="host1",code="CONFIG_ERROR"' in ctl("metrics").out
    assert ctl("map").status == 0


def test_why_a_vm_has_vfs_on_one_host_only(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", on=pool.one)
    others = [pool.with_vf(f"other{number}", on=pool.other) for number in range(4)]
    said = ctl("explain", "web")
    assert said.status == 0
    assert [row[:2] for row in said.rows[1:]] == [["host1", "yes"], ["host2", "no"]]
    (vf,) = pool.lease(web)["vfs"].values()
    assert f"host1: It has VFs here: {vf} for request 1." in said.err
    assert "SRIOV" not in said.out
    pool.unassign(others[0])
    assert "host2: It would get VFs here: " in ctl("explain", "web").err
    plain = pool.vm("plain")
    assert f"asks for no VF. `sriovctl assign {plain} --network NET`" in ctl("explain", "plain").err


def test_whether_entries_by_hand_start_is_not_known_before(pool: Pool, ctl: Ctl) -> None:
    """Here they name dom0's own card, which no start gives away."""
    pool.vm("nic", "0/0000:02:00.0")
    said = ctl("explain", "nic")
    assert [row[:2] for row in said.rows[1:]] == [["host1", "-"], ["host2", "-"]]
    assert "ENTRY_INVALID" in said.err
    pool.box.lose(pool.other)
    assert ctl("explain", "nic").rows[2][1] in ("no", "-")


def test_master_is_asked_once_for_all_hosts(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.with_vf("web", on=pool.one)
    asked, real = [], CtlPool.plugin

    def plugin(self: Any, host: Any, function: str, **args: str) -> Any:
        asked.append(function)
        return real(self, host, function, **args)

    monkeypatch.setattr(CtlPool, "plugin", plugin)
    assert [row[:2] for row in ctl("explain", "web").rows[1:]] == [["host1", "yes"], ["host2", "yes"]]
    assert asked == ["list_assignments"]


def test_older_plugin_is_asked_for_each_host(pool: Pool, ctl: Ctl, tmp_path: Any) -> None:
    pool.with_vf("web", on=pool.one)
    new = ctl("explain", "web")
    plugin = plugin_of_version(str(tmp_path / "older"), "0.0.9")
    table = tmp_path / "older" / "sriovlib" / "calls" / "table.py"
    table.write_text(table.read_text().replace(', "places"', ""))
    for host in pool.hosts:
        set_plugin(host, plugin)
    old = ctl("explain", "web")
    assert (old.out, old.err) == (new.out, new.err)


def test_why_a_running_vm_stays_where_it_is(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", on=pool.one)
    pool.start(web, pool.one)
    bare = ctl("explain", "web")
    assert [row[:2] for row in bare.rows[1:]] == [["host1", "yes"], ["host2", "yes"]]
    assert "VM web runs on host host1." in bare.err
    assert (
        "xapi alone does not move it while it runs: That is blocked: xapi-sriov: VM web has 0000:07:10.0"
        in bare.err
    )
    assert "shuts it down, and starts it elsewhere with VFs of that host: to host2." in bare.err
    pool.api("host.disable", pool.other.ref)
    pool.shut_down(web)
    pool.box.xapi.restart_toolstack(pool.one.ref)  # which lets xapi know the VFs
    pool.start(web, pool.one)
    pool.api("VM.add_to_blocked_operations", pool.ref(web), "clean_shutdown", "backup until noon")
    stuck = ctl("explain", "web")
    assert stuck.rows[2][:2] == ["host2", "no"]
    assert "xapi alone does not move it while it runs: The VM has VFs or other PCI devices." in stuck.err
    assert "host2: xapi does not start the VM here: Host host2 is disabled." in stuck.err
    assert "Somebody has blocked clean_shutdown of VM web: backup until noon." in stuck.err


def test_what_ha_does_with_a_running_vm(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", on=pool.one)
    for number in range(4):
        pool.with_vf(f"other{number}", on=pool.other)
    pool.start(web, pool.one)
    pool.box.xapi.database.set("pool", pool.box.xapi.pool, "ha_enabled", True)
    assert "HA is on and does not protect it" in ctl("explain", "web").err
    pool.box.protect(pool.ref(web))
    said = ctl("explain", "web").err
    assert "(ha_restart_priority is restart), but no other host is known to be able to have it." in said
    doctor = ctl("doctor")
    assert ["web", "problem", "HA_NOWHERE_ELSE"] in doctor.rows
    assert "make VFs there (`set_vf_count`)" in doctor.err


def test_running_vm_without_vfs_moves_as_xapi_likes(pool: Pool, ctl: Ctl) -> None:
    plain = pool.vm("plain")
    pool.start(plain, pool.one)
    assert "xapi moves it while it runs, to host2." in ctl("explain", "plain").err


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
    assert (lost.status, "Not in 0 s: host host2: Host host2 is offline.\n" in lost.err) == (1, True)
    assert ctl("wait", "host7", "--for", "ready").status == 1
