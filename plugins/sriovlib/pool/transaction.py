"""Writes what a call decided of a VM: its key in the ledger, its other_config:pci, its marks. All of it, or
nothing."""

from contextlib import ExitStack
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import SriovError
from ..machine.host import Host
from ..safetext import is_uuid
from ..xapi.session import Xapi, XapiError, XapiFailure, logged_in
from . import copies, ledger, state
from .ledger import NO_ENTRY, Entry, Key
from .state import PoolState, Vm

_TEMPLATES = 'field "is_a_template" = "true" or field "is_a_snapshot" = "true"'


class Change(NamedTuple):
    """How a VM is to be."""

    vm: Vm  # as it was read
    entry: Entry
    pci: str  # "": no key on the VM
    nomigrate: Optional[str]  # platform:nomigrate
    mark: Optional[str]  # see copies


class Write(NamedTuple):
    """One key of a map in a record; None where it is not there."""

    field: str  # as in `VM.other_config`
    ref: str
    key: str
    before: Optional[str]
    after: Optional[str]


class Transaction:
    """Writes one key after the other, each of which can be taken back.

    xapi replaces a whole map only (`VM.set_other_config`), which would lose what another client wrote into
    it meanwhile; so a key is removed and added. Its `add_to` fails where the key is there already, its
    `remove_from` where it is not does nothing (xen-api: ocaml/database/db_cache_impl.ml).
    """

    def __init__(self, host: Host, xapi: Xapi, state: PoolState) -> None:
        self._host = host
        self._xapi = xapi
        self._state = state
        self._written: List[Write] = []

    def carry_out(
        self, change: Optional[Change], dry_run: bool = False, starting: bool = False
    ) -> Dict[str, bool]:
        """Writes what a call decided (None: nothing of its VM), and collects garbage, for which a start has
        no time; `changed` says whether anything of the VM was written. A dry run does neither, and says by
        `would_change` what `changed` would be."""
        if dry_run:
            return {"changed": False, "would_change": change is not None and self.would_write(change)}
        changed = change is not None and self.write(change, starting)
        if not starting:
            self.collect_garbage()
        return {"changed": changed}

    def would_write(self, change: Change) -> bool:
        """What `write` would return; refuses an entry that the ledger cannot take."""
        return self._planned(change, self._state.keys.get(change.vm.uuid, []))[0]

    def write(self, change: Change, starting: bool = False) -> bool:
        """Makes the VM so, and looks at it again: if a start slipped in, or the pool has another master,
        everything is taken back. Whether anything was written. A VM that ran before may do what it likes."""
        vm, keys = change.vm, self._state.keys.get(change.vm.uuid, [])
        wrote, writes = self._planned(change, keys)
        try:
            for write in writes:
                self._put(write)
            if wrote:
                self._look_again(change, starting)
        except BaseException as error:
            left = self._take_back()
            if left is not None and isinstance(error, Exception):
                raise _left_behind(vm, error, left) from error
            if isinstance(error, XapiFailure) and error.details[0] == "HANDLE_INVALID":
                what = f"VM {vm.name} ({vm.uuid}) was destroyed during this call."
                raise SriovError(
                    "SRIOV_NOT_FOUND", what, "`xe vm-list` shows the VMs of the pool."
                ) from error
            raise
        self._written.clear()
        names = [key.name for key in keys]
        names += [write.key for write in writes if write.field == "pool.other_config"]
        self._remove_keys(names[:-1])
        return wrote

    def _planned(self, change: Change, keys: Sequence[Key]) -> Tuple[bool, List[Write]]:
        """Whether anything changes, and the writes. What keeps a halted VM from being moved goes first: the
        ledger says that a platform:nomigrate is ours until it is gone. A new key even if only the VM changes:
        two keys are the sign of a call that was cut off. The VM has its mark as long as it has entries, so
        that no copy is without."""
        vm, ref = change.vm, self._state.pool_ref
        holds = [Write("VM.blocked_operations", vm.ref, name, text, None) for name, text in vm.blocks.items()]
        if vm.nomigrate != change.nomigrate:
            holds.append(Write("VM.platform", vm.ref, "nomigrate", vm.nomigrate, change.nomigrate))
        mark = Write("VM.other_config", vm.ref, ledger.MARK, vm.mark, change.mark)
        pci = Write("VM.other_config", vm.ref, "pci", vm.pci, change.pci or None)
        of_vm = [
            write for write in ([mark, pci] if change.mark else [pci, mark]) if write.before != write.after
        ]
        of_ledger: List[Write] = []
        if not keys:
            name, text = _key(change._replace(entry=NO_ENTRY._replace(pci=vm.pci or "")), keys)
            of_ledger.append(Write("pool.other_config", ref, name, None, text))
            keys = [Key(name, 1, text)]
        name, text = _key(change, keys)
        is_other, cut_off = keys[-1].text != text, ledger.was_cut_off(keys)
        is_other_vm = bool(holds or of_vm)
        if is_other or (is_other_vm and not cut_off) or (cut_off and len(keys) == 1):
            of_ledger.append(Write("pool.other_config", ref, name, None, text))
        return is_other or is_other_vm, [*holds, *of_ledger, *of_vm]

    def _put(self, write: Write) -> None:
        self._written.append(write)
        try:
            self._set(write, write.before is not None, write.after)
        except XapiFailure as failure:
            if failure.details[0] != "MAP_DUPLICATE_KEY":
                raise
            self._written.pop()  # what is there now is not ours to take back
            raise SriovError(
                "SRIOV_BUSY",
                f"Another client wrote {write.field}:{write.key} during this call.",
                "Call again.",
            ) from failure

    def _set(self, write: Write, remove: bool, text: Optional[str]) -> None:
        class_name, field = write.field.split(".")
        if remove:
            self._xapi.call(f"{class_name}.remove_from_{field}", write.ref, write.key)
        if text is not None:
            self._xapi.call(f"{class_name}.add_to_{field}", write.ref, write.key, text)

    def _take_back(self) -> Optional[Exception]:
        """Undoes every write, the last first, with time of its own; returns what the first failed with that
        stays. What a VM that is gone had went with it."""
        left: Optional[Exception] = None
        with ExitStack() as sessions:
            if self._written:
                self._xapi = self._able_to_undo(sessions)
            while self._written:
                write = self._written.pop()
                try:
                    self._set(write, True, write.before)
                except XapiError as error:
                    self._host.log(f"{write.field}:{write.key} could not be set back: {error}")
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
            except XapiError as error:  # also where this host is a member by now, whose xapi refuses logins
                self._host.log(f"no session to take writes back with: {error}")
        except XapiError as error:  # then undoing fails too, and says so
            self._host.log(f"xapi does not answer: {error}")
        return again

    def _look_again(self, change: Change, starting: bool) -> None:
        vm = change.vm
        name = f"{vm.name} ({vm.uuid})"
        record = self._xapi.call("VM.get_record", vm.ref)
        if record["is_a_template"] and not vm.is_a_template:
            raise SriovError(
                "SRIOV_BUSY",
                f"The VM {name} became a template during this call.",
                "Nothing was changed: a template gets no VFs.",
            )
        now = state.vm_of(vm.ref, record, {})
        try:
            if vm.power_state == "Halted":
                state.must_be_halted(now, starting)
        except SriovError as error:
            raise SriovError(
                "SRIOV_BUSY",
                f"The VM {name} did not stay halted during this call: it is {now.power_state.lower()}, in "
                f"progress: {', '.join(now.operations) or 'nothing'}.",
                "Nothing was changed; call again when that has ended.",
            ) from error
        if (now.pci or "", now.nomigrate, now.mark) != (change.pci, change.nomigrate, change.mark):
            raise SriovError(
                "SRIOV_BUSY",
                f"Another client wrote other_config:pci, other_config:{ledger.MARK} or platform:nomigrate of "
                f"the VM {name} during this call.",
                "They are as they were before this call; call again.",
            )
        if self._xapi.call("pool.get_master", self._state.pool_ref) != self._state.master_ref:
            raise SriovError("SRIOV_BUSY", "The pool master changed during this call.", "Call again.")

    def collect_garbage(self) -> None:
        """Removes old keys of calls that were cut off when all was written, and the keys of VMs that are
        gone, except while there are copies of them. A template is no VM here and yet not gone, so xapi is
        asked for each. What fails is left to the next call."""
        for uuid, vm in self._state.vms.items():
            keys = self._state.keys.get(uuid, [])
            if len(keys) > 1 and self._is_complete(vm):
                self._remove_keys([key.name for key in keys[:-1]])
        try:
            gone = [uuid for uuid in self._state.keys if uuid not in self._state.vms and self._is_gone(uuid)]
            for uuid in set(gone).difference(self._origins() if gone else ()):
                self._remove_keys([key.name for key in self._state.keys[uuid]])
        except XapiError as error:
            self._host.log(f"keys of VMs that are gone could not be collected: {error}")

    def _remove_keys(self, names: Sequence[str]) -> None:
        """Not worth failing for: the next call does it."""
        try:
            for name in names:
                self._xapi.call("pool.remove_from_other_config", self._state.pool_ref, name)
        except XapiError as error:
            self._host.log(f"pool.other_config:{name} could not be removed: {error}")

    def _is_complete(self, vm: Vm) -> bool:
        """Whether the VM is as its entry says."""
        entry = self._state.entries.get(vm.uuid)
        if entry is None or (vm.pci or "") != entry.pci:
            return False
        return (vm.mark == vm.uuid) == bool(entry.requests)

    def _origins(self) -> Set[str]:
        """Of all copies that there are: VMs are made of templates and snapshots too."""
        found = self._xapi.call("VM.get_all_records_where", _TEMPLATES)
        templates = [state.vm_of(ref, record, {}) for ref, record in found.items()]
        return copies.origins(self._state, [*self._state.vms.values(), *templates])

    def _is_gone(self, uuid: str) -> bool:
        try:
            if is_uuid(uuid):
                self._xapi.call("VM.get_by_uuid", uuid)
        except XapiFailure as failure:
            return failure.details[0] == "UUID_INVALID"
        return False


