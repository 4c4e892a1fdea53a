"""`list_vfs` and `list_pfs`: the host's inventory joined with one bulk read of the pool."""

from typing import Any, Dict, List, Mapping, Optional, Set, Union

from ..errors import SriovError
from ..machine import pci, vgpus
from ..machine.host import Host
from ..pool import usage
from ..pool.networks import find_network
from ..pool.usage import Pool, Silence
from ..vf import inventory
from ..vf.inventory import ASSIGNED, DOM0, FREE, IN_USE, RESERVED, STATES, Inventory
from ..xapi.session import Xapi, XapiError
from . import arguments

# The keys of the two lists, in the order in which they are shown.
VF_KEYS = (
    "address index pf interface network vendor_id device_id description driver numa_node mac vlan qos "
    "vlan_protocol min_tx_rate max_tx_rate spoof_check trust link_state no_port no_settings state assigned_to"
).split()
PF_KEYS = (
    "address interface mac guid network vendor_id device_id description driver numa_node total_vfs num_vfs "
    "configured_vfs free_vfs management managed_by link_up speed ports interfaces problems"
).split()


def read_pool(host: Host, session: Any, seen: Inventory) -> Union[Pool, Silence]:
    """The pool, or why xapi did not tell."""
    if seen.host_uuid is None:
        silence = Silence("INSTALLATION_UUID is not in /etc/xensource-inventory")
    else:
        try:
            return usage.read(Xapi(host, session), seen.host_uuid, map(vgpus.gpu, seen.pfs))
        except XapiError as error:
            silence = Silence(str(error))
    host.log(f"xapi does not tell of the pool, states and owners are unknown: {silence.why}")
    return silence


def state_of(
    vf: pci.VirtualFunction,
    managed: bool,
    seen: Inventory,
    xapi_pool: Union[Pool, Silence],
    holders: Mapping[str, usage.Vm],
) -> Optional[str]:
    """The first that applies, in the order of the contract; None where it takes a xapi (or a
    xenstore) that does not answer."""
    known = seen.state(vf)
    if known == IN_USE:
        return known
    if vf.address in holders:
        return ASSIGNED
    if known == DOM0 and not vgpus.gives_vfs(_gpu_of(seen, vf), _told(xapi_pool)):
        return known
    if known in (DOM0, RESERVED):
        return RESERVED
    if isinstance(xapi_pool, Silence) or seen.owners is None:
        return None
    return RESERVED if managed else FREE


def _managed(seen: Inventory, xapi_pool: Union[Pool, Silence]) -> Set[str]:
    """PFs under xapi's own SR-IOV, by any of their ports, and those of xapi's vGPUs."""
    networks = set() if isinstance(xapi_pool, Silence) else xapi_pool.managed
    return {
        pf.address
        for pf in seen.pfs
        if networks.intersection(pf.interfaces) or vgpus.gives_vfs(vgpus.gpu(pf), _told(xapi_pool))
    }


def _told(xapi_pool: Union[Pool, Silence]) -> vgpus.Told:
    return vgpus.UNTOLD if isinstance(xapi_pool, Silence) else xapi_pool.vgpus


def _gpu_of(seen: Inventory, vf: pci.VirtualFunction) -> vgpus.Gpu:
    return vgpus.gpu(next(pf for pf in seen.pfs if pf.address == vf.pf))


def vf_records(seen: Inventory, xapi_pool: Union[Pool, Silence]) -> List[Dict[str, Any]]:
    """All VFs of the host with the keys of `list_vfs`."""
    managed = _managed(seen, xapi_pool)
    known = None if isinstance(xapi_pool, Silence) else xapi_pool
    holders = known.holders if known else {}
    by_uuid = {vm.uuid: vm for vm in known.vms} if known else {}
    records = []
    for vf in seen.vfs:
        record = inventory.vf_record(seen, vf)
        record["state"] = state_of(vf, vf.pf in managed, seen, xapi_pool, holders)
        record["network"] = known.network_of.get(vf.port.interface or "") if known else None
        vm = None
        if record["state"] == IN_USE:
            vm = by_uuid.get((record["assigned_to"] or {}).get("vm_uuid", ""))
        elif record["state"] == ASSIGNED:
            vm = holders[vf.address]
        if vm is not None:
            record["assigned_to"] = {
                "vm_uuid": vm.uuid,
                "vm_name": vm.name,
                "power_state": vm.power_state,
            }
        records.append({key: record[key] for key in VF_KEYS})
    return records


