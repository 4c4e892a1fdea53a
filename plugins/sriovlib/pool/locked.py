"""What all pool functions share that change a VM: ask the hosts concerned, take the pool's lock, read the
pool once, place requests."""

import time
from contextlib import contextmanager
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import SriovError
from ..machine.host import Host
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiError
from . import host_answers, hosts, inventories, ledger, no_free_vf, pci_entries, placement, places, state
from .conflicts.view import Seen
from .hosts import Member, Topology
from .inventories import Survey
from .ledger import NO_ENTRY, Choice, Entry, Request
from .placement import Held, NoFreeVf
from .records import LEDGER, VMS, Records
from .state import PoolState, Vm
from .transaction import Transaction

LOCK = "pool"
CALL_SECONDS, HOOK_SECONDS = 120, 60  # the longest wait for the lock
ALONE_SECONDS = 15  # and for a call that moves the VM: as long as one that only looks may take
STALE_SECONDS = 15  # after a longer wait hosts are asked again


class Call(NamedTuple):
    """A call for a VM before it has the pool's lock."""

    host: Host
    session: OwnSession
    xapi: Xapi
    records: Records
    topology: Topology
    vm_uuid: str
    vm_name: str  # and UUID
    doing: str  # for who waits for the lock


class Work(NamedTuple):
    """The pool while its lock is held, for a change of one VM."""

    xapi: Xapi
    topology: Topology
    surveyed: Survey
    state: PoolState
    held: Held
    transaction: Transaction
    vm: Vm
    entry: Entry  # the VM's in the ledger

    @property
    def seen(self) -> Seen:
        return Seen(self.topology, self.surveyed, self.state, self.held)

    def host(self, uuid: str) -> inventories.Surveyed:
        """The host's inventory; refuses a host that did not answer."""
        return places.answered(self.seen, uuid)


def call(
    host: Host, session: OwnSession, name: str, vm_uuid: str, wanted: Optional[str], template: bool = False
) -> Call:
    """Refuses a VM that gets no VFs, and a host `wanted` that is not live."""
    xapi = Xapi(host, session)
    records = Records(host, xapi, writes=True)
    topology = hosts.read(host, records)
    _, record = state.vm_record(xapi, vm_uuid, template)
    if wanted is not None:
        hosts.member(topology, wanted)
    vm_name = state.named(record["name_label"], vm_uuid)
    return Call(host, session, xapi, records, topology, vm_uuid, vm_name, f"{name} for {vm_name}")


@contextmanager
def alone(of: Call) -> Iterator[None]:
    """For a call that goes through the states of a VM's move, which takes minutes: the only one at it on this
    master; `SRIOV_BUSY` names the other. Calls that only write the VM, its start hook among them, do not wait
    for this lock: they refuse a VM that is not halted, and end the move of one that is. The lock is not on
    the next master, which goes on from what the ledger says, while a call on the former one may not write
    any more (see work)."""
    with of.host.lock(f"move-{of.vm_uuid}", of.doing, ALONE_SECONDS, f"VM {of.vm_name}"):
        yield


@contextmanager
def work(
    of: Call,
    asked: Iterable[Member],
    starting: bool = False,
    seconds: Optional[float] = None,
    reads: bool = False,
) -> Iterator[Work]:
    """Asks these hosts, then holds the pool's lock, which is on its master, this host; `SRIOV_BUSY` names its
    holder, after `seconds` (None: CALL_SECONDS). Refuses a VM that is not halted, unless the call only
    `reads`; `starting`: its start hook asks."""
    host, session, pool = of.host, of.session, of.topology
    reader = state.Reader(of.records.by(Xapi(host, session)), pool.uuids)
    surveyed = inventories.survey(host, session, pool, asked, reader.read, whole=False)
    began = time.monotonic()
    with host.lock(LOCK, of.doing, CALL_SECONDS if seconds is None else seconds):
        if surveyed.hosts and time.monotonic() - began > STALE_SECONDS:
            surveyed = inventories.again(host, session, pool, surveyed)
        xapi = Xapi(host, session)
        of.records.by(xapi)
        now = reader.read()
        # Also one that became a template: its VFs can be taken back.
        ref, record = state.vm_record(xapi, of.vm_uuid, template=True)
        if not of.records.tell(VMS, "vm", ref, record):
            of.records.forget(VMS)
            now = reader.read()
        if pool.uuids.get(now.master_ref) != pool.own:
            raise SriovError("SRIOV_BUSY", "The pool master changed during this call.", "Call again.")
        vm = state.vm_of(ref, record, pool.uuids)
        if vm.uuid in now.vms:
            now = now.with_vms([vm], None)
        pci_entries.must_be_readable(vm.uuid, vm.name, vm.other_config)
        if not reads:
            state.must_be_halted(vm, starting)
        held = now.held(surveyed.running(), surveyed.starting())
        surveyed = surveyed.without_unknown(held.on_host)
        transaction = Transaction(host, xapi, now)
        yield Work(xapi, pool, surveyed, now, held, transaction, vm, now.entry(vm.uuid))


