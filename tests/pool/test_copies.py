"""Clones, and VMs that were reverted: VFs, entries and `platform:nomigrate` of their own, whatever the copies
say."""

import pytest
from administrator import Administrator

pytestmark = pytest.mark.story

VF, NEXT_VF = "0000:07:10.0", "0000:07:10.2"


# -- clones ------------------------------------------------------------------------------------------


def test_a_clone_may_migrate_again_when_it_has_given_its_vfs_back(pool: Administrator) -> None:
    """Its nomigrate came with the copy, but it was ours."""
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    copy = pool.clone(web, "web copy")
    pool.call("adopt_vm", vm_uuid=copy)
    assert pool.nomigrate(copy) == "true"
    pool.call("unassign_vf", vm_uuid=copy, all="true")
    assert (pool.nomigrate(copy), pool.pci(copy)) == (None, None)
    assert pool.nomigrate(web) == "true"


def test_a_clone_keeps_the_nomigrate_that_its_origin_had_before(pool: Administrator) -> None:
    web = pool.vm("web", platform={"nomigrate": "true"})
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    for name, function, args in (("one", "adopt_vm", {}), ("other", "assign_vf", {"pf": "eth1"})):
        copy = pool.clone(web, name)
        pool.call(function, vm_uuid=copy, **args)
        pool.call("unassign_vf", vm_uuid=copy, all="true")
        assert (pool.nomigrate(copy), pool.pci(copy)) == ("true", None)


def test_assign_vf_to_a_clone_takes_its_copied_entries_out(pool: Administrator) -> None:
    """It was never adopted: what it asks for now is all that it gets."""
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, pf="eth1", vlan="12")
    copy = pool.clone(web, "web copy")
    got = pool.call("assign_vf", vm_uuid=copy, pf="eth1", vlan="13")
    assert got["vf"] != VF
    assert pool.pci(copy) == f"0/{got['vf']}"
    assert pool.conflicts() == []
    pool.call("unassign_vf", vm_uuid=copy, all="true")
    assert (pool.nomigrate(copy), pool.pci(copy), pool.pci(web)) == (None, None, f"0/{VF}")


def test_a_clone_whose_origin_has_given_its_vfs_back(pool: Administrator) -> None:
    """Nobody has what its entries name, so it would start with it, and without the VLAN: that is said. So it
    is of entries by hand that look the same."""
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, pf="eth1", vlan="12")
    copy = pool.clone(web, "web copy")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    clone = pool.conflict("COPY")
    assert clone["vm_uuids"] == [copy, web]
    assert f"xe vm-param-remove uuid={copy}" in clone["hint"]
    host = pool.box.hosts[0].uuid
    pool.call("adopt_vm", vm_uuid=copy, origin_uuid="none", host_uuid=host)
    assert pool.conflicts() == []


def test_a_golden_image_becomes_a_template(pool: Administrator) -> None:
    """What it was lent can be taken back, and what is made of it is a clone."""
    golden = pool.vm("golden")
    pool.call("assign_vf", vm_uuid=golden, pf="eth1")
    pool.api("VM.set_is_a_template", pool.ref(golden), True)
    copy = pool.clone(golden, "from golden")
    pool.api("VM.set_is_a_template", pool.ref(copy), False)
    assert pool.codes() == ["REQUEST_STALE", "COPY"]
    assert pool.call("unassign_vf", vm_uuid=golden, all="true")["unassigned"] == [{"request": 1, "vf": VF}]
    assert (pool.pci(golden), pool.nomigrate(golden)) == (None, None)


# -- reverts -----------------------------------------------------------------------------------------


def test_a_vm_that_was_reverted_to_when_it_had_vfs(pool: Administrator) -> None:
    """They are back in its entries, and so is nomigrate, which was ours then."""
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    snapshot = pool.api("VM.snapshot", pool.ref(web), "with a VF")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    pool.api("VM.revert", snapshot)
    assert (pool.nomigrate(web), pool.pci(web)) == ("true", f"0/{VF}")
    pool.call("reinstate_vfs", vm_uuid=web)
    assert (pool.nomigrate(web), pool.pci(web)) == (None, None)

    pool.api("VM.revert", snapshot)
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    assert (pool.nomigrate(web), pool.pci(web)) == (None, None)


