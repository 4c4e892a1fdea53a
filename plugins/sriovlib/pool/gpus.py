"""What xapi says of a host's GPUs: which can give out vGPUs."""

from typing import Dict, Iterable

from ..machine import vgpus
from ..machine.pci import PhysicalFunction
from ..xapi.session import Xapi

# Every GPU has the type `passthrough`. Of the others the vGPUs are VFs, or parts of the PF: an NVIDIA T4 can
# SR-IOV and gives parts, unless xapi is told otherwise (xapi_vgpu_type.ml, to_implementation, is_sriov).
_TYPES = 'not (field "implementation" = "passthrough")'


def told(xapi: Xapi, host: str, pfs: Iterable[PhysicalFunction]) -> Dict[str, bool]:
    """As `vgpus.Told`, from the host's PGPU records; without a GPU among the PFs xapi is not asked. `host` is
    a reference. Raises what `Xapi.call` raises."""
    if not any(pf.pci_class.startswith(vgpus.DISPLAY) for pf in pfs):
        return {}
    found = xapi.call("PGPU.get_all_records_where", f'field "host" = "{host}"')
    types = set(xapi.call("VGPU_type.get_all_records_where", _TYPES)) if found else set()
    return {
        xapi.call("PCI.get_pci_id", record["PCI"]): bool(types.intersection(record["supported_VGPU_types"]))
        for record in found.values()
    }
