"""Why there is no VF for a request, as users are told: what the hosts have instead, and what helps. Pure."""

import re
from typing import Callable, List, Optional

from ..errors import SriovError
from ..safetext import UUID, listed
from ..vf.host_inventory import PfState
from .hosts import Topology
from .inventories import Survey, Surveyed
from .ledger import Choice
from .placement import NoFreeVf, fits

_UUID = re.compile(UUID)
# Problems of a PF for which it has no VFs, or too few, or none that VMs could have.
_CAUSES = (
    "DRIVER_WITHOUT_SRIOV",
    "SRIOV_OFF_IN_FIRMWARE",
    "NO_MMIO_SPACE",
    "NO_BUS_NUMBERS",
    "VF_HELD_BY_DOM0",
    "VF_OFFLINE",
)


def as_error(
    error: NoFreeVf, topology: Topology, surveyed: Survey, name: Callable[[str], Optional[str]]
) -> SriovError:
    """The error as a user sees it. `name`: of the host, network or VM of a UUID; None for one that is
    gone."""
    hosts = [surveyed.hosts[uuid] for uuid in error.hosts if uuid in surveyed.hosts]
    silent = " ".join(problem.message for problem in surveyed.problems)
    pfs = [(where, pf) for where in hosts for pf in _serving(error.choice, where, topology)]
    reasons = [where.closed[pf.address] for where, pf in pfs if pf.address in where.closed]
    if reasons and len(reasons) == len(pfs):
        said = "; ".join(dict.fromkeys(one.message for one in reasons))
        return SriovError(reasons[0].code, f"{said}. {silent}".strip(), reasons[0].hint)
    sentence = _UUID.sub(lambda match: name(match.group()) or match.group(), error.message)
    hint = "Take a VF from another VM (`unassign_vf`), make more (`set_vf_count`), or name another host."
    kind, value, _ = error.choice
    if error.own:
        hint = (
            f"Take the entries for {listed(error.own)} out of the VM's other_config:pci; or ask for one of "
            "these by vf=ADDRESS, and it is that entry's VF."
        )
    elif kind == "network" and name(value) is None:
        hint = f"That network is gone: take the request back (`unassign_vf` with request={error.request})."
    elif kind == "network" and hosts and not pfs:
        ports = [f"{port} of {one.member.name}" for one in hosts for port in _ports(value, one, topology)]
        sentence += f" Its ports are no SR-IOV capable devices ({listed(ports)})." if ports else ""
        hint = "Use a network on a port that `list_pfs` shows."
    else:
        causes = [one for _, pf in pfs for one in pf.problems if one.code in _CAUSES]
        if causes:
            sentence += f" {causes[0].message}"
            hint = causes[0].hint
    return SriovError("SRIOV_NO_FREE_VF", f"{sentence} {silent}".strip(), hint)


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
