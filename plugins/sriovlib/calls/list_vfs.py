"""`list_vfs` and `list_pfs`: the host's inventory joined with one bulk read of the pool."""

from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Union

from ..config.sriov_conf import PfConfig
from ..errors import SriovError
from ..machine import vgpus
from ..machine.host import Host
from ..pool import networks, state
from ..pool.records import Records
from ..pool.state import Pool, Silence
from ..vf import conf_sections, host_inventory, inventory
from ..vf.inventory import ASSIGNED, DOM0, FREE, IN_USE, RESERVED, STATES, Inventory
from ..vf.inventory_json import Owner, PfState, VfState
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiError
from . import arguments

# The keys of the two lists, in the order in which they are shown.
VF_KEYS = (
    "address index pf interface network vendor_id device_id description driver numa_node mac vlan qos "
    "vlan_protocol min_tx_rate max_tx_rate spoof_check trust link_state no_port no_settings state assigned_to"
).split()
PF_KEYS = (
    "address interface mac guid network networks vendor_id device_id description driver numa_node total_vfs "
    "num_vfs configured_vfs free_vfs management managed_by link_up speed ports interfaces problems"
).split()


def read_pool(host: Host, session: OwnSession, seen: Inventory) -> Union[Pool, Silence]:
    """The pool, or why xapi did not answer."""
    if seen.host_uuid is None:
        silence = Silence("INSTALLATION_UUID is not in /etc/xensource-inventory")
    else:
        try:
            return state.read_here(Records(host, Xapi(host, session)), seen.host_uuid, seen.pfs)
        except XapiError as error:
            silence = Silence(str(error))
    host.log(f"xapi did not answer, so states and owners of VFs are unknown: {silence.why}")
    return silence


def joined(seen: Inventory, vfs: Iterable[VfState], xapi_pool: Union[Pool, Silence]) -> List[VfState]:
    """The host's VFs, with states and VMs as host and pool together show them. `vfs`: by the host alone."""
    managed = _managed(seen, xapi_pool)
    known = None if isinstance(xapi_pool, Silence) else xapi_pool
    holders = known.state.assigned(known.here.member.uuid) if known else {}
    by_uuid = known.state.vms if known else {}
    found = []
    for vf in vfs:
        holder = holders.get(vf.address)
        state = _state(vf, holder is not None, vf.function.pf in managed, seen, xapi_pool)
        vm = holder if state == ASSIGNED else None
        if state == IN_USE and vf.assigned_to:
            vm = by_uuid.get(vf.assigned_to.vm_uuid or "")
        owner = Owner(vm.uuid, vm.name, vm.power_state) if vm else vf.assigned_to
        found.append(vf._replace(state=state, assigned_to=owner))
    return found


def _state(
    vf: VfState, is_held: bool, is_managed: bool, seen: Inventory, xapi_pool: Union[Pool, Silence]
) -> Optional[str]:
    """The first that applies, in the order of the contract; None where it takes a xapi (or a xenstore) that
    does not answer."""
    if vf.state == IN_USE:
        return IN_USE
    if is_held:
        return ASSIGNED
    if vf.state == DOM0 and not vgpus.gives_vfs(seen.pf_of(vf.function), _told(xapi_pool)):
        return DOM0
    if vf.state in (DOM0, RESERVED):
        return RESERVED
    if isinstance(xapi_pool, Silence) or seen.owners is None:
        return None
    return RESERVED if is_managed else FREE


def _managed(seen: Inventory, xapi_pool: Union[Pool, Silence]) -> Set[str]:
    """PFs under xapi's own SR-IOV, by any of their ports, and those of xapi's vGPUs."""
    by_xapi = set() if isinstance(xapi_pool, Silence) else xapi_pool.here.managed
    return {
        pf.address
        for pf in seen.pfs
        if by_xapi.intersection(pf.interfaces) or vgpus.gives_vfs(pf, _told(xapi_pool))
    }


def _told(xapi_pool: Union[Pool, Silence]) -> vgpus.Told:
    return vgpus.UNTOLD if isinstance(xapi_pool, Silence) else xapi_pool.here.vgpus


def _network(xapi_pool: Union[Pool, Silence], interface: Optional[str]) -> Optional[str]:
    return None if isinstance(xapi_pool, Silence) else xapi_pool.here.network_of.get(interface or "")


