"""The machines that are measured: folders that look like a dom0 with so many VFs.

They are kept in build/bench, since the imitated kernel takes a while to make 1,024 VFs.
"""

import glob
import hashlib
import os
import shutil
import sys
import uuid
from typing import Dict, List

import machine
from bench.trees import BUILD, REPOSITORY
from machine_description import Card, Description, Interface, Sriov, default_description
from machine_devices import virtual_address

EVERY = 8  # one VF of so many is in a running guest

# A kernel log and a pci.ids of the size that they have on hosts.
KERNEL_LOG = tuple(
    f"pci 0000:{number >> 5:02x}:{number & 31:02x}.0: "
    + (f"BAR 0: assigned [mem 0x{number << 20:x}-0x{number + 1 << 20:x}]" if number % 8 == 0 else "PME# off")
    for number in range(1600)
)
OTHER_VENDORS = "".join(
    f"{vendor:04x}  Vendor {vendor:04x} of Peripherals\n"
    + "".join(f"\t{device:04x}  Gigabit Network Adapter, Revision {device}\n" for device in range(12))
    for vendor in range(0x0001, 0x0A00)
)


def description(vfs: int) -> Description:
    """The usual host with its Intel 82599 of 63 VFs a port; for more VFs eight cards of two ports.
    The management network is on Open vSwitch, as on XCP-ng."""
    usual = default_description()
    bridge = Interface("xenbr0", "openvswitch", ("eth0",), ipv4="192.168.1.11/24")
    many = tuple(_intel_x710(number, vfs // 16) for number in range(8))
    cards = usual.cards if vfs <= 126 else usual.cards[:1] + many
    return usual._replace(cards=cards, interfaces=(bridge,), kernel_log=KERNEL_LOG)


def _intel_x710(number: int, total: int) -> Card:
    return Card(
        addresses=(f"0000:{number + 16:02x}:00.0", f"0000:{number + 16:02x}:00.1"),
        device="8086:1572",
        name="Ethernet Controller X710 for 10GbE SFP+",
        driver="i40e",
        interfaces=(f"eth{2 * number + 1}", f"eth{2 * number + 2}"),
        macs=(f"00:1b:21:01:{number:02x}:00", f"00:1b:21:01:{number:02x}:01"),
        numa_node=0,
        sriov=Sriov(total=total, device="154c", name="Ethernet Virtual Function 700 Series", driver="i40evf"),
    )


def virtual_functions(vfs: int) -> Dict[str, List[str]]:
    """PF -> the addresses of its VFs, on that machine. The first card, for management, has none."""
    return {
        address: [virtual_address(address, card.sriov, number) for number in range(card.sriov.total)]
        for card in (description(vfs).cards[1:] if vfs else ())
        if card.sriov
        for address in card.addresses
    }


def given(vfs: int) -> List[str]:
    """The VFs that VMs have, the first VM the first one, and so on: those of running guests, then as
    many that VMs which do not run were given."""
    addresses = [address for of_pf in virtual_functions(vfs).values() for address in of_pf]
    return addresses[::EVERY] + addresses[1::EVERY]


def vm_uuid(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


def vm_name(number: int) -> str:
    return f"vm-{number:04d}"


def kept(vfs: int, guests: bool) -> str:
    """The folder of the machine with so many VFs, some of them in running guests or none; made if it is not
    there."""
    folder = os.path.join(BUILD, "machines", _key(), f"{vfs}-guests" if guests else str(vfs))
    if not os.path.isdir(folder):
        print(f"Making a machine with {vfs:,} VFs, to be kept in build/bench ...", file=sys.stderr)
        partial = folder + ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        _make(partial, vfs, guests)
        os.rename(partial, folder)
    return folder


def forget_old_ones() -> None:
    """Takes away machines that an older imitation made."""
    for folder in glob.glob(os.path.join(BUILD, "machines", "*")):
        if os.path.basename(folder) != _key():
            shutil.rmtree(folder)


def _key() -> str:
    """What the machines are made by, in short."""
    digest = hashlib.sha256()
    imitation = os.path.join(REPOSITORY, "tests", "imitation")
    sources = [__file__]
    for pattern in ("machine/*.py", "kernel/*.py", "machine/recordings/*.json"):
        sources += sorted(glob.glob(os.path.join(imitation, pattern)))
    for path in sources:
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()[:12]


def give_to_pciback(root: str, address: str) -> None:
    """What sysfs shows of a VF that pciback has."""
    device, driver = f"{root}/sys/bus/pci/devices/{address}", f"{root}/sys/bus/pci/drivers/pciback"
    if not os.path.islink(f"{device}/driver"):
        os.makedirs(driver, exist_ok=True)
        os.symlink("../../../../bus/pci/drivers/pciback", f"{device}/driver")
        place = os.path.relpath(os.path.realpath(device), os.path.realpath(driver))
        os.symlink(place, f"{driver}/{address}")


def _make(folder: str, vfs: int, guests: bool) -> None:
    """pciback has all VFs, as after set_vf_count: those of running guests by the imitated one, which takes
    minutes for 1,024, the others by what sysfs shows of that."""
    made = machine.create(folder, description(vfs))
    for pf, addresses in virtual_functions(vfs).items():
        made.write_attribute(f"/sys/bus/pci/devices/{pf}/sriov_numvfs", str(len(addresses)))
    plugged = given(vfs)[: len(given(vfs)) // 2] if guests else []
    for number, address in enumerate(plugged):
        made.start_domain(vm_uuid(number), vm_name(number), [address])
    for address in [vf for vfs_of in virtual_functions(vfs).values() for vf in vfs_of]:
        give_to_pciback(made.root, address)
    with open(made.path("/usr/share/hwdata/pci.ids"), "r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write(OTHER_VENDORS + text)
