"""setup, and VMs that cannot be moved: a VM with a VF runs on each host, and both have to reboot."""

from typing import List

import pytest
from managed_pool import Pool
from setup_stories import SETUP, Ctl, boots, igb_by_place, in_service, keys, with_igb
from sriovctl.rollout import steps

pytestmark = [pytest.mark.story, pytest.mark.pool(describe=with_igb)]


@pytest.fixture
def vms(pool: Pool) -> List[str]:
    """A VM with a VF on each of two hosts, of which a change waits for a reboot."""
    found = []
    for host, name in ((pool.one, "web"), (pool.other, "mail")):
        igb_by_place(host)
        assert pool.call("set_vf_count", host, pf="eth3", count="2")["reboot_required"]
        pool.box.xapi.restart_toolstack(host.ref)
        vm = pool.with_vf(name, host, vlan="12")
        pool.start(vm, host)
        found.append(vm)
    return found


def test_they_stop_it(pool: Pool, ctl: Ctl, vms: List[str]) -> None:
    before = pool.everything()
    said = ctl(*SETUP, "--yes")
    assert said.status == 1
    for name, host in (("web", "host1"), ("mail", "host2")):
        words = f"VM {name} holds up the reboot of host {host}: it has devices of this host."
        assert words in said.err
    assert "--pinned shutdown" in said.err
    assert pool.everything() == before
    assert [pool.power_state(vm) for vm in vms] == ["Running", "Running"]
    assert keys(pool) == []


def test_they_are_down_while_their_host_reboots(pool: Pool, ctl: Ctl, vms: List[str]) -> None:
    was = [(pool.devices(vm), pool.mac(vm)) for vm in vms]
    plan = ctl(*SETUP, "--plan", "--pinned", "shutdown")
    assert [" ".join(row[:4]) for row in plan.rows[1:7]] == [
        "host2 1 disable host2",
        "host2 2 shutdown mail",
        "host2 3 reboot host2",
        "host2 4 verify host2",
        "host2 5 enable host2",
        "host2 6 start mail",
    ]
    assert "VM mail is shut down while host host2 reboots: it has devices of this host." in plan.err
    said = ctl(*SETUP, "--yes", "--pinned", "shutdown")
    assert said.status == 0, said.err
    assert [pool.record(vm)["resident_on"] for vm in vms] == [host.ref for host in pool.hosts]
    assert [(pool.devices(vm), pool.mac(vm)) for vm in vms] == was
    assert [pool.settings(host, pool.devices(vm)[0])[1] for host, vm in zip(pool.hosts, vms)] == [12, 12]
    assert all(boots(pool, host) and in_service(pool, host) for host in pool.hosts)
    assert all(len(pool.vfs(host, pf="eth3")) == 2 for host in pool.hosts)
    assert keys(pool) == []


def test_they_go_to_another_host(pool: Pool, ctl: Ctl, vms: List[str]) -> None:
    macs = [pool.mac(vm) for vm in vms]
    plan = ctl(*SETUP, "host2", "--plan", "--pinned", "relocate", "-o", "wide")
    assert plan.rows[1][2:4] == ["relocate", "mail"]
    why = (
        "shut down on host host2 and started on host1: Host host2 runs XCP-ng 8.3.0, on which nobody has conf"
    )
    assert f"VM mail is {why}" in plan.err
    assert "; 1 VM is shut down meanwhile" in plan.err
    said = ctl(*SETUP, "host2", "--yes", "--pinned", "relocate")
    assert said.status == 0, said.err
    assert [pool.record(vm)["resident_on"] for vm in vms] == [pool.one.ref] * 2
    assert [len(pool.devices(vm)) for vm in vms] == [1, 1]
    assert [pool.mac(vm) for vm in vms] == macs
    assert boots(pool, pool.other)
    assert not boots(pool, pool.one)


def beside(pool: Pool, vm: str) -> None:
    """The VM gets a VIF in the network of its VF, with its VLAN."""
    database = pool.box.xapi.database
    for host in pool.hosts:
        pool.box.add_vlan(host, "eth1", 12, "lan12")
    (network,) = database.by_name_label("network", "lan12")
    database.create("VIF", {"VM": pool.ref(vm), "network": network, "currently_attached": True})


