"""`enable_iommu` and `disable_iommu`: Xen's IOMMU at the next boot."""

from typing import Any, Dict, Mapping

from ..boot import iommu
from ..machine.host import Host
from ..xapi.own_session import OwnSession
from . import arguments


def enable_iommu(host: Host, _session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    return iommu.enable(host, arguments.boolean(args, "dry_run", False))


def disable_iommu(host: Host, _session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    return iommu.disable(host, arguments.boolean(args, "dry_run", False))