def concerned(of: Call, entry: Entry, wanted: Optional[str], *choices: Choice) -> List[Member]:
    """The live hosts to ask before the lock is taken: `wanted`, the one of the VM's lease, and those that can
    serve one of its requests or of `choices`. `entry`: the VM's, see entry_now."""
    pool = of.topology
    first = (wanted, *(one.host for one in (entry.lease, entry.move) if one))
    every = [*(request.choice for request in entry.requests), *choices]
    if any(choice.kind != "network" for choice in every):
        return pool.live
    named = {choice.value for choice in every}
    return [
        member
        for member in pool.live
        if member.uuid in first or any(one.uuid in named and one.interfaces for one in pool.networks(member))
    ]


def entry_now(of: Call) -> Entry:
    """The VM's in the ledger, as it is before the lock is taken."""
    (record,) = of.records.by(of.xapi.renewed()).of(LEDGER)["pool"].values()
    own = {name: text for name, text in record["other_config"].items() if of.vm_uuid in name}
    keys = ledger.keys(own).get(of.vm_uuid)
    try:
        return ledger.entry(of.vm_uuid, keys) if keys else NO_ENTRY
    except ledger.LedgerError:
        return NO_ENTRY  # refused under the lock


def place(at: Work, requests: Sequence[Request], host: str, current: Mapping[int, str]) -> Dict[int, str]:
    """A VF of that host for each request, or `SRIOV_NO_FREE_VF` with what there is and who has it."""
    return places.place(at.seen, at.vm, requests, host, current)


def release(of: Call, left: str, vfs: Iterable[str]) -> None:
    """The host that a VM's VFs were of sets them back, if it has not done so as the VM ended: a guest that
    shut itself down ran no hook, and a MAC that stays on a VF makes its VM unreachable from there. Not under
    the lock; a host that does not answer costs nothing."""
    member = of.topology.members.get(left)
    if member is None or not member.live:
        return
    try:
        xapi = Xapi(of.host, of.session, host_answers.SECONDS)
        args = {"vm_uuid": of.vm_uuid, "vfs": ",".join(sorted(vfs))}
        xapi.call("host.call_plugin", member.ref, "sriov", "release_vfs", args)
    except XapiError as error:  # the VM has what it was to get
        of.host.log(f"{member.name} could not be asked to release VFs of {of.vm_uuid}: {error}")


def best_host(at: Work, requests: Mapping[str, Sequence[Request]], preferred: Optional[str]) -> str:
    """Of these hosts, each with the requests that it is to serve: the preferred one if it has the VFs, else
    the one with most free VFs of those that take VMs, else of all."""
    if not requests:
        problems = at.surveyed.problems.values()
        silent = " ".join(problem.message for problem in problems)
        is_silent = any(problem.code == inventories.SILENT for problem in problems)
        raise SriovError(
            places.SILENT_CODE if is_silent else "SRIOV_NO_FREE_VF",
            f"No live host of the pool told its VFs. {silent}".strip(),
            f"`list_assignments` shows the hosts, and any request of {at.vm.name} whose network is gone.",
        )
    last = [member.uuid for member in at.topology.members.values() if not member.enabled]
    try:
        return placement.choose_host(requests, at.vm.uuid, at.surveyed.candidates, at.held, preferred, last)
    except NoFreeVf as error:
        raise no_free_vf.as_error(error, at.vm.uuid, at.seen) from error
