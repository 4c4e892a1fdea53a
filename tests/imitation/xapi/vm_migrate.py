"""VM.pool_migrate: a running VM goes from the xenopsd of one host to that of another.

Facts from xen-api v26.1.3: ocaml/xapi/message_forwarding.ml (pool_migrate, reserve_memory_for_vm),
xapi_vm_migrate.ml (pool_migrate, migrate_with_retries, remove_stale_pcis, pool_migrate_complete),
ocaml/xenopsd/lib/xenops_server.ml (VM_migrate, VM_receive_memory, VM_restore_devices, VM_rename, and
trigger_cleanup_after_failure, which ends at the first VM that is not known by its name any more).

So the destination is told what the SOURCE's xenopsd knows, not what the record says, and plugs all of that
before the guest is unpaused. Until the guest is suspended a failure leaves it running at the source. From
then on the source has renamed it: whatever fails leaves a suspended domain of another name there, a paused
one at the destination if it failed there, and a record that still says Running at the source, as xapi hears
nothing more of it.

To the host where it is it goes likewise, from one domain of that host to another ("localhost migration").
"""

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Dict, Iterator, Sequence

import tasks
import vm_guest
import vm_metadata
import vm_notes
import vm_placement
import vm_start
from calls import Call, Calls, Context, operation_call
from hypervisor import CannotCopy, CannotStart, Guest, GuestEnded
from values import NULL, Failure, internal_error
from vm_operations import Operation, operation, update_allowed
from xenopsd import Xenopsd, XenopsdError

if TYPE_CHECKING:
    pass

_TRIES = 3  # migrate_with_retry
_COPIED = 10 / 11  # of the task: what VM_save weighs beside VM_rename (weight_of_atomic)


class _Again(Failure):
    """What xapi tries again: the guest has rebooted, or the connection has ended."""


def pool_migrate(context: Context, vm: str, host: str, options: Dict[str, str]) -> None:
    """`force` leaves out what the guest can do, nomigrate and the CPUs; devices count all the same."""
    xapi, strict = context.xapi, options.get("force") != "true"
    if strict:
        vm_placement.check_cpu(xapi, vm, host)
    with operation(context, vm, "pool_migrate", strict=strict) as under_way, _reserved(under_way, host):
        source = vm_start.forwarded(xapi, vm)
        if not xapi.life.hypervisor(xapi, source).migrates:
            raise Failure("NOT_IMPLEMENTED", "Xenops_server_skeleton.VM.assert_can_save")
        xapi.forward(host)
        _migrate_with_retries(under_way, source, host)
        complete(context, vm, host)


@contextmanager
def _reserved(under_way: Operation, host: str) -> Iterator[None]:
    """The VM is on its way to the host, which takes part in that."""
    xapi, vm, database = under_way.xapi, under_way.vm, under_way.xapi.database
    with database.lock:
        vm_placement.check(xapi, vm, host)
        vm_placement.check_takes_vms(xapi, host)
        database.add_to("host", host, "current_operations", under_way.task, "vm_migrate")
        database.set("VM", vm, "scheduled_to_be_resident_on", host)
    try:
        yield
    finally:
        with database.lock:
            if database.exists("host", host):
                database.remove_from("host", host, "current_operations", under_way.task)
            if database.exists("VM", vm):
                database.set("VM", vm, "scheduled_to_be_resident_on", NULL)


def _migrate_with_retries(under_way: Operation, source: str, host: str) -> None:
    for left in reversed(range(_TRIES)):
        migration = _Migration(under_way, source, host)
        try:
            with under_way.xapi.life.queue(under_way.vm):
                migration.run()
                vm_metadata.import_queued(under_way.xapi, under_way.vm, source)
                if host != source:  # VM_remove refuses a VM that runs, and what xapi remembers stays as well
                    vm_metadata.forget(under_way.xapi, under_way.vm, source)
            return
        except _Again as failure:
            if not left:
                raise Failure(*failure.description) from None
        except XenopsdError as error:
            raise internal_error(str(error)) from None
        finally:
            vm_notes.refresh_devices(under_way.xapi, under_way.vm, source)


