"""GPUs whose VFs xapi gives to VMs as vGPUs (NVIDIA vGPU by SR-IOV, AMD MxGPU): not ours to make, give or
take, like the PFs under its network_sriov. xapi has VFs made when a VM with a vGPU starts, and picks a free
one (xen-api: ocaml/xapi/vgpuops.ml, reserve_free_virtual_function; xapi_pgpu.ml, nvidia_vf_setup and
mxgpu_vf_setup)."""

from typing import Mapping, NamedTuple, Optional

from .pci import PhysicalFunction

DISPLAY = "03"  # the class of a GPU, with or without a connector
# The drivers of dom0 that such VFs need, by which a GPU is known where xapi does not tell.
DRIVERS = ("nvidia", "gim")
Told = Mapping[str, bool]  # PCI address of a GPU, of those that xapi knows -> whether it can give out vGPUs
UNTOLD: Told = {}


class Gpu(NamedTuple):
    """What it takes to know of a PF."""

    address: str
    driver: Optional[str]
    pci_class: str

    @property
    def by_driver(self) -> bool:
        return self.pci_class.startswith(DISPLAY) and self.driver in DRIVERS


def gpu(pf: PhysicalFunction) -> Gpu:
    return Gpu(pf.address, pf.driver, pf.pci_class)


def gives_vfs(pf: Gpu, by_xapi: Told) -> bool:
    """Whether xapi has the VFs of the PF."""
    return by_xapi.get(pf.address, False) or pf.by_driver


def needs_pf(pf: Gpu, num_vfs: int, by_xapi: Told) -> bool:
    """Whether no VM may have the PF as a whole by an entry; one that xapi gives to VMs as a whole only may
    be taken so, as long as it has no VFs."""
    is_whole = by_xapi.get(pf.address) is False and num_vfs == 0
    return gives_vfs(pf, by_xapi) and not is_whole
