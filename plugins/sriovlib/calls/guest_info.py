"""`guest_info`: what a VM's guest needs to use its VFs. Changes nothing."""

from typing import Any, Dict, Mapping

from ..errors import SriovError
from ..machine.host import Host
from ..pool import guest, hosts, inventories, state
from ..xapi.session import Xapi
from . import arguments


def guest_info(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `guest_info`, on the master: `{vm_uuid, vm_name, vfs, cloud_init, warnings}`.

    `vfs`: by request, `{request, vf}` and what guest.needs says of it. `cloud_init`: the text of a file
    `network-config` that matches the VFs by MAC.
    """
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    xapi = Xapi(host, session)
    pool = hosts.read(host, xapi)
    ref, record = state.vm_record(xapi, vm_uuid)
    vm = state.vm_of(ref, record, pool.uuids)
    entry = state.read_ledger(xapi).with_vms([vm], [vm_uuid]).entries.get(vm_uuid)
    if entry is None or not entry.requests:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"VM {state.named(vm.name, vm_uuid)} has no requests, so its guest needs nothing for VFs.",
            "`assign_vf` gives it a VF.",
        )
    where, leased = (entry.lease.host, entry.lease.vfs) if entry.lease else ("", {})
    surveyed = inventories.survey(host, session, pool, [one for one in pool.live if one.uuid == where])
    there = surveyed.hosts[where].inventory.vfs if where in surveyed.hosts else {}
    vfs = []
    for request in entry.requests:
        address = leased.get(request.number)
        device = there[address].device if address in there else None
        vfs.append({"request": request.number, "vf": address, **guest.needs(vm, request, address, device)})
    warnings = [problem.message for problem in surveyed.problems.values()]
    for device in sorted({vf["device"] for vf in vfs if vf["device"] and vf["linux_driver"] is None}):
        warnings.append(
            f"Which driver {device} needs is not known: `lspci -nnk` in the guest shows what it has."
        )
    return {
        "vm_uuid": vm_uuid,
        "vm_name": vm.name,
        "vfs": vfs,
        "cloud_init": guest.cloud_init(vf["mac"] for vf in vfs),
        "warnings": warnings,
    }
