"""What a PF's driver gives a fresh VF, where drivers differ: spoof checking is on with igb and off with mlx5,
and be2net refuses to change it. A setting left out means that, so it has to be known before a VM changes it.

It is learned when VFs are made, else from those that no VM has and nobody has configured, at the latest
before the first change; and kept in /run/sriov/fresh.json: {"0000:07:00.0": {"spoof_check": true, ...}}. What
could not be learned is not there, and then the setting is left alone.
"""

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Sequence

from ..config.vf_settings import VfSettings
from ..machine.host import RUN_FOLDER, Host
from . import pf_notes, start_notes

PATH = f"{RUN_FOLDER}/fresh.json"
OF_BORN = ("min_tx_rate", "max_tx_rate", "spoof_check", "trust", "link_state")
OF_IDLE = ("spoof_check", "link_state")  # a VF that was made long ago may have been trusted since, or limited

Fresh = Dict[str, Dict[str, Any]]  # PF -> setting -> value


class Vf(NamedTuple):
    """A VF as it is, and whether /etc/sriov.conf has settings for it."""

    address: str
    pf: str
    now: VfSettings
    configured: bool


def known(host: Host, vfs: Iterable[Vf]) -> Fresh:
    """What is kept, and of other PFs what their VFs show."""
    found = kept(host)
    noted = {vf for note in start_notes.others(host, "").values() for vf in (*note.devices, *note.settings)}
    untouched: Dict[str, List[VfSettings]] = {}
    for vf in vfs:
        if vf.pf not in found and not (vf.configured or vf.address in noted):
            untouched.setdefault(vf.pf, []).append(vf.now)
    return {**found, **{pf: learned(settings, OF_IDLE) for pf, settings in untouched.items()}}


def learned(untouched: Iterable[VfSettings], names: Sequence[str]) -> Dict[str, Any]:
    """What all of them that have no VLAN have in common: one with a VLAN was set by somebody."""
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