def test_a_revert_does_not_make_an_owners_nomigrate_ours(pool: Administrator) -> None:
    web = pool.vm("web", platform={"nomigrate": "true"})
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    snapshot = pool.api("VM.snapshot", pool.ref(web), "with a VF")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    pool.api("VM.revert", snapshot)
    pool.call("reinstate_vfs", vm_uuid=web)
    assert (pool.nomigrate(web), pool.pci(web)) == ("true", None)


def test_a_vm_that_was_reverted_to_before_it_had_any_device(pool: Administrator) -> None:
    """Entries that somebody else had made meanwhile are not brought back: the revert took them out."""
    web = pool.vm("web")
    snapshot = pool.api("VM.snapshot", pool.ref(web), "clean")
    pool.set_pci(web, "0/0000:00:1f.3")
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    assert pool.pci(web) == f"0/0000:00:1f.3,1/{VF}"
    pool.api("VM.revert", snapshot)
    assert pool.codes() == ["LEASE_STALE"]
    pool.call("reinstate_vfs", vm_uuid=web)
    assert (pool.nomigrate(web), pool.pci(web)) == ("true", f"0/{VF}")


def test_the_entries_of_another_lease_are_seen_and_written_anew(pool: Administrator) -> None:
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, vf=VF)
    snapshot = pool.api("VM.snapshot", pool.ref(web), "with its first VF")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    pool.call("assign_vf", vm_uuid=web, vf=NEXT_VF)
    pool.api("VM.revert", snapshot)
    assert pool.conflict("LEASE_STALE")["vm_uuids"] == [web]
    assert pool.call("reinstate_vfs", vm_uuid=web)["pci_changed"]
    assert pool.pci(web) == f"0/{NEXT_VF}"


def test_a_reverted_vm_may_have_the_vf_of_its_old_entry(pool: Administrator) -> None:
    """Three of four VFs are another VM's, and only its own old entry names the fourth."""
    web, other = pool.vm("web"), pool.vm("other")
    home = {"pf": "eth1", "host_uuid": pool.box.hosts[0].uuid}
    pool.call("assign_vf", vm_uuid=web, **home)
    snapshot = pool.api("VM.snapshot", pool.ref(web), "with a VF")
    pool.call("unassign_vf", vm_uuid=web, all="true")
    pool.api("VM.revert", snapshot)
    for _ in range(3):
        pool.call("assign_vf", vm_uuid=other, **home)
    got = pool.call("assign_vf", vm_uuid=web, **home)
    assert pool.pci(web) == f"0/{got['vf']}"


def test_taking_all_out_of_a_clone_as_the_hint_says_lets_it_migrate(pool: Administrator) -> None:
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, pf="eth1")
    clone = pool.clone(web, "copy")
    hint = pool.conflict("COPY")["hint"]
    for param, key in (("other-config", "pci"), ("platform", "nomigrate")):
        assert f"`xe vm-param-remove uuid={clone} param-name={param} param-key={key}`" in hint
        pool.api(f"VM.remove_from_{param.replace('-', '_')}", pool.ref(clone), key)
    assert pool.conflicts() == []
    assert (pool.pci(clone), pool.nomigrate(clone)) == (None, None)


def test_a_clone_of_a_vm_whose_key_cannot_be_read_does_not_get_its_vf(pool: Administrator) -> None:
    web = pool.vm("web")
    pool.call("assign_vf", vm_uuid=web, vf=VF, host_uuid=pool.box.hosts[0].uuid)
    clone = pool.clone(web, "copy")
    pool.set_ledger(web, "{")
    code, message, hint = pool.refused("adopt_vm", vm_uuid=clone, host_uuid=pool.box.hosts[0].uuid)
    assert code == "SRIOV_VF_IN_USE"
    assert f"may be leased to VM web ({web})" in message
    assert f"param-key=sriov-vm-{web}" in hint


def test_a_name_of_pages_is_cut_and_has_one_line(pool: Administrator) -> None:
    long = pool.vm("we\nb" * 5000)
    pool.call("assign_vf", vm_uuid=long, pf="eth1")
    pool.clone(long, "copy")
    message = pool.conflict("COPY")["message"]
    assert "we bwe b" in message
    assert len(message) < 500
