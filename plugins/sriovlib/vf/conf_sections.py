"""What /etc/sriov.conf says of the PFs that this host has."""

from typing import Dict, Mapping, Sequence

from ..config import pf_sections, sriov_conf
from ..config.sriov_conf import PfConfig
from ..machine.host import Host
from ..machine.pci import PhysicalFunction

Sections = Mapping[str, PfConfig]  # by PF address


def read(host: Host, pfs: Sequence[PhysicalFunction]) -> Dict[str, PfConfig]:
    """As the file is now."""
    known = sriov_conf.read(host).pfs.values()
    macs = pf_sections.permanent_macs(host, pfs) if known else {}
    found = {pf.address: pf_sections.section_of(pf, known, pfs, macs) for pf in pfs}
    return {address: section for address, section in found.items() if section is not None}
