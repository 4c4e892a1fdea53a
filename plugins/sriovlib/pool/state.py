"""The one model of the pool: its ledger and its VMs, read once, and by them who holds which VF.

Pool functions and list_vfs read all VMs, a start only those that concern it. What was not read is not there:
a part of the pool says so (`asked`), and takes no VM for gone that it did not ask for.
"""

from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from ..errors import SriovError
from ..machine.pci import PhysicalFunction
from ..safetext import is_uuid, line, shortened
from ..xapi.session import Xapi, XapiFailure
from . import FIELD_DEFINITIONS, FIELD_WISH, checked_keys, hosts, ledger, numa, pci_entries, pinning
from .hosts import OwnHost
from .ledger import MARK, Entry, Key
from .networks import NULL, Record
from .placement import Held
from .records import LEDGER, VMS, Part, Records, Told

ReadKeys = Callable[[Mapping[str, str]], ledger.Ledger]
OnHost = Dict[Tuple[str, str], str]  # UUID of a host, and address -> UUID of a VM
STARTS = {"start", "start_on", "resume", "resume_on"}
_NO_VMS = (
    ("is_a_snapshot", "a snapshot", "Give the UUID of its VM."),
    (
        "is_a_template",
        "a template",
        "Make a VM of it first: `xe vm-install template=TEMPLATE new-name-label=NAME`.",
    ),
    ("is_control_domain", "a host's control domain", "Give the UUID of a VM."),
)


class Vm(NamedTuple):
    """What concerns us of a VM's record; its name is on one line, as it stands in sentences. Hosts are UUIDs;
    of a host that was not read, its reference."""

    ref: str
    uuid: str
    name: str
    power_state: str
    operations: Tuple[str, ...]  # in progress: start, clone ...
    resident_on: Optional[str]
    affinity: Optional[str]
    pci: Optional[str]  # other_config:pci; "" for one that nobody reads
    nomigrate: Optional[str]  # platform:nomigrate
    other_config: Mapping[str, str]
    is_a_template: bool = False
    starting_on: Optional[str] = None  # while it is started or resumed
    blocks: Mapping[str, str] = {}  # VM.blocked_operations of ours (see pinning)
    pinned: numa.Pinned = numa.Pinned(None, 1)
    metrics: str = NULL
    ha_priority: str = ""  # `restart` or `best-effort`: HA is to start it again when its host fails

    @property
    def is_running(self) -> bool:
        return self.power_state in ("Running", "Paused")

    @property
    def is_idle(self) -> bool:
        """Halted, and nothing is being done to it."""
        return self.power_state == "Halted" and not self.operations

    @property
    def mark(self) -> Optional[str]:
        """The UUID of the VM that has, or had, requests with these entries (see copies)."""
        return self.other_config.get(MARK)

    @property
    def named(self) -> List[str]:
        """The addresses of its entries, as xapi plugs them."""
        return pci_entries.plugging_order(self.pci) if self.pci else []


