"""The machines that are measured: folders that look like a dom0 with so many VFs, and its commands as
real programs that print what those of such a host would.

Machines are kept in build/bench, since the imitated kernel takes a while to make 1,024 VFs.
"""

import glob
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import uuid
from typing import Any, Dict, List, Optional, Sequence

import machine
from machine_description import Card, Description, Interface, Sriov, default_description
from machine_devices import virtual_address
from sriovlib.calls import table
from sriovlib.machine.command import Completed, Running

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(REPOSITORY, "build", "bench")
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


def kept(vfs: int) -> str:
    """The folder of the machine with so many VFs, made if it is not there."""
    folder = os.path.join(BUILD, "machines", _key(), str(vfs))
    if not os.path.isdir(folder):
        print(f"Making a machine with {vfs:,} VFs, to be kept in build/bench ...", flush=True)
        partial = folder + ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        _make(partial, vfs)
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


def _make(folder: str, vfs: int) -> None:
    """pciback is given only the VFs of running guests: one without a driver is read in the same way,
    and the imitated pciback takes minutes for 1,024."""
    made = machine.create(folder, description(vfs))
    for pf, addresses in virtual_functions(vfs).items():
        made.write_attribute(f"/sys/bus/pci/devices/{pf}/sriov_numvfs", str(len(addresses)))
    plugged = given(vfs)[: len(given(vfs)) // 2]
    for number, address in enumerate(plugged):
        made.start_domain(vm_uuid(number), vm_name(number), [address])
    with open(made.path("/usr/share/hwdata/pci.ids"), "r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write(OTHER_VENDORS + text)


def looks_like(kept_machine: str, folder: str) -> Any:
    """Makes the folder a copy of the kept machine, whose pool has its socket there, with dom0's commands in
    /commands. (Links to the kept one would lead out of the folder, which no path of a host does.) Returns
    what `inventory` must answer there."""
    subprocess.check_call(["cp", "--archive", kept_machine, folder])
    commands = os.path.join(folder, "commands")
    os.mkdir(commands)
    return _write_commands(folder, commands)


# -- commands ------------------------------------------------------------------------------------


class _Recorder(machine.Machine):
    """A machine that remembers what its commands answered."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.answers: List[Completed] = []

    def start(self, argv: Sequence[str], input_text: Optional[str] = None) -> Running:
        running = super().start(argv, input_text)
        self.answers.append(running.finish())
        return running


def _write_commands(of: str, folder: str) -> Any:
    """A program for each command that `inventory` runs, which prints the machine's answer, and fails
    if it is run with other arguments. Returns the inventory."""
    recorder = _Recorder(of)
    seen = table.call(recorder, "inventory", None, {})
    scripts: Dict[str, str] = {}
    for number, answer in enumerate(recorder.answers):
        name = answer.argv[0]
        paths = [os.path.join(folder, f"{number}.{stream}") for stream in ("stdout", "stderr")]
        for path, text in zip(paths, (answer.stdout, answer.stderr)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        arguments = shlex.quote(" ".join(answer.argv[1:]))
        action = f"exec /bin/cat {paths[0]}"
        if answer.status or answer.stderr:
            action = f"/bin/cat {paths[0]}; /bin/cat {paths[1]} >&2; exit {answer.status}"
        scripts.setdefault(name, '#!/bin/sh\ncase "$*" in\n')
        scripts[name] += f"{arguments}) {action} ;;\n"
    for name, text in scripts.items():
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "esac\necho not expected >&2\nexit 127\n")
        os.chmod(path, 0o755)
    return json.loads(seen)