def list_vfs(host: Host, session: Any, args: Mapping[str, str]) -> List[Dict[str, Any]]:
    """The plugin's `list_vfs`, filtered by `pf`, `network`, `state`, `vm_uuid`."""
    pf = arguments.pf(args)
    network = arguments.text(args, "network", "a network's UUID, name-label or bridge")
    state = arguments.choice(args, "state", STATES)
    vm_uuid = arguments.uuid(args, "vm_uuid")
    seen = inventory.look(host)
    xapi_pool = read_pool(host, session, seen)
    port = None
    if pf is not None:
        found = find_pf(seen, pf)
        port = pf if pf != found.address and len(found.ports) > 1 else None  # one of its ports
        pf = found.address
    devices = None if network is None else _interfaces_of(xapi_pool, network)
    return [
        record
        for record in vf_records(seen, xapi_pool)
        if (pf is None or record["pf"] == pf)
        and (port is None or record["interface"] == port)
        and (devices is None or record["interface"] in devices)
        and (state is None or record["state"] == state)
        and (vm_uuid is None or (record["assigned_to"] or {}).get("vm_uuid") == vm_uuid)
    ]


def find_pf(seen: Inventory, wanted: str) -> pci.PhysicalFunction:
    """The PF by address or interface; `SRIOV_NOT_FOUND` where the host has none such."""
    for pf in seen.pfs:
        if wanted == pf.address or wanted in pf.interfaces:
            return pf
    there = ", ".join(f"{pf.address} ({pf.interface or 'no interface'})" for pf in seen.pfs)
    raise SriovError(
        "SRIOV_NOT_FOUND",
        f"This host has no SR-IOV capable device `{wanted}`.",
        f"It has: {there}." if there else "It has none at all; list_pfs and status tell more.",
    )


def _interfaces_of(xapi_pool: Union[Pool, Silence], wanted: str) -> Set[str]:
    """This host's interfaces of a network, given by UUID, unique name-label or bridge."""
    if isinstance(xapi_pool, Silence):
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            f"xapi does not tell of the pool ({xapi_pool.why}), so `{wanted}` cannot be looked up.",
            "Filter by `pf` instead, or call again when xapi answers.",
        )
    return find_network(xapi_pool.networks, wanted).interfaces


def list_pfs(host: Host, session: Any, _args: Mapping[str, str]) -> List[Dict[str, Any]]:
    """The plugin's `list_pfs`."""
    seen = inventory.look(host)
    return pf_records(host, seen, read_pool(host, session, seen))


def pf_records(host: Host, seen: Inventory, xapi_pool: Union[Pool, Silence]) -> List[Dict[str, Any]]:
    """All PFs of the host with the keys of `list_pfs`."""
    configured = inventory.configured_vfs(host, seen)
    known = None if isinstance(xapi_pool, Silence) else xapi_pool
    managed = _managed(seen, xapi_pool)
    vfs = vf_records(seen, xapi_pool)
    records = []
    for pf in seen.pfs:
        states = [vf["state"] for vf in vfs if vf["pf"] == pf.address]
        record = inventory.pf_record(seen, pf, host, configured, pf.address in managed)
        record["network"] = known.network_of.get(pf.interface or "") if known else None
        record["free_vfs"] = None if None in states else states.count(FREE)
        record["managed_by"] = "xapi" if pf.address in managed else None
        for port in record["ports"]:
            port["network"] = known.network_of.get(port["interface"]) if known else None
        records.append({key: record[key] for key in PF_KEYS})
    return records