class _Migration:
    """One attempt. The destination knows the VM by another UUID until it is to run there, the source by a
    third from the moment it is suspended."""

    def __init__(self, under_way: Operation, source: str, host: str) -> None:
        self._under_way = under_way
        self._xapi, self._vm = under_way.xapi, under_way.vm
        self._source, self._host = source, host
        self._from = self._xapi.life.xenopsd(self._xapi, source)
        self._to = self._xapi.life.xenopsd(self._xapi, host)
        self._uuid = str(self._xapi.database.get("VM", self._vm, "uuid"))
        self._there, self._aside = (f"{self._uuid[:24]}00000000000{digit}" for digit in "10")

    def run(self) -> None:
        self._begin()
        self._copy()
        self._leave()
        self._arrive()
        self._clean_up()

    def _begin(self) -> None:
        self._under_way.look_whether_cancelled()
        self._from.known(self._uuid)
        reason = self._from.hypervisor.unmigratable.get(self._uuid)
        if reason:  # assert_can_save, which asks QEMU
            raise Failure("DEVICE_DETACH_REJECTED", "VM", self._uuid, reason)
        vm_start.hook(self._xapi, self._vm, self._source, "vm-pre-migrate", "source")
        self._under_way.look_whether_cancelled()
        metadata = self._from.export_metadata(self._uuid)
        self._to.import_metadata({**metadata, "vm": {**metadata["vm"], "id": self._there}})
        try:
            self._to.hypervisor.receive(vm_notes.guest_of(self._xapi, self._vm, self._host, self._there))
        except CannotStart as error:
            raise internal_error(f"xenopsd internal error: {error}") from None

    def _copy(self) -> None:
        """A refusal of Xen, a cut connection, a wish to end: the destination forgets the VM."""
        try:
            self._from.hypervisor.copy(self._uuid, self._to.hypervisor, self._progress)
            happened = self._xapi.life.stages.reach("copy")
            if self._is_gone(self._source):
                raise Failure("CANNOT_CONTACT_HOST", self._source)
            if self._is_gone(self._host):
                raise CannotCopy("xenguest Connection reset by peer")
            if happened.fails:
                raise CannotCopy(happened.fails)
            if happened.guest:
                raise GuestEnded(happened.guest)
            self._under_way.look_whether_cancelled()
        except GuestEnded as ended:
            self._to.remove(self._there)
            raise self._again(ended.how) from None
        except CannotCopy as error:
            self._to.remove(self._there)
            reason = f'Domain.Emu_manager_failure("Received error from emu-manager: {error}")'
            raise internal_error(f"xenopsd internal error: {reason}") from None
        except Failure:
            self._to.remove(self._there)
            raise

    def _again(self, how: str) -> Failure:
        """The guest has ended by itself, which xenopsd deals with before it is asked to migrate it again."""
        if how == "reboot":
            with suppress(Failure):  # of a hook, which nobody is told
                vm_guest.reboot(self._xapi, self._vm)
        else:
            vm_guest.shut_down(self._xapi, self._vm)
        return _Again("INTERNAL_ERROR", "xenopsd internal error: End_of_file")

    def _leave(self) -> None:
        """The guest is suspended: from here on nobody cancels this."""
        tasks.is_at(self._xapi.database, self._under_way.task, _COPIED, may_be_cancelled=False)
        self._from.hypervisor.move_aside(self._uuid, self._aside)
        self._from.rename(self._uuid, self._aside)
        self._xapi.life.stages.reach("suspended")
        if self._is_gone(self._source):
            self._to.remove(self._there)
            raise Failure("CANNOT_CONTACT_HOST", self._source)
        self._go_on_if_there()

    def _arrive(self) -> None:
        """Of devices that cannot be plugged none of those after them is, and the domain stays, paused."""
        self._to.rename(self._there, self._uuid)
        guest = vm_notes.guest_of(self._xapi, self._vm, self._host)
        addresses = self._to.known(self._uuid).addresses
        try:
            self._to.hypervisor.start(guest, addresses)
        except CannotStart as error:
            _plug_some(self._to, guest, addresses)
            self._to.paused.add(self._uuid)
            raise self._failed_there(str(error)) from None
        self._xapi.life.stages.reach("plugged")
        self._go_on_if_there()
        try:
            vm_start.hook(self._xapi, self._vm, self._host, "vm-post-migrate", "destination")
        except Failure as failure:
            raise self._failed_there(" ".join(failure.description)) from None

    def _clean_up(self) -> None:
        self._xapi.life.stages.reach("arrived")
        if self._is_gone(self._source):
            raise Failure("CANNOT_CONTACT_HOST", self._source)
        hook = vm_start.hook
        hook(self._xapi, self._vm, self._source, "vm-pre-shutdown", "suspend", self._aside)
        self._from.hypervisor.stop(self._aside)
        hook(self._xapi, self._vm, self._source, "vm-post-destroy", "suspend", self._aside)
        self._from.remove(self._aside)

    def _go_on_if_there(self) -> None:
        if self._is_gone(self._host):
            raise _Again("INTERNAL_ERROR", "xenopsd internal error: End_of_file")

    def _failed_there(self, why: str) -> Failure:
        text = f"VM.migrate: Failed during Synchronisation point 4. msg: {why}"
        return internal_error(f"xenopsd internal error: {text}")

    def _is_gone(self, host: str) -> bool:
        """Since this began."""
        xenopsd = self._from if host == self._source else self._to
        return host not in self._xapi.dom0s or self._xapi.life.xenopsd(self._xapi, host) is not xenopsd

    def _progress(self, part: float) -> None:
        tasks.is_at(self._xapi.database, self._under_way.task, part * _COPIED)


def _plug_some(there: Xenopsd, guest: Guest, addresses: Sequence[str]) -> None:
    """As many as it takes until one fails."""
    for count in reversed(range(len(addresses))):
        with suppress(CannotStart):
            there.hypervisor.start(guest, addresses[:count])
            return


# -- at the destination ------------------------------------------------------------------------------


def complete(context: Context, vm: str, host: str) -> None:
    """The host's xapi takes the VM over, if the host's xenopsd knows it: wherever it was before. Of its
    devices it forgets all, and notes those that xenopsd was told of and the domain has."""
    xapi = context.xapi
    xapi.forward(host)
    uuid = xapi.database.get("VM", vm, "uuid")
    vm_notes.forget_guidance(xapi, vm, "restart_device_model")
    domain = xapi.life.hypervisor(xapi, host).domain(uuid)
    if xapi.life.xenopsd(xapi, host).exists(uuid) and domain is not None:
        vm_notes.note_moved(xapi, vm, host, domain)
    update_allowed(xapi, vm)


CALLS: Calls = {
    "VM.pool_migrate": operation_call(pool_migrate, "ref", "string map"),
    "VM.pool_migrate_complete": Call(complete, ["ref", "ref"], may_be_async=True),
}
