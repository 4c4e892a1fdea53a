"""What a setup does on each host, and what is in its way, from what was seen of them. Pure."""

from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from sriovlib.safetext import plural

from ..errors import Failed
from ..pool import Host

STOP, SHUTDOWN, RELOCATE, MIGRATE = "stop", "shutdown", "relocate", "migrate"
PINNED = (STOP, SHUTDOWN, RELOCATE, MIGRATE)  # what is done with a VM that xapi cannot move

# Reasons of xapi that are gone as soon as HA is off, of a VM that HA does not protect: by its own name since
# 26.17, before as if memory were short (xen-api: xapi_host.ml, compute_evacuation_plan_no_wlb).
_BY_HA = ("HOST_EVACUATE_VM_NOT_HA_PROTECTED", "HOST_NOT_ENOUGH_FREE_MEMORY")
# Problems of a PF with which it gets no VFs, whatever is tried, and one of the host.
_OF_PF = ("SRIOV_OFF_IN_FIRMWARE", "DRIVER_WITHOUT_SRIOV")
_OF_HOST = ("NO_FIRMWARE_IOMMU", "NO_XEN")


class Wish(NamedTuple):
    """`vfs` on each of these ports (interfaces or addresses), and of the ports of these networks."""

    pfs: Tuple[str, ...]
    networks: Tuple[str, ...]  # UUIDs
    vfs: int

    def text(self, name: Callable[[str], str]) -> str:
        """`name`: of the network with that UUID."""
        networks = [f"the ports of network {name(uuid)}" for uuid in self.networks]
        return f"{plural(self.vfs, 'VF')} on {', '.join([*self.pfs, *networks])}"


# What set_vf_count would answer; empty where the plugin is too old to say.
Rehearsal = Union[Dict[str, Any], Failed]


class Guest(NamedTuple):
    """A VM on a host. `blocked`: the reason of xapi not to move it, empty if it can. `stops`: it can be shut
    down cleanly."""

    uuid: str
    name: str
    blocked: Tuple[str, ...]
    stops: bool
    protected: bool  # by HA


class Seen(NamedTuple):
    """What was seen of a host."""

    host: Host
    status: Dict[str, Any]
    pfs: List[Dict[str, Any]]
    iommu: Dict[str, Any]  # what enable_iommu would do
    guests: List[Guest]
    operations: Dict[str, str]  # of the host, under way
    rehearsed: Dict[str, Rehearsal]  # by PF address, of what set_vf_count is to change


class Act(NamedTuple):
    """A call of the plugin that changes something."""

    function: str
    args: Dict[str, str]
    object: str
    before: str
    after: str


class Foreseen(NamedTuple):
    """What becomes of a VM that xapi cannot move, as the pool is now: it is moved while it runs (MIGRATE), or
    shut down and started elsewhere (RELOCATE), on host `to` and for the reason `why`. `how` is empty where no
    host can have it, which may change as hosts get their VFs; `hint`: what helps."""

    how: str
    to: str
    why: str
    hint: str = ""


class HostPlan(NamedTuple):
    host: Host
    acts: List[Act]
    reboot: str  # why; empty: none is needed
    move: List[Guest]
    stop: List[Guest]  # those that cannot be moved
    blockers: List[Failed]
    foreseen: Mapping[str, Foreseen] = {}  # by UUID, of `stop`: where they are to leave the host

    @property
    def nothing(self) -> bool:
        return not (self.acts or self.reboot or self.blockers)


def of_host(seen: Seen, wish: Wish, pinned: str, ha: bool, ours: bool = False) -> HostPlan:
    """`ha`: it is on, and will be off by then. `ours`: the host is disabled by this setup."""
    blockers = list(_host_problems(seen))
    counts, wrong = changes(seen, wish)
    acts = [*_iommu(seen), *_pciback(seen), *counts]
    wrong += [
        one.about(f"Host {seen.host.name}") for one in seen.rehearsed.values() if isinstance(one, Failed)
    ]
    reboot = _reboot(seen)
    guests = [_without_ha(guest, ha) for guest in seen.guests] if reboot else []
    stop = [guest for guest in guests if guest.blocked]
    if reboot:
        blockers += _in_the_way(seen, stop, pinned, ours)
    return HostPlan(
        seen.host, acts, reboot, [guest for guest in guests if not guest.blocked], stop, blockers + wrong
    )


def order(plans: Sequence[HostPlan]) -> List[HostPlan]:
    """By name, the master last. Nothing is updated, so no host must be newer than another: what counts is
    that a reboot that goes wrong is met first on a host that leaves the pool in command, and that this
    program, whose session ends with the master, has then nothing left to do but look."""
    return sorted(plans, key=lambda one: (one.host.master, one.host.name, one.host.uuid))


# -- what is to be done --------------------------------------------------------------------------------


