"""The NICs that dom0's remote disks come over: an iSCSI boot, iSCSI sessions, NVMe over TCP or RDMA, whatever
the disks are for."""

from typing import Dict, List, Sequence

from ..safetext import is_number
from . import management_network, sysfs
from .host import Host
from .management_network import Address

# What the firmware booted from: its own table (linux: drivers/firmware/iscsi_ibft.c), and what drivers of
# cards that do iSCSI themselves tell (drivers/scsi/iscsi_boot_sysfs.c).
FIRMWARE = "/sys/firmware"
HOSTS, CONNECTIONS = "/sys/class/iscsi_host", "/sys/class/iscsi_connection"
NVME = "/sys/class/nvme"


def interfaces(host: Host, addresses: Sequence[Address]) -> Dict[str, str]:
    """Interface -> what comes over it, in words, as far as the kernel names an interface, a MAC or a local
    address. Those with an IP address count without that."""
    named = {**_boot(host), **_iscsi(host), **_nvme(host)}
    by_address = {address.text.lower(): address.interface for address in addresses}
    found: Dict[str, str] = {}
    for name, what in named.items():
        for interface in _called(host, name, by_address):
            for lower in management_network.below(host, interface):
                found.setdefault(lower, what)
    return found


def boot_devices(host: Host) -> List[str]:
    """The PCI addresses of the NICs that the firmware booted by iSCSI from."""
    links = [host.link(f"{folder}/device") for folder in _boot_nics(host)]
    return [link for link in links if link is not None]


def _boot_nics(host: Host) -> List[str]:
    tables = [name for name in host.names(FIRMWARE) if name == "ibft" or _is_of_card(name)]
    return [
        f"{FIRMWARE}/{table}/{nic}"
        for table in tables
        for nic in host.names(f"{FIRMWARE}/{table}")
        if nic.startswith("ethernet")
    ]


def _is_of_card(name: str) -> bool:
    return name.startswith("iscsi_boot") and is_number(name[len("iscsi_boot") :])


def _boot(host: Host) -> Dict[str, str]:
    macs = [host.text(f"{folder}/mac") for folder in _boot_nics(host)]
    return {mac: "the iSCSI disk that the host booted from" for mac in macs if mac}


def _iscsi(host: Host) -> Dict[str, str]:
    """linux: drivers/scsi/scsi_transport_iscsi.c."""
    found = {}
    for name in host.names(HOSTS):
        for attribute in ("netdev", "hwaddress", "ipaddress"):
            found[host.text(f"{HOSTS}/{name}/{attribute}") or ""] = "an iSCSI session"
    for name in host.names(CONNECTIONS):
        for attribute in ("address", "persistent_address"):
            found[_scope(host.text(f"{CONNECTIONS}/{name}/{attribute}") or "")] = "an iSCSI session"
    return found


def _nvme(host: Host) -> Dict[str, str]:
    """linux: drivers/nvme/host/fabrics.c, nvmf_get_address."""
    found = {}
    for name in host.names(NVME):
        if host.text(f"{NVME}/{name}/transport") in ("tcp", "rdma"):
            parts = (host.text(f"{NVME}/{name}/address") or "").split(",")
            values = dict(part.strip().split("=", 1) for part in parts if "=" in part)
            for local in ("host_iface", "host_traddr", "src_addr"):
                found[values.get(local, "")] = f"the NVMe disk {name}"
            found[_scope(values.get("traddr", ""))] = f"the NVMe disk {name}"
    return found


def _scope(address: str) -> str:
    """The interface of a link-local address: fe80::1%eth1."""
    return address.partition("%")[2]


def _called(host: Host, name: str, by_address: Dict[str, str]) -> List[str]:
    """The interfaces that a name, MAC or local IP address is of. A member of a bond shows the bond's MAC,
    and keeps its own beside it."""
    if not name:
        return []
    if host.exists(sysfs.interface(name)):
        return [name]
    local = by_address.get(name.partition("%")[0].lower())
    if local is not None:
        return [local]
    return [
        interface
        for interface in host.names(sysfs.INTERFACES)
        if management_network.is_of_a_device(host, interface)
        and name.lower()
        in (
            host.text(sysfs.interface(interface, "address")),
            host.text(sysfs.interface(interface, "bonding_slave/perm_hwaddr")),
        )
    ]