class PoolState(NamedTuple):
    pool_ref: str
    master_ref: str
    keys: Dict[str, List[Key]]  # of the ledger, see there
    entries: Dict[str, Entry]  # the whole ledger, by UUID of the VM; for a start see ledger_part
    unreadable: Dict[str, str]  # UUID of the VM -> why its key in the ledger cannot be read
    vms: Dict[str, Vm]  # real ones: no templates, snapshots, control domains
    asked: Optional[FrozenSet[str]] = None  # the VMs that were asked for, where not all were
    ha_enabled: bool = False
    field_wish: Optional[str] = None  # see custom_field
    field_definitions: str = ""

    def entry(self, uuid: str) -> Entry:
        """The VM's in the ledger; refuses one that cannot be read."""
        why = self.unreadable.get(uuid)
        if why is not None:
            keys = self.keys[uuid]
            raise SriovError(
                "SRIOV_LEDGER",
                f"pool.other_config:{keys[-1].name} cannot be read: {why}.",
                f"It was left unchanged. {put_right(uuid, keys)}",
            )
        return self.entries.get(uuid, ledger.NO_ENTRY)

    def vm(self, uuid: str) -> Optional[Vm]:
        """None for one that is gone, or a template by now; LookupError for one that was not asked for."""
        if self.asked is not None and uuid not in self.asked:
            raise LookupError(f"VM {uuid} was not read from xapi")
        return self.vms.get(uuid)

    def with_vms(self, vms: Iterable[Vm], asked: Optional[Iterable[str]]) -> "PoolState":
        """With these besides, and what the ledger says of each by what it is now. `asked`: the UUIDs that
        were asked for, None for all of the pool."""
        entries, by_uuid = dict(self.entries), dict(self.vms)
        for vm in vms:
            by_uuid[vm.uuid] = vm
            if vm.uuid in entries:
                entries[vm.uuid] = explained(entries[vm.uuid], vm, self.keys[vm.uuid])
        known = None if asked is None else (self.asked or frozenset()).union(asked)
        return self._replace(entries=entries, vms=by_uuid, asked=known)

    @property
    def next_serial(self) -> int:
        """The largest stays what it is: who wrote that by hand must not stop all others."""
        last = max((entry.lease.serial for entry in self.entries.values() if entry.lease), default=0)
        return min(last + 1, ledger.LARGEST)

    def was_cut_off(self, uuid: str) -> bool:
        """Whether a call for the VM came to no end after it had written the ledger."""
        return ledger.was_cut_off(self.keys.get(uuid, ()))

    def held(self, running: OnHost, starting: OnHost) -> Held:
        """Who holds which VF; of a part of the pool, of those that its VMs have. `running` is what the hosts'
        xenstores say. `starting` is what the notes of starts there say: one counts while xapi says that the
        VM starts or runs on that host. An entry by hand takes a VF on the host where its VM runs: roles
        below pool-admin bring halted VMs with any entries into the pool (see own_lease), and none of these,
        nor a start that will be refused, may keep VFs from those who ask."""
        leased = self.leased()
        by_hand = self._by_hand(leased) if self.asked is None else {}
        plugged = {
            (vm.resident_on, address): vm.uuid
            for address, vms in by_hand.items()
            for vm in vms
            if vm.is_running and vm.resident_on
        }
        begun = {
            (host, address): uuid
            for (host, address), uuid in starting.items()
            if uuid in self.vms and host in (self.vms[uuid].starting_on, self.vms[uuid].resident_on)
        }
        return Held(
            {**plugged, **leased, **begun, **running},
            {address: vm.uuid for vm in self._vms(self.unreadable) for address in vm.named},
            {address: [vm.uuid for vm in vms] for address, vms in by_hand.items()},
        )

    def assigned(self, host: str) -> Dict[str, Vm]:
        """Address -> the VM that a VF of the host is assigned to: by a lease there, or by an entry of a VM,
        whether it runs or not, for an address that is in no lease of the pool."""
        held = self.held({}, {})
        found = {address: [*uuids][-1] for address, uuids in held.by_hand.items()}
        found.update(held.everywhere)
        found.update({address: uuid for (where, address), uuid in held.on_host.items() if where == host})
        return {address: self.vms[uuid] for address, uuid in found.items()}

    def leased(self) -> OnHost:
        """Of two leases on one VF a running VM's counts, else the one with the higher serial. A VM that is
        gone has none; one that moves has the VFs of two hosts."""
        found: OnHost = {}
        for uuid, entry in self.entries.items():
            if entry.lease is not None and uuid in self.vms:
                for where in entry.held:
                    other = found.setdefault(where, uuid)
                    if other != uuid:
                        found[where] = max(other, uuid, key=lambda one: self._rank(one, where[0]))
        return found

    def _rank(self, uuid: str, host: str) -> Tuple[bool, int, str]:
        """Of a VM with a lease, among those with one on the same VF of that host."""
        vm, lease = self.vms[uuid], self.entries[uuid].lease
        return vm.is_running and vm.resident_on == host, lease.serial if lease else 0, uuid

    def _by_hand(self, leased: OnHost) -> Dict[str, List[Vm]]:
        """Address -> the VMs with an entry for it, where no lease of the pool has that address; one that runs
        comes last. What a VM was leased before, and a revert brought back, was not written by hand."""
        in_leases = {address for _, address in leased}
        found: Dict[str, List[Vm]] = {}
        for vm in self.vms.values():
            for address in vm.named:
                if address not in in_leases and address not in self._past(vm.uuid):
                    found.setdefault(address, []).append(vm)
        for vms in found.values():
            vms.sort(key=lambda vm: (vm.is_running, vm.uuid))
        return found

    def _past(self, uuid: str) -> Tuple[str, ...]:
        return self.entries[uuid].past if uuid in self.entries else ()

    def _vms(self, uuids: Iterable[str]) -> List[Vm]:
        return [self.vms[uuid] for uuid in uuids if uuid in self.vms]

    def busy_on(self, host: str) -> Set[str]:
        """The VMs that run on the host, or are being started."""
        return {
            vm.uuid
            for vm in self.vms.values()
            if STARTS.intersection(vm.operations) or (vm.is_running and vm.resident_on == host)
        }

    def name(self, uuid: str) -> str:
        """A VM in a sentence; one that is gone has its UUID only."""
        vm = self.vms.get(uuid)
        return named(vm.name, uuid) if vm else uuid


