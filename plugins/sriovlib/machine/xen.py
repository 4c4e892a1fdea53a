"""The running hypervisor, by `xl info`."""

import re
from typing import List, NamedTuple, Optional

from .command import Completed

COMMAND = ("xl", "info")


class Xen(NamedTuple):
    """The Xen that this dom0 runs on."""

    version: str
    iommu_active: bool
    options: List[str]  # of the command line that it was booted with


def parse(answer: Completed) -> Optional[Xen]:
    """What `xl info` printed; None where there is no Xen to ask.

    `virt_caps` holds `hvm_directio` (and `pv_directio` on newer ones) when the IOMMU works; dom0
    itself never sees an IOMMU (no iommu_group, nothing in /sys/class/iommu) in any case.
    """
    if answer.status != 0:
        return None
    values = {}
    for line in answer.stdout.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            values[key.strip()] = value.strip()
    if "xen_major" not in values:
        return None
    version = values.get("xen_version") or (
        f"{values['xen_major']}.{values.get('xen_minor', '')}{values.get('xen_extra', '')}"
    )
    capabilities = values.get("virt_caps", "").split()
    return Xen(
        version=version,
        iommu_active="hvm_directio" in capabilities or "pv_directio" in capabilities,
        options=values.get("xen_commandline", "").split(),
    )


def runs(answer: Completed) -> Optional[bool]:
    """Whether the domain goes on, of what `xl list DOMID` printed: False where it is paused, shut down,
    crashed or dying; None where that does not tell. (Xen: tools/xl/xl_info.c, list_domains: `Name ID Mem
    VCPUs State Time(s)`, the state running, blocked, paused, shut down, why, dying: a letter or a dash each.)
    """
    last = answer.stdout.splitlines()[-1:] if answer.status == 0 else []
    found = re.search(r"\s[r-][b-]([p-][s-]\S[d-])\s+[0-9.]+\s*$", last[0]) if last else None
    return found.group(1) == "----" if found else None
