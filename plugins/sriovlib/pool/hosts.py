"""The pool's hosts, their PIFs and the networks: all of them for a pool function, or this host alone."""

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set

from ..errors import SriovError, bad_argument
from ..machine import vgpus, xensource_inventory
from ..machine.host import Host
from ..machine.pci import PhysicalFunction
from ..safetext import line
from ..xapi.session import Xapi, XapiFailure
from . import networks
from .networks import Network, Record
from .records import HOSTS, Records

# Every GPU has the type `passthrough`. Of the others the vGPUs are VFs, or parts of the PF: an NVIDIA T4 can
# SR-IOV and gives parts, unless xapi is told otherwise (xapi_vgpu_type.ml, to_implementation, is_sriov).
_VGPU_TYPES = 'not (field "implementation" = "passthrough")'


class Member(NamedTuple):
    """A host of the pool. `pifs` are its records by reference; where not `enabled`, xapi starts no VM;
    `mask`: to which of its CPUs all its VMs are pinned (see numa)."""

    ref: str
    uuid: str
    name: str
    live: bool
    pifs: Dict[str, Record]
    enabled: bool = True
    mask: Optional[str] = None
    xapi_build: str = ""
    brand: str = ""  # of the product, as XCP-ng
    version: str = ""  # 8.3.0


class OwnHost(NamedTuple):
    """This host, by what xapi knows of it."""

    member: Member
    network_records: Dict[str, Record]
    vgpus: vgpus.Told  # what xapi says of its GPUs
    other_config: Dict[str, str]  # of the host

    @property
    def managed(self) -> Set[str]:
        """The interfaces under xapi's own SR-IOV (network_sriov)."""
        return networks.managed(self.member.pifs)

    @property
    def attached(self) -> Set[str]:
        """The interfaces below PIFs that are attached."""
        return networks.attached(self.member.pifs)

    @property
    def networks(self) -> List[Network]:
        """All networks of the pool, with the interfaces of this host below each."""
        return networks.networks(self.network_records, self.member.pifs)

    @property
    def network_of(self) -> Dict[str, str]:
        """Interface -> UUID of the network that it serves."""
        return networks.network_of(self.network_records, self.member.pifs)


class Topology(NamedTuple):
    """All hosts of the pool."""

    own: str  # UUID of the host that this process runs on
    members: Dict[str, Member]  # by UUID
    network_records: Dict[str, Record]
    identity: Optional[str] = None  # which no other has; None: see records.Known

    @property
    def live(self) -> List[Member]:
        return [member for member in self.members.values() if member.live]

    def live_host(self, uuid: str) -> Optional[str]:
        """The host, if it is live; None for one that is not, or left the pool."""
        found = self.members.get(uuid)
        return uuid if found is not None and found.live else None

    @property
    def uuids(self) -> Dict[str, str]:
        """Reference of a host -> its UUID."""
        return {member.ref: member.uuid for member in self.members.values()}

    @property
    def network_names(self) -> Dict[str, str]:
        """By UUID."""
        return {record["uuid"]: line(record["name_label"]) for record in self.network_records.values()}

    def networks(self, member: Member) -> List[Network]:
        """All networks of the pool, with the interfaces of this host below each."""
        return networks.networks(self.network_records, member.pifs)

    def wires(self) -> Dict[str, Set[str]]:
        """UUID of a network -> those of all that stand on its ports, on one host or another."""
        every = {ref: pif for one in self.members.values() for ref, pif in one.pifs.items()}
        return networks.wires(self.network_records, every)

    def vlans(self) -> Dict[str, Set[Optional[int]]]:
        """UUID of a network -> the tags of its PIFs on all hosts, None for one without."""
        found: Dict[str, Set[Optional[int]]] = {}
        for one in self.members.values():
            for pif in one.pifs.values():
                if pif["network"] in self.network_records:
                    uuid = self.network_records[pif["network"]]["uuid"]
                    found.setdefault(uuid, set()).add(networks.vlan(pif))
        return found


def own_uuid(host: Host) -> str:
    """This host's UUID; without one nothing can be said to xapi."""
    found = xensource_inventory.read(host).get("INSTALLATION_UUID")
    if found is None:
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            "/etc/xensource-inventory has no INSTALLATION_UUID, so this host cannot be found in its pool.",
            "Correct that file; the installer and xapi write it.",
        )
    return found


