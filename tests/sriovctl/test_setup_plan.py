"""What a setup does on a host, and what is in its way, from what was seen of it."""

from typing import Any, Dict, List, Optional

import pytest
from sriovctl.errors import Failed
from sriovctl.pool import Host
from sriovctl.rollout import plan as plans
from sriovctl.rollout import plan_text
from sriovctl.rollout.plan import RELOCATE, SHUTDOWN, STOP, Guest, HostPlan, Seen, Wish

HOST = Host("OpaqueRef:1", "uuid-1", "host1", "192.168.1.11", True, True, False)
WISH = Wish(("eth1",), (), 4)
ADDRESS = "0000:07:00.0"


def port(**changes: Any) -> Dict[str, Any]:
    usual = {
        "address": ADDRESS,
        "interface": "eth1",
        "interfaces": ["eth1"],
        "networks": [],
        "num_vfs": 4,
        "configured_vfs": 4,
        "total_vfs": 63,
        "management": False,
        "managed_by": None,
        "problems": [],
    }
    return {**usual, **changes}


def seen(
    ports: Optional[List[Dict[str, Any]]] = None,
    active: Optional[bool] = True,
    option: str = "iommu=1",
    loaded: bool = True,
    **changes: Any,
) -> Seen:
    """A host that is as it is wished, but for that."""
    status: Dict[str, Any] = {
        "iommu": {"active": active, "configured": "on" if option == "iommu=1" else "off"},
        "pciback": {"loaded": loaded, "persistent": loaded},
        "reboot_required": changes.pop("reboot_required", False),
        "problems": changes.pop("problems", []),
        "pfs": changes.pop("drift", []),
    }
    iommu = {"xen_option": option, "xen_option_after": "iommu=1", "problems": []}
    usual = Seen(HOST, status, [port()] if ports is None else ports, iommu, [], {}, {})
    return usual._replace(**changes)


def plan(of: Seen, pinned: str = STOP, ha: bool = False, **changes: Any) -> HostPlan:
    return plans.of_host(of, changes.get("wish", WISH), pinned, ha, changes.get("ours", False))


def acts(of: Seen, **changes: Any) -> List[str]:
    return [f"{act.function} {act.object} {act.after}" for act in plan(of, **changes).acts]


def codes(of: Seen, *args: Any, **changes: Any) -> List[str]:
    return [blocker.code for blocker in plan(of, *args, **changes).blockers]


def vm(name: str, *blocked: str, stops: bool = True, protected: bool = False) -> Guest:
    return Guest(f"uuid-{name}", name, blocked, stops, protected)


def test_nothing() -> None:
    assert plan(seen()).nothing
    assert plan_text.rows(plan(seen()), STOP) == []


def test_bare_host() -> None:
    bare = seen([port(num_vfs=0, configured_vfs=None)], active=False, option="iommu=0", loaded=False)
    assert acts(bare) == [
        "enable_iommu xen iommu=1",
        "load_pciback pciback loaded,boot",
        "set_vf_count eth1 4",
    ]
    assert plan(bare).reboot == "the IOMMU is off"
    assert codes(bare) == []


def test_vfs_alone_take_no_reboot() -> None:
    fewer = seen([port(num_vfs=2, configured_vfs=2)])
    assert (acts(fewer), plan(fewer).reboot) == (["set_vf_count eth1 4"], "")
    (act,) = plan(fewer).acts
    assert (act.before, act.args) == ("2", {"pf": ADDRESS, "count": "4"})


@pytest.mark.parametrize("configured", [None, 0, 2])
def test_vfs_that_the_next_boot_would_not_make(configured: Optional[int]) -> None:
    assert acts(seen([port(configured_vfs=configured)])) == ["set_vf_count eth1 4"]


def test_reboots() -> None:
    by_driver = seen([port(num_vfs=0)], rehearsed={ADDRESS: {"reboot_required": True}})
    assert plan(by_driver).reboot == "a driver makes its VFs at a boot"
    assert plan(seen(reboot_required=True)).reboot == "a change waits for it"
    # Somebody has turned the IOMMU off for the next boot: it is turned on again, and that is all.
    assert plan(seen(option="iommu=0", reboot_required=True)).reboot == ""
    drift = [{"desired": 4, "actual": 0}]
    assert plan(seen(option="iommu=0", reboot_required=True, drift=drift)).reboot == "a change waits for it"


# -- ports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"management": True}, "MANAGEMENT_INTERFACE"),
        ({"management": None}, "MANAGEMENT_INTERFACE"),  # unknown is not "no"
        ({"managed_by": "xapi"}, "MANAGED_BY_XAPI"),
        ({"total_vfs": 3}, "TOO_MANY_VFS"),
        (
            {"problems": [{"code": "SRIOV_OFF_IN_FIRMWARE", "message": "Off.", "hint": "On."}]},
            "SRIOV_OFF_IN_FIRMWARE",
        ),
    ],
)
def test_ports_that_cannot_have_vfs(changes: Dict[str, Any], code: str) -> None:
    assert codes(seen([port(num_vfs=0, **changes)])) == [code]
    assert acts(seen([port(num_vfs=0, **changes)])) == []