def _networks(known: Optional[Sequence[networks.Network]], interfaces: Iterable[str]) -> Optional[List[str]]:
    """UUIDs of all that stand on these interfaces, by bonds and as VLANs too."""
    if known is None:
        return None
    return sorted(one.uuid for one in known if one.interfaces.intersection(interfaces))


def vf_records(seen: Inventory, xapi_pool: Union[Pool, Silence]) -> List[Dict[str, Any]]:
    """All VFs of the host with the keys of `list_vfs`."""
    records = []
    for vf in joined(seen, host_inventory.vf_states(seen), xapi_pool):
        record = vf.to_json()
        record["network"] = _network(xapi_pool, vf.function.port.interface)
        records.append({key: record[key] for key in VF_KEYS})
    return records


def list_vfs(host: Host, session: OwnSession, args: Mapping[str, str]) -> List[Dict[str, Any]]:
    """The plugin's `list_vfs`, filtered by `pf`, `network`, `state`, `vm_uuid`."""
    pf = arguments.pf(args)
    network = arguments.text(args, "network", "a network's UUID, name-label or bridge")
    wanted: Dict[str, Optional[str]] = {"state": arguments.choice(args, "state", STATES)}
    vm_uuid = arguments.uuid(args, "vm_uuid")
    seen = inventory.look_with_nodes(host)
    xapi_pool = read_pool(host, session, seen)
    if pf is not None:
        found = seen.find_pf(pf)
        wanted["pf"] = found.address
        wanted["interface"] = pf if pf != found.address and len(found.ports) > 1 else None  # one of its ports
    devices = None if network is None else _interfaces_of(xapi_pool, network)
    return [
        vf
        for vf in vf_records(seen, xapi_pool)
        if all(value in (None, vf[key]) for key, value in wanted.items())
        and (devices is None or vf["interface"] in devices)
        and (vm_uuid is None or (vf["assigned_to"] or {}).get("vm_uuid") == vm_uuid)
    ]


def _interfaces_of(xapi_pool: Union[Pool, Silence], wanted: str) -> Set[str]:
    """This host's interfaces of a network, given by UUID, unique name-label or bridge."""
    if isinstance(xapi_pool, Silence):
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            f"Network `{wanted}` cannot be looked up: xapi did not answer ({xapi_pool.why}).",
            "Filter by `pf` instead, or call again when xapi answers.",
        )
    return networks.find_network(xapi_pool.here.networks, wanted).interfaces


def list_pfs(host: Host, session: OwnSession, _args: Mapping[str, str]) -> List[Dict[str, Any]]:
    """The plugin's `list_pfs`."""
    seen = inventory.look_with_nodes(host)
    xapi_pool = read_pool(host, session, seen)
    vfs = host_inventory.vf_states(seen)
    pfs = pf_states(host, seen, vfs, conf_sections.read(host, seen.pfs), xapi_pool)
    return pf_records(seen, pfs, joined(seen, vfs, xapi_pool), xapi_pool)


def pf_states(
    host: Host,
    seen: Inventory,
    vfs: Sequence[VfState],
    configured: Mapping[str, PfConfig],
    xapi_pool: Union[Pool, Silence],
) -> List[PfState]:
    """The host's PFs. `vfs`: by the host alone; `configured`: see `conf_sections.read`."""
    managed = _managed(seen, xapi_pool)
    of_pf = host_inventory.by_pf(vfs)
    return [
        host_inventory.pf_state(host, seen, pf, of_pf.get(pf.address, ()), configured, pf.address in managed)
        for pf in seen.pfs
    ]


def pf_records(
    seen: Inventory, pfs: Iterable[PfState], vfs: Iterable[VfState], xapi_pool: Union[Pool, Silence]
) -> List[Dict[str, Any]]:
    """With the keys of `list_pfs`. `vfs`: `joined`."""
    managed = _managed(seen, xapi_pool)
    states: Dict[str, List[Optional[str]]] = {}
    for vf in vfs:
        states.setdefault(vf.function.pf, []).append(vf.state)
    known = None if isinstance(xapi_pool, Silence) else xapi_pool.here.networks
    records = []
    for pf in pfs:
        own = states.get(pf.address, [])
        record = pf.to_json()
        record["network"] = _network(xapi_pool, pf.function.interface)
        record["networks"] = _networks(known, pf.function.interfaces)
        record["free_vfs"] = None if None in own else own.count(FREE)
        record["managed_by"] = "xapi" if pf.address in managed else None
        for port in record["ports"]:
            port["network"] = _network(xapi_pool, port["interface"])
        records.append({key: record[key] for key in PF_KEYS})
    return records
