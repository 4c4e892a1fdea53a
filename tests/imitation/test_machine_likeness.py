"""A machine made from a description, brought through the recorded states by the same steps, shows the same
sysfs and prints the same texts as the real host did."""

import errno
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from machine import Machine, create, from_recording
from machine_description import recorded_description
from machine_devices import IN_GUEST, NO_VFS, ON_PCIBACK, VFS
from machine_tree import recording

NO_IOMMU = "xen-5-no-iommu-one-vf-on-pciback"
FIRST = "0000:01:10.0"
PCIBACK = "/sys/bus/pci/drivers/pciback"

# What is compared: the cards, their VFs, drivers and interfaces, the guest's back end, the hypervisor.
CONCERNED = re.compile(
    r"/sys/bus/pci/(devices/0000:0[12]:|drivers/(igb|igbvf|pciback)(/|$)|drivers$|drivers_|rescan)"
    r"|/sys/devices/pci0000:00/0000:00:0[34]\.0/0000:0[12]:"
    r"|/sys/devices/pci-1-0|/sys/class/net/enp[12]s|/sys/hypervisor"
)

# Where the two may differ, and why.
ACCEPTED: List[Tuple[str, str]] = [
    (r".*/firmware_node", "ACPI's names of the slots in that machine"),
    (r".*/ptp(/.*)?", "the card's clock; it has nothing to do with VFs"),
    (r".*/0000:0[12]:1\d\.\d/resource", "memory addresses: those of the first VF, further up"),
    (r".*/0000:0[12]:1\d\.\d/config", "likewise, and a driver's interrupt and command bits"),
    (r".*/0000:02:00\.0/(resource|config|irq)", "addresses of the second card: it shows those of the first"),
    (r".*/net/enp\ds0v\d/address", "random"),
    (r".*/net/enp2s0/carrier_(changes|up_count|down_count)", "that link came up twice"),
    (r"/sys/devices/pci-1-0/xenbus/.*", "counters"),
]


def seen(machine: Machine, path: str) -> Any:
    """One path of the machine, as a recording would hold it."""
    real = machine.path(path)
    if os.path.islink(real):
        return {"l": os.readlink(real)}
    if os.path.isdir(real):
        return {}
    try:
        data = machine.read_bytes(path)
    except OSError as refused:
        return {"err": errno.errorcode[refused.errno or 0]}
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = "\0"
    return {"hex": data.rstrip(b"\0").hex(), "len": len(data)} if "\0" in text else text


def as_seen(entry: Any) -> Any:
    """What a recording holds, in the same terms: it says of some files only that they were not read."""
    if isinstance(entry, dict) and "w" in entry:
        return {"err": "EIO" if "size" in entry else "EACCES"}
    if entry == {"err": "ENOTSUP"}:
        return {"err": errno.errorcode[errno.ENOTSUP]}
    return entry


def differences(machine: Machine, title: str) -> Dict[str, Tuple[Any, Any]]:
    """Path -> what was recorded, what the machine shows; None where there is nothing."""
    recorded = {
        path: as_seen(entry) for path, entry in recording(title).tree.items() if CONCERNED.match(path)
    }
    paths = set(recorded)
    for folder, folders, files in os.walk(machine.path("/sys")):
        for name in [*folders, *files]:
            path = f"{folder}/{name}"[len(machine.root) :]
            if CONCERNED.match(path):
                paths.add(path)
    found = {}
    for path in sorted(paths):
        shown = seen(machine, path) if os.path.lexists(machine.path(path)) else None
        if recorded.get(path) != shown and not any(re.fullmatch(rule, path) for rule, _ in ACCEPTED):
            found[path] = (recorded.get(path), shown)
    return found


def run(machine: Machine, command: str) -> str:
    answer = machine.run(command.split())
    assert answer.status == 0, answer.complaint
    return answer.stdout


def make_seven_vfs_on_both_cards(machine: Machine) -> None:
    for interface in ("enp1s0", "enp2s0"):
        run(machine, f"ip link set {interface} up")
        machine.write_attribute(f"/sys/class/net/{interface}/device/sriov_numvfs", "7")
    run(machine, "ip link set enp1s0 vf 0 mac 02:11:22:33:44:55")
    run(machine, "ip link set enp1s0 vf 0 vlan 100 qos 3")
    run(machine, "ip link set enp1s0 vf 0 max_tx_rate 100")
    run(machine, "ip link set enp1s0 vf 1 trust on")
    run(machine, "ip link set enp1s0 vf 1 spoofchk off")


