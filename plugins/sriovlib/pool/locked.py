"""What all pool functions share: ask the hosts concerned, take the pool's lock, read the pool once, place
requests, write."""

import time
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import SriovError
from ..machine.host import Host
from ..xapi.session import Xapi, XapiError
from . import inventories, ledger, no_free_vf, pci_entries, placement, state
from .conflicts.view import Seen
from .hosts import Member, Topology
from .inventories import Survey
from .ledger import NO_ENTRY, Choice, Entry, Request
from .placement import Held, NoFreeVf
from .state import PoolState, Vm
from .transaction import Transaction

LOCK = "pool"
CALL_SECONDS, HOOK_SECONDS = 120, 60  # the longest wait for the lock
STALE_SECONDS = 15  # after a longer wait hosts are asked again


class Work(NamedTuple):
    """The pool while its lock is held."""

    xapi: Xapi
    topology: Topology
    surveyed: Survey
    state: PoolState
    held: Held
    transaction: Transaction

    def vm(self, uuid: str) -> Vm:
        """A VM; also one that became a template, whose VFs can be taken back."""
        vm = self.state.vms.get(uuid)
        if vm is None:
            ref, record = state.vm_record(self.xapi, uuid, template=True)
            vm = state.vm_of(ref, record, self.topology.uuids)
        pci_entries.must_be_readable(uuid, vm.name, vm.other_config)
        return vm

    def entry(self, uuid: str) -> Entry:
        """The VM's entry in the ledger; refuses one that cannot be read."""
        why = self.state.unreadable.get(uuid)
        if why is not None:
            keys = self.state.keys[uuid]
            raise SriovError(
                "SRIOV_LEDGER",
                f"pool.other_config:{keys[-1].name} cannot be read: {why}.",
                f"It was left unchanged. {state.put_right(uuid, keys)}",
            )
        return self.state.entries.get(uuid, NO_ENTRY)

    @property
    def seen(self) -> Seen:
        return Seen(self.topology, self.surveyed, self.state, self.held)

    def host(self, uuid: str) -> inventories.Surveyed:
        """The host's inventory; refuses a host that did not answer."""
        found = self.surveyed.hosts.get(uuid)
        if found is not None:
            return found
        member = self.topology.members.get(uuid)
        name = member.name if member else uuid
        reason = self.surveyed.problems.get(uuid)
        if reason is not None:
            raise SriovError("SRIOV_NO_FREE_VF", reason.message, reason.hint)
        if member is not None and member.live:
            raise SriovError(
                "SRIOV_BUSY", f"The VM's VFs moved to host {name} during this call.", "Call again."
            )
        raise SriovError(
            "SRIOV_NO_FREE_VF", f"Host {name} does not answer its pool.", "Start it, or use another host."
        )


@contextmanager
def work(
    host: Host,
    session: Any,
    pool: Topology,
    surveyed: Survey,
    doing: str,
    seconds: Optional[float] = None,
) -> Iterator[Work]:
    """Holds the pool's lock, which is on its master, this host; `SRIOV_BUSY` names its holder."""
    began = time.monotonic()
    with host.lock(LOCK, doing, CALL_SECONDS if seconds is None else seconds):
        if surveyed.hosts and time.monotonic() - began > STALE_SECONDS:
            surveyed = inventories.again(host, session, pool, surveyed)
        xapi = Xapi(host, session)
        now = state.read(xapi, pool.uuids)
        if pool.uuids.get(now.master_ref) != pool.own:
            raise SriovError("SRIOV_BUSY", "The pool master changed during this call.", "Call again.")
        held = now.held(surveyed.running(), surveyed.starting())
        surveyed = surveyed.without_unknown(held.on_host)
        yield Work(xapi, pool, surveyed, now, held, Transaction(host, xapi, now))


def concerned(
    xapi: Xapi, pool: Topology, vm_uuid: str, wanted: Optional[str], *choices: Choice
) -> List[Member]:
    """The live hosts to ask before the lock is taken: `wanted`, the one of the VM's lease, and those that can
    serve one of its requests or of `choices`."""
    (ref,) = xapi.call("pool.get_all")
    keys = ledger.keys(xapi.call("pool.get_other_config", ref)).get(vm_uuid)
    try:
        entry = ledger.parse(keys[-1].text) if keys else NO_ENTRY
    except ledger.LedgerError:
        entry = NO_ENTRY  # refused under the lock
    first = (wanted, entry.lease.host if entry.lease else None)
    found = [member for member in pool.live if member.uuid in first]
    for choice in (*(request.choice for request in entry.requests), *choices):
        if choice.kind != "network":
            return pool.live
        for member in pool.live:
            stands = any(
                network.uuid == choice.value and network.interfaces for network in pool.networks(member)
            )
            if stands and member not in found:
                found.append(member)
    return found


def place(
    at: Work, vm: Vm, requests: Sequence[Request], host: str, current: Mapping[int, str]
) -> Dict[int, str]:
    """A VF of that host for each request, or `SRIOV_NO_FREE_VF` with what there is and who has it."""
    at.host(host)
    try:
        return placement.place(requests, vm.uuid, host, at.surveyed.candidates, at.held, current)
    except NoFreeVf as error:
        raise no_free_vf.as_error(error, vm.uuid, at.seen) from error


def release(host: Host, session: Any, pool: Topology, left: str, vm_uuid: str, vfs: Iterable[str]) -> None:
    """The host that a VM's VFs were of sets them back, if it has not done so as the VM ended: a guest that
    shut itself down ran no hook, and a MAC that stays on a VF makes its VM unreachable from there. Not under
    the lock; a host that does not answer costs nothing."""
    member = pool.members.get(left)
    if member is None or not member.live:
        return
    try:
        xapi = Xapi(host, session, inventories.SECONDS)
        args = {"vm_uuid": vm_uuid, "vfs": ",".join(sorted(vfs))}
        xapi.call("host.call_plugin", member.ref, "sriov", "release_vfs", args)
    except XapiError as error:  # the VM has what it was to get
        host.log(f"{member.name} could not be asked to release VFs of {vm_uuid}: {error}")


def best_host(at: Work, vm: Vm, requests: Mapping[str, Sequence[Request]], preferred: Optional[str]) -> str:
    """Of these hosts, each with the requests that it is to serve: the preferred one if it has the VFs, else
    the one with most free VFs of those that take VMs, else of all."""
    if not requests:
        silent = " ".join(problem.message for problem in at.surveyed.problems.values())
        raise SriovError(
            "SRIOV_NO_FREE_VF",
            f"No live host of the pool told its VFs. {silent}".strip(),
            f"`list_assignments` shows the hosts, and any request of {vm.name} whose network is gone.",
        )
    last = [member.uuid for member in at.topology.members.values() if not member.enabled]
    try:
        return placement.choose_host(requests, vm.uuid, at.surveyed.candidates, at.held, preferred, last)
    except NoFreeVf as error:
        raise no_free_vf.as_error(error, vm.uuid, at.seen) from error
