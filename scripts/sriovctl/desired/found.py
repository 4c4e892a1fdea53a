"""What a document names, looked up in the pool: its ports, VMs and their requests as they are now."""

import fnmatch
from functools import partial
from typing import (
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVar,
)

from sriovlib.config import vf_settings
from sriovlib.safetext import listed, safe

from .. import names
from ..errors import NO_ANSWER, Failed
from ..output import Record
from ..pool import Host, Pool
from . import diff
from .diff import Change, PortSeen, VmSeen, Wish
from .document import Document, Place, Port, Vf, Vm

One = TypeVar("One")


class Plan(NamedTuple):
    """`failures`: what could not be looked at, by name; `notes` are sentences."""

    changes: List[Change]
    failures: List[Tuple[str, Failed]]
    notes: List[str]


class Missing(Failed):
    """The document names what the pool has not, or means two things by one."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__("NOT_FOUND", f"{place}: {message}", hint)


class _Silent(Failed):
    """A host does not tell which of its VFs a VM is to have, so whether it has them is not known."""

    def __init__(self, host: Host, shown: str) -> None:
        super().__init__(
            NO_ANSWER,
            f"Whether it has its VF of {safe(shown)} is not known, as host {host.name} did not answer.",
            "Nothing of it is changed. Call again when that host answers.",
        )


def plan(pool: Pool, document: Document, seconds: float) -> Plan:
    """What is to be changed. Raises Missing for names that mean nothing in this pool. `seconds`: that a host
    may take to answer."""
    looked = _Looked(pool, document, seconds)
    changes: List[Change] = []
    notes: List[str] = []
    for seen, count in looked.ports():
        more, said = diff.of_port(seen, count)
        changes += more
        notes += said
    planned = {change.name: (change.after or {})["count"] for change in changes}
    met: Dict[str, Vm] = {}
    for wanted in document.vms:
        vm = looked.vm(wanted)
        if vm.uuid in met:
            raise Missing(wanted.place, f"this is VM {met[vm.uuid].name}, which stands there already.")
        met[vm.uuid] = wanted
        try:
            changes += looked.of_vm(wanted, vm, planned)
        except _Silent as silent:
            looked.failures.append((f"VM {vm.name}", silent))
    return Plan(_with_refusals(pool, diff.in_order(changes), seconds), looked.failures, notes)


def _with_refusals(pool: Pool, changes: Sequence[Change], seconds: float) -> List[Change]:
    """What hosts would refuse to do with their ports is seen before, but for VFs that VMs give back first."""
    ports = [change for change in changes if change.port]
    calls = [
        (one.port.host, partial(pool.rehearsed, one.port.host, "set_vf_count", **diff.counted(one)))
        for one in ports
        if one.port
    ]
    refused = {
        one.name: answer.error for one, answer in zip(ports, pool.together(calls, seconds)) if answer.error
    }
    gives = any(one.kind == diff.VF and one.action == diff.REMOVE for one in changes)
    found = []
    for one in changes:
        failed = refused.get(one.name) if one.port else None
        if failed is not None and not (gives and failed.code == "SRIOV_VF_IN_USE"):
            one = one._replace(blocked=str(failed))
        found.append(one)
    return found


class _Looked:
    """Ports are asked for once, of the hosts that the document names; VMs once, of the master."""

    def __init__(self, pool: Pool, document: Document, seconds: float) -> None:
        self._pool = pool
        self._document = document
        self.failures: List[Tuple[str, Failed]] = []
        self._pfs: Dict[str, List[Record]] = {}  # by UUID of the host; without those that did not answer
        self._vms: Optional[Dict[str, Record]] = None
        self._stale: Set[str] = set()  # UUIDs of VMs that have not what their leases say
        hosts = {host.uuid: host for port in document.ports for host in self._hosts(port)}
        for vm in document.vms:
            for vf in vm.vfs:
                if vf.kind in ("pf", "vf"):
                    host = self._host_of(vf)
                    hosts[host.uuid] = host
        for answer in pool.ask([host for host in pool.hosts if host.uuid in hosts], "list_pfs", seconds):
            if answer.error:
                self.failures.append((f"host {answer.host.name}", answer.error))
            else:
                self._pfs[answer.host.uuid] = answer.value
        self._waits = {uuid: self._reboots(hosts[uuid]) for uuid in self._pfs if self._drifts(uuid)}

    # -- hosts and ports -----------------------------------------------------------------------------------

    def _host(self, typed: str, place: Place) -> Host:
        return _exactly("host", typed, place, self._pool.hosts, lambda one: (one.name, one.uuid, one.address))

    def _hosts(self, port: Port) -> List[Host]:
        """Those whose port it may be."""
        typed = port.name.rpartition("/")[0]
        if not _is_pattern(typed):
            return [self._host(typed, port.place)]
        found = [host for host in self._pool.hosts if fnmatch.fnmatchcase(host.name, typed)]
        if not found:
            raise Missing(port.place, f"no host is called like `{safe(typed)}`.")
        return found

    def _drifts(self, uuid: str) -> bool:
        return any(pf["configured_vfs"] not in (None, pf["num_vfs"]) for pf in self._pfs[uuid])

    def _reboots(self, host: Host) -> bool:
        return bool(self._pool.plugin(host, "status").get("reboot_required"))

    def ports(self) -> List[Tuple[PortSeen, int]]:
        """Each port that is meant, and its number of VFs. A host's own name counts before a pattern."""
        meant: Dict[Tuple[str, str], Tuple[Port, PortSeen]] = {}
        for port in self._document.ports:
            pattern, typed = _is_pattern(port.name.rpartition("/")[0]), port.name.rpartition("/")[2]
            hosts = self._hosts(port)
            told = [(host, port_of(self._pfs[host.uuid], typed)) for host in hosts if host.uuid in self._pfs]
            if pattern and len(told) == len(hosts) and not any(pf for _, pf in told):
                those = listed([host.name for host in hosts])
                raise Missing(port.place, f"no SR-IOV capable port `{safe(typed)}` is on {those}.")
            for host, pf in told:
                if pf is None:
                    if pattern:
                        continue
                    raise Missing(port.place, f"host {host.name} has no SR-IOV capable port `{safe(typed)}`.")
                before = meant.get((host.uuid, pf["address"]))
                if before is not None and pattern and not _is_pattern(before[0].name):
                    continue
                if before is not None and pattern == _is_pattern(before[0].name):
                    raise Missing(
                        port.place, f"port {before[1].name} has a number of VFs at {before[0].place}."
                    )
                meant[host.uuid, pf["address"]] = port, self._seen(host, pf)
        return [(seen, port.vfs) for port, seen in meant.values()]

    def _seen(self, host: Host, pf: Record) -> PortSeen:
        return PortSeen(
            f"{host.name}/{pf['interface'] or pf['address']}",
            host,
            pf["address"],
            pf["num_vfs"],
            pf["configured_vfs"],
            self._waits.get(host.uuid, False),
        )

    # -- VMs -----------------------------------------------------------------------------------------------

    def vm(self, wanted: Vm) -> names.Vm:
        vms = names.vms(self._pool)
        return _exactly("VM", wanted.name, wanted.place, vms, names.vm_words)

    def of_vm(self, wanted: Vm, vm: names.Vm, planned: Dict[str, int]) -> List[Change]:
        if self._vms is None:
            found = self._pool.master("list_assignments")
            self._vms = {one["vm_uuid"]: one for one in found["vms"]}
            stale = [one["vm_uuids"] for one in found["conflicts"] if one["code"] == "LEASE_STALE"]
            self._stale = {uuid for uuids in stale for uuid in uuids}
        row = self._vms.get(vm.uuid, {"requests": [], "host_uuid": None})
        host = self._host(wanted.host, wanted.place) if wanted.host else None
        seen = VmSeen(
            vm.name,
            vm.uuid,
            vm.record["power_state"],
            bool(row.get("parked")),
            self._pool.host_name(row["host_uuid"]) if row["host_uuid"] else None,
            row["host_uuid"],
            [request(one, self._pool.called(one["by"], one["value"])) for one in row["requests"]],
        )
        wishes = [self._wish(vf, host, planned) for vf in wanted.vfs]
        places = {wish.args["host_uuid"] for wish in wishes if "host_uuid" in wish.args}
        if len(places) > 1:
            raise Missing(wanted.place, "all VFs of a VM are of one host, and this names several.")
        where = self._pool.host(places.pop()) if places else None  # of `host` too
        if where is not None:
            wishes = [wish._replace(args={**wish.args, "host_uuid": where.uuid}) for wish in wishes]
        return diff.of_vm(seen, where, wishes) or self._again(seen)

    def _again(self, seen: VmSeen) -> List[Change]:
        """Of a halted VM that has the requests of the document, and not the VFs that it is leased, as after a
        call that was cut off: any change of it puts that right."""
        home = self._pool.host(seen.host_uuid or "")
        is_idle = seen.uuid in self._stale and seen.state == "Halted" and not seen.parked
        if not (is_idle and seen.requests and home and home.live):
            return []
        where, why = {"vm_uuid": seen.uuid, "host_uuid": home.uuid}, ""
        try:
            answer = self._pool.rehearsed(self._pool.master_host, "reinstate_vfs", **where)
            if not (answer.get("would_change") or answer.get("pci_changed")):
                return []
        except Failed as failed:
            why = str(failed)
        return [diff.again(seen, home, why)]

    def _wish(self, vf: Vf, on: Optional[Host], planned: Dict[str, int]) -> Wish:
        settings, value = dict(vf.all_settings), vf.value
        args = dict(vf.settings)
        if vf.profile:
            args["profile"] = vf.profile
        host, address, shown = on, None, vf.value
        if vf.kind == "network":
            network = _exactly(
                "network",
                value,
                vf.place,
                names.networks(self._pool),
                names.network_words,
            )
            address, shown = network.uuid, network.name
            tag = implied_vlan(self._pool, network.ref)
            if tag is not None:
                settings.setdefault("vlan", tag)
        elif vf.kind == "device":
            address = value.lower()
        else:
            host = self._host_of(vf)
            if on is not None and host != on:
                raise Missing(vf.place, f"`{safe(value)}` is not on host {on.name}.")
            if host.uuid not in self._pfs:
                raise _Silent(host, value)
            if vf.kind == "pf":
                pf = port_of(self._pfs[host.uuid], value.rpartition("/")[2])
                if pf is None:
                    raise Missing(vf.place, f"host {host.name} has no SR-IOV capable port `{safe(value)}`.")
                address = pf["address"]
            else:
                address = self._vf_address(vf, planned)
        if address is not None:
            args[vf.kind] = address
        if host is not None:
            args["host_uuid"] = host.uuid
        return Wish(vf.kind, address, shown, settings, args)

    def _host_of(self, vf: Vf) -> Host:
        its_host = vf.value.rpartition("/")[0]
        if not its_host:
            example = "HOST/eth1" if vf.kind == "pf" else "HOST/eth1:3"
            raise Missing(vf.place, f"`{safe(vf.value)}` does not say of which host.", f"Write {example}.")
        return self._host(its_host, vf.place)

    def _vf_address(self, vf: Vf, planned: Dict[str, int]) -> Optional[str]:
        """None for one that is still to be made: VF 3 of a port that is to have more."""
        try:
            return names.vf(self._pool, vf.value)[1]
        except Failed as failed:
            port, _, index = vf.value.rpartition(":")
            if failed.code == "NOT_FOUND" and index.isdigit() and planned.get(port, 0) > int(index):
                return None
            raise Missing(vf.place, failed.message, failed.hint) from failed


