"""A VM's VFs as its custom field in XenCenter and Xen Orchestra, kept true where somebody wants it.

`pool.other_config:sriov-custom-field` says so: `yes` has the field written, `no` taken away, and without the
key nothing is touched. XenCenter shows a field of VM.other_config that the pool's gui_config defines, in XML
of its own (xenadmin: XenModel/CustomFields/CustomFieldsManager.cs, CustomFieldDefinition.cs); Xen Orchestra
shows each that is there (xen-orchestra: packages/xo-web/src/common/custom-fields.js).
"""

import re
from typing import Dict, Iterable, Optional

from ..config import ini
from ..machine.host import Host
from ..safetext import listed
from ..xapi.session import Xapi, XapiFailure
from . import FIELD, FIELD_DEFINITIONS
from .conflicts.view import DETACHED, Seen
from .state import Vm

NAME = FIELD.rpartition(".")[2]
SHOWN = 20

_OURS = re.compile(rf'<CustomFieldDefinition\s[^<>]*\bname="{NAME}"[^<>]*/>')
# XenCenter needs the default value, and does not use it.
_DEFINITION = f'<CustomFieldDefinition name="{NAME}" type="String" defaultValue="" />'
_END = "</CustomFieldDefinitions>"
_NONE = re.compile(r"\s*(<CustomFieldDefinitions\s*/>\s*)?")


def is_wanted(wish: str) -> Optional[bool]:
    """By the value of the key; None: it is none."""
    return ini.boolean(wish.strip())


def keep(host: Host, xapi: Xapi, seen: Seen, copies: Iterable[str]) -> None:
    """What the key says, on the master. `copies`: the templates and snapshots that took the field from their
    VM, as references: they have no VFs. Raises XapiError; what xapi refuses of one VM, which may be gone by
    now, is logged."""
    wanted = is_wanted(seen.state.field_wish or "")
    if wanted is None:  # what is there and no wish is a conflict, see conflicts.field
        return
    _define(xapi, seen.state.pool_ref, wanted)
    for uuid, vm in seen.state.vms.items():
        if uuid in seen.state.unreadable:
            continue
        before, now = vm.other_config.get(FIELD), text(seen, vm) if wanted else None
        if before != now:
            _write(host, xapi, vm.ref, seen.vm(uuid), before is not None, now)
    for ref in copies:
        _write(host, xapi, ref, f"template or snapshot {ref}", True, None)


def text(seen: Seen, vm: Vm) -> Optional[str]:
    """Its VFs in the order of its requests, and their host; None for a VM without requests."""
    entry = seen.state.entries.get(vm.uuid)
    if entry is None or not entry.requests:
        return None
    if entry.lease is None or not entry.lease.vfs:
        return "parked, without VFs"
    vlans: Dict[str, int] = {
        entry.lease.vfs[one.number]: one.vlan for one in entry.requests if one.number in entry.lease.vfs
    }
    vfs = [f"{vf} (VLAN {vlan})" if vlan else vf for vf, vlan in vlans.items()]
    away = DETACHED in (seen.state_of(vm, vf) for vf in vlans)
    return f"{listed(vfs, SHOWN)} of {seen.host(entry.lease.host)}{f', {DETACHED}' if away else ''}"


def _write(host: Host, xapi: Xapi, ref: str, name: str, is_there: bool, now: Optional[str]) -> None:
    try:
        if is_there:
            xapi.call("VM.remove_from_other_config", ref, FIELD)
        if now is not None:
            xapi.call("VM.add_to_other_config", ref, FIELD, now)
    except XapiFailure as failure:
        host.log(f"{name}: {FIELD}: {failure}")


def _define(xapi: Xapi, pool: str, wanted: bool) -> None:
    """In one write: the definitions are people's, and there is no other place to have them from again."""
    config = xapi.call("pool.get_gui_config", pool)
    before = config.get(FIELD_DEFINITIONS, "")
    now = with_ours(before) if wanted else _OURS.sub("", before)
    if now not in (None, before):
        xapi.call("pool.set_gui_config", pool, {**config, FIELD_DEFINITIONS: now})


def with_ours(definitions: str) -> Optional[str]:
    """XenCenter's definitions with ours at the end; None where they are not as XenCenter writes them."""
    if _OURS.search(definitions):
        return definitions
    if _NONE.fullmatch(definitions):
        return f"<CustomFieldDefinitions>{_DEFINITION}{_END}"
    head, end, rest = definitions.rpartition(_END)
    return f"{head}{_DEFINITION}{end}{rest}" if end else None
