"""dry_run: a call tells what it would do and does nothing; the same call without it then does just that."""

from typing import Any, Dict

import one_host
import pytest
from managed_pool import OTHER_SLOTS, Pool
from schema import CLASSES

pytestmark = [pytest.mark.story, pytest.mark.pool(hooks=False)]

VF = "0000:07:10.0"
PASSING = ("session", "task")  # of the caller


def whole(pool: Pool) -> Any:
    """The pool's database, and each host with all its files, its kernel and its cards."""
    database = pool.box.xapi.database
    rows = {
        name: database.records(name, database.refs(name)) for name in sorted({*CLASSES}.difference(PASSING))
    }
    return rows, [one_host.tree(host.machine) for host in pool.hosts]


def announced(pool: Pool, function: str, host: Any = None, changes: bool = True, **args: Any) -> Any:
    """The answer of the call, announced by a dry run that did nothing."""
    before = whole(pool)
    told = pool.call(function, host, dry_run="true", **args)
    assert whole(pool) == before
    assert (told.pop("changed"), told.pop("would_change")) == (False, changes)
    done = pool.call(function, host, **args)
    assert (done.pop("changed"), whole(pool) != before) == (changes, changes)
    assert done == told
    return done


@OTHER_SLOTS
def test_a_vms_vfs_are_announced(pool: Pool) -> None:
    web, network = pool.vm("web"), pool.network("eth1")
    gone = pool.with_vf("gone")
    pool.destroy(gone)
    assert pool.key_names(gone)  # garbage, which only the real call collects

    first = announced(pool, "assign_vf", vm=web, network=network, vlan="12", on=pool.one)
    assert (first["request"], first["portable"], len(first["warnings"])) == (1, False, 1)
    assert pool.key_names(gone) == []
    assert announced(pool, "assign_vf", vm=web, pf="eth1")["request"] == 2
    there = announced(pool, "reinstate_vfs", vm=web, on=pool.one, changes=False)
    assert [vf["vf"] for vf in there["vfs"]] == [VF, "0000:07:10.2"]
    announced(pool, "unassign_vf", vm=web, request="2")
    moved = announced(pool, "reinstate_vfs", vm=web, on=pool.other)
    assert moved["vfs"] == [{"request": 1, "vf": "0000:09:10.0", "before": VF}]
    announced(pool, "park_vm", vm=web)
    announced(pool, "park_vm", vm=web, changes=False)
    announced(pool, "reinstate_vfs", vm=web)
    assert announced(pool, "unassign_vf", vm=web, all="true")["requests"] == []
    announced(pool, "unassign_vf", vm=web, all="true", changes=False)


def test_a_cut_off_assignment_is_announced_as_it_is_completed(pool: Pool) -> None:
    web = pool.with_vf("web")
    pool.api("pool.add_to_other_config", pool.api("pool.get_all")[0], *_cut_off(pool, web))
    assert announced(pool, "assign_vf", vm=web, network=pool.network("eth1"))["request"] == 1


def _cut_off(pool: Pool, vm: str) -> Any:
    """The VM's entries are not written yet, and the key before its last is still there."""
    pool.set_pci(vm, None)
    (name,) = pool.key_names(vm)
    stem, serial = name.rsplit(".", 1)
    return f"{stem}.{int(serial) - 1}", '{"requests":[],"lease":null,"next":1}'


def test_vfs_of_a_port_and_their_settings_are_announced(pool: Pool) -> None:
    pool.vfs()  # any look at VFs keeps the NUMA nodes that Xen told, until the next boot
    made = announced(pool, "set_vf_count", pf="eth2", count="4")
    assert (made["before"], made["after"], made["toolstack_restart_required"]) == (0, 4, True)
    announced(pool, "set_vf_count", pf="eth2", count="4", changes=False)
    vf = "0000:07:10.1"
    set_now = announced(
        pool, "configure_vf", vf=vf, mac="02:00:00:00:00:05", vlan="12", max_tx_rate="100", trust="on"
    )
    assert (set_now["vlan"], set_now["max_tx_rate"], set_now["trust"]) == (12, 100, True)
    announced(pool, "configure_vf", vf=vf, vlan="12", changes=False)
    announced(pool, "configure_vf", vf=vf, mac="default", vlan="0", max_tx_rate="default")
    assert announced(pool, "set_vf_count", pf="eth2", count="2")["after"] == 2
    assert announced(pool, "set_vf_count", pf="eth2", count="0")["after"] == 0


def test_halted_vms_that_lose_their_vfs_are_named_before(pool: Pool) -> None:
    pool.with_vf("web")
    pool.with_vf("mail")
    warnings = announced(pool, "set_vf_count", pf="eth1", count="1", force="true")["warnings"]
    assert "lose VFs: mail (0000:07:10.2)" in warnings[0]
    assert "web" not in str(warnings)


@pytest.mark.parametrize(
    ("function", "args", "code"),
    [
        ("assign_vf", {"vm": "runs", "pf": "eth1"}, "SRIOV_VM_NOT_HALTED"),
        ("assign_vf", {"vm": "new", "pf": "eth9"}, "SRIOV_NOT_FOUND"),
        ("assign_vf", {"vm": "halted", "vf": VF}, "SRIOV_NO_FREE_VF"),
        ("assign_vf", {"vm": "new", "pf": "eth0"}, "SRIOV_MANAGEMENT_INTERFACE"),
        ("unassign_vf", {"vm": "runs", "all": "true"}, "SRIOV_VM_NOT_HALTED"),
        ("unassign_vf", {"vm": "halted", "request": "7"}, "SRIOV_NOT_FOUND"),
        ("park_vm", {"vm": "new"}, "SRIOV_NOT_FOUND"),
        ("set_vf_count", {"pf": "eth1", "count": "2", "force": "true"}, "SRIOV_VF_IN_USE"),
        ("set_vf_count", {"pf": "eth1", "count": "99"}, "SRIOV_BAD_ARGUMENT"),
        ("set_vf_count", {"pf": "eth0", "count": "1"}, "SRIOV_MANAGEMENT_INTERFACE"),
        ("configure_vf", {"vf": VF, "vlan": "3"}, "SRIOV_VF_IN_USE"),
        ("configure_vf", {"vf": "0000:07:10.4", "mac": "02:00:00:00:00:07"}, "SRIOV_BAD_ARGUMENT"),
    ],
)
def test_what_is_refused_is_refused_before(
    pool: Pool, function: str, args: Dict[str, str], code: str
) -> None:
    vms = {"runs": pool.with_vf("runs"), "halted": pool.with_vf("halted"), "new": pool.vm("new")}
    pool.start(vms["runs"], pool.one)
    pool.call("configure_vf", vf="0000:07:10.6", mac="02:00:00:00:00:07")
    args = {name: vms[text] if name == "vm" else text for name, text in args.items()}
    before = whole(pool)
    told = pool.refused(function, dry_run="true", **args)
    assert whole(pool) == before
    assert (told.code, pool.refused(function, **args)) == (code, told)