def request(row: Record, shown: str) -> diff.Request:
    """One of list_assignments. `shown`: its value for a person."""
    settings = {name: text for name, text in row["settings"].items() if text != vf_settings.DEFAULT}
    return diff.Request(row["request"], row["by"], row["value"], shown, settings)


def ledger_settings(asked: Mapping[str, str]) -> Dict[str, str]:
    """The settings among these arguments of assign_vf, in the ledger's words; what the plugin will refuse
    as it is."""
    found = {}
    for name in vf_settings.NAMES:
        if name in asked and asked[name] != vf_settings.DEFAULT:
            understood = vf_settings.is_understood(name, asked[name])
            found[name] = (
                vf_settings.as_text(vf_settings.parse_value(name, asked[name])) if understood else asked[name]
            )
    return found


def implied_vlan(pool: Pool, network: str) -> Optional[str]:
    """The VLAN that a network implies: that of its PIFs, where they have one."""
    tags = {str(pif["VLAN"]) for pif in pool.records("PIF").values() if pif["network"] == network}
    return next(iter(tags)) if len(tags) == 1 and "-1" not in tags else None


def _is_pattern(typed: str) -> bool:
    return any(character in typed for character in "*?[")


def port_of(pfs: Iterable[Record], typed: str) -> Optional[Record]:
    return next((pf for pf in pfs if typed in (pf["address"], pf["interface"])), None)


def _exactly(
    what: str, typed: str, place: Place, ones: Sequence[One], words: Callable[[One], Iterable[str]]
) -> One:
    """As names.chosen, but nothing is guessed from a beginning: a file is read again when other names are
    there."""
    found = [one for one in ones if typed in words(one)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Missing(place, f"{len(found)} {what}s are called `{safe(typed)}`.", "Write the UUID.")
    try:
        names.chosen(what, typed, ones, words)
        hint = ""
    except Failed as failed:
        hint = failed.hint
    raise Missing(place, f"there is no {what} `{safe(typed)}`.", hint)
