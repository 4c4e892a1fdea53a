"""What a PF's driver gives a fresh VF, where drivers differ: spoof checking is on with igb and off with mlx5,
and be2net refuses to change it. A setting left out means that, so it must be known before a VM changes it.

It is learned when VFs are made, else from those that no VM has and no one has configured, at the latest
before the first change; and kept in /run/sriov/fresh.json: {"0000:07:00.0": {"spoof_check": true, ...}}. What
could not be learned is not there, and then the setting is left alone.
"""

from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from ..config.vf_settings import VfSettings
from ..machine.host import RUN_FOLDER, Host
from . import pf_notes, start_notes

PATH = f"{RUN_FOLDER}/fresh.json"
OF_BORN = ("min_tx_rate", "max_tx_rate", "spoof_check", "trust", "link_state")
OF_IDLE = ("spoof_check", "link_state")  # a VF that was made long ago may have been trusted since, or limited

Fresh = Dict[str, Dict[str, Any]]  # PF -> setting -> value


def known(host: Host, unconfigured: Mapping[str, Tuple[str, VfSettings]]) -> Fresh:
    """What is kept, and of other PFs what their VFs show: VF -> its PF and settings, of VFs for which
    /etc/sriov.conf has no settings."""
    found = kept(host)
    noted = {vf for note in start_notes.others(host, "").values() for vf in (*note.devices, *note.settings)}
    untouched: Dict[str, List[VfSettings]] = {}
    for vf, (pf, now) in unconfigured.items():
        if pf not in found and vf not in noted:
            untouched.setdefault(pf, []).append(now)
    return {**found, **{pf: learned(settings, OF_IDLE) for pf, settings in untouched.items()}}


def learned(untouched: Iterable[VfSettings], names: Sequence[str]) -> Dict[str, Any]:
    """What those without a VLAN have in common: one with a VLAN was set by someone."""
    shown = [settings for settings in untouched if settings.vlan == 0]
    values = {name: {getattr(settings, name) for settings in shown} for name in names}
    return {name: found.pop() for name, found in values.items() if len(found) == 1 and found != {None}}


def kept(host: Host) -> Fresh:
    return {
        pf: {name: values[name] for name in OF_BORN if name in values}
        for pf, values in pf_notes.read(host, PATH).items()
        if isinstance(values, dict)
    }


def keep(host: Host, found: Mapping[str, Mapping[str, Any]]) -> None:
    """For later, when VMs have the VFs. A PF of which nothing was learned may still show it then."""
    pf_notes.write(host, PATH, {pf: dict(values) for pf, values in found.items() if values})
