"""Why there is no VF for a request, as users are told: who has those that fit, what the hosts have instead,
and what helps. Pure."""

from typing import List, Sequence, Tuple

from ..errors import SriovError
from ..safetext import listed
from ..vf.inventory_json import PfState
from .conflicts.view import Seen
from .hosts import Topology
from .inventories import Surveyed
from .ledger import Choice
from .placement import NoFreeVf, fits, holder

# Problems of a PF for which it has no VFs, or too few, or none that VMs could have.
_CAUSES = (
    "DRIVER_WITHOUT_SRIOV",
    "SRIOV_OFF_IN_FIRMWARE",
    "NO_MMIO_SPACE",
    "NO_BUS_NUMBERS",
    "VF_HELD_BY_DOM0",
    "VF_OFFLINE",
)


def as_error(error: NoFreeVf, vm: str, seen: Seen) -> SriovError:
    """The error as a user sees it. `vm`: UUID of the VM that asks."""
    hosts, choice = [seen.surveyed.hosts[uuid] for uuid in error.hosts], error.request.choice
    silent = " ".join(problem.message for problem in seen.surveyed.problems.values())
    pfs = [(where, pf) for where in hosts for pf in _serving(choice, where, seen.topology)]
    reasons = [where.closed[pf.address] for where, pf in pfs if pf.address in where.closed]
    if reasons and len(reasons) == len(pfs):
        said = "; ".join(dict.fromkeys(one.message for one in reasons))
        return SriovError(reasons[0].code, f"{said}. {silent}".strip(), reasons[0].hint)
    sentence, own = _sentence(error, vm, seen)
    hint = "Take a VF from another VM (`unassign_vf`), make more (`set_vf_count`), or name another host."
    if own:
        hint = (
            f"Take the entries for {listed(own)} out of the VM's other_config:pci; or ask for one of "
            "these by vf=ADDRESS, and it is that entry's VF."
        )
    elif choice.kind == "network" and choice.value not in seen.topology.network_names:
        number = error.request.number
        hint = (
            f"That network is gone: give the request another (`assign_vf` with request={number}; its MAC "
            f"stays), or take it back (`unassign_vf` with request={number})."
        )
    elif choice.kind == "network" and not pfs:
        there = [(one, port) for one in hosts for port in _ports(choice.value, one, seen.topology)]
        ports = [f"{port} of {one.member.name}" for one, port in there]
        sentence += f" Its ports are no SR-IOV capable devices ({listed(ports)})." if ports else ""
        hint = "Use a network on a port that `list_pfs` shows."
    else:
        causes = [one for _, pf in pfs for one in pf.problems if one.code in _CAUSES]
        if causes:
            sentence += f" {causes[0].message}"
            hint = causes[0].hint
    return SriovError("SRIOV_NO_FREE_VF", f"{sentence} {silent}".strip(), hint)


def _sentence(error: NoFreeVf, vm: str, seen: Seen) -> Tuple[str, List[str]]:
    """What has the VFs of the first host; and those that the VM's own entries by hand name."""
    where, (number, (kind, value, device), _) = seen.surveyed.hosts[error.hosts[0]], error.request
    wanted = {
        "network": f"a VF of network {seen.topology.network_names.get(value, value)}",
        "pf": f"a VF of {value}, {device}",
        "vf": f"VF {value}, {device}",
        "device": f"a VF {value}",
    }[kind]
    fitting = [one for one in where.candidates if fits(error.request.choice, one)]
    blocked = [one.blocked for one in fitting if one.blocked is not None]
    open_to_vms = [one.address for one in fitting if one.blocked is None]
    holders = {one: holder(where.member.uuid, one, vm, seen.held) for one in open_to_vms}
    others = [seen.state.name(uuid) for uuid in holders.values() if uuid is not None]
    own = [one for one in open_to_vms if holders[one] is None and vm in seen.held.by_hand.get(one, ())]
    if fitting:
        parts = [
            (len(others), f"held by {_names(others)}"),
            (len(blocked), f"that no VM can have ({_names(blocked)})"),
            (len(open_to_vms) - len(others) - len(own), "taken by the VM's other requests"),
            (len(own), "named by the VM's own entries by hand"),
        ]
        counts = ", ".join(f"{count} {what}" for count, what in parts if count)
        said = f"has no free VF for request {number} ({wanted}): of {len(fitting)} that fit, {counts}."
    else:
        lost = [one.address for one in where.candidates if kind == "network" and value in one.no_network]
        said = f"has no VF that fits request {number} ({wanted})."
        said += f" {_names(lost)}: on both ports of the PF, or on one that is not known." if lost else ""
    if len(error.hosts) > 1:
        said += " No other live host has VFs for all requests either."
    return f"Host {where.member.name} {said}", own


def _names(names: Sequence[str]) -> str:
    """Each once, the first three by name."""
    return listed(sorted(set(names)), 3)


def _serving(choice: Choice, where: Surveyed, topology: Topology) -> List[PfState]:
    """The PFs of the host whose VFs would do, whether there are any or not."""
    of_vfs = {one.pf for one in where.candidates if fits(choice, one)}
    ports = _ports(choice.value, where, topology) if choice.kind == "network" else []
    return [
        pf
        for pf in where.inventory.pfs.values()
        if pf.address in of_vfs
        or (choice.kind == "pf" and pf.address == choice.value)
        or set(ports).intersection(pf.function.interfaces)
    ]


def _ports(network: str, where: Surveyed, topology: Topology) -> List[str]:
    networks = topology.networks(where.member)
    return sorted(port for one in networks if one.uuid == network for port in one.interfaces)
