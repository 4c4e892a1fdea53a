"""The ports of PFs: up, and with a carrier, which drivers want before they make VFs or take rates."""

import time
from typing import Iterable

from ..machine import pci, sysfs
from ..machine.host import Host
from . import ip_link

CARRIER_SECONDS = 10


def bring_up(host: Host, pfs: Iterable[pci.PhysicalFunction]) -> None:
    """One process for all ports that are down. On such a port VFs have no traffic, bnxt_en makes no VFs and
    reports success (linux: bnxt_sriov.c, bnxt_sriov_configure: "since if is down"), and igb takes no rates
    (igb_main.c, igb_ndo_set_vf_bw: EINVAL without a link). Best effort: `status` names a port that stays down
    (PF_DOWN)."""
    down = [port.interface for pf in pfs for port in pf.ports if sysfs.is_up(host, port.interface) is False]
    if not down:
        return
    answer = host.run(ip_link.BATCH, input_text="".join(f"link set dev {name} up\n" for name in down))
    if answer.status:
        host.log(f"{', '.join(down)} cannot be brought up: {answer.complaint}")


def wait_for_carrier(host: Host, interfaces: Iterable[str]) -> None:
    """Most drivers take a rate only once they know the speed of the link; gives up after a while."""
    deadline = time.monotonic() + CARRIER_SECONDS
    waiting = list(interfaces)
    while waiting and time.monotonic() < deadline:
        waiting = [name for name in waiting if not sysfs.link_up(host, name)]
        if waiting:
            time.sleep(0.1)
