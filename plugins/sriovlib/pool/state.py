"""The ledger and the VMs of the pool as they are now: read under the pool's lock, before a write."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import SriovError
from ..safetext import shortened
from ..xapi.session import Xapi, XapiFailure
from . import holding, ledger, pci_entries
from .hosts import Topology
from .ledger import Entry
from .placement import Held

_REAL_VMS = " and ".join(
    f'field "{name}" = "false"' for name in ("is_a_template", "is_a_snapshot", "is_control_domain")
)


class Vm(NamedTuple):
    """What concerns us of a VM's record. Hosts are UUIDs."""

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

    @property
    def is_running(self) -> bool:
        return self.power_state in ("Running", "Paused")


class PoolState(NamedTuple):
    pool_ref: str
    master_ref: str
    other_config: Dict[str, str]  # the pool's
    entries: Dict[str, Entry]  # by UUID of the VM
    unreadable: Dict[str, str]  # UUID of the VM -> why its key in the ledger cannot be read
    vms: Dict[str, Vm]  # real ones: no templates, snapshots, control domains

    @property
    def next_serial(self) -> int:
        """The largest stays what it is: who wrote that by hand must not stop all others."""
        last = max((entry.lease.serial for entry in self.entries.values() if entry.lease), default=0)
        return min(last + 1, ledger.LARGEST)

    def held_vms(self) -> List[holding.Vm]:
        return [
            holding.Vm(
                vm.uuid,
                vm.resident_on if vm.is_running else None,
                pci_entries.plugging_order(vm.pci or ""),
            )
            for vm in self.vms.values()
        ]

    def held(self, running: Mapping[Tuple[str, str], str], starting: Mapping[Tuple[str, str], str]) -> Held:
        """Who holds which VF; `running` is what the hosts' xenstores say, and `starting` what their notes of
        starts do. An entry by hand takes a VF on the host where its VM runs, or where its start was let
        through with it: roles below pool-admin bring halted VMs with any entries into the pool (see
        ownlease), and none of these, nor a start that will be refused, is to keep VFs from those who ask."""
        vms = self.held_vms()
        leased = holding.leased(self.entries, vms)
        by_hand = holding.by_hand(self.entries, leased, vms)
        up = {}
        for address, those in by_hand.items():
            for vm in those:
                host = vm.running_on or self.vms[vm.uuid].starting_on
                if host and (vm.running_on or starting.get((host, address)) == vm.uuid):
                    up[host, address] = vm.uuid
        return Held(
            {**up, **leased, **running},
            holding.perhaps_lent(self.unreadable, vms),
            {address: [vm.uuid for vm in those] for address, those in by_hand.items()},
        )

    def name(self, uuid: str) -> str:
        """What to call a VM in a sentence; whoever names it may write pages."""
        vm = self.vms.get(uuid)
        return named(vm.name, uuid) if vm else uuid


def named(name: str, uuid: str) -> str:
    """A VM in a sentence, in one line."""
    return f"{shortened(' '.join(name.splitlines()), 60)} ({uuid})"


def read(xapi: Xapi, topology: Topology) -> PoolState:
    """Two calls: the pool's record, and all VMs at once."""
    ((pool_ref, pool),) = xapi.call("pool.get_all_records").items()
    records = xapi.call("VM.get_all_records_where", _REAL_VMS)
    other_config = pool["other_config"]
    entries, unreadable = ledger.read_all(ledger.settled(other_config))
    hosts = {member.ref: member.uuid for member in topology.members.values()}
    vms = [vm_of(ref, record, hosts) for ref, record in records.items()]
    for vm in vms:
        if vm.uuid in entries:
            entries[vm.uuid] = explained(entries[vm.uuid], vm, other_config)
    return PoolState(pool_ref, pool["master"], other_config, entries, unreadable, {vm.uuid: vm for vm in vms})


def explained(entry: Entry, vm: Vm, other_config: Mapping[str, str]) -> Entry:
    """What the ledger says of the VM, by what it has now; see holding. `other_config` is the pool's."""
    named = pci_entries.plugging_order(vm.pci or "")
    return holding.explained(entry, named, vm.nomigrate, ledger.NEXT_PREFIX + vm.uuid in other_config)


def put_right(uuid: str, other_config: Mapping[str, str]) -> str:
    """What to do with a VM's key that cannot be read."""
    key = ledger.key(other_config, uuid)
    return (
        "Put it right; or take it out (`xe pool-param-remove uuid=POOL param-name=other-config "
        f"param-key={key}`), and the VM's entries with it (`{pci_entries.removal(uuid)}`), and assign anew."
    )


def vm_of(ref: str, record: Mapping[str, Any], hosts: Mapping[str, str]) -> Vm:
    """A VM's record, with hosts by UUID (`hosts`: reference -> UUID)."""
    return Vm(
        ref,
        record["uuid"],
        record["name_label"],
        record["power_state"],
        tuple(sorted(record["current_operations"].values())),
        hosts.get(record["resident_on"]),
        hosts.get(record["affinity"]),
        pci_entries.readable(record["other_config"]) if "pci" in record["other_config"] else None,
        record["platform"].get("nomigrate"),
        record["other_config"],
        record["is_a_template"],
        hosts.get(record.get("scheduled_to_be_resident_on", "")),
    )


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
            "SRIOV_NOT_FOUND", f"The pool has no VM {uuid}.", "`xe vm-list` shows those that it has."
        ) from failure
    name = f"{record['name_label']} ({uuid})"
    kinds: List[Tuple[str, str, str]] = [
        ("is_a_snapshot", "a snapshot", "Give the UUID of its VM."),
        ("is_a_template", "a template", "Make a VM of it first (`xe vm-install`)."),
        ("is_control_domain", "a host's control domain", "Give the UUID of a VM."),
    ]
    for field, what, hint in kinds:
        if record[field] and not (template and field == "is_a_template"):
            raise SriovError("SRIOV_BAD_ARGUMENT", f"{name} is {what}, which gets no VFs.", hint)
    return ref, record


def must_be_halted(vm: Vm, starting: bool = False) -> None:
    """Refuses a VM whose VFs cannot be changed now: one that is not halted, or that something is being done
    to. `starting`: its start hook asks, so exactly one start is in progress."""
    name = f"{vm.name} ({vm.uuid})"
    if vm.power_state == "Suspended":
        raise SriovError(
            "SRIOV_VM_NOT_HALTED",
            f"The VM {name} is suspended, and what it had when it was suspended is what it will look for.",
            "Resume it and shut it down first; or `xe vm-reset-powerstate --force`, which loses its memory.",
        )
    if vm.power_state != "Halted":
        raise SriovError(
            "SRIOV_VM_NOT_HALTED",
            f"The VM {name} is {vm.power_state.lower()}.",
            "Shut it down first; VFs come and go with a start.",
        )
    starts = [operation for operation in vm.operations if operation in ("start", "start_on")]
    others = len(vm.operations) - len(starts)
    if others or len(starts) != (1 if starting else 0):
        if starting and not vm.operations:
            raise SriovError(
                "SRIOV_BAD_ARGUMENT",
                f"The VM {name} is not being started.",
                "Only its start hook says `starting`; leave it out.",
            )
        raise SriovError(
            "SRIOV_BUSY",
            f"The VM {name} is in the middle of something: {', '.join(vm.operations)}.",
            "Call again when it has ended.",
        )
