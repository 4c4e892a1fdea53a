"""PCI addresses, physical and virtual functions, as sysfs shows them at this moment."""

import re
from typing import Collection, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..safetext import is_number
from . import ports, sysfs
from .host import Host
from .ports import Port, VfPort

DEVICES = sysfs.DEVICES
PCIBACK = "pciback"  # the driver's name in sysfs, whatever its module is called
OF_PCIBACK = f"/sys/bus/pci/drivers/{PCIBACK}"  # has a link for each of its devices, by address
# Drivers that only hold a device: the PF's own driver has to make its VFs.
HOLDERS = (PCIBACK, "pci-stub", "vfio-pci")

_ADDRESS = re.compile(r"(?:([0-9a-fA-F]{1,8}):)?([0-9a-fA-F]{1,2}):([01]?[0-9a-fA-F])\.([0-7])")


def parse_address(text: str) -> Optional[str]:
    """The full lower-case form `DDDD:BB:DD.F` of an address, as sysfs has it, or None where it is none.

    It is understood as people and tools write it: `3B:00.0` (lspci; domain 0000), `00000000:3B:00.0`
    (nvidia-smi), `0:3b:0.0` (Xen reads numbers of any width), with blanks around or a line's end. A domain
    has more than four digits behind an Intel VMD (`10000:01:00.0`).
    """
    if len(text) == len("0000:00:00.0") and is_address(text):
        return text  # as most are, and no pattern is compiled for them
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        return None
    domain, bus, slot, function = (int(field or "0", 16) for field in match.groups())
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"


def is_address(text: str) -> bool:
    """Whether it is an address as sysfs writes it."""
    return (
        12 <= len(text) <= 16  # a domain of four to eight digits
        and text[-8] == text[-5] == ":"
        and text[-4] in "01"
        and text[-2] == "."
        and text[-1] in "01234567"
        and not f"{text[:-8]}{text[-7:-5]}{text[-3]}".strip("0123456789abcdef")
    )


def address_order(address: str) -> Tuple[int, int, int, int]:
    """A sort key: addresses in the order of their numbers (a five-digit domain comes last)."""
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return int(domain, 16), int(bus, 16), int(slot, 16), int(function, 16)


class PhysicalFunction(NamedTuple):
    """An SR-IOV capable device: one that has `sriov_totalvfs` (kernel: drivers/pci/iov.c)."""

    address: str
    vendor_id: str  # four hex digits, as in `8086:10fb`
    device_id: str
    driver: Optional[str]
    numa_node: Optional[int]  # None: the kernel's -1, no node
    total_vfs: int  # what card and firmware allow; 0: switched off in the card's firmware
    num_vfs: int  # how many there are
    interfaces: Tuple[str, ...]  # dom0's network interfaces of the device; none for NVMe and the like
    pci_class: str  # six hex digits, 02.... for a network controller
    ports: Tuple[Port, ...]  # those of them that are its ports
    settings_interfaces: Tuple[str, ...]  # those by which the kernel may be told of its VFs
    guid: Optional[str]  # by which an InfiniBand card is known, of its first port
    other_interfaces: Tuple[str, ...] = ()  # dom0's that stand for its VFs and the like; only of this host

    @property
    def device(self) -> str:
        """Vendor and device, as in `8086:10fb`."""
        return f"{self.vendor_id}:{self.device_id}"

    @property
    def is_network(self) -> bool:
        return self.pci_class.startswith("02")

    @property
    def name(self) -> str:
        """For people: the address, and its ports."""
        ports = " and ".join(port.interface for port in self.ports)
        return f"{self.address} ({ports})" if ports else self.address

    @property
    def is_infiniband(self) -> bool:
        """By its first port, as `guid`; a port says what it is, and the class where there is none."""
        if self.ports:
            return self.ports[0].infiniband
        return self.guid is not None or self.pci_class.startswith("0207")

    @property
    def interface(self) -> Optional[str]:
        """That of its first port."""
        return self.ports[0].interface if self.ports else None


class VirtualFunction(NamedTuple):
    """VF `number` of a physical function: the target of its link `virtfn<number>`."""

    address: str
    number: int  # its index
    pf: str
    vendor_id: str
    device_id: str
    driver: Optional[str]
    numa_node: Optional[int]
    port: VfPort

    @property
    def device(self) -> str:
        """Vendor and device, as in `8086:10ed`."""
        return f"{self.vendor_id}:{self.device_id}"


def _uevent(host: Host, address: str) -> Optional[Tuple[str, str, Optional[str], str]]:
    """Vendor, device, driver and class of a device in one read; None where the device has gone.

    A VF's own `config` begins with ffffffff, so the kernel's attributes are the source."""
    text = host.text(sysfs.device(address, "uevent"))
    if text is None:
        return None
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    vendor, _, device = values.get("PCI_ID", "").lower().partition(":")
    if not device:
        return None
    return vendor.zfill(4), device.zfill(4), values.get("DRIVER"), values.get("PCI_CLASS", "").zfill(6)


def identity(host: Host, address: str) -> str:
    """Vendor and device as in `8086:10fb`; "" where there is no such device."""
    found = _uevent(host, address)
    return f"{found[0]}:{found[1]}" if found else ""


def _numa_node(host: Host, address: str) -> Optional[int]:
    node = host.number(sysfs.device(address, "numa_node"))
    return None if node is None or node < 0 else node


