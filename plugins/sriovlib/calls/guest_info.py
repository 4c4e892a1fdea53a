"""`guest_info`: what a VM's guest needs to use its VFs. Changes nothing."""

from typing import Any, Dict, Mapping

from ..errors import SriovError
from ..machine.host import Host
from ..pool import guest, hosts, inventories, state, vifs
from ..pool.records import Records
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi
from . import arguments


def guest_info(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `guest_info`, on the master: `{vm_uuid, vm_name, vfs, bonds, cloud_init, warnings}`.

    `vfs`: by request, `{request, vf}` and what guest.needs says of it. `bonds`: `{request, vf_mac,
    vif_device, vif_mac, network}` for each VF with a VIF in its network. `cloud_init`: the text of a file
    `network-config` that finds all by MAC, and bonds these.
    """
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    xapi = Xapi(host, session)
    records = Records(host, xapi)
    pool = hosts.read(host, records)
    ref, record = state.vm_record(xapi, vm_uuid)
    vm = state.vm_of(ref, record, pool.uuids)
    entry = state.read_ledger(records).with_vms([vm], [vm_uuid]).entries.get(vm_uuid)
    if entry is None or not entry.requests:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"VM {state.named(vm.name, vm_uuid)} has no requests: what its guest needs is told of VFs of "
            "requests only.",
            "`adopt_vm` makes requests of its entries." if vm.named else "`assign_vf` gives it a VF.",
        )
    where, leased = (entry.lease.host, entry.lease.vfs) if entry.lease else ("", {})
    surveyed = inventories.survey(host, session, pool, [one for one in pool.live if one.uuid == where])
    there = {one.address: one for one in surveyed.hosts[where].candidates} if where in surveyed.hosts else {}
    vfs, wanted, tags = [], {}, pool.vlans()
    for request in entry.requests:
        address = leased.get(request.number)
        vf = there.get(address) if address else None
        needs = guest.needs(vm, request, address, vf.device if vf else None)
        vfs.append({"request": request.number, "vf": address, **needs})
        if needs["mac"]:
            wanted[request.number] = vifs.networks(request, vf.networks if vf else (), tags)
    beside = vifs.beside(wanted, vifs.read(xapi, ref, pool.network_records))
    interfaces = [
        guest.Interface(vf["request"], vf["mac"], beside.get(vf["request"])) for vf in vfs if vf["mac"]
    ]
    warnings = [problem.message for problem in surveyed.problems.values()]
    for device in sorted({vf["device"] for vf in vfs if vf["device"] and vf["linux_driver"] is None}):
        warnings.append(
            f"Which driver {device} needs is not known: `lspci -nnk` in the guest shows what it has."
        )
    if beside:
        warnings.append(
            "The MAC of a bond is that of its active link, so DHCP may give it another address while its VM "
            "moves: give it a fixed one, or see docs/live-migration.md."
        )
    return {
        "vm_uuid": vm_uuid,
        "vm_name": vm.name,
        "vfs": vfs,
        "bonds": [
            {
                "request": one.request,
                "vf_mac": one.mac,
                "vif_device": one.vif.device,
                "vif_mac": one.vif.mac,
                "network": pool.network_names[one.vif.network],
            }
            for one in interfaces
            if one.vif
        ],
        "cloud_init": guest.cloud_init(interfaces),
        "warnings": warnings,
    }