def _iommu(seen: Seen) -> Iterator[Act]:
    before, after = seen.iommu.get("xen_option"), seen.iommu.get("xen_option_after")
    if before != after:
        yield Act("enable_iommu", {}, "xen", before or "-", after or "-")


def _pciback(seen: Seen) -> Iterator[Act]:
    pciback = seen.status.get("pciback") or {}
    if not (pciback.get("loaded") and pciback.get("persistent")):
        yield Act("load_pciback", {}, "pciback", "loaded" if pciback.get("loaded") else "-", "loaded,boot")


def changes(seen: Seen, wish: Wish) -> Tuple[List[Act], List[Failed]]:
    """The calls of set_vf_count, and what is wrong with the ports."""
    acts: List[Act] = []
    wrong: List[Failed] = []
    for address, name in _ports(seen, wish, wrong).items():
        pf = next(pf for pf in seen.pfs if pf["address"] == address)
        problem = _unfit(seen, pf, name, wish.vfs)
        if problem is not None:
            wrong.append(problem)
        elif pf.get("num_vfs") != wish.vfs or (pf.get("configured_vfs") or 0) != wish.vfs:
            args = {"pf": address, "count": str(wish.vfs)}
            now, file = pf.get("num_vfs"), pf.get("configured_vfs")
            before = str(now) if now != wish.vfs else f"{now} (at boot {file or 0})"
            acts.append(Act("set_vf_count", args, name, before, str(wish.vfs)))
    return acts, wrong


def _ports(seen: Seen, wish: Wish, wrong: List[Failed]) -> Dict[str, str]:
    """Address -> name of the PFs that are meant. What names none goes to `wrong`."""
    found: Dict[str, str] = {}
    for text in wish.pfs:
        meant = [pf for pf in seen.pfs if text.lower() in (pf["address"], *_interfaces(pf))]
        found.update((pf["address"], _name(pf)) for pf in meant)
        if not meant:
            wrong.append(_no_port(seen, f"port {text}"))
    for uuid in wish.networks:
        meant = [pf for pf in seen.pfs if uuid in (pf.get("networks") or ())]
        found.update((pf["address"], _name(pf)) for pf in meant)
        unknown = [_name(pf) for pf in seen.pfs if pf.get("networks") is None]
        if unknown:
            wrong.append(_networks_unknown(seen, unknown))
        elif not meant:
            wrong.append(_no_port(seen, "port in that network"))
    return found


def _interfaces(pf: Dict[str, Any]) -> List[str]:
    return [one for one in [pf.get("interface"), *(pf.get("interfaces") or [])] if one]


def _name(pf: Dict[str, Any]) -> str:
    return str(pf.get("interface") or pf["address"])


def _networks_unknown(seen: Seen, ports: List[str]) -> Failed:
    return Failed(
        "NETWORKS_UNKNOWN",
        f"Host {seen.host.name} does not say which networks stand on {', '.join(ports)}: its xapi does not "
        "answer the plugin, or its xapi-sriov is older than this sriovctl.",
        "Install the version of this sriovctl there (`sriovctl install RPM`), or name the ports by --pf.",
    )


def _no_port(seen: Seen, what: str) -> Failed:
    names = ", ".join(_name(pf) for pf in seen.pfs)
    there = f"There are {names}." if names else "It has no SR-IOV capable device at all."
    return Failed(
        "NO_SUCH_PORT",
        f"Host {seen.host.name} has no SR-IOV capable {what}.",
        f"{there} Name the hosts that have one: `sriovctl setup HOST ...`.",
    )


def _unfit(seen: Seen, pf: Dict[str, Any], name: str, count: int) -> Optional[Failed]:
    """Why this PF cannot have so many VFs."""
    port = f"{seen.host.name}/{name}"
    if pf.get("management") is not False:
        carries = "carries" if pf.get("management") else "may carry"
        return Failed(
            "MANAGEMENT_INTERFACE",
            f"{port} {carries} the management network, so SR-IOV on it is refused.",
            "Use another port, or move the management network to another one.",
        )
    if pf.get("managed_by"):
        return Failed(
            "MANAGED_BY_XAPI",
            f"{port} is managed by {pf['managed_by']}.",
            "Use another port, or destroy its network-sriov (`xe network-sriov-list`).",
        )
    if count > (pf.get("total_vfs") or 0):
        return Failed(
            "TOO_MANY_VFS",
            f"{port} offers at most {plural(pf.get('total_vfs') or 0, 'VF')}, not {count}.",
            "Ask for fewer (--count).",
        )
    for problem in pf.get("problems") or []:
        if problem["code"] in _OF_PF:
            return Failed(problem["code"], f"Host {seen.host.name}: {problem['message']}", problem["hint"])
    return None


