"""The pool as XenAPI shows it: who was given which VF, and what xapi's networks make of the PFs."""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Set

from .xapi import Xapi

COPY_KEY = "sriov-conf"  # in host.other_config
_NULL = "OpaqueRef:NULL"
# xapi reads each entry of other_config:pci with the pattern `%d/%04x:%02x:%02x.%01x` and drops one
# that does not fit without a word (xen-api: ocaml/xapi/pciops.ml); what follows the function it ignores.
_ENTRY = re.compile(
    r"([+-]?\d[\d_]*)/([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})\.([0-9a-fA-F])"
)
_LARGEST = 2**62 - 1  # OCaml's int
_REAL_VMS = " and ".join(
    f'field "{name}" = "false"' for name in ("is_a_template", "is_a_snapshot", "is_control_domain")
)


class Vm(NamedTuple):
    uuid: str
    name: str
    power_state: str
    pci: List[str]  # the addresses that xapi will plug, in the order of the text


class Network(NamedTuple):
    uuid: str
    name: str
    bridge: str
    interfaces: Set[str]  # of this host, that the network stands on


class Pool(NamedTuple):
    """What concerns one host."""

    vms: List[Vm]
    networks: List[Network]
    network_of: Dict[str, str]  # interface -> uuid of the network that it serves
    managed: Set[str]  # interfaces under xapi's own SR-IOV (network_sriov)
    attached: Set[str]  # interfaces below PIFs that are attached
    busy: Set[str]  # UUIDs of VMs that run on this host, or are being started
    copy: Optional[str]  # the pool's copy of this host's /etc/sriov.conf

    def holders(self) -> Dict[str, Vm]:
        """Address -> the VM whose `pci` names it: one that runs before others."""
        found: Dict[str, Vm] = {}
        for vm in sorted(self.vms, key=lambda vm: (vm.power_state == "Halted", vm.uuid)):
            for address in vm.pci:
                found.setdefault(address, vm)
        return found


class Silence(NamedTuple):
    """Why the pool is not known: that costs the owners and some states, not the answer."""

    why: str


def pci_addresses(text: str) -> List[str]:
    """The addresses in a VM's other_config:pci, as xapi understands the text."""
    found = []
    for entry in text.split(","):
        match = _ENTRY.match(entry)
        if match and abs(int(match.group(1))) <= _LARGEST:
            domain, bus, slot, function = (int(number, 16) for number in match.groups()[1:])
            found.append(f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
    return found


def read(xapi: Xapi, host_uuid: str) -> Pool:
    """Five calls, of which one, the bulk read of all VMs, is heavy; raises what `Xapi.call` raises."""
    host = xapi.call("host.get_by_uuid", host_uuid)
    pifs = xapi.call("PIF.get_all_records_where", f'field "host" = "{host}"')
    networks = xapi.call("network.get_all_records")
    other_config = xapi.call("host.get_other_config", host)
    vms = xapi.call("VM.get_all_records_where", _REAL_VMS)
    return Pool(
        vms=[
            Vm(
                record["uuid"],
                record["name_label"],
                record["power_state"],
                pci_addresses(record["other_config"].get("pci", "")),
            )
            for record in vms.values()
        ],
        networks=[
            Network(
                record["uuid"],
                record["name_label"],
                record["bridge"],
                {device for pif in pifs.values() if pif["network"] == ref for device in _devices(pif, pifs)},
            )
            for ref, record in networks.items()
        ],
        network_of={
            pif["device"]: networks[_serving(pif, pifs)["network"]]["uuid"]
            for pif in pifs.values()
            if pif["physical"] and _serving(pif, pifs)["network"] in networks
        },
        managed={pif["device"] for pif in pifs.values() if pif["physical"] and pif["sriov_physical_PIF_of"]},
        attached={
            device for pif in pifs.values() if pif["currently_attached"] for device in _devices(pif, pifs)
        },
        busy={record["uuid"] for record in vms.values() if _is_busy(record, host)},
        copy=other_config.get(COPY_KEY),
    )


def _is_busy(vm: Dict[str, Any], host: str) -> bool:
    if {"start", "start_on"}.intersection(vm["current_operations"].values()):
        return True
    return vm["power_state"] in ("Running", "Paused") and vm["resident_on"] == host


def _devices(pif: Dict[str, Any], pifs: Dict[str, Dict[str, Any]]) -> Set[str]:
    """The physical interfaces below a PIF: of a bond its members, of a VLAN those of its trunk."""
    members = {other["device"] for other in pifs.values() if other["bond_slave_of"] in pif["bond_master_of"]}
    if members:
        return members
    if pif["physical"] or pif["sriov_logical_PIF_of"]:
        return {pif["device"]}
    if pif["bond_master_of"]:
        return set()  # a bond without members on this host
    for trunk in pifs.values():  # a VLAN's PIF has the device name of the PIF that it is on
        if trunk["device"] == pif["device"] and (trunk["physical"] or trunk["bond_master_of"]):
            return _devices(trunk, pifs)
    return set()


def _serving(pif: Dict[str, Any], pifs: Dict[str, Dict[str, Any]]) -> Dict[str, Any]:
    """The PIF whose network the interface serves: the bond's for a member of a bond."""
    if pif["bond_slave_of"] != _NULL:
        for master in pifs.values():
            if pif["bond_slave_of"] in master["bond_master_of"]:
                return master
    return pif