def _physical_function(
    host: Host, address: str, total: int, names: Sequence[str]
) -> Optional[PhysicalFunction]:
    """`names`: what is in the device's folder."""
    identity = _uevent(host, address)
    if identity is None:
        return None
    vendor, device, driver, pci_class = identity
    found = ports.find(host, address, vendor, names)
    return PhysicalFunction(
        address=address,
        vendor_id=vendor,
        device_id=device,
        driver=driver,
        numa_node=_numa_node(host, address),
        total_vfs=total,
        num_vfs=_num_vfs(host, address, names),
        interfaces=found.every,
        pci_class=pci_class,
        ports=found.ports,
        settings_interfaces=found.settings,
        guid=ports.guid(host, address, found.ports),
        other_interfaces=found.others,
    )


def _num_vfs(host: Host, address: str, names: Sequence[str]) -> int:
    """What the PF says, else how many there are: unread is not none."""
    number = host.number(sysfs.device(address, "sriov_numvfs"))
    return len(_links(names)) if number is None else number


def vf_links(host: Host, address: str) -> List[str]:
    """The names of the PF's links to its VFs, in no order."""
    return _links(host.names(sysfs.device(address)))


def _links(names: Sequence[str]) -> List[str]:
    return [name for name in names if name.startswith("virtfn") and is_number(name[6:]) and len(name) < 12]


def expected(host: Host, pf: str, count: int) -> List[str]:
    """Where VFs 0 to count-1 are, or will appear, by what the PF says now: its routing ID (bus and function
    number, 16 bits) plus offset plus n strides (PCIe SR-IOV; kernel: pci_iov_virtfn_bus and _devfn). None
    where it says no stride for several VFs."""
    offset, stride = (host.number(sysfs.device(pf, f"sriov_{name}")) or 0 for name in ("offset", "stride"))
    if not offset or (not stride and count > 1):
        return []
    domain, bus, slot, function = address_order(pf)
    first = (bus << 8 | slot << 3 | function) + offset
    places = [first + number * stride for number in range(count)]
    return [f"{domain:04x}:{place >> 8:02x}:{place >> 3 & 31:02x}.{place & 7}" for place in places]


def _addresses(host: Host, pf: str, numbers: Sequence[int]) -> Dict[int, Optional[str]]:
    """VF number -> address, None of a link that has gone. Of many VFs two links are read: where the PF says
    that those are, the others are too."""
    folder = sysfs.device(pf)
    told = {number: host.link(f"{folder}/virtfn{number}") for number in {*numbers[:1], *numbers[-1:]}}
    places = expected(host, pf, numbers[-1] + 1) if len(numbers) > len(told) else []
    if places and all(places[number] == address for number, address in told.items()):
        return {number: places[number] for number in numbers}
    return {number: told.get(number) or host.link(f"{folder}/virtfn{number}") for number in numbers}


def _virtual_functions(
    host: Host, pf: PhysicalFunction, names: Sequence[str], of_pciback: Collection[str]
) -> List[VirtualFunction]:
    """The VFs of a PF by index, not by address: `virtfn10` comes after `virtfn9`."""
    found = []
    identity = None
    on_ports = ports.of_vfs(host, pf.address, pf.driver, pf.ports, pf.num_vfs)
    numbers = sorted(int(name[len("virtfn") :]) for name in _links(names))
    for number, address in _addresses(host, pf.address, numbers).items():
        if address is None:
            continue  # it vanished while we were reading
        if identity is None:  # all VFs of a PF are one device (PCIe SR-IOV: VF Device ID)
            identity = _uevent(host, address)
        driver = PCIBACK if address in of_pciback else host.link(sysfs.device(address, "driver"))
        if identity is None or (driver is None and not host.exists(sysfs.device(address))):
            continue
        vendor, device = identity[:2]
        # A VF has its PF's memory node: the kernel gives it the PF's bus (iov.c, virtfn_add_bus).
        port = on_ports[number] if number < len(on_ports) else VfPort(None, "newer than its PF's number")
        found.append(VirtualFunction(address, number, pf.address, vendor, device, driver, pf.numa_node, port))
    return found


def functions(host: Host) -> Tuple[List[PhysicalFunction], List[VirtualFunction]]:
    """All SR-IOV functions of the host: PFs by address, VFs by PF and index.

    A device that vanishes while it is read is left out.
    """
    pfs: List[PhysicalFunction] = []
    vfs: List[VirtualFunction] = []
    known: Set[str] = set()
    of_pciback = set(host.names(OF_PCIBACK))  # a link less to be read of nearly each VF
    addresses = [name for name in host.names(DEVICES) if is_address(name)]
    for address in sorted(addresses, key=len):  # as address_order, and quicker: names are sorted
        if address in known:
            continue  # with hundreds of VFs, not asking each whether it is a PF is worth it
        total = host.number(sysfs.device(address, "sriov_totalvfs"))
        if total is None:
            continue
        names = host.names(sysfs.device(address))
        pf = _physical_function(host, address, total, names)
        if pf is not None:
            pfs.append(pf)
            of_pf = _virtual_functions(host, pf, names, of_pciback)
            vfs.extend(of_pf)
            known.update(vf.address for vf in of_pf)
    return pfs, vfs
