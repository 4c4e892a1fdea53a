"""Running VMs without their VFs: detached, suspended or checkpointed, and how they have VFs again."""

from typing import Any, Callable

import pytest
from interference import meanwhile
from live_moves import (
    THERE,
    UNCONFIRMED,
    VF,
    driven,
    has_left,
    is_whole,
    migrate,
    refused_code,
    running_with_vf,
    suspended,
    suspended_and_resumed,
)
from managed_pool import Pool, other_slot
from sriovlib.errors import SriovError
from sriovlib.machine import xenstore
from sriovlib.pool import guidance

pytestmark = pytest.mark.story

NEXT_VF = "0000:07:10.2"


@pytest.fixture
def web(pool: Pool) -> str:
    return running_with_vf(pool)


def test_detached_vm_that_ends_has_its_vf_at_its_next_start(pool: Pool, web: str) -> None:
    answer = pool.call("detach_vfs", vm=web)
    assert answer["detached"] == [{"request": 1, "vf": VF}]
    assert (driven(web, pool.one), pool.pci(web)) == ([], None)
    pool.conflict("VF_DEGRADED", "VM web", vms=[web], host=pool.one)
    assert pool.call("detach_vfs", vm=web)["changed"] is False
    pool.shut_down(web)
    pool.restarts(web, pool.one, "since a move", VF)
    is_whole(pool, web, pool.one, VF)


def test_detached_vm_without_a_vif_in_the_network_of_its_vf_is_warned_of(pool: Pool, web: str) -> None:
    assert pool.call("detach_vfs", vm=web)["warnings"] == []
    (vif,) = pool.record(web)["VIFs"]
    pool.box.xapi.database.set("VIF", vif, "currently_attached", False)
    for _again in range(2):
        (warning,) = pool.call("detach_vfs", vm=web)["warnings"]
        assert "VM web" in warning
        assert f"has no attached VIF in lan12, the network of its VF {VF}: its guest is without" in warning


def state(pool: Pool, vm: str) -> Any:
    """Of the VF of its only request, as it is listed."""
    (request,) = pool.listed(vm)["requests"]
    return request["vf"], request["state"]


