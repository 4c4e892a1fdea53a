"""What the pool is by what was asked of it. Pure, but for what xapi may have to be asked besides."""

from .. import inventories, state
from ..inputs import Inputs
from ..state import ReadKeys
from .view import Seen


def look(pool: Inputs, read_keys: ReadKeys) -> Seen:
    """`read_keys`: as ledger.read. Raises what `Xapi.call` raises."""
    topology = pool.topology
    surveyed = inventories.judged(pool.besides, topology, topology.live, pool.answers)
    now = state.of_records(pool.ledger.objects.told, pool.vms.objects.told, topology.uuids, read_keys)
    return Seen(topology, surveyed, now, now.held(surveyed.running(), surveyed.starting()))
