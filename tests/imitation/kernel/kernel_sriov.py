"""PFs and their VFs: what a write to sriov_numvfs does (drivers/pci/iov.c, pci-sysfs.c), and what a
PF's driver does about its VFs when it comes and goes."""

import errno
import re
from typing import Optional

import kernel_drivers
import kernel_net
import kernel_pciback
from kernel_sysfs import Sysfs, name, refuse
from machine_description import BUSES, MMIO, Sriov
from machine_devices import BUS, SRIOV_CAPABILITY, parsed, virtual_address, virtual_function
from machine_tree import unshared

# What igb says when VFs that pciback holds are in the way (seen in the lab).
STILL_ASSIGNED = (
    "Cannot deallocate SR-IOV virtual functions while they are assigned - VFs will not be deallocated"
)

# Drivers whose VFs stay when they go, and which know them when they come again (seen with Linux 6.1).
LEAVING = ("nvme",)


def set_number(sysfs: Sysfs, path: str, text: str) -> None:
    """sriov_numvfs. Measured: more than there are ERANGE, from N to another M EBUSY, the same number
    again accepted, 0 while pciback holds one of them EPERM. What it says is Linux 4.19's."""
    physical = path.rsplit("/", 1)[0]
    if not re.fullmatch(r"\d+\n?", text):
        refuse(errno.EINVAL, path)
    wanted = int(text)
    if wanted > int(sysfs.text(physical + "/sriov_totalvfs")):
        refuse(errno.ERANGE, path)
    present = int(sysfs.text(path))
    if wanted == present:
        return
    card, _ = sysfs.card(physical)
    title = sysfs.driver(physical)
    sriov = card.sriov if card and card.driver == title else None
    if title is None or sriov is None or not sriov.in_driver:
        sysfs.say(f"{title or 'pci'} {name(physical)}: Driver doesn't support SRIOV configuration via sysfs")
        refuse(errno.ENOENT, path)
    if wanted == 0:
        _none(sysfs, physical, sriov)
    elif present:
        sysfs.say(
            f"{title} {name(physical)}: {present} VFs already enabled. Disable before enabling {wanted} VFs"
        )
        refuse(errno.EBUSY, path)
    else:
        made = sriov.makes or (wanted if sriov.at_most is None else min(wanted, sriov.at_most))
        if made:
            create(sysfs, physical, made)
        if made != wanted:  # what the driver answers is not looked at further
            sysfs.say(f"{title} {name(physical)}: {wanted} VFs requested; only {made} enabled")


def _none(sysfs: Sysfs, physical: str, sriov: Sriov) -> None:
    """A driver that makes all its VFs whatever it is asked (drivers/crypto/qat/qat_common/adf_sriov.c) does
    not look at the number here either. One that was bound anew while a guest had a VF does not know its VFs
    any more: a 0 is a success that removes nothing (seen with igb, Linux 6.1)."""
    if physical in sysfs.state.get("forgotten", []):
        return
    if sriov.makes:
        sysfs.say(f"{sysfs.driver(physical)} {name(physical)}: Already enabled for this device")
        refuse(errno.EINVAL, physical + "/sriov_numvfs")
    destroy(sysfs, physical)


def create(sysfs: Sysfs, physical: str, count: int) -> None:
    card, _ = sysfs.card(physical)
    assert card is not None
    assert card.sriov is not None
    title, address = sysfs.driver(physical), name(physical)
    addresses = [virtual_address(address, card.sriov, number) for number in range(count)]
    if card.sriov.lacking == MMIO:
        sysfs.say(f"{title} {address}: not enough MMIO resources for SR-IOV")
        refuse(errno.ENOMEM, physical)
    if card.sriov.lacking == BUSES:
        last, own = parsed(addresses[-1]).bus, parsed(address).bus
        sysfs.say(
            f"{title} {address}: can't enable {count} VFs (bus {last:02x} out of range of [bus {own:02x}])"
        )
        refuse(errno.ENOMEM, physical)
    kernel_net.renew_settings(sysfs, physical, count)
    _show_number(sysfs, physical, count)
    for number, virtual in enumerate(addresses):
        folder = physical.rsplit("/", 1)[0] + "/" + virtual
        sysfs.plant(virtual_function(card, folder, physical))
        sysfs.link(f"{BUS}/devices/{virtual}", folder)
        sysfs.link(f"{physical}/virtfn{number}", folder)
        kernel_drivers.offer(sysfs, folder)
    sysfs.say(f"{title} {address}: {count} VFs allocated")


