"""GPUs whose VFs xapi gives to VMs as vGPUs (NVIDIA vGPU by SR-IOV, AMD MxGPU). Like the PFs of xapi's own
network_sriov they are left to xapi: it makes the VFs when a VM with a vGPU starts, and picks a free one
(xen-api: ocaml/xapi/vgpuops.ml, reserve_free_virtual_function; xapi_pgpu.ml, nvidia_vf_setup and
mxgpu_vf_setup)."""

from typing import Mapping

from .pci import PhysicalFunction

DISPLAY = "03"  # the PCI class of a GPU, with or without a connector
# dom0's drivers for such VFs, by which a GPU is known while xapi does not answer.
DRIVERS = ("nvidia", "gim")
Told = Mapping[str, bool]  # PCI address of a GPU that xapi knows -> whether it can give out vGPUs
UNTOLD: Told = {}
NEEDED_FOR = "xapi's vGPUs"  # what dom0 needs such a PF for


def has_vgpu_driver(pf: PhysicalFunction) -> bool:
    return pf.pci_class.startswith(DISPLAY) and pf.driver in DRIVERS


def gives_vfs(pf: PhysicalFunction, by_xapi: Told) -> bool:
    """Whether the PF's VFs are xapi's."""
    return by_xapi.get(pf.address, False) or has_vgpu_driver(pf)


def needs_pf(pf: PhysicalFunction, by_xapi: Told) -> bool:
    """Whether no VM may take the PF as a whole by an entry. A GPU without VFs that xapi gives to VMs only as
    a whole may be taken."""
    is_whole = by_xapi.get(pf.address) is False and pf.num_vfs == 0
    return gives_vfs(pf, by_xapi) and not is_whole
