"""VFs with other settings than they must have: a former VM's MAC, or not those of the running VM. Pure."""

from typing import Iterator, Mapping

from ...config import vf_settings
from ...config.vf_settings import DEFAULT, UNKNOWN, VfSettings
from ...vf import restore_running
from ...vf.inventory_json import PfState
from .view import Conflict, Seen


def not_released(seen: Seen) -> Iterator[Conflict]:
    """A request's MAC on a VF that it is not leased: that VF's host did not answer when it was to be
    released. A card keeps frames to its VFs' MACs to itself, so the VM cannot be reached from that host."""
    requests = {
        request.settings["mac"]: (uuid, entry.lease.vfs.get(request.number) if entry.lease else None)
        for uuid, entry in seen.state.entries.items()
        if uuid in seen.state.vms
        for request in entry.requests
        if "mac" in request.settings
    }
    running = seen.surveyed.running()
    for host, surveyed in sorted(seen.surveyed.hosts.items()):
        for vf in surveyed.inventory.vfs.values():
            uuid, leased = requests.get(vf.settings.mac or "", (None, None))
            address, name = vf.address, surveyed.member.name
            if uuid is None or uuid == running.get((host, address)):
                continue
            lease = seen.state.entries[uuid].lease
            if lease is not None and (lease.host, leased) == (host, address):
                continue
            said = (
                f"{address} of {name} has the MAC {vf.settings.mac} of {seen.vm(uuid)}, which does not have "
                f"this VF: the VM cannot be reached from {name}."
            )
            hint = (
                f"Call `release_vfs` with vm_uuid={uuid} and vfs={address} on {name}; if the MAC is in that "
                f"host's /etc/sriov.conf, `configure_vf` with vf={address} and mac=default."
            )
            yield Conflict("VF_NOT_RELEASED", said, hint, [uuid], host, address)


def unlike_requests(seen: Seen) -> Iterator[Conflict]:
    """VFs of running VMs that have other settings than their requests."""
    code, running, hint = "VF_UNLIKE_REQUEST", seen.surveyed.running(), restore_running.HINT
    why = "probably the driver of its PF was reloaded, or the VM started without this package's hook"
    for uuid, entry, lease in seen.leases():
        surveyed = seen.surveyed.hosts.get(lease.host)
        for request in entry.requests if surveyed else ():
            vf = surveyed.inventory.vfs.get(lease.vfs.get(request.number, "")) if surveyed else None
            if vf is None or surveyed is None or running.get((lease.host, vf.address)) != uuid:
                continue
            wrong = _unlike(request.settings, vf.settings, surveyed.inventory.pf_of(vf))
            if wrong:
                used = f"{vf.address} of {surveyed.member.name}, used by {seen.vm(uuid)},"
                yield Conflict(code, f"{used} has {wrong}: {why}.", hint, [uuid], lease.host, vf.address)


def _unlike(wanted: Mapping[str, str], now: VfSettings, pf: PfState) -> str:
    """What differs from the wanted settings; "" where nothing does, or the driver never tells."""
    untold = any(problem.code == "SETTINGS_UNKNOWN" for problem in pf.problems)
    if untold and now == UNKNOWN and any(text != DEFAULT for text in wanted.values()):
        return "settings that the kernel does not tell"
    wrong = vf_settings.differing(wanted, now)
    return restore_running.listed(wrong, now) if wrong else ""
