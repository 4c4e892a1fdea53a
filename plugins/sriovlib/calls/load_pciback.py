"""`load_pciback`: the driver that holds devices for VMs, now and at each boot."""

from typing import Any, Dict, Mapping

from ..machine.host import Host
from ..vf import pciback
from ..xapi.own_session import OwnSession
from . import arguments


def load_pciback(host: Host, _session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    return pciback.keep_loaded(host, arguments.boolean(args, "persistent", True))
