"""What a start makes of keys in the ledger that no VM has: of a template, of a VM that is gone, of nobody. A
copy of such a VM is refused as any clone is, and `list_assignments` says the same of it."""

from typing import List

import pytest
from estate import Estate

pytestmark = pytest.mark.story

VF = "0000:07:10.0"


def of_template(estate: Estate, template: str, name: str) -> str:
    """A VM made from it."""
    vm = str(estate.box.xapi.call("VM.clone", template, name))
    estate.box.xapi.call("VM.set_is_a_template", vm, False)
    return vm


def origins(estate: Estate, vm: str) -> List[str]:
    """Of which VMs `list_assignments` says that this one is a copy, and is not started."""
    (clone,) = [
        one for one in estate.conflicts() if one["code"] == "COPY" and estate.uuid(vm) in one["vm_uuids"]
    ]
    assert "It does not start with them." in clone["hint"]
    copy, *found = clone["vm_uuids"]
    assert copy == estate.uuid(vm)
    return list(found)


def is_refused_as_a_copy(estate: Estate, vm: str, host: int, origin: str) -> None:
    first, message, hint = estate.refused(vm, host)
    assert first.startswith("SRIOV_VF_IN_USE ")
    assert f"VM {origin} has or had a lease of that address, so the entry may be a copy." in message
    assert f"`adopt_vm` with vm_uuid={estate.uuid(vm)} and origin_uuid={origin}" in hint


def test_vms_made_from_a_template_that_has_vfs(estate: Estate) -> None:
    golden = estate.with_vf("golden", vlan="12")
    template = estate.uuid(golden)
    estate.box.xapi.call("VM.set_is_a_template", golden, True)
    one, other = (of_template(estate, golden, name) for name in ("one", "other"))
    for host, vm in enumerate((one, other)):
        is_refused_as_a_copy(estate, vm, host, template)
        assert origins(estate, vm) == [template]

    # What the refusal advises helps.
    for host, vm in enumerate((one, other)):
        estate.call("adopt_vm", vm_uuid=estate.uuid(vm), host_uuid=estate.box.hosts[host].uuid)
        estate.start(vm, host)
        (vf,) = estate.box.devices(vm)
        assert estate.settings(host, vf) == (estate.mac(vm), 12)


def test_a_clone_whose_origin_is_gone(estate: Estate) -> None:
    web = estate.with_vf("web", vlan="12")
    origin = estate.uuid(web)
    clone = str(estate.box.xapi.call("VM.clone", web, "clone"))
    estate.box.xapi.call("VM.destroy", web)
    is_refused_as_a_copy(estate, clone, 1, origin)
    assert origins(estate, clone) == [origin]


def test_a_key_of_a_name_that_nobody_has(estate: Estate) -> None:
    """Somebody's typing error in the pool's other_config."""
    vm = estate.with_vf("web", vlan="12")
    (pool,) = estate.box.xapi.database.refs("pool")
    estate.box.xapi.call("pool.add_to_other_config", pool, 'sriov-vm-"x', "{}")
    estate.start(vm, 1)
    assert estate.settings(1, VF) == (estate.mac(vm), 12)
