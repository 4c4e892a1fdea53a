"""Clones, and VMs that were reverted: VFs and entries of their own, whatever the copies say."""

import pytest
from managed_pool import Pool

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


# -- clones ------------------------------------------------------------------------------------------


def test_vms_made_from_a_template_start_when_they_were_given_vfs_of_their_own(pool: Pool) -> None:
    template = pool.with_vf("golden", vlan="12")
    pool.set_template(template)
    made = [pool.clone(template, name) for name in ("one", "other")]
    for host, vm in zip(pool.hosts, made):
        pool.set_template(vm, False)
        advice = f"`adopt_vm` with vm_uuid={vm} and origin_uuid={template}"
        pool.start_refused(vm, host).says("SRIOV_VF_IN_USE", template, "copy", advice)
        pool.conflict_of("COPY", vm, template)
    for host, vm in zip(pool.hosts, made):
        pool.adopt(vm, on=host)
        pool.start(vm, host)
        (vf,) = pool.devices(vm)
        assert pool.settings(host, vf) == (pool.mac(vm), 12)
    pool.conflict("REQUEST_STALE", f"vm_uuid={template} and all=true", vms=[template])
    assert pool.unassign(template)["unassigned"] == [{"request": 1, "vf": VF}]
    assert (pool.pci(template), pool.conflicts()) == (None, [])


def test_assign_vf_to_a_clone_takes_its_copied_entries_out(pool: Pool) -> None:
    """It was never adopted: what it asks for now is all that it gets."""
    web = pool.with_vf("web", pf="eth1", vlan="12")
    copy = pool.clone(web, "web copy")
    got = pool.assign(copy, pf="eth1", vlan="13")
    assert got["vf"] != VF
    assert pool.pci(copy) == f"0/{got['vf']}"
    assert pool.conflicts() == []
    pool.unassign(copy)
    assert (pool.pci(copy), pool.pci(web)) == (None, f"0/{VF}")


# -- reverts -----------------------------------------------------------------------------------------


def test_a_reverted_vm_may_have_the_vf_of_its_old_entry(pool: Pool) -> None:
    """Three of four VFs are another VM's, and only its own old entry names the fourth."""
    web, other = pool.with_vf("web"), pool.vm("other")
    snapshot = pool.snapshot(web)
    pool.unassign(web)
    pool.revert(snapshot)
    for _ in range(3):
        pool.assign(other, pf="eth1", on=pool.one)
    got = pool.assign(web, pf="eth1", on=pool.one)
    assert pool.pci(web) == f"0/{got['vf']}"


def test_a_clone_of_a_vm_whose_key_cannot_be_read_does_not_get_its_vf(pool: Pool) -> None:
    web = pool.with_vf("web", vf=VF)
    clone = pool.clone(web, "copy")
    pool.set_ledger(web, "{")
    pool.refused("adopt_vm", vm=clone, on=pool.one).says(
        "SRIOV_VF_IN_USE", f"web ({web})", f"param-key=sriov-vm-{web}"
    )
