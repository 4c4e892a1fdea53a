"""The pool as gauges in OpenMetrics, which Prometheus's text format has room for too. Pure.

What a host does not tell has no sample: a gauge of 0 is a number that was told.
"""

from collections import Counter
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from sriovlib.exposition import Labels, head, sample

from . import readiness, shown

Record = Dict[str, Any]
UNKNOWN = "unknown"
STATES = ("free", "assigned", "in-use", "dom0", "reserved", UNKNOWN)


class Told(NamedTuple):
    """What one host answered; None: nothing to that question."""

    host: str
    status: Optional[Record]
    pfs: Optional[Sequence[Record]]
    vfs: Optional[Sequence[Record]]

    @property
    def is_whole(self) -> bool:
        return None not in (self.status, self.pfs, self.vfs)


Family = Tuple[str, str, Sequence[Tuple[Labels, int]]]  # name, description, samples


def text(
    pool: str,
    told: Sequence[Told],
    assignments: Optional[Record],
    networks: Mapping[str, str],
    hosts: Mapping[str, str],
) -> str:
    """`pool` is its name; `networks` and `hosts`: UUID -> name. All samples have the pool's name: one
    node_exporter may read the files of several pools, whose hosts may have the same names."""
    families = [*_hosts(told), *_ports(told, networks), *_vms(assignments, hosts)]
    lines: List[str] = []
    for name, described, samples in families:
        lines += head(name, "gauge", described) if samples else []
        once = dict(samples)  # of two with the same labels Prometheus takes nothing at all
        lines += [sample(name, (("pool", pool), *labels), value) for labels, value in once.items()]
    return "".join(f"{line}\n" for line in [*lines, "# EOF"])


def _hosts(told: Sequence[Told]) -> Iterable[Family]:
    answering = [one for one in told if one.status is not None]
    up = [((("host", one.host),), int(one.is_whole)) for one in told]
    yield "sriov_host_up", "Whether the plugin of the host answers all questions", up
    ready = [((("host", one.host),), int(_state(one) == readiness.READY)) for one in answering]
    yield "sriov_host_ready", "Whether VMs can have VFs of the host", ready
    drift = [((("host", one.host),), readiness.drifted(one.status or {})) for one in answering]
    yield "sriov_host_drift", "Ports with another number of VFs than the host's file wants", drift
    problems = [
        ((("host", one.host), ("code", code)), number)
        for one in answering
        for code, number in _codes((one.status or {}).get("problems"))
    ]
    yield "sriov_host_problems", "Problems that the host names, by code", problems


def _state(one: Told) -> str:
    return readiness.state(one.status or {})


def _codes(problems: Optional[Iterable[Record]]) -> List[Tuple[str, int]]:
    codes = Counter(one["code"] for one in problems or () if one["code"] not in readiness.EXPECTED)
    return sorted(codes.items())


def _ports(told: Sequence[Told], networks: Mapping[str, str]) -> Iterable[Family]:
    pfs = [(one, pf) for one in told for pf in one.pfs or ()]
    info: List[Tuple[Labels, int]] = []
    up: List[Tuple[Labels, int]] = []
    for one, port in ((one, port) for one, pf in pfs for port in _ports_of(pf)):
        more = (
            ("driver", port.get("driver") or ""),
            ("network", shown.sentence(networks.get(port.get("network") or "", ""))),
            ("numa_node", "" if port.get("numa_node") is None else str(port["numa_node"])),
        )
        info.append(((*_port(one.host, port, port["address"]), *more), 1))
        if port.get("link_up") is not None:
            up.append((_port(one.host, port, port["address"]), int(port["link_up"])))
    yield "sriov_pf_info", "An SR-IOV capable port", info
    yield "sriov_pf_link_up", "Whether the port has a link", up
    vfs = [counted for one, pf in pfs if one.vfs is not None for counted in _by_state(one, pf, one.vfs)]
    yield "sriov_pf_vfs", "VFs of the port, by state", vfs
    held: List[Tuple[Labels, int]] = []
    for one in told:
        for vf in one.vfs or ():
            holder = vf.get("assigned_to")
            if holder:
                named = (
                    ("vm_uuid", holder.get("vm_uuid") or ""),
                    ("vm", shown.sentence(holder.get("vm_name") or "")),
                )
                place = (*_port(one.host, vf, vf["address"]), ("vf", str(vf.get("index"))))
                held.append(((*place, ("state", vf.get("state") or UNKNOWN), *named), 1))
    yield "sriov_vf_vm", "A VF that a VM has, running or not", held


def _ports_of(pf: Record) -> List[Record]:
    """For each of its ports the PF's record with what is of that port: most have one, ConnectX-3 has two. A
    device that is no network card has none, and its own record."""
    return [{**pf, **port} for port in pf.get("ports") or [{}]]


def _by_state(one: Told, pf: Record, vfs: Sequence[Record]) -> Iterable[Tuple[Labels, int]]:
    """Of each port of the PF; where it has several, those that are on all of them are of none."""
    ports = [port.get("interface") or "" for port in _ports_of(pf)]
    own = [vf for vf in vfs if vf["pf"] == pf["address"]]
    on_port = [(vf.get("interface") or "") if len(ports) > 1 else ports[0] for vf in own]
    counts = Counter(zip(on_port, (vf.get("state") or UNKNOWN for vf in own)))
    for port in dict.fromkeys([*ports, *on_port]):
        labels = _port(one.host, {"interface": port}, pf["address"])
        yield from (((*labels, ("state", state)), counts[port, state]) for state in STATES)


def _port(host: str, of: Record, address: str) -> Labels:
    return (("host", host), ("pf", of.get("interface") or ""), ("pci_address", address))


def _vms(assignments: Optional[Record], hosts: Mapping[str, str]) -> Iterable[Family]:
    yield (
        "sriov_pool_up",
        "Whether the master tells what VMs and conflicts there are",
        [((), int(assignments is not None))],
    )
    vms = (assignments or {}).get("vms") or []
    found = (assignments or {}).get("conflicts") or []
    vm_names = {vm["vm_uuid"]: vm["vm_name"] for vm in vms}

    def named(uuid: str) -> Labels:
        return (("vm_uuid", uuid), ("vm", shown.sentence(vm_names.get(uuid, ""))))

    requests = [(named(vm["vm_uuid"]), len(vm["requests"])) for vm in vms if vm.get("requests")]
    yield "sriov_vm_requests", "VFs that the VM asked for", requests
    replaced = [(named(vm["vm_uuid"]), vm["replaced_at"]) for vm in vms if vm.get("replaced_at") is not None]
    yield "sriov_vm_replaced_timestamp_seconds", "When a start of the VM was last re-placed", replaced
    of_vms = Counter((uuid, one["code"]) for one in found for uuid in one.get("vm_uuids") or ())
    power = {vm["vm_uuid"]: (vm.get("power_state") or UNKNOWN).lower() for vm in vms}
    named_in = [
        ((*named(uuid), ("code", code), ("power_state", power.get(uuid, UNKNOWN))), of_vms[uuid, code])
        for uuid, code in sorted(of_vms)
    ]
    yield "sriov_vm_conflicts", "Conflicts of the pool that name the VM, by code", named_in
    counts = Counter((one["code"], hosts.get(one.get("host_uuid") or "", "")) for one in found)
    conflicts = [((("code", code), ("host", host)), counts[code, host]) for code, host in sorted(counts)]
    yield "sriov_conflicts", "What does not fit together in the pool, by code", conflicts