def test_listed_vf_is_detached_while_its_vm_is_without_it(
    pool: Pool, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state(pool, web) == (VF, "in-use")
    pool.call("detach_vfs", vm=web)
    assert state(pool, web) == (VF, "detached")
    with monkeypatch.context() as patch:
        patch.setattr(xenstore, "owners", lambda *_args: None)
        (unknown,) = pool.act("list_assignments", vm=web)["vms"]
    assert [one["state"] for one in unknown["requests"]] == [None]
    suspended_and_resumed(pool, web)
    assert state(pool, web) == (VF, "detached")
    pool.shut_down(web)
    assert state(pool, web) == (VF, "assigned")


def test_detached_vm_that_has_its_vf_by_an_entry_by_hand_is_detached_again(pool: Pool, web: str) -> None:
    """Its entry is written anew, and its guest reboots with it."""
    pool.call("detach_vfs", vm=web)
    pool.set_pci(web, f"0/{VF}")
    pool.reboot(web)
    assert pool.devices(web) == [VF]
    again = pool.call("detach_vfs", vm=web)
    assert (again["changed"], again["detached"]) == (True, [{"request": 1, "vf": VF}])
    assert (driven(web, pool.one), pool.pci(web), state(pool, web)) == ([], None, (VF, "detached"))
    assert pool.call("detach_vfs", vm=web)["changed"] is False
    pool.call("attach_vfs", vm=web)
    is_whole(pool, web, pool.one, VF)


def test_entry_by_hand_of_a_detached_vm_goes_before_it_is_plugged(pool: Pool, web: str) -> None:
    pool.call("detach_vfs", vm=web)
    pool.set_pci(web, f"0/{VF}")
    assert pool.call("detach_vfs", vm=web)["changed"] is True
    assert (driven(web, pool.one), pool.pci(web)) == ([], None)
    assert pool.call("detach_vfs", vm=web)["changed"] is False


def test_detached_vm_with_another_entry_by_hand_is_not_detached_again(pool: Pool, web: str) -> None:
    """xenopsd keeps what that entry names, so nothing could suspend the VM, whatever was answered."""
    pool.call("detach_vfs", vm=web)
    pool.set_pci(web, f"0/{NEXT_VF}")
    with pytest.raises(SriovError) as refused:
        pool.act("detach_vfs", vm=web)
    assert refused.value.code == "SRIOV_CANNOT_MOVE"
    assert f"has {NEXT_VF}, which no request of it is for" in refused.value.message
    assert pool.pci(web) == f"0/{NEXT_VF}"


@pytest.mark.pool(describe=other_slot)
def test_vm_that_got_its_vf_by_its_start_a_moment_ago_is_detached_and_started_again(
    pool: Pool, web: str
) -> None:
    pool.shut_down(web)
    assert pool.restarts(web, pool.other) == [THERE]
    pool.call("detach_vfs", vm=web)
    pool.shut_down(web)
    pool.restarts(web, pool.other, "since a move", THERE)
    is_whole(pool, web, pool.other, THERE)


GUIDANCES = ("pending_guidances", "pending_guidances_recommended", "pending_guidances_full")


@pytest.mark.parametrize("field", GUIDANCES)
def test_restart_of_its_qemu_that_an_update_asked_for_is_not_forgotten_without_a_word(
    pool: Pool, web: str, field: str
) -> None:
    asks = ["restart_device_model", "restart_vm"]
    pool.box.xapi.database.set("VM", pool.ref(web), field, asks)
    disabled = meanwhile("Async.VM.pool_migrate", lambda: pool.api("host.disable", pool.other.ref))
    with disabled, pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert f"(restart_device_model in its {field})" in refused.value.message
    assert pool.record(web)[field] == ["restart_vm"]
    pool.box.xapi.database.set("VM", pool.ref(web), field, asks)
    (warning,) = pool.call("detach_vfs", vm=web)["warnings"]
    assert f"(restart_device_model in its {field})" in warning
    assert pool.call("attach_vfs", vm=web)["warnings"] == []


def test_xapi_that_knows_no_guidances_has_none_to_forget(pool: Pool, web: str) -> None:
    assert guidance.forgotten({}, "web") == []
    pool.box.xapi.database.set("VM", pool.ref(web), "pending_guidances", ["restart_vm"])
    assert pool.call("detach_vfs", vm=web)["warnings"] == []


def test_detached_vm_is_suspended_and_has_its_vf_after_its_next_start(pool: Pool, web: str) -> None:
    pool.call("detach_vfs", vm=web)
    suspended(pool, web)
    pool.conflict("VF_DEGRADED", "suspended", vms=[web])
    assert pool.call("attach_vfs", vm=web)["changed"] is False
    pool.api("VM.resume_on", pool.ref(web), pool.one.ref, False, False)
    assert refused_code(pool, "attach_vfs", web) == "SRIOV_MOVED_WITHOUT_VF"  # Xen made it without an IOMMU
    pool.shut_down(web)
    pool.restarts(web, pool.one, "since a move", VF)
    is_whole(pool, web, pool.one, VF)


def checkpointed(pool: Pool, web: str) -> None:
    pool.api("VM.checkpoint", pool.ref(web), "before the change")


@pytest.mark.pool(describe=other_slot)
@pytest.mark.parametrize("made_anew", [suspended_and_resumed, checkpointed])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_vm_whose_domain_takes_no_device_gets_one_that_does_by_a_move(
    pool: Pool, web: str, made_anew: Callable[[Pool, str], None], elsewhere: bool
) -> None:
    """Also in its place: from one domain of its host to another."""
    target, vf = (pool.other, THERE) if elsewhere else (pool.one, VF)
    pool.call("detach_vfs", vm=web)
    made_anew(pool, web)
    before = xenstore.domains_of(pool.one.machine, web)
    answer = migrate(pool, web, target)
    assert [one["vf"] for one in answer["vfs"]] == [vf]
    is_whole(pool, web, target, vf)
    assert xenstore.domains_of(pool.one.machine, web) != before
    if elsewhere:
        has_left(pool, web, pool.one, VF)


def test_vm_without_its_vfs_that_xapi_does_not_move_stays_as_it_is(pool: Pool, web: str) -> None:
    pool.call("detach_vfs", vm=web)
    suspended_and_resumed(pool, web)
    disabled = meanwhile("Async.VM.pool_migrate", lambda: pool.api("host.disable", pool.other.ref))
    with disabled, pytest.raises(SriovError) as refused:
        pool.act("migrate_vm", vm=web, on=pool.other, **UNCONFIRMED)
    assert refused.value.code == "SRIOV_NOT_MOVED"
    assert "xapi answered HOST_DISABLED" in refused.value.message
    assert f"runs on host {pool.one.name} without its VFs" in refused.value.message
    assert (driven(web, pool.one), driven(web, pool.other)) == ([], [])
