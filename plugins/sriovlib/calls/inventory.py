"""`inventory`: what the master asks each host for."""

from typing import Any, Dict, Mapping

from ..machine.host import Host
from ..vf import host_inventory


def inventory(host: Host, _session: Any, _args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `inventory`."""
    return host_inventory.read(host).to_json()