def destroy(sysfs: Sysfs, physical: str) -> None:
    """pciback marks what it holds as assigned, in a guest or not, and then the driver refuses."""
    if any(sysfs.driver(folder) == kernel_pciback.NAME for folder in sysfs.virtual(physical)):
        sysfs.say(f"{sysfs.driver(physical)} {name(physical)}: {STILL_ASSIGNED}")
        refuse(errno.EPERM, physical + "/sriov_numvfs")
    _remove_all(sysfs, physical)


def _remove_all(sysfs: Sysfs, physical: str) -> None:
    for number, folder in enumerate(sysfs.virtual(physical)):
        kernel_drivers.detach(sysfs, folder)
        sysfs.remove(f"{physical}/virtfn{number}")
        sysfs.remove(f"{BUS}/devices/{name(folder)}")
        sysfs.remove(folder)
    kernel_net.renew_settings(sysfs, physical, 0)
    _show_number(sysfs, physical, 0)
    sysfs.say(f"{sysfs.driver(physical)} {name(physical)}: IOV Disabled")


def set_autoprobe(sysfs: Sysfs, path: str, text: str) -> None:
    if text.strip() not in ("0", "1"):
        refuse(errno.EINVAL, path)
    sysfs.put(path, text.strip() + "\n")


def _show_number(sysfs: Sysfs, physical: str, count: int) -> None:
    """In the attribute, and in the card's own registers: VF enable, memory enable, NumVFs."""
    sysfs.put(physical + "/sriov_numvfs", f"{count}\n")
    with open(unshared(sysfs.root + physical + "/config"), "r+b") as config:
        config.seek(SRIOV_CAPABILITY + 0x08)
        config.write(b"\x19" if count else b"\x10")
        config.seek(SRIOV_CAPABILITY + 0x10)
        config.write(count.to_bytes(2, "little"))


# -- a PF and its driver -------------------------------------------------------------------------


def bind(sysfs: Sysfs, title: str, device: str, options: Optional[str] = None) -> None:
    """A driver gets a device. A PF's driver with the option for it makes VFs at once, as the drivers did
    before sysfs, and those that vendors ship still do: one number for all devices, or an array, of which each
    device takes the element of its own number. The driver counts all that it probes, SR-IOV or not
    (`bd_number` in Intel's own igb and ixgbe: igb_param.c); one value alone is element 0."""
    kernel_drivers.attach(sysfs, title, device)
    boards = sysfs.state.setdefault("boards", {})
    board = boards[title] = boards.get(title, -1) + 1
    card, _ = sysfs.card(device)
    if options and card and card.sriov and card.sriov.parameter and title == card.driver:
        found = re.findall(rf'\b{card.sriov.parameter}="?([\d,]+)', options)
        numbers = found[-1].split(",") if found else []
        place = 0 if card.sriov.for_all else board
        if place < len(numbers) and int(numbers[place]):
            create(sysfs, device, min(int(numbers[place]), card.sriov.total))


def unbind(sysfs: Sysfs, device: str) -> None:
    """A PF's driver that goes takes the VFs with it, pciback's too, or is one of LEAVING. If a guest has one
    all stay, and pciback lets those go that no guest has (pci_stub.c, pci_stub_notifier). Nobody knows those
    that stayed, whoever comes and goes, until the next boot (seen with igb, Linux 6.1: igb_main.c,
    igb_probe_vfs)."""
    folders = sysfs.virtual(device) if sysfs.exists(device + "/sriov_numvfs") else []
    if folders and sysfs.driver(device) in LEAVING:
        sysfs.say(f"{sysfs.driver(device)} {name(device)}: driver left SR-IOV enabled after remove")
        kernel_drivers.detach(sysfs, device)
        return
    guests = {address for domain in sysfs.state["domains"].values() for address in domain["devices"]}
    if guests.intersection(map(name, folders)):
        sysfs.say(f"{sysfs.driver(device)} {name(device)}: {STILL_ASSIGNED}")
        sysfs.state.setdefault("forgotten", []).append(device)
        kernel_net.renew_settings(sysfs, device, len(folders))
    forgotten = device in sysfs.state.get("forgotten", [])
    for folder in folders if forgotten else ():
        if name(folder) not in guests and sysfs.driver(folder) == kernel_pciback.NAME:
            kernel_drivers.detach(sysfs, folder)
    if folders and not forgotten:
        _remove_all(sysfs, device)
    kernel_drivers.detach(sysfs, device)
