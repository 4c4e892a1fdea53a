"""The daily life of a pool: hosts join, leave, are reinstalled, are lost; the master changes. What becomes
of leases and settings then."""

import os
import subprocess
import sys
from typing import Any

import pytest
from box_host import PLUGIN, BoxHost, plugin_of_version, set_plugin
from machine_description import default_description
from managed_pool import Pool

pytestmark = [pytest.mark.story, pytest.mark.pool(hooks=False)]

BOOT_SERVICE = os.path.join(os.path.dirname(PLUGIN), "../hooks/boot/sriov-restore")
VF, NEXT_VF = "0000:07:10.0", "0000:07:10.2"


def boot_service(host: BoxHost, *options: str) -> None:
    subprocess.run([sys.executable, BOOT_SERVICE, *options], env=host.environment, check=True)


# -- a host joins ------------------------------------------------------------------------------------


def test_a_host_joins_without_the_plugin(pool: Pool) -> None:
    home = pool.one
    vm = pool.with_vf("web", home)
    new = pool.box.add_host(default_description(3), plugin=None)
    # xapi would start it there, with an address that means nothing
    pool.conflict("HOST_WITHOUT_PLUGIN", "VMs with VFs that could be started there: web.", host=new)
    pool.refused("reinstate_vfs", vm=vm, on=new).says("SRIOV_NO_FREE_VF", "host3")
    versions = {host["name"]: host["version"] for host in pool.call("list_assignments")["hosts"]}
    assert (versions["host3"], versions["host1"] is None) == (None, False)
    (warning,) = pool.assign(vm, network="xenbr1")["warnings"]
    assert "host3" in warning

    set_plugin(new, PLUGIN)
    assert pool.conflicts() == []
    pool.call("set_vf_count", new, pf="eth1", count="4")
    assert pool.assign(vm, network="xenbr1")["warnings"] == []
    there = pool.reinstate(vm, on=new)
    assert there["host_uuid"] == new.uuid
    assert not there["pci_changed"]  # the card is the same, and so are the addresses


def test_a_host_with_another_version_takes_part_and_is_named(pool: Pool, tmp_path: Any) -> None:
    folder = str(tmp_path / "plugins")
    set_plugin(pool.other, plugin_of_version(folder, "0.0.9"))
    vm = pool.with_vf("web", pool.other)
    pool.conflict("HOST_WITHOUT_PLUGIN", "0.0.9", "web", host=pool.other)
    assert pool.listed(vm)["host_uuid"] == pool.other.uuid


# -- a host leaves -----------------------------------------------------------------------------------


def test_vfs_of_an_ejected_host_are_had_from_another(pool: Pool) -> None:
    home, goes = pool.hosts
    vm, more = pool.with_vf("web", goes, vlan="12"), pool.with_vf("db", goes)
    mac = pool.mac(vm)
    alone = pool.box.eject(goes)
    listed = pool.listed(vm)
    assert (listed["host_uuid"], listed["requests"][0]["portable"]) == (goes.uuid, True)
    assert pool.codes() == ["LEASE_STALE"] * 2
    assert pool.vfs(home, state="assigned") == []

    moved = pool.reinstate(vm)
    assert (moved["host_uuid"], moved["changed"]) == (home.uuid, True)
    assert pool.requests(vm)[0]["settings"] == {"mac": mac, "vlan": "12"}
    added = pool.assign(more, network="xenbr1")
    assert added["host_uuid"] == home.uuid
    assert {request["vf"] for request in pool.requests(more)} & {listed["requests"][0]["vf"]} == set()
    assert pool.conflicts() == []

    boot_service(alone)  # its disk remembers: the VFs are there, and nobody has them
    again = pool.box.rejoin(alone)
    assert len(pool.vfs(again, state="free")) == 4
    assert pool.conflicts() == []


# -- a host is reinstalled -------------------------------------------------------------------------


def test_a_host_restored_on_a_fresh_disk(pool: Pool) -> None:
    host = pool.other
    vm = pool.with_vf("web", host)
    pool.call("configure_vf", host, vf=NEXT_VF, trust="on")
    host = pool.box.reinstall(host, plugin=None)
    assert pool.codes() == ["HOST_WITHOUT_PLUGIN"]
    assert pool.requests(vm)[0]["vf"] == VF  # its lease waits

    set_plugin(host, PLUGIN)
    pool.conflict("LEASE_STALE", "--from-pool", host=host)
    problems = {problem["code"] for problem in pool.call("status", host)["problems"]}
    assert "CONFIG_IN_POOL" in problems
    boot_service(host, "--from-pool")
    assert pool.conflicts() == []
    vfs = {vf["address"]: vf for vf in pool.vfs(host)}
    assert (len(vfs), vfs[NEXT_VF]["trust"]) == (4, True)
    assert vfs[VF]["assigned_to"]["vm_uuid"] == vm


# -- a host is lost -----------------------------------------------------------------------------------


def test_a_lost_host_keeps_its_leases_until_somebody_takes_them_away(pool: Pool) -> None:
    home, lost = pool.hosts
    stays, moves = pool.with_vf("stays", lost), pool.with_vf("moves", lost)
    pool.box.lose(lost)
    assert pool.conflicts() == []
    (down,) = [host for host in pool.call("list_assignments")["hosts"] if not host["live"]]
    assert (down["host_uuid"], down["version"]) == (lost.uuid, None)
    assert pool.reinstate(moves)["host_uuid"] == home.uuid
    pool.refused("reinstate_vfs", vm=moves, on=lost).says("SRIOV_NOT_FOUND", "host2")
    pool.box.bring_back(lost)
    boot_service(lost)
    assert pool.conflicts() == []
    (vf,) = pool.vfs(lost, state="assigned")
    assert vf["assigned_to"]["vm_uuid"] == stays


# -- the master changes -------------------------------------------------------------------------------


def test_settings_of_a_host_are_kept_for_it_with_the_new_master_too(pool: Pool) -> None:
    first, second = pool.hosts
    pool.box.make_master(second)
    pool.call("configure_vf", first, vf=NEXT_VF, vlan="42")
    kept = pool.box.xapi.call("host.get_other_config", first.ref)["sriov-conf"]
    assert kept == first.machine.read("/etc/sriov.conf")
    boot_service(pool.box.reinstall(first), "--from-pool")
    (vf,) = [vf for vf in pool.vfs(pool.one) if vf["address"] == NEXT_VF]
    assert vf["vlan"] == 42


def test_the_master_is_lost_and_a_member_takes_over(pool: Pool) -> None:
    """Its leases stay; its VMs are given VFs of hosts that are there."""
    lost, second = pool.hosts
    vm = pool.with_vf("web", lost, mac="02:16:3e:00:00:05")
    pool.box.lose(lost)
    pool.box.make_master(second)
    assert pool.listed(vm)["host_uuid"] == lost.uuid
    moved = pool.reinstate(vm)
    assert moved["host_uuid"] == second.uuid
    assert pool.mac(vm) == "02:16:3e:00:00:05"
    pool.box.bring_back(lost)
    assert pool.conflicts() == []
