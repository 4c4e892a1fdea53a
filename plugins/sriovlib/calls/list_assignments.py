"""`list_assignments`: who has which VF in the whole pool, and what does not fit together. Changes nothing.

The pool is asked each time. Where it is what it was at the last call, the answer is that call's.
"""

from typing import Mapping

from ..machine.host import Host
from ..pool import inputs, kept_answer
from ..pool.records import Records
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi
from . import arguments
from .answers import JsonText, as_json


def list_assignments(host: Host, session: OwnSession, args: Mapping[str, str]) -> JsonText:
    """The plugin's `list_assignments`, on the master: `{vms, conflicts, hosts}`.

    `vms`: those with requests or `pci` entries, `{vm_uuid, vm_name, power_state, resident_on, host_uuid,
    parked, move, replaced_at, requests: [{request, by, value, settings, vf, state, portable, guest}], pci,
    others, warnings}`; `state` is what Seen.state_of says, `host_uuid` is the lease's, `move` is null or
    `{state, host_uuid, since}` (see pool/moves.py), `replaced_at` is when a start of the VM was last
    re-placed, in seconds by the master's clock, null: not since it got the VFs of its host by a call.
    `guest` is what guest.needs says, `others` are the entries that are not ours.
    `hosts`: `{host_uuid, name, live, version}`, version null where the host did not tell. With `places` each
    VM has `places`, for each host of the pool whether it `can` have VFs there for its requests (null: it is
    not known), and its `vfs` or the `problem`.
    """
    vm_uuid = arguments.uuid(args, "vm_uuid")
    host_uuid = arguments.uuid(args, "host_uuid")
    everywhere = arguments.boolean(args, "places", False)
    xapi = Xapi(host, session)
    if vm_uuid is not None:
        from ..pool import state

        state.vm_record(xapi, vm_uuid)
    pool = inputs.ask(Records(host, xapi), session)
    key = None if args else pool.key
    text = kept_answer.load(host, key) if key else None
    if text is None:
        from ..pool import assignments, checked_keys  # many modules, which most calls can do without

        wanted = assignments.Wanted(vm_uuid, host_uuid, everywhere)
        answer = assignments.of_inputs(pool, wanted, lambda keys: checked_keys.read(host, keys))
        text = as_json(answer)
        key = None if args else pool.key  # none, where more was asked for
        if key:
            kept_answer.store(host, key, text)
    return JsonText(text)
