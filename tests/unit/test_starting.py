"""Between a start hook's settings and the domain's birth xenstore knows nothing of the VM: its note counts
like a domain for whoever changes VFs, until it is known that the start is over."""

import json
import time
from pathlib import Path
from typing import Any, List

import machine
import pytest
from machine import Machine
from one_host import call, problems, refused
from small_pool import SmallPool
from sriovlib.config import sriov_conf
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.errors import SriovError
from sriovlib.starts import handover, release
from sriovlib.starts.handover import Permitted
from sriovlib.vf import apply, create, restore, start_notes

ETH1, VF, OTHER = "0000:07:00.0", "0000:07:10.0", "0000:07:10.2"
MAC = "82:00:00:00:00:01"
FILE = f"[pf {ETH1}]\nvfs = 4\n[vf {ETH1} 0]\nvlan = 100\n[vf {ETH1} 1]\nvlan = 101\n"


@pytest.fixture
def pool() -> SmallPool:
    """It has the VM `web`, and nothing is being done to it."""
    made = SmallPool()
    made.add_vm("web", f"0/{VF}")
    return made


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    made = machine.default_host(str(tmp_path))
    made.replace_file(sriov_conf.PATH, FILE.encode())
    assert [one.error for one in restore.restore(made)] == [None, None]
    return made


def web(pool: SmallPool) -> str:
    return str(pool.vms["web"]["uuid"])


def lets_through(host: Machine, pool: SmallPool, ago: float = 0) -> None:
    """The start hook of `web` is through with its VF in VLAN 12, and its domain is to come."""
    pool.vms["web"]["current_operations"] = {"OpaqueRef:task": "start"}
    handover.arrive(host, web(pool), Permitted([VF], {VF: {"mac": MAC, "vlan": "12"}}, {}))
    aged(host, pool, ago)


def aged(host: Machine, pool: SmallPool, ago: float) -> None:
    path = f"/run/sriov/start-{web(pool)}"
    note = json.loads(host.read(path))
    host.replace_file(path, json.dumps({**note, "time": time.monotonic() - ago}).encode())


def fails(pool: SmallPool) -> None:
    """Nobody in dom0 is told of it: VM_start that fails runs no hook."""
    pool.vms["web"]["current_operations"] = {}


def settings(host: Machine, address: str = VF) -> Any:
    now = apply.look(host)[address].now
    return now.mac, now.vlan


def errors(host: Machine, pf: str = ETH1) -> List[str]:
    return [result.error for result in restore.restore(host, pf) if result.error]


# -- restore -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ago", [0, 59, 61, 300])
def test_restore_leaves_the_settings_of_a_starting_vm(host: Machine, pool: SmallPool, ago: float) -> None:
    """A start may wait for memory for minutes."""
    lets_through(host, pool, ago)
    host.run(["ip", "link", "set", "dev", "eth1", "vf", "1", "vlan", "99"])
    assert errors(host) == []
    assert settings(host) == (MAC, 12)
    assert settings(host, OTHER) == (NO_MAC, 101)
    assert restore.check(host) == []


def test_restore_makes_no_vf_of_it_anew(host: Machine, pool: SmallPool) -> None:
    lets_through(host, pool)
    host.replace_file(sriov_conf.PATH, FILE.replace("vfs = 4", "vfs = 6").encode())
    (error,) = errors(host)
    assert f"the VM {web(pool)} is being started with it" in error
    assert (settings(host), len(create.present(host, ETH1))) == ((MAC, 12), 4)


def test_a_vm_that_reboots_is_starting(host: Machine, pool: SmallPool) -> None:
    """Its note is as old as its start, and it has no domain for a moment."""
    lets_through(host, pool, ago=90000)
    start_notes.mark_reboot(host, web(pool))
    assert errors(host) == []
    assert settings(host) == (MAC, 12)