def _reboot(seen: Seen) -> str:
    if not (seen.status.get("iommu") or {}).get("active"):
        return "the IOMMU is off"
    for one in seen.rehearsed.values():
        if isinstance(one, dict) and one.get("reboot_required"):
            return "a driver makes its VFs at a boot"
    waits = seen.status.get("reboot_required")
    if waits and any(_iommu(seen)) and not any(map(_drifts, seen.status.get("pfs") or [])):
        return ""  # the next boot would turn the IOMMU off, and will not
    return "a change waits for it" if waits else ""


def _drifts(pf: Dict[str, Any]) -> bool:
    return pf.get("desired") is not None and pf["desired"] != pf.get("actual")


# -- what is in the way --------------------------------------------------------------------------------


def _host_problems(seen: Seen) -> Iterator[Failed]:
    for problem in [*(seen.status.get("problems") or []), *(seen.iommu.get("problems") or [])]:
        if problem["code"] in _OF_HOST:
            yield Failed(problem["code"], f"Host {seen.host.name}: {problem['message']}", problem["hint"])
            return


def _in_the_way(seen: Seen, stop: List[Guest], pinned: str, ours: bool) -> Iterator[Failed]:
    """Of a reboot."""
    host = seen.host
    if not host.enabled and not ours:
        yield Failed(
            "HOST_DISABLED",
            f"Host {host.name} is disabled already: somebody has taken it out of service.",
            f"Enable it (`xe host-enable uuid={host.uuid}`), or name the other hosts.",
        )
    if seen.operations and not ours:
        yield Failed(
            "HOST_BUSY",
            f"Host {host.name} is at another operation: {', '.join(sorted(seen.operations.values()))}.",
            "Wait until that is over.",
        )
    for guest in stop:
        if pinned == STOP:
            yield Failed(
                "VM_CANNOT_MOVE",
                f"VM {guest.name} holds up the reboot of host {host.name}: {reason(guest.blocked)}.",
                "--pinned shutdown shuts such VMs down and starts them there again, --pinned relocate takes "
                "them to another host, --pinned migrate only while they run (`--plan` says which can be); or "
                "shut it down yourself.",
            )
        elif pinned != MIGRATE and not guest.stops:
            yield Failed(
                "VM_CANNOT_STOP",
                f"VM {guest.name} on host {host.name} can neither be moved ({reason(guest.blocked)}) nor be "
                "shut down cleanly: its guest does not say that it can.",
                "Install the guest tools in it, or shut it down yourself.",
            )


_REASONS = {
    "VM_HAS_PCI_ATTACHED": "it has devices of this host",
    "VM_HAS_VGPU": "it has a vGPU",
    "VM_HAS_SRIOV_VIF": "it has a VIF of xapi's SR-IOV",
    "VM_IS_IMMOBILE": "it must not migrate",
    "VM_REQUIRES_SR": "its disks are on this host only",
    "VM_REQUIRES_NETWORK": "no other host has its network",
    "OTHER_OPERATION_IN_PROGRESS": "xapi is at another operation with it",
    "VM_LACKS_FEATURE": "its guest has no tools",
    "NO_HOSTS_AVAILABLE": "no other host can take it",
    "HOST_NOT_ENOUGH_FREE_MEMORY": "no other host has memory for it",
    "HOST_EVACUATE_VM_NOT_HA_PROTECTED": "HA is on and does not protect it",
}


def reason(blocked: Sequence[str]) -> str:
    """Why xapi cannot move a VM, from its code and details."""
    code, *details = list(blocked) or ["?"]
    if code == "OPERATION_BLOCKED" and len(details) > 1 and details[1]:
        return f"moving it is blocked, `{details[1].rstrip('.')}`"
    return _REASONS.get(code, code)


_WAYS = {
    "VM_REQUIRES_SR": "Move its disks to a shared SR",
    "OTHER_OPERATION_IN_PROGRESS": "Call again when that has ended",
    "OPERATION_BLOCKED": "If nobody needs that any more: `xe vm-param-remove uuid={0} "
    "param-name=blocked-operations param-key=pool_migrate`",
    "VM_LACKS_FEATURE": "Install the guest tools in it",
    "HOST_NOT_ENOUGH_FREE_MEMORY": "Shut down or move another VM",
    "HOST_EVACUATE_VM_NOT_HA_PROTECTED": "Have HA protect it (`xe vm-param-set uuid={0} "
    "ha-restart-priority=restart`), or turn HA off meanwhile (`xe pool-ha-disable`)",
}


def way(guest: Guest) -> str:
    """What lets xapi move it; without a full stop."""
    return _WAYS.get((guest.blocked or ("",))[0], "Put that right").format(guest.uuid)


def _without_ha(guest: Guest, ha: bool) -> Guest:
    if ha and not guest.protected and guest.blocked[:1] and guest.blocked[0] in _BY_HA:
        return guest._replace(blocked=())
    return guest