def test_ports_that_are_not_there() -> None:
    (blocker,) = plan(seen(), wish=Wish(("eth7",), (), 4)).blockers
    assert (blocker.code, "eth1" in blocker.hint, "host1" in blocker.message) == ("NO_SUCH_PORT", True, True)
    assert codes(seen([])) == ["NO_SUCH_PORT"]
    assert codes(seen(), wish=Wish((), ("uuid-net",), 4)) == ["NO_SUCH_PORT"]
    unknown = [port(num_vfs=0, networks=["uuid-net"]), port(address="0000:07:00.1", networks=None)]
    assert codes(seen(unknown), wish=Wish((), ("uuid-net",), 4)) == ["NETWORKS_UNKNOWN"]


def test_ports_of_a_network_and_by_address() -> None:
    other = {"address": "0000:07:00.1", "interface": "eth2", "interfaces": ["eth2"]}
    two = [port(num_vfs=0, networks=["uuid-net"]), port(num_vfs=0, networks=["x", "uuid-net"], **other)]
    bonded = seen(two)
    both = ["set_vf_count eth1 4", "set_vf_count eth2 4"]
    assert acts(bonded, wish=Wish((), ("uuid-net",), 4)) == both
    assert acts(bonded, wish=Wish(("eth1",), ("uuid-net",), 4)) == both  # each once
    assert acts(seen(two), wish=Wish(("0000:07:00.1",), (), 4)) == both[1:]


def test_refusal_of_a_rehearsal() -> None:
    in_use = Failed("SRIOV_VF_IN_USE", "A VM has it.", "Shut it down.")
    assert codes(seen([port(num_vfs=2)], rehearsed={ADDRESS: in_use})) == ["SRIOV_VF_IN_USE"]


# -- hosts and VMs in the way ------------------------------------------------------------------------------

PINNED = vm("web", "VM_HAS_PCI_ATTACHED", "OpaqueRef:2")


def test_vms_that_cannot_be_moved() -> None:
    waits = seen(guests=[PINNED, vm("mail")], reboot_required=True)
    (blocker,) = plan(waits).blockers
    assert (blocker.code, "web" in blocker.message) == ("VM_CANNOT_MOVE", True)
    for pinned in (SHUTDOWN, RELOCATE):
        found = plan(waits, pinned)
        assert (found.blockers, found.stop, found.move) == ([], [PINNED], [vm("mail")])
    assert codes(seen(guests=[PINNED])) == []  # without a reboot nobody is in the way


def test_vm_that_cannot_be_shut_down_either() -> None:
    stubborn = seen(guests=[vm("web", "VM_LACKS_FEATURE", stops=False)], reboot_required=True)
    assert codes(stubborn, SHUTDOWN) == codes(stubborn, RELOCATE) == ["VM_CANNOT_STOP"]


@pytest.mark.parametrize("reason", ["HOST_EVACUATE_VM_NOT_HA_PROTECTED", "HOST_NOT_ENOUGH_FREE_MEMORY"])
def test_reasons_that_go_with_ha(reason: str) -> None:
    waits = seen(guests=[vm("web", reason)], reboot_required=True)
    assert codes(waits, ha=True) == []
    assert codes(waits, ha=False) == ["VM_CANNOT_MOVE"]
    protected = seen(guests=[vm("web", reason, protected=True)], reboot_required=True)
    assert codes(protected, ha=True) == ["VM_CANNOT_MOVE"]


def test_hosts_in_somebody_elses_hands() -> None:
    waits = seen(host=HOST._replace(enabled=False), reboot_required=True)
    assert codes(waits) == ["HOST_DISABLED"]
    assert codes(waits, ours=True) == []
    assert codes(seen(host=HOST._replace(enabled=False))) == []
    assert codes(seen(operations={"OpaqueRef:3": "evacuate"}, reboot_required=True)) == ["HOST_BUSY"]


@pytest.mark.parametrize("code", ["NO_FIRMWARE_IOMMU", "NO_XEN"])
def test_hosts_that_a_reboot_does_not_help(code: str) -> None:
    problem = {"code": code, "message": "So it is.", "hint": "Do that."}
    assert codes(seen(active=False, problems=[problem])) == [code]


# -- order and rows ----------------------------------------------------------------------------------------


def test_master_last() -> None:
    hosts = [HOST._replace(name=name, uuid=name, master=name == "a") for name in ("b", "a", "c")]
    found = plans.order([plan(seen(host=host)) for host in hosts])
    assert [one.host.name for one in found] == ["b", "c", "a"]


def test_rows_are_what_is_done() -> None:
    waits = seen([port(num_vfs=0)], guests=[PINNED, vm("mail")], reboot_required=True)

    def steps(pinned: str) -> List[str]:
        return [f"{row['action']} {row['object']}" for row in plan_text.rows(plan(waits, pinned), pinned)]

    common = ["migrate mail", "set_vf_count eth1", "reboot host1", "verify host1", "enable host1"]
    assert steps(SHUTDOWN) == ["disable host1", "shutdown web", *common, "start web"]
    assert steps(RELOCATE) == ["relocate web", "disable host1", *common]