class Pool(NamedTuple):
    """What xapi tells this host."""

    here: OwnHost
    state: PoolState


class Silence(NamedTuple):
    """Why the pool is not known: that costs the owners and some states, not the answer."""

    why: str


def named(name: str, uuid: str) -> str:
    """A VM in a sentence, in one line; whoever names it may write pages."""
    return f"{shortened(' '.join(name.splitlines()), 60)} ({uuid})"


class Reader:
    """Reads the ledger and all VMs, as often as it is asked to: what has not changed is not made again.
    `uuids`: reference of a host -> its UUID."""

    def __init__(self, records: Records, uuids: Mapping[str, str]) -> None:
        self._records = records
        self._uuids = uuids
        self._made: Dict[str, Tuple[Any, Any]] = {}  # by part: of which records, and what was made of them

    def read(self) -> PoolState:
        """Raises what `Xapi.call` raises."""
        state: PoolState = self._of(LEDGER, self._ledger)
        vms: List[Vm] = self._of(VMS, lambda told: _vms(told["vm"], self._uuids))
        return state.with_vms(vms, None)

    def _of(self, part: Part, make: Callable[[Any], Any]) -> Any:
        told = self._records.of(part)
        if part.name not in self._made or self._made[part.name][0] is not told:
            self._made[part.name] = told, make(told)
        return self._made[part.name][1]

    def _ledger(self, told: Told) -> PoolState:
        return _of_pool(told, lambda other_config: checked_keys.read(self._records.host, other_config))


def read(records: Records, uuids: Mapping[str, str]) -> PoolState:
    """The ledger and all VMs. `uuids`: reference of a host -> its UUID."""
    return Reader(records, uuids).read()


def of_records(told: Told, vms: Told, uuids: Mapping[str, str], read_keys: ReadKeys) -> PoolState:
    """As `read`, of the records of LEDGER and of VMS."""
    return _of_pool(told, read_keys).with_vms(_vms(vms["vm"], uuids), None)


def read_here(records: Records, own: str, pfs: Iterable[PhysicalFunction]) -> Pool:
    """Three calls for this host, and some for GPUs among the PFs; and the pool. `own`: UUID of this host."""
    here = hosts.read_own(records.xapi, own, pfs)
    return Pool(here, read(records, {here.member.ref: own}))


def read_ledger(records: Records, read_keys: ReadKeys = ledger.read) -> PoolState:
    """No VM is asked for."""
    return _of_pool(records.of(LEDGER), read_keys)


def _of_pool(told: Told, read_keys: ReadKeys) -> PoolState:
    ((ref, pool),) = told["pool"].items()
    entries, unreadable, keys = read_keys(pool["other_config"])
    return PoolState(
        ref,
        pool["master"],
        keys,
        entries,
        unreadable,
        {},
        frozenset(),
        bool(pool["ha_enabled"]),
        pool["other_config"].get(FIELD_WISH),
        pool["gui_config"].get(FIELD_DEFINITIONS, ""),
    )


def read_vms(xapi: Xapi, wanted: Iterable[str], uuids: Mapping[str, str]) -> List[Vm]:
    """Those of them that are VMs: one call, where there is something to ask for. A key of the ledger, or a
    note's file, may end in whatever somebody has written."""
    query = " or ".join(f'field "uuid" = "{uuid}"' for uuid in sorted(filter(is_uuid, wanted)))
    found = xapi.call("VM.get_all_records_where", query) if query else {}
    real = {ref: vm for ref, vm in found.items() if not (vm["is_a_template"] or vm["is_a_snapshot"])}
    return _vms(real, uuids)


def _vms(records: Mapping[str, Record], uuids: Mapping[str, str]) -> List[Vm]:
    return [vm_of(ref, record, uuids) for ref, record in records.items()]


