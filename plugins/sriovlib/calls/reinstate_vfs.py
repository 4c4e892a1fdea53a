"""`reinstate_vfs`: VFs of one host for all requests of a VM."""

from typing import Any, Dict, Mapping

from ..machine.host import Host
from ..pool import reinstate
from ..xapi.own_session import OwnSession
from . import arguments


def reinstate_vfs(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. `{vm_uuid, host_uuid, changed, pci_changed, vfs: [{request, vf, before}], warnings}`;
    `pci_changed` says that a start which is in progress would plug other addresses. A dry run has
    `would_change` too, and may be of a VM that runs."""
    return reinstate.reinstate(
        host,
        session,
        arguments.required_uuid(args, "vm_uuid"),
        arguments.uuid(args, "host_uuid"),
        arguments.boolean(args, "starting", False),
        dry_run=arguments.boolean(args, "dry_run", False),
    )
