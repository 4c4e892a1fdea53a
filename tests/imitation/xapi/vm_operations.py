"""Operations on VMs: one begins when the rules and the others under way permit it, and waits its turn if not.

As seen of a real xapi: an operation that others are in the way of waits until they are through, then it
is judged anew; all other refusals come at once. xapi wakes those who wait when an operation ends, or after
1 to 20 s; here always at once. A cancelled call ends at its next step, not before.
"""

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, NamedTuple, Set

import tasks
import vm_rules
from calls import Context
from clock import Clock
from database import Database, new_ref
from hypervisor import Hypervisor, hypervisor_of
from migration_stages import Stages
from values import NULL
from vm_metadata import Telling
from xenopsd import Xenopsd

if TYPE_CHECKING:
    from xapi import Xapi


class Life:
    """What is known of VMs beside the database: in xapi's memory, and in that of each host's xenopsd."""

    def __init__(self, database: Database) -> None:
        self.changed = threading.Condition(database.lock)  # an operation has ended
        self.waiting = 0  # how many calls wait for their turn
        self.held = False  # they are woken late, as they may be
        self.stopped: Set[str] = set()  # tasks that a hard shutdown ends
        self.restarts = 0  # of the master's xapi
        self.over = False  # nobody waits any more, for nothing
        self.telling = Telling()
        self.stages = Stages()
        self.snapshots: Dict[str, Dict[str, Any]] = {}  # by snapshot: what its VM was
        self.clock = Clock()
        self.attempts: Dict[str, float] = {}  # of HA's: VM -> when
        self._hypervisors: Dict[str, Hypervisor] = {}
        self._xenopsds: Dict[str, Xenopsd] = {}
        self._queues: Dict[str, threading.RLock] = {}

    def hypervisor(self, xapi: "Xapi", host: str) -> Hypervisor:
        with self.changed:
            if host not in self._hypervisors:
                self._hypervisors[host] = hypervisor_of(xapi.dom0s[host].machine)
            return self._hypervisors[host]

    def set_hypervisor(self, host: str, hypervisor: Hypervisor) -> None:
        self._hypervisors[host] = hypervisor
        self.forget_xenopsd(host)

    def xenopsd(self, xapi: "Xapi", host: str) -> Xenopsd:
        with self.changed:
            if host not in self._xenopsds:
                self._xenopsds[host] = Xenopsd(self.hypervisor(xapi, host))
            return self._xenopsds[host]

    def forget_xenopsd(self, host: str) -> None:
        """The host has lost its power, and with it what its xapi and xenopsd knew."""
        with self.changed:
            self._xenopsds.pop(host, None)
            self.telling.forget(host)
        self.stages.let_go()

    def queue(self, vm: str) -> threading.RLock:
        """xenopsd does the things that are asked of one VM one after the other."""
        with self.changed:
            return self._queues.setdefault(vm, threading.RLock())

    @contextmanager
    def late(self) -> Iterator[None]:
        """Calls that wait for their turn are woken at the end of this; new ones are taken at once. (xapi's
        own random intervals, when nobody wakes it.)"""
        self.held = True
        try:
            yield
        finally:
            with self.changed:
                self.held = False
                self.changed.notify_all()

    def forget_waiting(self) -> None:
        """The master's xapi has restarted: calls that waited for their turn are gone with it. What xenopsd
        was at goes on."""
        with self.changed:
            self.restarts += 1
            self.changed.notify_all()

    def end(self) -> None:
        """Operations that wait for their turn let go."""
        with self.changed:
            self.over = True
        self.stages.let_go()
        self.forget_waiting()


class Operation(NamedTuple):
    """An operation under way."""

    xapi: "Xapi"
    vm: str
    task: str

    def look_whether_cancelled(self) -> None:
        """xenopsd looks before each of its steps (xenops_server.ml, check_cancelling)."""
        if self.task in self.xapi.life.stopped:
            raise tasks.Cancelled(self.task)
        tasks.look_whether_cancelled(self.xapi.database, self.task)


@contextmanager
def operation(context: Context, vm: str, name: str, strict: bool = True) -> Iterator[Operation]:
    """While the operation is under way: VM.current_operations has its task and name. Raises its refusal."""
    xapi = context.xapi
    database, life = xapi.database, xapi.life
    under_way = Operation(xapi, vm, context.task or new_ref())
    with life.changed:
        _take_turn(under_way, name, strict)
        database.add_to("VM", vm, "current_operations", under_way.task, name)
        update_allowed(xapi, vm)
    try:
        yield under_way
    finally:
        with life.changed:
            life.stopped.discard(under_way.task)
            if database.exists("VM", vm):
                database.remove_from("VM", vm, "current_operations", under_way.task)
                update_allowed(xapi, vm)
            life.changed.notify_all()


def _take_turn(wanted: Operation, name: str, strict: bool) -> None:
    life = wanted.xapi.life
    restarts = life.restarts
    while True:
        wanted.look_whether_cancelled()
        if life.over:
            raise tasks.Cancelled(wanted.task)
        refused = vm_rules.refusal(standing(wanted.xapi, wanted.vm), name, strict)
        if refused is None:
            return
        if refused.description[0] != "OTHER_OPERATION_IN_PROGRESS":
            raise refused
        life.waiting += 1
        life.changed.notify_all()
        try:
            life.changed.wait()
            life.changed.wait_for(lambda: not life.held or life.restarts != restarts)
        finally:
            life.waiting -= 1
            life.changed.notify_all()
        if life.restarts != restarts:
            raise tasks.Cancelled(wanted.task)


def stop_others(xapi: "Xapi", vm: str) -> None:
    """A hard shutdown cancels what goes on (xen-api: message_forwarding.ml, VM.hard_shutdown)."""
    with xapi.life.changed:
        if xapi.database.exists("VM", vm):
            others = xapi.database.get("VM", vm, "current_operations")
            xapi.life.stopped.update(others)


def standing(xapi: "Xapi", vm: str) -> vm_rules.Standing:
    database = xapi.database
    with database.lock:
        # Not the whole record: it has what refers to the VM, which takes a look at every row.
        metrics, guest = (database.get("VM", vm, field) for field in ("metrics", "guest_metrics"))
        known = database.exists("VM_metrics", metrics)
        reports = database.exists("VM_guest_metrics", guest)
        return vm_rules.Standing(
            ref=vm,
            record={field: database.get("VM", vm, field) for field in vm_rules.FIELDS},
            metrics=database.record("VM_metrics", metrics) if known else None,
            reported=database.get("VM_guest_metrics", guest, "other") if reports else {},
        )


def update_allowed(xapi: "Xapi", vm: str) -> None:
    with xapi.database.lock:
        xapi.database.set("VM", vm, "allowed_operations", vm_rules.allowed(standing(xapi, vm)))


def new_vm(xapi: "Xapi", values: Dict[str, Any]) -> str:
    """A VM of these values, halted, with its VM_metrics; its reference."""
    with xapi.database.lock:
        metrics = xapi.database.create("VM_metrics", {})
        vm = xapi.database.create("VM", {"metrics": metrics, "affinity": NULL, **values})
        update_allowed(xapi, vm)
        return vm
