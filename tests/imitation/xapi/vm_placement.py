"""Where a VM may start, and where it starts if nobody says so.

Imitates vm-life.json: nothing looks at other_config:pci. xapi's own choice among the
hosts that will do is partly random (xen-api: ocaml/xapi/xapi_vm_placement.ml); here it is the affinity's
host, else the one with the most memory free, then with the fewest VMs, then the first.
"""

from typing import TYPE_CHECKING, List, Mapping, Sequence, Set, Tuple

from values import Failure
from vm_rules import HALTED, RUNNING

if TYPE_CHECKING:
    from xapi import Xapi


def check(xapi: "Xapi", vm: str, host: str) -> None:
    """Raises the reason why the VM cannot boot there."""
    database = xapi.database
    if not database.exists("host", host) or not xapi.is_live(host):
        raise Failure("HOST_NOT_LIVE")
    if not database.get("host", host, "enabled"):
        raise Failure("HOST_DISABLED", host)
    for network in (database.get("VIF", vif, "network") for vif in database.get("VM", vm, "VIFs")):
        if database.exists("network", network) and not _is_network_there(xapi, network, host):
            raise Failure("VM_REQUIRES_NETWORK", vm, network)
    needed = int(database.get("VM", vm, "memory_static_max"))
    if _is_known(xapi, host) and needed > _free_memory(xapi, host):
        raise Failure("HOST_NOT_ENOUGH_FREE_MEMORY", str(needed), str(_free_memory(xapi, host)))


def _is_network_there(xapi: "Xapi", network: str, host: str) -> bool:
    """One that has ports is where it has one; one that has none is where VMs run that are on it (xen-api:
    ocaml/xapi/xapi_network_attach_helpers.ml, assert_can_see_named_networks)."""
    database = xapi.database
    ports = database.find("PIF", network=network)
    if ports:
        return any(database.get("PIF", port, "host") == host for port in ports)
    vms = {database.get("VIF", vif, "VM") for vif in database.find("VIF", network=network)}
    running = [vm for vm in vms if database.get("VM", vm, "power_state") == RUNNING]
    hosts = {database.get("VM", vm, "resident_on") for vm in running}
    return not hosts or host in hosts


def check_asked_for(xapi: "Xapi", host: str) -> None:
    """What start_on and resume_on ask of the host that they name, at once, even if they have to wait then
    (xen-api: ocaml/xapi/message_forwarding.ml, start_on)."""
    if "evacuate" in xapi.database.get("host", host, "current_operations").values():
        raise Failure("HOST_EVACUATE_IN_PROGRESS", host)


def check_takes_vms(xapi: "Xapi", host: str) -> None:
    """What comes to a host does not go together with what empties it (xapi_host_helpers.ml,
    valid_operations)."""
    for task, operation in xapi.database.get("host", host, "current_operations").items():
        if operation in ("evacuate", "shutdown", "reboot"):
            raise Failure("OTHER_OPERATION_IN_PROGRESS", "host", host, operation, task)


def check_cpu(xapi: "Xapi", vm: str, host: str) -> None:
    """What a guest that is not halted has seen of its CPU must be there (xen-api: ocaml/xapi/
    cpuid_helpers.ml, assert_vm_is_compatible). The box's hosts tell nothing of theirs, unless tests do."""
    has = xapi.database.get("host", host, "cpu_info") if xapi.database.exists("host", host) else {}
    seen = xapi.database.get("VM", vm, "last_boot_CPU_flags")
    if xapi.database.get("VM", vm, "power_state") == HALTED or not seen:
        return
    if seen.get("vendor") != has.get("vendor"):
        why = "VM last booted on a host which had a CPU from a different vendor."
    elif _words(seen.get("features", "")) - _words(has.get("features_hvm", "")):
        why = "VM last booted on a CPU with features this host's CPU does not have."
    else:
        return
    raise Failure("VM_INCOMPATIBLE_WITH_THIS_HOST", vm, host, why)


def _words(features: str) -> Set[Tuple[int, int]]:
    """The bits that are set, by word, of a text like 1fcbfbff-f7fa3223."""
    words = enumerate(int(word, 16) for word in features.split("-") if word)
    return {(number, bit) for number, word in words for bit in range(32) if word >> bit & 1}


def possible_hosts(xapi: "Xapi", vm: str) -> List[str]:
    def possible(host: str) -> bool:
        try:
            check(xapi, vm, host)
        except Failure:
            return False
        return True

    return [host for host in xapi.database.refs("host") if possible(host)]


def choose(xapi: "Xapi", vm: str) -> str:
    """Raises NO_HOSTS_AVAILABLE."""
    possible = possible_hosts(xapi, vm)
    affinity = xapi.database.get("VM", vm, "affinity")
    return str(affinity) if affinity in possible else roomiest(xapi, possible, {})


def roomiest(xapi: "Xapi", hosts: Sequence[str], to_come: Mapping[str, str]) -> str:
    """The one with most room, where VMs are `to_come` to hosts as well; raises NO_HOSTS_AVAILABLE."""
    if not hosts:
        raise Failure("NO_HOSTS_AVAILABLE")

    def rank(host: str) -> Tuple[int, int]:
        coming = [vm for vm, its_host in to_come.items() if its_host == host]
        return _memory_of(xapi, coming) - _free_memory(xapi, host), len(_vms(xapi, host)) + len(coming)

    return min(hosts, key=rank)


def _is_known(xapi: "Xapi", host: str) -> bool:
    """How much memory a host has, which it need not have been told."""
    return _total_memory(xapi, host) > 0


def _total_memory(xapi: "Xapi", host: str) -> int:
    metrics = xapi.database.get("host", host, "metrics")
    return int(xapi.database.get("host_metrics", metrics, "memory_total"))


def _free_memory(xapi: "Xapi", host: str) -> int:
    return _total_memory(xapi, host) - _memory_of(xapi, _vms(xapi, host))


def _memory_of(xapi: "Xapi", vms: Sequence[str]) -> int:
    return sum(int(xapi.database.get("VM", vm, "memory_static_max")) for vm in vms)


def guests(xapi: "Xapi", host: str) -> List[str]:
    """The VMs that are there; dom0 is none of them."""
    return xapi.database.find("VM", resident_on=host, is_control_domain=False)


def _vms(xapi: "Xapi", host: str) -> List[str]:
    """The VMs that are there, or on their way."""
    coming = xapi.database.find("VM", scheduled_to_be_resident_on=host)
    return list({*guests(xapi, host), *coming})
