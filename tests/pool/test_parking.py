"""A VM has no VFs for a while, for a move of its disks, an export or a backup; its requests stay."""

from typing import Any, Dict

import pytest
from managed_pool import FOREIGN, OTHER_SLOTS, Pool

pytestmark = pytest.mark.story

VF, OF_ETH2 = "0000:07:10.0", "0000:07:10.1"
MAC = "02:16:3e:00:00:05"


def full(pool: Pool) -> None:
    """No VF of either host is free."""
    for host in pool.hosts:
        for vf in pool.vfs(host, state="free"):
            pool.assign(pool.vm("other"), vf=vf["address"], on=host)


def asked(pool: Pool, vm: str) -> Any:
    return [(one["request"], one["by"], one["value"], one["settings"]) for one in pool.requests(vm)]


def test_what_was_parked_comes_back_as_it_was(pool: Pool, web: str) -> None:
    pool.assign(web, network="xenbr1", mac=MAC, vlan="12", on=pool.other)
    pool.assign(web, pf="eth1", trust="on")
    before, pci, codes = asked(pool, web), pool.pci(web), pool.codes()
    seen = pool.everything()
    would = pool.call("park_vm", vm=web, dry_run="true")
    assert (would["changed"], len(would["parked"]), pool.everything()) == (False, 2, seen)
    parked = pool.call("park_vm", vm=web)
    assert (parked["changed"], parked["host_uuid"]) == (True, pool.other.uuid)
    assert [one["request"] for one in parked["parked"]] == [1, 2]
    row = pool.listed(web)
    assert (row["parked"], row["pci"], [one["vf"] for one in row["requests"]]) == (
        True,
        FOREIGN,
        [None, None],
    )
    assert (asked(pool, web), pool.codes()) == (before, codes)
    assert "`reinstate_vfs`" in row["warnings"][0]
    assert len(pool.vfs(pool.other, state="free")) == 4

    assert pool.call("park_vm", vm=web)["changed"] is False
    assert pool.reinstate(web)["host_uuid"] == pool.other.uuid
    assert (asked(pool, web), pool.pci(web), pool.listed(web)["parked"]) == (before, pci, False)


def test_its_mac_goes_from_the_vf_and_to_no_other_vm(pool: Pool) -> None:
    web = pool.with_vf("web", mac=MAC)
    pool.start(web, pool.one)
    pool.refused("park_vm", vm=web).says("SRIOV_VM_NOT_HALTED", "web")
    pool.guest_shuts_down(web)  # runs no hook
    assert pool.settings(pool.one, VF)[0] == MAC
    pool.call("park_vm", vm=web)
    assert pool.settings(pool.one, VF)[0] != MAC
    pool.refused("assign_vf", vm=pool.vm("db"), network="xenbr1", mac=MAC).says("SRIOV_BAD_ARGUMENT", "web")


@pytest.mark.pool(ports=("eth1", "eth2"))
@pytest.mark.parametrize("pci", ["", f"3/{OF_ETH2}"])
def test_it_starts_without_vfs_wherever(pool: Pool, pci: str) -> None:
    """With entries by hand too: no start ends the parking."""
    web = pool.vm("web", pci=pci)
    pool.assign(web, network="xenbr1", on=pool.one)
    pool.call("park_vm", vm=web)
    for host in pool.hosts:
        pool.start(web, host)
        assert pool.devices(web) == ([OF_ETH2] if pci else [])
        assert pool.codes() == []
        pool.shut_down(web)
    row = pool.listed(web)
    assert (row["parked"], row["host_uuid"]) == (True, pool.one.uuid)


def test_a_revert_brings_no_vfs_back(pool: Pool) -> None:
    web = pool.with_vf("web")
    snapshot = pool.snapshot(web)
    pool.call("park_vm", vm=web)
    pool.revert(snapshot)
    pool.conflict("LEASE_STALE", "does not have any more", vms=[web])
    assert pool.restarts(web, pool.one, "parked") == []
    assert pool.listed(web)["parked"]


def test_no_vf_is_free_for_it(pool: Pool) -> None:
    web = pool.with_vf("web")
    before = asked(pool, web)
    pool.call("park_vm", vm=web)
    full(pool)
    pool.refused("reinstate_vfs", vm=web).says("SRIOV_NO_FREE_VF")
    assert (pool.listed(web)["parked"], asked(pool, web)) == (True, before)


def test_a_copy_of_it_is_a_vm_without_vfs(pool: Pool) -> None:
    web = pool.with_vf("web")
    pool.call("park_vm", vm=web)
    copy = pool.clone(web, "copy")
    pool.start(copy, pool.one)
    assert (pool.devices(copy), pool.codes()) == ([], [])
    pool.shut_down(copy)
    pool.destroy(web)
    pool.assign(copy, network="xenbr1")
    assert pool.ledger(web) is None
    pool.start(copy, pool.one)
    assert pool.devices(copy) == [VF]


@OTHER_SLOTS
@pytest.mark.parametrize("host", [0, 1])
def test_a_further_vf_ends_it(pool: Pool, host: int) -> None:
    """Wherever that is to be."""
    web = pool.with_vf("web", mac=MAC)
    pool.call("park_vm", vm=web)
    answer = pool.assign(web, network="xenbr1", on=pool.hosts[host])
    assert "not parked any more" in str(answer["warnings"])
    assert (answer["host_uuid"], pool.mac(web)) == (pool.hosts[host].uuid, MAC)
    pool.start(web, pool.hosts[host])
    assert len(pool.devices(web)) == 2


def test_a_request_is_taken_back_meanwhile(pool: Pool) -> None:
    web = pool.with_vf("web")
    pool.assign(web, pf="eth1")
    pool.call("park_vm", vm=web)
    pool.unassign(web, request="1")
    assert ([one["request"] for one in pool.requests(web)], pool.listed(web)["parked"]) == ([2], True)
    assert [one["request"] for one in pool.reinstate(web)["vfs"]] == [2]
    pool.call("park_vm", vm=web)
    pool.unassign(web)
    assert pool.call("list_assignments", vm=web)["vms"] == []


@pytest.mark.parametrize(("pci", "word"), [("", "nothing"), (FOREIGN, "adopt_vm")])
def test_there_is_nothing_to_park(pool: Pool, pci: str, word: str) -> None:
    pool.refused("park_vm", vm=pool.vm("web", pci=pci)).says("SRIOV_NOT_FOUND", "web", word)


@OTHER_SLOTS
@pytest.mark.parametrize("runs", [False, True])
def test_reinstate_vfs_looks_only(pool: Pool, runs: bool) -> None:
    """What a move would give the VM, while it runs too."""
    web = pool.with_vf("web")
    if runs:
        pool.start(web, pool.one)
    before = pool.everything()
    args: Dict[str, Any] = {"on": pool.other, "dry_run": "true"}
    answer = pool.reinstate(web, **args)
    assert (answer["changed"], answer["pci_changed"], pool.everything()) == (False, True, before)
    (vf,) = answer["vfs"]
    assert (vf["before"], vf["vf"][:8]) == (VF, "0000:09:")
    for one in pool.vfs(pool.other, state="free"):
        pool.assign(pool.vm("other"), vf=one["address"], on=pool.other)
    pool.refused("reinstate_vfs", vm=web, **args).says("SRIOV_NO_FREE_VF")