def test_a_domain_gets_its_devices_one_by_one(host: Machine, pool: SmallPool) -> None:
    with_two = {VF: {"mac": MAC, "vlan": "12"}, OTHER: {"mac": "82:00:00:00:00:02", "vlan": "13"}}
    handover.arrive(host, web(pool), Permitted([VF, OTHER], with_two, {}))
    host.start_domain(web(pool), "web", [VF])
    assert errors(host) == []
    assert (settings(host), settings(host, OTHER)) == ((MAC, 12), ("82:00:00:00:00:02", 13))


def test_a_note_that_nobody_ends_stops_no_restore_for_ever(host: Machine, pool: SmallPool) -> None:
    lets_through(host, pool, ago=start_notes.STALE_SECONDS + 1)
    host.replace_file(sriov_conf.PATH, FILE.replace("vfs = 4", "vfs = 6").encode())
    assert errors(host) == []
    assert (settings(host), len(create.present(host, ETH1))) == ((NO_MAC, 100), 6)


def test_a_restore_that_has_looked_keeps_the_hook_waiting(
    host: Machine, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it found free is free until it is done."""
    seen: List[str] = []
    real = restore.apply_settings

    def slowly(*args: Any) -> Any:
        with pytest.raises(SriovError) as error:
            handover.arrive(host, web(pool), Permitted([VF], {VF: {"mac": MAC, "vlan": "12"}}, {}))
        seen.append(error.value.code)
        return real(*args)

    monkeypatch.setattr(handover, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(restore, "apply_settings", slowly)
    assert errors(host) == []
    assert (seen, settings(host)) == (["SRIOV_BUSY"], (NO_MAC, 100))


# -- calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [f"0/{VF}", ""])
def test_set_vf_count_makes_no_vf_of_it_anew(host: Machine, pool: SmallPool, entry: str) -> None:
    """Whatever the VM's entries say by now."""
    lets_through(host, pool)
    pool.vms["web"]["other_config"]["pci"] = entry
    before = host.read(sriov_conf.PATH)
    assert refused(host, pool, "set_vf_count", pf="eth1", count="6", force="true").code == "SRIOV_VF_IN_USE"
    assert (settings(host), host.read(sriov_conf.PATH)) == ((MAC, 12), before)


def test_the_same_count_again_leaves_its_settings(host: Machine, pool: SmallPool) -> None:
    lets_through(host, pool)
    assert call(host, pool, "set_vf_count", pf="eth1", count="4")["after"] == 4
    assert settings(host) == (MAC, 12)


def test_configure_vf_leaves_its_settings(host: Machine, pool: SmallPool) -> None:
    lets_through(host, pool)
    pool.vms["web"]["other_config"]["pci"] = ""
    error = refused(host, pool, "configure_vf", vf=VF, vlan="7")
    assert (error.code, settings(host)) == ("SRIOV_VF_IN_USE", (MAC, 12))
    assert error.message == f"{VF}: the VM {web(pool)} is being started with it."


def test_a_start_that_xapi_knows_to_have_failed_stops_nobody(host: Machine, pool: SmallPool) -> None:
    lets_through(host, pool)
    fails(pool)
    call(host, pool, "set_vf_count", pf="eth1", count="4")
    assert settings(host) == (NO_MAC, 100)
    assert start_notes.read(host, web(pool)) is None
    lets_through(host, pool)
    fails(pool)
    pool.vms.clear()
    assert call(host, pool, "configure_vf", vf=VF, vlan="7")["vlan"] == 7
    assert call(host, pool, "set_vf_count", pf="eth1", count="6")["after"] == 6


def test_a_vm_that_is_resumed_is_starting(host: Machine, pool: SmallPool) -> None:
    lets_through(host, pool)
    pool.vms["web"].update(power_state="Suspended", current_operations={"OpaqueRef:task": "resume_on"})
    assert refused(host, pool, "set_vf_count", pf="eth1", count="6").code == "SRIOV_VF_IN_USE"


def test_status_finds_nothing_wrong_with_it(host: Machine, pool: SmallPool) -> None:
    lets_through(host, pool)
    assert problems(host, pool, "DRIFT") == []
    release.leave(host, web(pool), reboots=False)
    assert settings(host) == (NO_MAC, 100)
