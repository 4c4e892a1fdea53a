"""What there is to draw: hosts, NUMA nodes, ports, VFs, and the VMs that have them. Pure: made of what
`list_pfs` and `list_vfs` of each host and `list_assignments` of the pool answered (docs/calls.md).

The fields are named as the plugin's keys, so the model in JSON reads like its answers. None is what a host
did not tell; a state that is None, or one that this client does not know, is never taken for free.
"""

import re
from itertools import groupby
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

IN_USE, ASSIGNED, DOM0, RESERVED, FREE = "in-use", "assigned", "dom0", "reserved", "free"
STATES = (IN_USE, ASSIGNED, DOM0, RESERVED, FREE, None)  # in the order in which they are shown
GROUP = 8  # VFs that are drawn close together, so that one can count them

Record = Mapping[str, Any]
Eight = Tuple[Optional[int], List["Vf"]]


class Failure(NamedTuple):
    """Why something is not known."""

    code: str
    message: str
    hint: str


class Heard(NamedTuple):
    """What a host answered; None to a call that failed, of which `failure` tells."""

    uuid: str
    name: str
    master: bool
    enabled: bool
    pfs: Optional[Sequence[Record]]
    vfs: Optional[Sequence[Record]]
    failure: Optional[Failure] = None


class Vf(NamedTuple):
    """`name` is how sriovctl takes it: `eth1:3`, or its address. `vm_uuid`: the key of the VM in its host's
    `vms`. `conflicts` are the codes of what `list_assignments` has against it."""

    address: str
    index: Optional[int]  # type: ignore[assignment] # the plugin's word, and tuples have a method of that name
    name: str
    state: Optional[str]
    vm_uuid: Optional[str]
    mac: Optional[str]
    vlan: Optional[int]
    conflicts: Tuple[str, ...]


class Port(NamedTuple):
    """A PF and its VFs. `vfs` is None where the host did not tell them."""

    address: str
    name: str
    description: Optional[str]
    network: Optional[str]
    numa_node: Optional[int]
    link_up: Optional[bool]
    speed: Optional[int]
    total_vfs: Optional[int]
    num_vfs: Optional[int]
    management: Optional[bool]
    managed_by: Optional[str]
    problems: Tuple[Failure, ...]
    vfs: Optional[Tuple[Vf, ...]]


class Node(NamedTuple):
    """A NUMA node of a host, by Xen's number; None: of these ports it is not known."""

    numa_node: Optional[int]
    ports: Tuple[Port, ...]


class Vm(NamedTuple):
    """A VM on a host: `vfs` are names of VFs there (addresses, where the host does not tell its VFs),
    `missing` counts its requests that have none."""

    vm_uuid: str
    vm_name: str
    power_state: Optional[str]
    vfs: Tuple[str, ...]
    missing: int
    warnings: Tuple[str, ...]


class Conflict(NamedTuple):
    code: str
    message: str
    hint: str


class Host(NamedTuple):
    host_uuid: str
    host: str
    master: bool
    enabled: bool
    error: Optional[Failure]
    nodes: Tuple[Node, ...]
    vms: Tuple[Vm, ...]
    conflicts: Tuple[Conflict, ...]

    @property
    def ports(self) -> List[Port]:
        return [port for node in self.nodes for port in node.ports]


class Picture(NamedTuple):
    """`elsewhere`: VMs that want VFs and have a lease on none of the pool's hosts. `error`: why it is not
    known which VMs want VFs; then only those are known that have them."""

    pool: str
    hosts: Tuple[Host, ...]
    elsewhere: Tuple[Vm, ...]
    conflicts: Tuple[Conflict, ...]
    error: Optional[Failure]

    @property
    def ports(self) -> List[Port]:
        return [port for host in self.hosts for port in host.ports]

    @property
    def vms(self) -> List[Vm]:
        return [vm for host in self.hosts for vm in host.vms] + list(self.elsewhere)


