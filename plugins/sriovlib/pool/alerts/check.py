"""What `sriov-alerts` does every few minutes: the master looks at its pool, tells what needs a person, and
keeps the custom field of VMs true."""

import time
from contextlib import ExitStack

from ...machine.host import Host
from ...xapi.kept_session import first_call
from ...xapi.own_session import OwnSession
from ...xapi.session import Xapi
from .. import checked_keys, custom_field, inputs
from ..conflicts.look import look
from ..conflicts.view import Seen
from ..records import Records
from . import find, messages

ROLE = "/etc/xensource/pool.conf"  # `master`, or `slave:ADDRESS` (xen-api: ocaml/xapi/pool_role.ml)
ANSWER_SECONDS = 30
# What is found is looked at once more before anybody is told: a VM that reboots has no VFs for a moment, and
# neither has a port whose VFs are being made.
AGAIN_SECONDS = 20


def check(host: Host) -> None:
    """Raises SriovError, XapiError; on a member it does nothing."""
    if (host.text(ROLE) or "").strip() != "master":
        return
    with ExitStack() as stack:
        session, (pool,) = first_call(host, stack, ANSWER_SECONDS, "pool.get_all")
        keys = Xapi(host, session).call("pool.get_other_config", pool)
        told = messages.read(keys)
        records = Records(host, Xapi(host, session))
        seen = _look(host, session, records)
        found = find.find(seen, time.time())
        if found.keys() - told.keys():
            time.sleep(AGAIN_SECONDS)
            before, seen = found, _look(host, session, records)
            now = find.find(seen, time.time())
            found = {alert: text for alert, text in now.items() if alert in before or alert in told}
        messages.settle(host, Xapi(host, session), found, lambda alert: find.is_over(seen, alert))
        custom_field.keep(host, records.xapi, seen, records.with_field())


def _look(host: Host, session: OwnSession, records: Records) -> Seen:
    return look(inputs.ask(records, session), lambda keys: checked_keys.read(host, keys))