def give_to_pciback(machine: Machine, address: str) -> None:
    run(machine, "modprobe xen-pciback")
    machine.write_attribute(f"/sys/bus/pci/devices/{address}/driver/unbind", address)
    machine.write_attribute(f"{PCIBACK}/new_slot", address)
    machine.write_attribute(f"{PCIBACK}/bind", address)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return create(str(tmp_path), recorded_description())


def test_every_recorded_state(machine: Machine) -> None:
    assert differences(machine, NO_VFS) == {}
    make_seven_vfs_on_both_cards(machine)
    assert differences(machine, VFS) == {}
    give_to_pciback(machine, FIRST)
    assert differences(machine, ON_PCIBACK) == {}
    machine.start_domain("d1d1d1d1-0000-4000-8000-000000000001", "d1", [FIRST])
    assert differences(machine, IN_GUEST) == {}


def test_the_state_without_an_iommu(tmp_path: Path) -> None:
    machine = create(str(tmp_path), recorded_description(iommu=""))
    run(machine, "ip link set enp1s0 up")
    machine.write_attribute("/sys/class/net/enp1s0/device/sriov_numvfs", "1")
    give_to_pciback(machine, FIRST)
    assert differences(machine, NO_IOMMU) == {}


# -- texts ---------------------------------------------------------------------------------------

# What is taken out of both texts before they are compared, and why.
UNLIKE: List[Tuple[str, str]] = [
    (r"^\d+: enp0s2:.*\n.*\n", "the management NIC, a virtio one there"),
    (r"(?<=link/ether )\S+(?= brd .* parentdev \S+:1\d\.\d )", "random MACs of VFs"),
    (r"permaddr \S+ ", "those before udev changed them"),
    (r"(?<=    vf [1-6]     link/ether )\S+", "MACs that igbvf itself told its PF"),
    (r"^free_memory.*\n", "changes all the time"),
]


def comparable(text: str) -> List[str]:
    for pattern, _reason in UNLIKE:
        text = re.sub(pattern, "", text, flags=re.MULTILINE)
    return text.splitlines()


def assert_same_texts(machine: Machine, title: str) -> None:
    recorded = recording(title).meta
    for command, key in (
        ("ip -details link show", "ip_link"),
        ("xl info", "xl_info"),
    ):
        assert comparable(run(machine, command)) == comparable(recorded[key]), command


def test_commands_print_what_they_printed(machine: Machine) -> None:
    assert_same_texts(machine, NO_VFS)
    make_seven_vfs_on_both_cards(machine)
    assert_same_texts(machine, VFS)
    give_to_pciback(machine, FIRST)
    assert_same_texts(machine, ON_PCIBACK)


@pytest.mark.parametrize("title", [NO_VFS, VFS, ON_PCIBACK, IN_GUEST, NO_IOMMU])
def test_a_machine_from_a_recording_is_the_recorded_one(tmp_path: Path, title: str) -> None:
    machine = from_recording(str(tmp_path), title)
    shown = {path: seen(machine, path) for path in recording(title).tree}
    assert shown == {path: as_seen(entry) for path, entry in recording(title).tree.items()}
    assert_same_texts(machine, title)


def test_a_machine_from_a_recording_goes_on(tmp_path: Path) -> None:
    machine = from_recording(str(tmp_path), IN_GUEST)
    backends = run(machine, "xenstore-ls -f /local/domain/0/backend/pci")
    assert f'/local/domain/0/backend/pci/1/0/dev-0 = "{FIRST}"' in backends
    with pytest.raises(PermissionError):
        machine.write_attribute("/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs", "0")
    machine.write_attribute("/sys/bus/pci/devices/0000:02:00.0/sriov_numvfs", "0")
    assert machine.text("/sys/bus/pci/devices/0000:02:00.0/sriov_numvfs") == "0"
    machine.reboot()
    assert not machine.exists(f"/sys/bus/pci/devices/{FIRST}")
