"""VFs of running VMs that have lost the settings of the VM's start.

A PF's driver that is reloaded while VMs run has forgotten their VFs' MAC, VLAN, spoof check and rates
(kernel: ixgbe_sriov.c, ixgbe_enable_sriov, makes fresh records for VFs that it finds), and igb does not know
them any more. The VM is in another VLAN then, and is not told.
"""

from typing import Dict, List, NamedTuple, Optional

from ..config import vf_settings
from ..config.vf_settings import UNKNOWN
from ..errors import Problem
from ..machine import pci
from ..machine.host import Host
from . import apply, start_notes
from .inventory import Inventory

HINT = (
    "Run `sriov-restore` on its host: it sets what the driver takes. Where "
    "it takes nothing (igb), shut the VM down and reboot the host. Load no driver while VMs have its VFs."
)


class Unlike(NamedTuple):
    vf: pci.VirtualFunction
    wanted: Dict[str, str]  # the settings that are not so, in the ledger's words
    message: str


def find(host: Host, seen: Inventory) -> List[Unlike]:
    """By the notes of the VMs' starts. What a driver never reports does not count."""
    notes = start_notes.others(host, "")
    found = []
    for vf in seen.vfs:
        owner = (seen.owners or {}).get(vf.address)
        note = notes.get(owner.vm_uuid or "") if owner else None
        wanted = note.settings.get(vf.address) if note else None
        wanted = {name: text for name, text in (wanted or {}).items() if text != vf_settings.DEFAULT}
        if owner is None or not wanted:
            continue
        name = f"{owner.name or owner.vm_uuid} ({owner.vm_uuid})"
        now = seen.settings_of(vf)
        cut_off = seen.cut_off.get(seen.settings_interface(vf) or "")
        if now == UNKNOWN and cut_off:
            said = f"{vf.address} of the running VM {name}: its settings are not known ({cut_off})."
            found.append(Unlike(vf, wanted, said))
            continue
        wrong = vf_settings.differing(wanted, now)
        if wrong:
            said = f"{vf.address} of the running VM {name} has {listed(wrong, now)}: was its driver reloaded?"
            found.append(Unlike(vf, {setting: wanted[setting] for setting in wrong}, said))
    return found


def listed(wrong: Dict[str, str], now: vf_settings.VfSettings) -> str:
    """`vlan 0, not 12 and mac ...`."""
    return " and ".join(
        f"{setting} {vf_settings.as_text(getattr(now, setting))}, not {wrong[setting]}" for setting in wrong
    )


def problems(host: Host, seen: Inventory) -> List[Problem]:
    """As `status` lists them."""
    return [Problem("VF_UNLIKE_REQUEST", one.message, HINT) for one in find(host, seen)]


def renew(host: Host, seen: Inventory, only: Optional[str] = None) -> Dict[str, Optional[str]]:
    """Sets again what running VMs' VFs (of the PF `only`) have lost; VF -> why it has not all of it, or None.
    The caller holds the lock `vfs`."""
    lost = {one.vf.address: one for one in find(host, seen) if only in (None, one.vf.pf)}
    there = apply.seen_by(host, seen) if lost else {}
    wanted = {
        address: {name: vf_settings.parse_value(name, text) for name, text in one.wanted.items()}
        for address, one in lost.items()
        if there[address].interface is not None
    }
    refused = apply.put(host, there, wanted)
    results: Dict[str, Optional[str]] = {}
    for address in wanted:
        why = "; ".join(str(one) for one in refused if one.vf.address == address)
        host.log(f"{lost[address].message} Set again: {f'the driver refused {why}' if why else 'all of it'}.")
        results[address] = f"{lost[address].message} The driver refused {why}. {HINT}" if why else None
    return results
