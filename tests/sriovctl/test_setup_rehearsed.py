"""setup asks the plugin what it would say before anything is touched."""

import pytest
from managed_pool import Pool
from setup_stories import Ctl, boots, igb_by_place, in_service, keys, with_igb

pytestmark = pytest.mark.story


def test_refusals_come_before_the_first_host(pool: Pool, ctl: Ctl) -> None:
    """A port whose VFs a VM has cannot have another number of them."""
    vm = pool.with_vf("web", pool.one)
    pool.start(vm, pool.one)
    before = pool.everything()
    for word in ("--plan", "--yes"):
        said = ctl("setup", "--pf", "eth1", "--count", "6", word)
        assert said.status == 1
        assert "(SRIOV_VF_IN_USE)" in said.err
        assert "Host host1: 0000:07:00.0 (eth1)" in said.err
        assert "web" in said.err
        assert "force" not in said.err  # which neither changes this, nor can be given to a setup
    assert pool.everything() == before
    assert len(pool.vfs(pool.other)) == 4
    assert keys(pool) == []


def test_refusal_that_another_command_gets_past_names_that_command(pool: Pool, ctl: Ctl) -> None:
    pool.with_vf("web", pool.one)
    said = ctl("setup", "--pf", "eth1", "--count", "6", "--plan")
    assert said.status == 1
    assert "VFs are assigned to VMs that do not run here: web" in said.err
    assert "`list_assignments` says how to take an entry by hand out" in said.err
    assert "call set_vf_count with force=true" in said.err
    assert "set_vf_count is `sriovctl count HOST/PORT N`, force=true is `--force`" in said.err


@pytest.mark.pool(describe=with_igb, ports=())
def test_reboot_for_a_driver_that_makes_its_vfs_when_it_is_loaded(pool: Pool, ctl: Ctl) -> None:
    igb_by_place(pool.other)
    wanted = ["setup", "host2", "--pf", "eth3", "--count", "2"]
    plan = ctl(*wanted, "--plan", "-o", "json")
    assert [(row["action"], row["object"]) for row in plan.json] == [
        ("disable", "host2"),
        ("set_vf_count", "eth3"),
        ("reboot", "host2"),
        ("verify", "host2"),
        ("enable", "host2"),
    ]
    assert plan.json[2]["why"] == "a driver makes its VFs at a boot"
    said = ctl(*wanted, "--yes")
    assert said.status == 0, said.err
    assert len(pool.vfs(pool.other, pf="eth3")) == 2
    assert boots(pool, pool.other)
    assert in_service(pool, pool.other)
    assert ctl(*wanted).status == 0  # nothing to do