def _key(change: Change, keys: Sequence[Key]) -> Tuple[str, str]:
    """Name and text of the VM's next key."""
    vm = change.vm
    before = f"pool.other_config:{keys[-1].name if keys else ledger.PREFIX + vm.uuid}"
    name = ledger.next_name(vm.uuid, keys)
    if name is None:  # none of ours: there are not so many calls
        raise SriovError(
            "SRIOV_LEDGER",
            f"VM {vm.name} ({vm.uuid}): no serial is left after {before}.",
            f"Write its text to pool.other_config:{ledger.PREFIX}{vm.uuid}.1, and remove that key.",
        )
    try:
        return name, ledger.render(change.entry)
    except ledger.LedgerError as error:
        raise SriovError(
            "SRIOV_LEDGER",
            f"VM {vm.name} ({vm.uuid}): its new entry cannot be written to the ledger: {error}.",
            f"Correct {before}; or take back all VFs of the VM (`unassign_vf` with all=true), then remove "
            "that key.",
        ) from error


def _left_behind(vm: Vm, error: Exception, left: Exception) -> SriovError:
    return SriovError(
        "SRIOV_XAPI_SILENT",
        f"{vm.name} ({vm.uuid}) could not be changed ({getattr(error, 'message', error)}), and a "
        f"change that was already written could not be undone ({left}).",
        "See what it has in `list_assignments`, then call again; `reinstate_vfs` writes its entries "
        "from its requests.",
    )
