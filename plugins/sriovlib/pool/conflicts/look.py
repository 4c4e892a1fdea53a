"""Takes one look at the pool: all live hosts are asked, the ledger and all VMs read."""

from typing import Any

from ...machine.host import Host
from .. import inventories, state
from ..hosts import Topology
from ..records import Records
from .view import Seen


def look(host: Host, session: Any, records: Records, pool: Topology) -> Seen:
    """Raises what `Xapi.call` raises."""
    reader = state.Reader(records, pool.uuids)
    surveyed = inventories.survey(host, session, pool, pool.live, reader.read)
    now = reader.read()
    return Seen(pool, surveyed, now, now.held(surveyed.running(), surveyed.starting()))
