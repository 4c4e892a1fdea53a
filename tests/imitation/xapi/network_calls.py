"""The calls about networks and PIFs, of all the modules that have some."""

import network_kinds
import networks
import pif_plugging
import sriov_networks
import vifs
from calls import Calls

CALLS: Calls = {
    **networks.CALLS,
    **pif_plugging.CALLS,
    **network_kinds.CALLS,
    **sriov_networks.CALLS,
    **vifs.CALLS,
}
