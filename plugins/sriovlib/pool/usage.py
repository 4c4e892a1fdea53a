"""The pool as XenAPI shows it: who was given which VF, and what xapi's networks make of the PFs."""

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set

from ..machine.pci import PhysicalFunction
from ..machine.vgpus import Told
from ..xapi.session import Xapi
from . import gpus, holding, ledger, networks, pci_entries
from .networks import Network

COPY_KEY = "sriov-conf"  # in host.other_config
_REAL_VMS = " and ".join(
    f'field "{name}" = "false"' for name in ("is_a_template", "is_a_snapshot", "is_control_domain")
)


class Vm(NamedTuple):
    uuid: str
    name: str
    power_state: str


class Pool(NamedTuple):
    """What concerns one host."""

    vms: List[Vm]
    networks: List[Network]
    network_of: Dict[str, str]  # interface -> uuid of the network that it serves
    managed: Set[str]  # interfaces under xapi's own SR-IOV (network_sriov)
    attached: Set[str]  # interfaces below PIFs that are attached
    busy: Set[str]  # UUIDs of VMs that run on this host, or are being started
    copy: Optional[str]  # the pool's copy of this host's /etc/sriov.conf
    vgpus: Told  # of this host
    holders: Dict[str, Vm]  # address -> the VM that is leased the VF of this host, or has an entry for it


class Silence(NamedTuple):
    """Why the pool is not known: that costs the owners and some states, not the answer."""

    why: str


def read(xapi: Xapi, host_uuid: str, pfs: Iterable[PhysicalFunction] = ()) -> Pool:
    """Seven calls, of which one, the bulk read of all VMs, is heavy, and some for GPUs among the PFs; raises
    what `Xapi.call` raises."""
    host = xapi.call("host.get_by_uuid", host_uuid)
    own = xapi.call("PIF.get_all_records_where", f'field "host" = "{host}"')
    records = xapi.call("network.get_all_records")
    other_config = xapi.call("host.get_other_config", host)
    vms = xapi.call("VM.get_all_records_where", _REAL_VMS)
    (pool,) = xapi.call("pool.get_all")
    config = xapi.call("pool.get_other_config", pool)
    entries, unreadable = ledger.read_all(ledger.settled(config))
    for vm in vms.values():
        if vm["uuid"] in entries:
            entries[vm["uuid"]] = holding.explained(
                entries[vm["uuid"]],
                pci_entries.plugging_order(pci_entries.readable(vm["other_config"])),
                vm["platform"].get("nomigrate"),
                ledger.NEXT_PREFIX + vm["uuid"] in config,
            )
    known = {
        record["uuid"]: Vm(record["uuid"], record["name_label"], record["power_state"])
        for record in vms.values()
    }
    return Pool(
        vms=list(known.values()),
        networks=networks.networks(records, own),
        network_of={
            pif["device"]: records[networks.serving(pif, own)["network"]]["uuid"]
            for pif in own.values()
            if pif["physical"] and networks.serving(pif, own)["network"] in records
        },
        managed=networks.managed(own),
        attached={
            device
            for pif in own.values()
            if pif["currently_attached"]
            for device in networks.devices(pif, own)
        },
        busy={record["uuid"] for record in vms.values() if _is_busy(record, host)},
        copy=other_config.get(COPY_KEY),
        vgpus=gpus.told(xapi, host, pfs),
        holders={
            address: known[uuid]
            for address, uuid in _holders(vms.values(), entries, unreadable, host, host_uuid).items()
        },
    )


def _holders(
    vms: Iterable[Dict[str, Any]],
    entries: Mapping[str, ledger.Entry],
    unreadable: Mapping[str, str],
    host: str,
    host_uuid: str,
) -> Dict[str, str]:
    found = [
        holding.Vm(
            vm["uuid"],
            {host: host_uuid}.get(vm["resident_on"], "another") if vm["power_state"] != "Halted" else None,
            pci_entries.plugging_order(pci_entries.readable(vm["other_config"])),
        )
        for vm in vms
    ]
    leases = holding.leased(entries, found)
    own = {address: uuid for (where, address), uuid in leases.items() if where == host_uuid}
    by_hand = {
        address: vms[-1].uuid for address, vms in holding.by_hand(entries, leases, found).items() if vms
    }
    return {**by_hand, **holding.perhaps_lent(unreadable, found), **own}


def _is_busy(vm: Dict[str, Any], host: str) -> bool:
    if {"start", "start_on", "resume", "resume_on"}.intersection(vm["current_operations"].values()):
        return True
    return vm["power_state"] in ("Running", "Paused") and vm["resident_on"] == host
