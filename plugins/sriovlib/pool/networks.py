"""PIFs and networks: which physical interfaces a network of the pool stands on. Pure, on xapi's records."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

from ..errors import SriovError, bad_argument
from ..safetext import shortened

NULL = "OpaqueRef:NULL"

Record = Dict[str, Any]
Pifs = Mapping[str, Record]  # of ONE host, by reference


class Network(NamedTuple):
    uuid: str
    name: str
    bridge: str
    interfaces: Set[str]  # of one host, that the network stands on


def devices(pif: Record, pifs: Pifs) -> Set[str]:
    """The physical interfaces below a PIF: of a bond its members, of a VLAN those of its trunk."""
    bonds = pif["bond_master_of"]
    members = {other["device"] for other in pifs.values() if other["bond_slave_of"] in bonds} if bonds else ()
    if members:
        return set(members)
    if pif["physical"] or pif["sriov_logical_PIF_of"]:
        return {pif["device"]}
    if bonds:
        return set()  # a bond without members on this host
    for trunk in pifs.values():  # a VLAN's PIF has the device name of the PIF that it is on
        if trunk["device"] == pif["device"] and (trunk["physical"] or trunk["bond_master_of"]):
            return devices(trunk, pifs)
    return set()


def serving(pif: Record, pifs: Pifs) -> Record:
    """The PIF whose network the interface serves: the bond's for a member of a bond."""
    if pif["bond_slave_of"] != NULL:
        for master in pifs.values():
            if pif["bond_slave_of"] in master["bond_master_of"]:
                return master
    return pif


def managed(pifs: Pifs) -> Set[str]:
    """The interfaces under xapi's own SR-IOV (network_sriov)."""
    return {pif["device"] for pif in pifs.values() if pif["physical"] and pif["sriov_physical_PIF_of"]}


def attached(pifs: Pifs) -> Set[str]:
    """The interfaces below PIFs that are attached, with SR-IOV or without."""
    return {device for pif in pifs.values() if pif["currently_attached"] for device in devices(pif, pifs)}


def bonded(pifs: Pifs) -> Set[str]:
    """The interfaces that are members of a bond."""
    return {pif["device"] for pif in pifs.values() if pif["bond_slave_of"] != NULL}


def vlan(pif: Record) -> Optional[int]:
    """The tag of a VLAN's PIF; xapi gives others -1."""
    tag = int(pif["VLAN"])
    return tag if tag >= 0 else None


def networks(records: Mapping[str, Record], pifs: Pifs) -> List[Network]:
    """The pool's networks, with the interfaces of the host whose PIFs are given."""
    interfaces: Dict[str, Set[str]] = {}
    for pif in pifs.values():
        interfaces.setdefault(pif["network"], set()).update(devices(pif, pifs))
    return [
        Network(record["uuid"], record["name_label"], record["bridge"], interfaces.get(ref, set()))
        for ref, record in records.items()
    ]


def network_of(records: Mapping[str, Record], pifs: Pifs) -> Dict[str, str]:
    """Interface -> UUID of the network that it serves."""
    return {
        pif["device"]: records[serving(pif, pifs)["network"]]["uuid"]
        for pif in pifs.values()
        if pif["physical"] and serving(pif, pifs)["network"] in records
    }


def wires(records: Mapping[str, Record], pifs: Mapping[str, Record]) -> Dict[str, Set[str]]:
    """UUID of a network -> those of all that stand on its ports, on one host or another: a trunk and its
    VLANs. `pifs`: of all hosts."""
    of_host: Dict[str, Dict[str, Record]] = {}
    for ref, pif in pifs.items():
        of_host.setdefault(pif["host"], {})[ref] = pif
    found: Dict[str, Set[str]] = {}
    for own in of_host.values():
        on_port: Dict[str, Set[str]] = {}
        for network in networks(records, own):
            for interface in network.interfaces:
                on_port.setdefault(interface, set()).add(network.uuid)
        for uuids in on_port.values():
            for uuid in uuids:
                found.setdefault(uuid, set()).update(uuids)
    return found


def find_network(known: Sequence[Network], wanted: str) -> Network:
    """The network by UUID, bridge or unique name-label."""
    found = [network for network in known if wanted.lower() == network.uuid or wanted == network.bridge]
    found = found or [network for network in known if network.name == wanted]
    if not found:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"The pool has no network `{shortened(wanted)}`.",
            "Give the UUID, name-label or bridge of a network; `xe network-list` lists them.",
        )
    if len(found) > 1:
        raise bad_argument(
            "network", wanted, f"a unique name; {len(found)} networks have this one, give a UUID"
        )
    return found[0]
