"""The pool as XenAPI shows it: who was given which VF, and what xapi's networks make of the PFs."""

from typing import Any, Dict, List, NamedTuple, Optional, Set

from . import pcientries, pifs
from .pifs import Network
from .xapi import Xapi

COPY_KEY = "sriov-conf"  # in host.other_config
_REAL_VMS = " and ".join(
    f'field "{name}" = "false"' for name in ("is_a_template", "is_a_snapshot", "is_control_domain")
)


class Vm(NamedTuple):
    uuid: str
    name: str
    power_state: str
    pci: List[str]  # the addresses that xapi will plug, in that order


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


def read(xapi: Xapi, host_uuid: str) -> Pool:
    """Five calls, of which one, the bulk read of all VMs, is heavy; raises what `Xapi.call` raises."""
    host = xapi.call("host.get_by_uuid", host_uuid)
    own = xapi.call("PIF.get_all_records_where", f'field "host" = "{host}"')
    networks = xapi.call("network.get_all_records")
    other_config = xapi.call("host.get_other_config", host)
    vms = xapi.call("VM.get_all_records_where", _REAL_VMS)
    return Pool(
        vms=[
            Vm(
                record["uuid"],
                record["name_label"],
                record["power_state"],
                pcientries.plugging_order(record["other_config"].get("pci", "")),
            )
            for record in vms.values()
        ],
        networks=pifs.networks(networks, own),
        network_of={
            pif["device"]: networks[pifs.serving(pif, own)["network"]]["uuid"]
            for pif in own.values()
            if pif["physical"] and pifs.serving(pif, own)["network"] in networks
        },
        managed=pifs.managed(own),
        attached={
            device for pif in own.values() if pif["currently_attached"] for device in pifs.devices(pif, own)
        },
        busy={record["uuid"] for record in vms.values() if _is_busy(record, host)},
        copy=other_config.get(COPY_KEY),
    )


def _is_busy(vm: Dict[str, Any], host: str) -> bool:
    if {"start", "start_on"}.intersection(vm["current_operations"].values()):
        return True
    return vm["power_state"] in ("Running", "Paused") and vm["resident_on"] == host
