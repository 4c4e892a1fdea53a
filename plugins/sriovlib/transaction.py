"""What a pool function writes: the ledger, a VM's `pci` and its `platform:nomigrate`. All of it, or none."""

from typing import Callable, List, NamedTuple, Optional, Tuple

from . import ledger, poolstate
from .errors import SriovError
from .host import Host
from .ledger import Entry
from .poolstate import PoolState, Vm
from .xapi import Xapi, XapiFailure


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
        wrote = False
        try:
            vm = change.vm
            # The ledger knows whether platform:nomigrate is ours: before it is there, and until it is gone.
            if change.nomigrate is None:
                wrote |= self._key("VM", vm.ref, "platform", "nomigrate", vm.nomigrate, None)
            wrote |= self._ledger(vm.uuid, change.entry)
            if change.nomigrate is not None:
                wrote |= self._key("VM", vm.ref, "platform", "nomigrate", vm.nomigrate, change.nomigrate)
            wrote |= self._key("VM", vm.ref, "other_config", "pci", vm.pci, change.pci or None)
            if wrote:
                self._look_again(vm, starting)
        except BaseException:
            self.take_back()
            raise
        return wrote

    def take_back(self) -> None:
        """Undoes every write, the last first. What cannot be undone is logged; the ledger tells the rest."""
        while self._back:
            undo = self._back.pop()
            try:
                undo()
            except Exception as error:  # the client's errors have no common class
                self._host.log(f"a write could not be taken back: {error}")

    def _ledger(self, uuid: str, entry: Optional[Entry]) -> bool:
        before = ledger.settled(self._state.other_config).get(ledger.PREFIX + uuid)
        after = ledger.render(entry) if entry else None
        waiting = self._state.other_config.get(ledger.NEXT_PREFIX + uuid)
        if before == after and waiting is None:
            return False
        self._back.append(lambda: self._set_ledger(uuid, before))
        self._set_ledger(uuid, after)
        return True

    def _set_ledger(self, uuid: str, text: Optional[str]) -> None:
        """At every moment the old text or the new is there: a cut between the two calls that a change of
        a key takes must not lose a VM's requests."""
        pool, key, waiting = self._state.pool_ref, ledger.PREFIX + uuid, ledger.NEXT_PREFIX + uuid
        if text is None:
            self._xapi.call("pool.remove_from_other_config", pool, waiting)
            self._xapi.call("pool.remove_from_other_config", pool, key)
            return
        self._xapi.call("pool.remove_from_other_config", pool, waiting)
        self._xapi.call("pool.add_to_other_config", pool, waiting, text)
        self._xapi.call("pool.remove_from_other_config", pool, key)
        self._xapi.call("pool.add_to_other_config", pool, key, text)
        self._xapi.call("pool.remove_from_other_config", pool, waiting)

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

    def _look_again(self, vm: Vm, starting: bool) -> None:
        try:
            record = self._xapi.call("VM.get_record", vm.ref)
        except XapiFailure as failure:
            raise SriovError(
                "SRIOV_BUSY", f"The VM {vm.name} ({vm.uuid}) went away meanwhile.", "Nothing was changed."
            ) from failure
        now = poolstate.vm_of(vm.ref, record, {})
        try:
            poolstate.must_be_halted(now, starting)
        except SriovError as error:
            raise SriovError(
                "SRIOV_BUSY",
                f"Something began with the VM {vm.name} ({vm.uuid}) meanwhile: "
                f"it is {now.power_state.lower()}, in progress: {', '.join(now.operations) or 'nothing'}.",
                "Nothing was changed; call again when that has ended.",
            ) from error
        if self._xapi.call("pool.get_master", self._state.pool_ref) != self._state.master_ref:
            raise SriovError(
                "SRIOV_BUSY", "The pool has another master since this call began.", "Call again."
            )

    def collect_garbage(self) -> List[Tuple[str, str]]:
        """Takes out the keys of VMs that are gone: templates and the like are still there, so xapi is asked
        for each. (UUID, key) of those taken out."""
        gone = []
        known = {**self._state.entries, **self._state.unreadable}
        for uuid in known:
            if uuid in self._state.vms:
                continue
            try:
                self._xapi.call("VM.get_by_uuid", uuid)
            except XapiFailure as failure:
                if failure.details[0] == "UUID_INVALID":
                    self._set_ledger(uuid, None)
                    gone.append((uuid, ledger.PREFIX + uuid))
        return gone
