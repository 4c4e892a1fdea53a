"""The calls of a VM's life, joined: what each does is in the modules named here."""

import ha
import host_life
import vm_copies
import vm_moves
import vm_start
from calls import Calls

CALLS: Calls = {
    **vm_start.CALLS,
    **vm_moves.CALLS,
    **vm_copies.CALLS,
    **host_life.CALLS,
    **ha.CALLS,
}
