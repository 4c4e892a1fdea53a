"""What a start makes of keys in the ledger that no VM has: of a template, of a VM that is gone, of nobody. A
copy of such a VM is refused as any clone is, and `list_assignments` says the same of it."""

import pytest
from box_host import BoxHost
from managed_pool import Pool

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


def of_template(pool: Pool, template: str, name: str) -> str:
    """A VM made from it."""
    vm = pool.clone(template, name)
    pool.set_template(vm, False)
    return vm


def is_refused_as_a_copy(pool: Pool, vm: str, host: BoxHost, origin: str) -> None:
    """`list_assignments` says the same of it."""
    advice = f"`adopt_vm` with vm_uuid={vm} and origin_uuid={origin}"
    pool.start_refused(vm, host).says("SRIOV_VF_IN_USE", origin, "copy", advice)
    (copy,) = [one for one in pool.conflicts() if one["code"] == "COPY" and vm in one["vm_uuids"]]
    assert copy["vm_uuids"] == [vm, origin]


def test_vms_made_from_a_template_that_has_vfs(pool: Pool) -> None:
    template = pool.with_vf("golden", vlan="12")
    pool.set_template(template)
    made = [of_template(pool, template, name) for name in ("one", "other")]
    for host, vm in zip(pool.hosts, made):
        is_refused_as_a_copy(pool, vm, host, template)

    # What the refusal advises helps.
    for host, vm in zip(pool.hosts, made):
        pool.adopt(vm, on=host)
        pool.start(vm, host)
        (vf,) = pool.devices(vm)
        assert pool.settings(host, vf) == (pool.mac(vm), 12)


def test_a_clone_whose_origin_is_gone(pool: Pool) -> None:
    web = pool.with_vf("web", vlan="12")
    clone = pool.clone(web, "clone")
    pool.destroy(web)
    is_refused_as_a_copy(pool, clone, pool.other, web)


def test_a_key_of_a_name_that_nobody_has(pool: Pool) -> None:
    """Somebody's typing error in the pool's other_config."""
    vm = pool.with_vf("web", vlan="12")
    pool.set_ledger('"x', "{}")
    pool.start(vm, pool.other)
    assert pool.settings(pool.other, VF) == (pool.mac(vm), 12)
