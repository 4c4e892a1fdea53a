"""setup, against a pool in a box whose hosts reboot: from bare hosts to VFs everywhere."""

from typing import Any

import pytest
from managed_pool import Pool
from setup_stories import SETUP, Ctl, bare_hosts, boots, in_service, is_set_up, keys
from sriovctl.pool import LOOK_SECONDS
from sriovctl.pool import Pool as ClientPool
from sriovctl.rollout import steps

pytestmark = pytest.mark.story


@bare_hosts()
def test_from_bare_hosts_to_vfs(pool: Pool, ctl: Ctl) -> None:
    member, master = pool.other, pool.one
    before = pool.everything()
    plan = ctl(*SETUP, "--plan")
    assert plan.status == 0
    assert [(row[0], row[2]) for row in plan.rows[1:8]] == [
        ("host2", "disable"),
        ("host2", "enable_iommu"),
        ("host2", "load_pciback"),
        ("host2", "set_vf_count"),
        ("host2", "reboot"),
        ("host2", "verify"),
        ("host2", "enable"),
    ]
    assert [row[0] for row in plan.rows[8:]] == ["host1"] * 7  # the master, last
    assert ctl(*SETUP, "--no-input").status == 1  # asks, where nobody is to be asked
    assert pool.everything() == before
    assert not any(boots(pool, host) for host in pool.hosts)

    said = ctl(*SETUP, "--yes")
    assert said.status == 0, said.err
    assert all(is_set_up(pool, host) for host in pool.hosts)
    assert float(boots(pool, member)) < float(boots(pool, master))
    assert keys(pool) == []

    booted = [boots(pool, host) for host in pool.hosts]
    again = ctl(*SETUP, "--yes")
    assert (again.status, again.out.splitlines()[1:]) == (0, [])
    assert "Nothing is to be done: 2 hosts have 4 VFs on eth1 already." in again.err
    assert [boots(pool, host) for host in pool.hosts] == booted


def test_vfs_without_a_reboot(pool: Pool, ctl: Ctl) -> None:
    network = pool.network("eth1")
    said = ctl("setup", "host2", "--network", network, "--count", "6", "--yes")
    assert said.status == 0, said.err
    assert len(pool.vfs(pool.other, pf="eth1")) == 6
    assert len(pool.vfs(pool.one, pf="eth1")) == 4
    assert not any(boots(pool, host) for host in pool.hosts)
    assert keys(pool) == []