def test_they_are_moved_while_they_run(pool: Pool, ctl: Ctl, vms: List[str]) -> None:
    beside(pool, vms[1])
    macs = [pool.mac(vm) for vm in vms]
    words = [*SETUP, "host2", "--pinned", "migrate"]
    plan = ctl(*words, "--plan")
    assert [row[2:4] for row in plan.rows[1:4]] == [
        ["migrate", "mail"],
        ["disable", "host2"],
        ["reboot", "host2"],
    ]
    assert "VM mail cannot leave host host2 as the pool is now: Host host2 runs XCP-ng" in plan.err
    for pinned in ("migrate", "relocate"):
        plan = ctl(*SETUP, "host2", "--pinned", pinned, "--plan", "--unconfirmed")
        assert plan.rows[1][2:6] == ["migrate", "mail", "host2", "host1"]
        assert "VM mail moves from host host2 to host1 while it runs: migrate_vm gives it VFs" in plan.err
        assert "; 1 VM is moved by migrate_vm" in plan.err
        assert "shut down" not in plan.err
    said = ctl(*words, "--yes")
    assert said.status == 1
    assert "nobody has confirmed" in said.err
    assert (pool.record(vms[1])["resident_on"], in_service(pool, pool.other)) == (pool.other.ref, True)
    said = ctl("setup", "resume", "--unconfirmed")
    assert said.status == 0, said.err
    assert "mail is being shut down" not in said.err
    assert [pool.record(vm)["resident_on"] for vm in vms] == [pool.one.ref] * 2
    assert ([len(pool.devices(vm)) for vm in vms], [pool.mac(vm) for vm in vms]) == ([1, 1], macs)
    assert boots(pool, pool.other)


def test_vm_without_another_host(pool: Pool, ctl: Ctl, vms: List[str]) -> None:
    """It runs where it was, its host is in service as before."""
    for vf in pool.vfs(pool.one, state="free", pf="eth1"):
        pool.assign(pool.vm(vf["address"]), vf=vf["address"], on=pool.one)
    said = ctl(*SETUP, "host2", "--yes", "--pinned", "relocate")
    assert said.status == 1
    assert "VM mail was not brought from host host2 to another." in said.err
    assert pool.record(vms[1])["resident_on"] == pool.other.ref
    assert in_service(pool, pool.other)
    assert not boots(pool, pool.other)
    assert ctl("setup", "stop").status == 0
    assert keys(pool) == []


def test_vm_that_does_not_shut_down(pool: Pool, ctl: Ctl, vms: List[str]) -> None:
    """The others are started again."""
    second = pool.with_vf("db", pool.other)
    pool.start(second, pool.other)
    text = f"#!/usr/bin/python3\nimport sys\nsys.exit(2 * ('{vms[1]}' in sys.argv))\n"
    with pool.hook(pool.other, text, "vm-pre-shutdown"):
        said = ctl(*SETUP, "host2", "--yes", "--pinned", "shutdown")
    assert said.status == 1
    assert "VM mail was not shut down" in said.err
    assert [pool.power_state(vm) for vm in (*vms, second)] == ["Running"] * 3
    assert in_service(pool, pool.other)
    assert not boots(pool, pool.other)
    assert ctl("setup", "resume").status == 0
    assert [pool.power_state(vm) for vm in (*vms, second)] == ["Running"] * 3
    assert boots(pool, pool.other)


@pytest.mark.parametrize("word", ["resume", "stop"])
def test_vm_that_does_not_start_again(pool: Pool, ctl: Ctl, vms: List[str], word: str) -> None:
    """It keeps no other one down, and is started when what is in its way is gone: the setup can end."""
    second = pool.with_vf("db", pool.other)
    pool.start(second, pool.other)
    text = f"#!/usr/bin/python3\nimport sys\nsys.exit(2 * ('{second}' in sys.argv))\n"
    with pool.hook(pool.other, text):
        said = ctl(*SETUP, "host2", "--yes", "--pinned", "shutdown")
        again = ctl("setup", word)
    assert (said.status, again.status) == (1, 1)
    for one in (said, again):
        assert "VM db was not started on host host2" in one.err
    assert [pool.power_state(vm) for vm in (*vms, second)] == ["Running", "Running", "Halted"]
    assert in_service(pool, pool.other)
    assert ctl("setup", word).status == 0
    assert pool.power_state(second) == "Running"
    assert keys(pool) == []


@pytest.mark.parametrize("word", ["resume", "stop"])
def test_host_that_leaves_while_its_vms_are_down(
    pool: Pool, ctl: Ctl, vms: List[str], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has died in its reboot, and somebody has forgotten it: what it leaves is said, the record ends."""
    pool.box.xapi.boot = lambda _host: False
    monkeypatch.setattr(steps, "wait_for_boot", interrupted)
    assert ctl(*SETUP, "host2", "--yes", "--pinned", "shutdown").status == 130
    pool.box.lose(pool.other)
    pool.api("host.destroy", pool.other.ref)
    said = ctl("setup", word)
    assert f"Host {pool.other.uuid} is not in this pool any more" in said.err
    assert "VM mail was shut down by this setup" in said.err
    assert f"`sriovctl relocate {vms[1]} HOST --start`" in said.err
    assert keys(pool) == []


def interrupted(*_args: object) -> None:
    raise KeyboardInterrupt