def picture(
    pool: str,
    hosts: Sequence[Heard],
    assignments: Optional[Record],
    networks: Mapping[str, str],
    error: Optional[Failure] = None,
) -> Picture:
    """`networks`: name-labels by UUID. `assignments` None: `error` says why."""
    told: Record = assignments or {}
    rows = list(told.get("vms") or [])
    conflicts = list(told.get("conflicts") or [])
    drawn = {host.uuid for host in hosts}
    members = {host["host_uuid"] for host in told.get("hosts") or []}
    whole = members <= drawn  # some hosts only: then what belongs to none of them is left out
    return Picture(
        pool,
        tuple(_host(host, rows, conflicts, networks) for host in hosts),
        tuple(
            _wanting(row, row.get("requests") or [])
            for row in rows
            if whole and row.get("requests") and row.get("host_uuid") not in members
        ),
        tuple(_conflict(one) for one in conflicts if whole and one.get("host_uuid") not in drawn),
        error,
    )


# -- a host --------------------------------------------------------------------------------------------------


def _host(
    heard: Heard, rows: Iterable[Record], conflicts: Sequence[Record], networks: Mapping[str, str]
) -> Host:
    own = [one for one in conflicts if one.get("host_uuid") == heard.uuid]
    ports = _ports(heard, own, networks)
    return Host(
        heard.uuid,
        heard.name,
        heard.master,
        heard.enabled,
        heard.failure,
        tuple(
            Node(number, tuple(among))
            for number, among in groupby(sorted(ports, key=_place), key=lambda port: port.numa_node)
        ),
        tuple(sorted(_vms(heard, rows), key=_order)),
        tuple(_conflict(one) for one in own),
    )


def _place(port: Port) -> Tuple[bool, int, str]:
    return port.numa_node is None, port.numa_node or 0, port.address


def _order(vm: Vm) -> Tuple[List[Tuple[int, str]], str]:
    """By name, vm-2 before vm-10."""
    parts = re.split("([0-9]+)", vm.vm_name.lower())
    numbers = [part.lstrip("0") if place % 2 else part for place, part in enumerate(parts)]
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(numbers)], vm.vm_uuid


def _ports(heard: Heard, conflicts: Sequence[Record], networks: Mapping[str, str]) -> List[Port]:
    """Those of `list_pfs`, and of VFs whose PF is not in it: the two calls are not of one moment."""
    codes: Dict[str, List[str]] = {}
    for one in conflicts:
        if one.get("address"):
            codes.setdefault(one["address"], []).append(one["code"])
    vfs: Dict[str, List[Record]] = {}
    for vf in heard.vfs or []:
        vfs.setdefault(vf["pf"], []).append(vf)
    pfs = {pf["address"]: pf for pf in heard.pfs or []}
    for address, among in vfs.items():
        same = {key: among[0].get(key) for key in ("interface", "network", "numa_node")}
        pfs.setdefault(address, {"address": address, **same})
    return [
        _port(pf, None if heard.vfs is None else _vfs(vfs.get(address, []), codes), networks)
        for address, pf in pfs.items()
    ]


def _port(pf: Record, vfs: Optional[Tuple[Vf, ...]], networks: Mapping[str, str]) -> Port:
    interfaces = [port["interface"] for port in pf.get("ports") or [] if port.get("interface")]
    network = pf.get("network")
    return Port(
        pf["address"],
        ",".join(interfaces) or pf.get("interface") or pf["address"],
        pf.get("description"),
        networks.get(network, network) if network else None,
        pf.get("numa_node"),
        pf.get("link_up"),
        pf.get("speed"),
        pf.get("total_vfs"),
        pf.get("num_vfs"),
        pf.get("management"),
        pf.get("managed_by"),
        tuple(_failure(problem) for problem in pf.get("problems") or []),
        vfs,
    )


def _vfs(vfs: Iterable[Record], codes: Mapping[str, Sequence[str]]) -> Tuple[Vf, ...]:
    found = [
        Vf(
            vf["address"],
            vf.get("index"),
            vf_name(vf),
            vf.get("state") if vf.get("state") in STATES else None,
            _owner_key(vf),
            vf.get("mac"),
            vf.get("vlan"),
            tuple(codes.get(vf["address"], ())),
        )
        for vf in vfs
    ]
    return tuple(sorted(found, key=lambda vf: (vf.index is None, vf.index or 0, vf.address)))