def test_timeout_counts_for_each_look_at_the_hosts(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the setup itself too: on a slow machine the one before the first host took 30 s at most."""
    seen, real = [], ClientPool.together

    def together(self: ClientPool, calls: Any, seconds: float = LOOK_SECONDS) -> Any:
        seen.append(seconds)
        return real(self, calls, seconds)

    monkeypatch.setattr(ClientPool, "together", together)
    assert ctl(*SETUP, "host2", "--yes", "--timeout", "456").status == 0
    assert ctl("setup", "host2", "--pf", "eth1", "--count", "5", "--yes", "--timeout", "456").status == 0
    assert len(pool.vfs(pool.other, pf="eth1")) == 5
    assert set(seen) == {456.0}


@bare_hosts(hosts=3)
def test_two_at_a_time_and_the_master_alone(pool: Pool, ctl: Ctl) -> None:
    said = ctl(*SETUP, "--yes", "--parallel", "2")
    assert said.status == 0, said.err
    assert all(is_set_up(pool, host) for host in pool.hosts)
    assert float(boots(pool, pool.one)) == max(float(boots(pool, host)) for host in pool.hosts)


@bare_hosts()
def test_vm_is_moved_away_and_hosts_are_left_as_they_were(pool: Pool, ctl: Ctl) -> None:
    vm = pool.vm("mail")
    pool.start(vm, pool.other)
    said = ctl(*SETUP, "host2", "--yes")
    assert said.status == 0, said.err
    assert pool.record(vm)["resident_on"] == pool.one.ref
    assert is_set_up(pool, pool.other)
    assert not is_set_up(pool, pool.one)


# -- what is turned off meanwhile ---------------------------------------------------------------------------


def turn_ha_on(pool: Pool) -> str:
    sr = pool.box.xapi.database.create("SR", {"name_label": "shared", "shared": True})
    pool.api("pool.enable_ha", [sr], {"timeout": "60"})
    return sr


def ha(pool: Pool) -> Any:
    record = pool.box.xapi.database.record("pool", pool.box.xapi.pool)
    srs = [pool.box.xapi.database.get("VDI", vdi, "SR") for vdi in record["ha_statefiles"]]
    return record["ha_enabled"], srs, record["ha_configuration"]


@bare_hosts()
def test_ha_and_auto_poweron_are_off_meanwhile(pool: Pool, ctl: Ctl) -> None:
    sr = turn_ha_on(pool)
    pool.api("pool.add_to_other_config", pool.box.xapi.pool, "auto_poweron", "true")
    vm = pool.vm("mail")
    pool.start(vm, pool.other)  # HA does not protect it, so with HA on it could not be moved
    seen = []
    real = pool.box.xapi.boot

    def boot(host: str) -> bool:
        seen.append((ha(pool)[0], pool.pool_keys()["auto_poweron"]))
        return real(host)

    pool.box.xapi.boot = boot
    plan = ctl(*SETUP, "--plan")
    assert [row[2] for row in (plan.rows[1], plan.rows[2])] == ["disable_ha", "set"]
    assert [row[2] for row in plan.rows[-2:]] == ["enable_ha", "set"]
    said = ctl(*SETUP, "--yes")
    assert said.status == 0, said.err
    assert seen == [(False, "false"), (False, "false")]
    assert ha(pool) == (True, [sr], {"timeout": "60"})
    assert pool.pool_keys()["auto_poweron"] == "true"
    assert keys(pool) == []


@bare_hosts()
def test_vm_in_the_way_once_ha_is_off(pool: Pool, ctl: Ctl) -> None:
    """With HA on xapi gives HA as the reason why it cannot be moved (and the memory, before 26.17)."""
    turn_ha_on(pool)
    vm = pool.vm("big", memory_static_max=str(1 << 34))
    metrics = pool.box.xapi.database.get("host", pool.one.ref, "metrics")
    pool.start(vm, pool.other)
    pool.box.xapi.database.set("host_metrics", metrics, "memory_total", 1 << 33)
    said = ctl(*SETUP, "host2", "--yes")
    assert said.status == 1
    assert "VM big holds up the reboot of host host2" in said.err
    assert ha(pool)[0]
    assert not any(boots(pool, host) for host in pool.hosts)
    assert keys(pool) == []


# -- hosts in the way ----------------------------------------------------------------------------------------


@bare_hosts(hosts=3)
def test_blockers_come_before_the_first_host(pool: Pool, ctl: Ctl) -> None:
    """All of them, of all hosts; nothing is touched."""
    pool.api("host.disable", pool.other.ref)
    vm = pool.vm("mail", platform={"nomigrate": "true"})
    pool.start(vm, pool.hosts[2])
    before = pool.everything()
    for dry in ("--plan", "--yes"):
        said = ctl(*SETUP, dry)
        assert said.status == 1
        assert "Host host2 is disabled already" in said.err
        assert "VM mail holds up the reboot of host host3" in said.err
    assert pool.everything() == before
    assert not any(pool.call("status", host)["iommu"]["configured"] == "on" for host in pool.hosts)


@bare_hosts(hosts=3)
def test_host_that_does_not_come_back(pool: Pool, ctl: Ctl) -> None:
    lost, other, master = pool.other, pool.hosts[2], pool.one
    turn_ha_on(pool)
    pool.box.broken.add(lost.ref)
    said = ctl(*SETUP, "--yes", "--reboot-minutes", "0")
    assert said.status == 1
    assert "Waited 0 minutes in vain: host host2 reboots" in said.err
    assert "HA stays off" not in said.err  # its master still holds it for live, so HA could be turned on
    assert not any(boots(pool, host) for host in (other, master))
    assert in_service(pool, other)

    # Said again by any other command, and it goes on when the host is up.
    elsewhere = ctl("pfs", "host3")
    assert "host host2 Failed" in elsewhere.err
    assert "sriovctl setup resume" in elsewhere.err
    status = ctl("setup", "status")
    assert [row[:2] for row in status.rows[1:]] == [
        ["host2", "Failed"],
        ["host3", "Waiting"],
        ["host1", "Waiting"],
    ]
    pool.box.broken.clear()
    pool.box.xapi.power_on(lost.ref)
    said = ctl("setup", "resume", "--reboot-minutes", "5")
    assert said.status == 0, said.err
    assert all(is_set_up(pool, host) for host in pool.hosts)
    assert (keys(pool), ha(pool)[0]) == ([], True)


@bare_hosts()
def test_host_that_fails_is_given_back(pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hosts done, some not: exit status 4."""
    calls, grub = pool.box.xapi.calls, pool.one.machine.path("/boot/grub/grub.cfg")
    with open(grub) as file:
        text = file.read()

    def disable(context: Any, host: str) -> None:
        calls_before(context, host)
        if host == pool.one.ref:
            with open(grub, "w") as file:
                file.write("menuentry nothing\n")

    calls_before = calls["host.disable"].function
    with monkeypatch.context() as patch:
        patch.setitem(calls, "host.disable", calls["host.disable"]._replace(function=disable))
        said = ctl(*SETUP, "--yes")
    assert said.status == 4
    assert is_set_up(pool, pool.other)
    assert "(SRIOV_BOOT_CONFIG)" in said.err
    assert in_service(pool, pool.one)
    assert not boots(pool, pool.one)
    with open(grub, "w") as file:
        file.write(text)
    assert ctl("setup", "resume").status == 0
    assert is_set_up(pool, pool.one)


@bare_hosts(hosts=3)
def test_dead_host_others_done_and_ha_that_stays_off(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two may be out of service, so the others are done. xapi turns HA on only when all hosts are live."""
    dead, sr = pool.other, turn_ha_on(pool)
    real = pool.box.xapi.boot

    def boot(host: str) -> bool:
        if host != dead.ref:
            return real(host)
        pool.box.xapi.notice_dead(host)
        return False

    wait = steps.wait_for_boot

    def waited(pool: Any, host: Any, before: float, down: float, seconds: float, tell: Any) -> None:
        wait(pool, host, before, down, 0 if host.uuid == dead.uuid else seconds, tell)

    pool.box.xapi.boot = boot
    monkeypatch.setattr(steps, "wait_for_boot", waited)
    said = ctl(*SETUP, "--yes", "--max-unavailable", "2")
    assert said.status == 4
    assert [is_set_up(pool, host) for host in (pool.one, pool.hosts[2])] == [True, True]
    assert "HA stays off: " in said.err
    assert f"heartbeat-sr-uuids={pool.box.xapi.database.get('SR', sr, 'uuid')}" in said.err
    assert "HA turned off by it" in ctl("vfs", "--no-headers").err

    pool.box.xapi.boot = real
    pool.box.xapi.power_on(dead.ref)
    assert ctl("setup", "stop").status == 0
    assert ha(pool)[0]
    assert keys(pool) == []
