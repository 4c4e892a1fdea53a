"""What a pool function writes: the ledger, a VM's `pci` and its `platform:nomigrate`. All of it, or none."""

from contextlib import ExitStack
from typing import Callable, List, NamedTuple, Optional, Set

from ..errors import SriovError
from ..machine.host import Host
from ..xapi.session import Xapi, XapiError, XapiFailure, logged_in
from . import copies, ledger, state
from .ledger import Entry
from .state import PoolState, Vm

_TEMPLATES = 'field "is_a_template" = "true" or field "is_a_snapshot" = "true"'


class Change(NamedTuple):
    """How a VM is to be in the end. `entry` None: no key in the ledger; `pci` "": no key on the VM."""

    vm: Vm
    entry: Optional[Entry]
    pci: str
    nomigrate: Optional[str]


class Transaction:
    """Writes one after the other, each of which can be taken back."""

    def __init__(self, host: Host, xapi: Xapi, state: PoolState) -> None:
        self._host = host
        self._xapi = xapi
        self._state = state
        self._back: List[Callable[[], None]] = []

    def write(self, change: Change, starting: bool = False) -> bool:
        """Makes the VM so, and looks at it again: a start that slipped in, or a pool with another master,
        takes everything back. Whether anything was written."""
        vm = change.vm
        try:
            wrote = self._write(change)
            if wrote:
                self._look_again(change, starting)
        except BaseException as error:
            left = self._take_back()
            if left is not None and isinstance(error, Exception):
                raise _left_behind(vm, error, left) from error
            if isinstance(error, XapiFailure) and error.details[0] == "HANDLE_INVALID":
                raise _gone(vm) from error
            raise
        self._back.clear()
        if ledger.NEXT_PREFIX + vm.uuid in self._state.other_config or wrote:
            try:
                self._done(vm.uuid)
            except XapiError as error:  # all is as it is to be, and the next call takes the mark out
                self._host.log(f"{ledger.NEXT_PREFIX}{vm.uuid} could not be taken out: {error}")
        return wrote

    def _write(self, change: Change) -> bool:
        vm, text = change.vm, _text(change)
        wrote = False
        # The ledger first: it knows whether platform:nomigrate is ours before that is there, and a VM that
        # has requests has it. The entries last: as long as they are wrong, a call that was cut off shows.
        known = self._state.other_config.get(ledger.PREFIX + vm.uuid)
        if text != known or vm.pci != (change.pci or None):
            self._ledger(vm.uuid, text)
            wrote |= text != known
        wrote |= self._key("VM", vm.ref, "platform", "nomigrate", vm.nomigrate, change.nomigrate)
        wrote |= self._key("VM", vm.ref, "other_config", "pci", vm.pci, change.pci or None)
        return wrote

    def _take_back(self) -> Optional[Exception]:
        """Undoes every write, the last first, in time of its own; or what the first that stays failed with.
        The ledger tells the rest. What a VM that is gone had went with it."""
        left: Optional[Exception] = None
        with ExitStack() as sessions:
            if self._back:
                self._xapi = self._able_to_undo(sessions)
            while self._back:
                undo = self._back.pop()
                try:
                    undo()
                except XapiError as error:
                    self._host.log(f"a write could not be taken back: {error}")
                    if not isinstance(error, XapiFailure) or error.details[0] != "HANDLE_INVALID":
                        left = left or error
        return left

    def _able_to_undo(self, sessions: ExitStack) -> Xapi:
        """The caller's session; where it has ended, one of our own, while this host is the master."""
        again = self._xapi.renewed()
        try:
            again.call("pool.get_master", self._state.pool_ref)
        except XapiFailure as failure:
            if failure.details[0] != "SESSION_INVALID":
                return again
            try:
                own = Xapi(self._host, sessions.enter_context(logged_in(self._host)))
                if own.call("pool.get_master", self._state.pool_ref) == self._state.master_ref:
                    return own
            except XapiError as error:  # of a new master's member too, whose xapi lets nobody in
                self._host.log(f"no session to take writes back with: {error}")
        except XapiError as error:  # then undoing fails too, and says so
            self._host.log(f"xapi does not answer: {error}")
        return again

    def _ledger(self, uuid: str, text: Optional[str]) -> None:
        """Also where only `pci` changes: what waits beside the key tells of a call that was cut off there."""
        before = ledger.settled(self._state.other_config).get(ledger.PREFIX + uuid)

        def back() -> None:
            self._set_ledger(uuid, before)
            self._done(uuid)

        self._back.append(back)
        self._set_ledger(uuid, text)

    def _set_ledger(self, uuid: str, text: Optional[str]) -> None:
        """At every moment the old text or the new is there: a cut between the two calls that a change of
        a key takes must not lose a VM's requests. The text that waits beside it stays until all is written
        (`_done`), as the sign of a call that was cut off."""
        pool, key, waiting = self._state.pool_ref, ledger.PREFIX + uuid, ledger.NEXT_PREFIX + uuid
        self._xapi.call("pool.remove_from_other_config", pool, waiting)
        if text is not None:
            self._xapi.call("pool.add_to_other_config", pool, waiting, text)
        self._xapi.call("pool.remove_from_other_config", pool, key)
        if text is not None:
            self._xapi.call("pool.add_to_other_config", pool, key, text)

    def _done(self, uuid: str) -> None:
        self._xapi.call("pool.remove_from_other_config", self._state.pool_ref, ledger.NEXT_PREFIX + uuid)

    def _key(
        self, class_name: str, ref: str, field: str, key: str, before: Optional[str], after: Optional[str]
    ) -> bool:
        if before == after:
            return False

        def put(text: Optional[str]) -> None:
            self._xapi.call(f"{class_name}.remove_from_{field}", ref, key)
            if text is not None:
                self._xapi.call(f"{class_name}.add_to_{field}", ref, key, text)

        self._back.append(lambda: put(before))
        put(after)
        return True

    def _look_again(self, change: Change, starting: bool) -> None:
        vm = change.vm
        record = self._xapi.call("VM.get_record", vm.ref)
        if record["is_a_template"] and not vm.is_a_template:
            raise SriovError(
                "SRIOV_BUSY",
                f"The VM {vm.name} ({vm.uuid}) became a template meanwhile.",
                "Nothing was changed: a template gets no VFs.",
            )
        now = state.vm_of(vm.ref, record, {})
        try:
            state.must_be_halted(now, starting)
        except SriovError as error:
            raise SriovError(
                "SRIOV_BUSY",
                f"Something began with the VM {vm.name} ({vm.uuid}) meanwhile: "
                f"it is {now.power_state.lower()}, in progress: {', '.join(now.operations) or 'nothing'}.",
                "Nothing was changed; call again when that has ended.",
            ) from error
        if (now.pci or "", now.nomigrate) != (change.pci, change.nomigrate):
            raise SriovError(
                "SRIOV_BUSY",
                f"Somebody else wrote other_config:pci or platform:nomigrate of the VM {vm.name} ({vm.uuid}) "
                "meanwhile.",
                "They are as they were before this call; call again.",
            )
        if self._xapi.call("pool.get_master", self._state.pool_ref) != self._state.master_ref:
            raise SriovError(
                "SRIOV_BUSY", "The pool has another master since this call began.", "Call again."
            )

    def collect_garbage(self) -> None:
        """Takes out the keys of VMs that are gone: templates and the like are still there, so xapi is asked
        for each. One that a copy of the VM's entries is known by stays. What fails here is left to the next
        call: this one has done what it was asked for. So it is with marks of calls that came to their end."""
        for uuid in filter(self._is_complete, self._state.vms):
            try:
                self._done(uuid)
            except XapiError as error:
                self._host.log(f"{ledger.NEXT_PREFIX}{uuid} could not be taken out: {error}")
        origins: Optional[Set[str]] = None
        for uuid in {**self._state.entries, **self._state.unreadable}:
            if uuid in self._state.vms or not ledger.is_uuid(uuid):
                continue
            try:
                if self._is_gone(uuid):
                    origins = self._origins() if origins is None else origins
                    if uuid not in origins:
                        self._set_ledger(uuid, None)
            except XapiError as error:
                self._host.log(f"{ledger.PREFIX}{uuid} could not be collected: {error}")

    def _is_complete(self, uuid: str) -> bool:
        """Whether a call's mark is there, and all that it was to write."""
        waiting, vm = self._state.other_config.get(ledger.NEXT_PREFIX + uuid), self._state.vms[uuid]
        if waiting is None or waiting != self._state.other_config.get(ledger.PREFIX + uuid):
            return False
        entry = self._state.entries.get(uuid)
        if entry is None or (vm.pci or "") != entry.pci:
            return False
        if entry.requests:
            return vm.nomigrate is not None
        return not (entry.nomigrate and vm.nomigrate == "true")

    def _origins(self) -> Set[str]:
        """Of all copies that there are: VMs are made of templates and snapshots too."""
        found = self._xapi.call("VM.get_all_records_where", _TEMPLATES)
        templates = [state.vm_of(ref, record, {}) for ref, record in found.items()]
        return copies.all_origins(self._state, [*self._state.vms.values(), *templates])

    def _is_gone(self, uuid: str) -> bool:
        try:
            self._xapi.call("VM.get_by_uuid", uuid)
        except XapiFailure as failure:
            if failure.details[0] == "UUID_INVALID":
                return True
            raise
        return False


def _text(change: Change) -> Optional[str]:
    """What the ledger is to say of the VM."""
    try:
        return ledger.render(change.entry) if change.entry else None
    except ledger.LedgerError as error:
        raise SriovError(
            "SRIOV_LEDGER",
            f"What {change.vm.name} ({change.vm.uuid}) would have cannot be kept: {error}.",
            f"Put its key in the pool right ({ledger.PREFIX}{change.vm.uuid} of pool.other_config), or take "
            "back all that it has (`unassign_vf` with all=true), then that key out.",
        ) from error


def _left_behind(vm: Vm, error: Exception, left: Exception) -> SriovError:
    return SriovError(
        "SRIOV_XAPI_SILENT",
        f"{vm.name} ({vm.uuid}) could not be changed ({getattr(error, 'message', error)}), and something "
        f"that was written already could not be taken back ({left}).",
        "See what it has in `list_assignments`, then call again; `reinstate_vfs` makes its entries what its "
        "requests say.",
    )


def _gone(vm: Vm) -> SriovError:
    return SriovError(
        "SRIOV_NOT_FOUND",
        f"The VM {vm.name} ({vm.uuid}) went away meanwhile.",
        "`xe vm-list` shows the VMs of the pool.",
    )