def explained(entry: Entry, vm: Vm, keys: Sequence[Key]) -> Entry:
    """The VM's entry without what it does not explain of the addresses that its `pci` names: those of a VM
    without requests and without a mark (see copies). A revert brings the mark back with the entries, so
    somebody wrote these. Where a call was cut off after it had removed the mark, they are left of it. `keys`:
    the VM's in the ledger."""
    if entry.requests or vm.mark is not None or ledger.was_cut_off(keys):
        return entry
    return entry._replace(past=tuple(address for address in entry.past if address not in vm.named))


def put_right(uuid: str, keys: Sequence[Key]) -> str:
    """What to do with a VM's key that cannot be read: with the last one, where there are several."""
    import shlex  # it loads `re`, and few keys cannot be read

    remove = (
        "Correct it; or remove it (`xe pool-param-remove uuid=$(xe pool-list --minimal) "
        f"param-name=other-config param-key={shlex.quote(keys[-1].name)}`)"
    )
    if len(keys) > 1:
        return f"{remove}: then {keys[-2].name} counts, and `reinstate_vfs` applies it to the VM."
    return f"{remove} and the VM's entries (`{pci_entries.removal(uuid)}`), then assign VFs again."


def vm_of(ref: str, record: Mapping[str, Any], uuids: Mapping[str, str]) -> Vm:
    """A VM's record. `uuids`: reference of a host -> its UUID."""
    return Vm(
        ref,
        record["uuid"],
        line(record["name_label"]),
        record["power_state"],
        tuple(sorted(record["current_operations"].values())) if record["current_operations"] else (),
        _host(record["resident_on"], uuids),
        uuids.get(record["affinity"]),
        pci_entries.readable(record["other_config"]) if "pci" in record["other_config"] else None,
        record["platform"].get("nomigrate"),
        record["other_config"],
        record["is_a_template"],
        _host(record.get("scheduled_to_be_resident_on", NULL), uuids),
        pinning.ours(record),
        numa.Pinned(record["VCPUs_params"].get("mask"), int(record["VCPUs_max"])),
        record["metrics"],
        record.get("ha_restart_priority", ""),
    )


def _host(ref: str, uuids: Mapping[str, str]) -> Optional[str]:
    return None if ref == NULL else uuids.get(ref, ref)


def vm_record(xapi: Xapi, uuid: str, template: bool = False) -> Tuple[str, Dict[str, Any]]:
    """Reference and record of a VM that requests may be made for; refuses templates (unless
    `template`), snapshots, dom0s."""
    try:
        ref = xapi.call("VM.get_by_uuid", uuid)
        record = xapi.call("VM.get_record", ref)
    except XapiFailure as failure:
        if failure.details[0] not in ("UUID_INVALID", "HANDLE_INVALID"):
            raise
        raise SriovError(
            "SRIOV_NOT_FOUND", f"The pool has no VM {uuid}.", "`xe vm-list` lists its VMs."
        ) from failure
    for field, what, hint in _NO_VMS:
        if record[field] and not (template and field == "is_a_template"):
            said = f"{named(record['name_label'], uuid)} is {what} and gets no VFs."
            raise SriovError("SRIOV_BAD_ARGUMENT", said, hint)
    return ref, record


def must_be_halted(vm: Vm, starting: bool = False) -> None:
    """Refuses a VM whose VFs cannot be changed now: one that is not halted, or that something is being done
    to. `starting`: its start hook asks, so exactly one start is in progress."""
    name = f"VM {named(vm.name, vm.uuid)}"
    if vm.power_state == "Suspended":
        raise SriovError(
            "SRIOV_VM_NOT_HALTED",
            f"{name} is suspended, and needs the same VFs when it is resumed.",
            "Resume it and shut it down first; or, which loses its memory: "
            f"`xe vm-reset-powerstate uuid={vm.uuid} --force`.",
        )
    if vm.power_state != "Halted":
        raise SriovError(
            "SRIOV_VM_NOT_HALTED",
            f"{name} is {vm.power_state.lower()}.",
            "Shut it down first: a VM's VFs change when it starts.",
        )
    if starting and not vm.operations:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"{name} is not starting.",
            "Leave `starting` out: it is for the start hook.",
        )
    starts = [operation for operation in vm.operations if operation in ("start", "start_on")]
    if len(starts) != starting or len(vm.operations) != starting:
        doing = ", ".join(vm.operations)
        raise SriovError("SRIOV_BUSY", f"{name}: in progress: {doing}.", "Call again when that has ended.")