def read(host: Host, records: Records) -> Topology:
    """Raises what `Xapi.call` raises."""
    known, own = records.ask(HOSTS), own_uuid(host)
    found = known.objects.told
    hosts, metrics, pif_records, network_records = map(found.__getitem__, HOSTS.classes)
    of_host: Dict[str, Dict[str, Record]] = {ref: {} for ref in hosts}
    for ref, pif in pif_records.items():
        of_host.setdefault(pif["host"], {})[ref] = pif
    members = {
        record["uuid"]: Member(
            ref,
            record["uuid"],
            line(record["name_label"]),
            bool(metrics.get(record["metrics"], {}).get("live")),
            of_host[ref],
            bool(record["enabled"]),
            record["guest_VCPUs_params"].get("mask"),
            record["software_version"].get("xapi_build", ""),
            record["software_version"].get("product_brand", ""),
            record["software_version"].get("product_version", ""),
        )
        for ref, record in hosts.items()
    }
    identity = f"{own} {known.identity}" if known.identity else None
    return Topology(own, members, network_records, identity)


def read_own(xapi: Xapi, uuid: str, pfs: Iterable[PhysicalFunction]) -> OwnHost:
    """The host that this process runs on. Three calls, and some for GPUs among its PFs."""
    found = xapi.call("host.get_all_records_where", f'field "uuid" = "{uuid}"')
    if not found:
        raise XapiFailure(["UUID_INVALID", "host", uuid])  # as host.get_by_uuid does
    ((ref, record),) = found.items()
    pifs = xapi.call("PIF.get_all_records_where", f'field "host" = "{ref}"')
    return OwnHost(
        Member(ref, uuid, line(record["name_label"]), True, pifs, bool(record["enabled"])),
        xapi.call("network.get_all_records"),
        gpus(xapi, ref, pfs),
        record["other_config"],
    )


def gpus(xapi: Xapi, host: str, pfs: Iterable[PhysicalFunction]) -> vgpus.Told:
    """From the host's PGPU records; without a GPU among the PFs xapi is not asked. `host` is a reference.
    Raises what `Xapi.call` raises."""
    if not any(pf.pci_class.startswith(vgpus.DISPLAY) for pf in pfs):
        return {}
    found = xapi.call("PGPU.get_all_records_where", f'field "host" = "{host}"')
    types = set(xapi.call("VGPU_type.get_all_records_where", _VGPU_TYPES)) if found else set()
    return {
        xapi.call("PCI.get_pci_id", record["PCI"]): bool(types.intersection(record["supported_VGPU_types"]))
        for record in found.values()
    }


def member(topology: Topology, wanted: str) -> Member:
    """The live host of that UUID."""
    found = topology.members.get(wanted)
    if found is None:
        raise SriovError(
            "SRIOV_NOT_FOUND", f"The pool has no host {wanted}.", "`xe host-list` lists its hosts."
        )
    if not found.live:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"Host {found.name} ({wanted}) is not live.",
            "Start it, or give the UUID of a live host.",
        )
    return found


def request_network(topology: Topology, wanted: str) -> Dict[str, Any]:
    """The network that a request may name, `{uuid, name, vlan}`; `SRIOV_BAD_ARGUMENT` for networks that
    stand on no port of any host, on a tunnel, or on xapi's own SR-IOV."""
    network = networks.find_network(networks.networks(topology.network_records, {}), wanted)
    ref = next(ref for ref, record in topology.network_records.items() if record["uuid"] == network.uuid)
    own = [pif for one in topology.members.values() for pif in one.pifs.values() if pif["network"] == ref]
    if not own:
        raise bad_argument("network", wanted, "a network that stands on a port; this one is internal")
    if all(pif["tunnel_access_PIF_of"] for pif in own):
        raise bad_argument("network", wanted, "a network that stands on a port; this one is a tunnel")
    if all(pif["sriov_logical_PIF_of"] or pif["sriov_physical_PIF_of"] for pif in own):
        raise bad_argument(
            "network",
            wanted,
            "a network without xapi's own SR-IOV; VMs get VFs of this one by a VIF (`xe vif-create`)",
        )
    tags = {networks.vlan(pif) for pif in own}
    if len(tags) > 1:
        shown = ", ".join(sorted("no tag" if tag is None else str(tag) for tag in tags))
        raise bad_argument("network", wanted, f"a network with one VLAN on all hosts; this one has {shown}")
    return {"uuid": network.uuid, "name": network.name, "vlan": tags.pop()}


def untagged_networks(topology: Topology, uuid: str) -> List[str]:
    """Names of the networks without a tag on the ports that this network stands on."""
    names = set()
    for one in topology.members.values():
        network_of = {ref: topology.network_records[pif["network"]] for ref, pif in one.pifs.items()}
        ports = {pif["device"] for ref, pif in one.pifs.items() if network_of[ref]["uuid"] == uuid}
        for ref, pif in one.pifs.items():
            other = (
                pif["tunnel_access_PIF_of"] or pif["sriov_logical_PIF_of"] or networks.vlan(pif) is not None
            )
            if pif["device"] in ports and not other:
                names.add(line(network_of[ref]["name_label"]))
    return sorted(names)