def vf_name(vf: Record) -> str:
    if vf.get("interface") and vf.get("index") is not None:
        return f"{vf['interface']}:{vf['index']}"
    return str(vf["address"])


# -- VMs -----------------------------------------------------------------------------------------------------


def _owner_key(vf: Record) -> Optional[str]:
    """A domain without a VM (xenstore names no UUID) is one by its name."""
    owner = vf.get("assigned_to")
    return (owner.get("vm_uuid") or owner.get("vm_name") or "?") if owner else None


def _vms(heard: Heard, rows: Iterable[Record]) -> Iterable[Vm]:
    """Those that have VFs of the host, and those that have a lease there."""
    found: Dict[str, Vm] = {}
    owner_of: Dict[str, Optional[str]] = {}
    for vf in heard.vfs or []:
        owner, key = vf.get("assigned_to"), _owner_key(vf)
        owner_of[vf["address"]] = key
        if owner and key:
            vm = found.get(key) or Vm(key, owner.get("vm_name") or key, owner.get("power_state"), (), 0, ())
            found[key] = vm._replace(vfs=(*vm.vfs, vf_name(vf)))
    for row in rows:
        vm = found.get(row["vm_uuid"]) or _wanting(row, ())
        requests = row.get("requests") or []
        if row.get("host_uuid") == heard.uuid:
            if heard.vfs is None:  # the ledger knows
                vm = vm._replace(vfs=tuple(one["vf"] for one in requests if one.get("vf")))
            has = [
                heard.vfs is None or owner_of.get(one["vf"]) == vm.vm_uuid
                for one in requests
                if one.get("vf")
            ]
            vm = vm._replace(missing=len(requests) - has.count(True))
        elif vm.vm_uuid not in found:
            continue
        # of a running domain xenstore tells no power state, and no name that a person gave
        found[vm.vm_uuid] = vm._replace(
            vm_name=row.get("vm_name") or vm.vm_name,
            power_state=row.get("power_state") or vm.power_state,
            warnings=tuple(row.get("warnings") or ()),
        )
    return found.values()


def _wanting(row: Record, requests: Sequence[Any]) -> Vm:
    name = row.get("vm_name") or row["vm_uuid"]
    warnings = tuple(row.get("warnings") or ())
    return Vm(row["vm_uuid"], name, row.get("power_state"), (), len(requests), warnings)


def _failure(problem: Record) -> Failure:
    return Failure(problem.get("code") or "", problem.get("message") or "", problem.get("hint") or "")


def _conflict(one: Record) -> Conflict:
    return Conflict(one.get("code") or "", one.get("message") or "", one.get("hint") or "")


# -- what is asked of the model ------------------------------------------------------------------------------


def counts(ports: Iterable[Port]) -> Dict[Optional[str], int]:
    """VFs by state. The VFs of a port that did not tell them are of no known state."""
    found: Dict[Optional[str], int] = dict.fromkeys(STATES, 0)
    for port in ports:
        if port.vfs is None:
            found[None] += port.num_vfs or 0
        for vf in port.vfs or ():
            found[vf.state] += 1
    return found


def groups(port: Port) -> List[Eight]:
    """The VFs of a port in eights, each with the index that it begins with."""
    found = []
    for _number, among in groupby(enumerate(port.vfs or ()), key=_eight):
        eight = [vf for _place, vf in among]
        found.append((eight[0].index, eight))
    return found


def _eight(placed: Tuple[int, Vf]) -> Tuple[bool, int]:
    place, vf = placed
    return vf.index is None, (place if vf.index is None else vf.index) // GROUP


def records(whole: Picture) -> List[Dict[str, Any]]:
    """The model for JSON: an element a host, and one without a host for what belongs to none."""
    found = [_plain(host) for host in whole.hosts]
    if whole.elsewhere or whole.conflicts or whole.error:
        none = Host("", "", False, False, whole.error, (), whole.elsewhere, whole.conflicts)
        found.append({**_plain(none), "host_uuid": None, "host": None, "master": None, "enabled": None})
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: _plain(item) for key, item in value._asdict().items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
