"""The fake machine's commands, its interfaces, and machines that several processes share."""

import os
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest
from machine import Machine, create, default_host
from machine_description import Card, Sriov, default_description, recorded_description


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """The lab's host with three VFs on a port that is up."""
    machine = create(str(tmp_path), recorded_description())
    machine.run(["ip", "link", "set", "enp1s0", "up"])
    machine.write_attribute("/sys/class/net/enp1s0/device/sriov_numvfs", "3")
    return machine


def vf_lines(machine: Machine, interface: str = "enp1s0") -> List[str]:
    text = machine.run(["ip", "-details", "link", "show", "dev", interface]).stdout
    return [line.strip() for line in text.splitlines() if line.startswith("    vf ")]


# -- ip ------------------------------------------------------------------------------------------


def test_settings_of_a_vf(machine: Machine) -> None:
    command = "ip link set dev enp1s0 vf 1 mac 02:00:00:00:00:01 vlan 5 qos 2 rate 40 spoofchk off trust on"
    assert machine.run(command.split()).status == 0
    assert vf_lines(machine)[1] == (
        "vf 1     link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff, vlan 5, qos 2, tx rate 40 (Mbps), "
        "max_tx_rate 40Mbps, spoof checking off, link-state auto, trust on"
    )
    machine.run("ip link set enp1s0 down".split())
    assert "vlan 5" in vf_lines(machine)[1]  # down and up keeps them
    machine.write_attribute("/sys/class/net/enp1s0/device/sriov_numvfs", "0")
    machine.write_attribute("/sys/class/net/enp1s0/device/sriov_numvfs", "2")
    assert vf_lines(machine)[1] == (
        "vf 1     link/ether 00:00:00:00:00:00 brd ff:ff:ff:ff:ff:ff, "
        "spoof checking on, link-state auto, trust off"
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("vf 0 min_tx_rate 10", "Invalid argument"),
        ("vf 0 max_tx_rate 2000", "Invalid argument"),  # the link has 1000
        ("vf 0 vlan 7 proto 802.1ad", "Protocol not supported"),
        ("vf 0 vlan 4095", "Invalid argument"),
        ("vf 0 vlan 7 qos 8", "Invalid argument"),
        ("vf 0 state enable", "Operation not supported"),
        ("vf 0 mac 01:00:00:00:00:01", "Invalid argument"),  # multicast
        ("vf 3 trust on", "Invalid argument"),  # no such VF
    ],
)
def test_what_igb_refuses(machine: Machine, setting: str, said: str) -> None:
    before = vf_lines(machine)
    answer = machine.run(["ip", "link", "set", "dev", "enp1s0", *setting.split()])
    assert (answer.status, answer.stderr) == (2, f"RTNETLINK answers: {said}\n")
    assert vf_lines(machine) == before


def test_what_igb_takes_while_the_port_is_down(machine: Machine) -> None:
    machine.run("ip link set enp1s0 down".split())
    for setting in ("mac 02:00:00:00:00:01", "vlan 5", "trust on", "spoofchk off", "mac 00:00:00:00:00:00"):
        assert machine.run(f"ip link set enp1s0 vf 0 {setting}".split()).status == 0
    answer = machine.run("ip link set enp1s0 vf 0 max_tx_rate 100".split())
    assert answer.complaint.endswith("RTNETLINK answers: Invalid argument")
    assert "Bring the PF device up before" in machine.run(["dmesg"]).stdout


def test_settings_before_a_refused_one_stay(machine: Machine) -> None:
    """The kernel hands them to the driver one by one, in its own order."""
    answer = machine.run("ip link set enp1s0 vf 0 state enable vlan 9 trust on".split())
    assert answer.status == 2
    assert "vlan 9" in vf_lines(machine)[0]
    assert "trust off" in vf_lines(machine)[0]


def test_a_batch_goes_on_behind_a_failure(machine: Machine) -> None:
    batch = "link set dev enp1s0 vf 0 vlan 1\n\nlink set enp1s0 vf 9 vlan 2\nlink set enp1s0 vf 1 vlan 3\n"
    answer = machine.run(["ip", "-force", "-batch", "-"], input_text=batch)
    assert answer.status == 1
    assert answer.stderr == "RTNETLINK answers: Invalid argument\nCommand failed -:3\n"
    assert ["vlan" in line for line in vf_lines(machine)] == [True, True, False]


def test_mlx5_takes_more(tmp_path: Path) -> None:
    card = Card(
        ("0000:05:00.0",),
        "15b3:1017",
        "MT27800 Family [ConnectX-5]",
        "mlx5_core",
        interfaces=("eth5",),
        macs=("b8:59:9f:00:00:01",),
        speed=25000,
        sriov=Sriov(8, "1018", offset=1, stride=1),
    )
    machine = create(str(tmp_path), default_description(cards=(card,), interfaces=()))
    machine.write_attribute("/sys/class/net/eth5/device/sriov_numvfs", "8")
    command = "ip link set eth5 vf 7 min_tx_rate 100 max_tx_rate 200 state disable"
    assert machine.run(command.split()).status == 0
    assert vf_lines(machine, "eth5")[7].startswith(
        "vf 7 MAC 00:00:00:00:00:00, tx rate 200 (Mbps), max_tx_rate 200Mbps, min_tx_rate 100Mbps"
    )


# -- interfaces ----------------------------------------------------------------------------------


def test_a_port_that_goes_up_and_down_and_one_without_a_cable(tmp_path: Path) -> None:
    management, fast = default_description().cards
    machine = default_host(str(tmp_path), cards=(management, fast._replace(cable=False)))
    assert machine.text("/sys/class/net/eth1/carrier") == "0"
    assert "eth1: <NO-CARRIER,BROADCAST,MULTICAST,UP>" in machine.run(["ip", "link", "show"]).stdout
    assert machine.text("/sys/class/net/eth0/carrier") == "1"
    machine.run("ip link set eth0 down".split())
    assert machine.text("/sys/class/net/eth0/carrier") is None  # EINVAL
    assert machine.text("/sys/class/net/eth0/operstate") == "down"


# -- other commands ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("ip link show dev eth9", 1, 'Device "eth9" does not exist.'),
        ("ip link set eth9 up", 1, 'Cannot find device "eth9"'),
        (
            "modprobe nothing",
            1,
            "modprobe: FATAL: Module nothing not found in directory /lib/modules/6.1.0-50-amd64",
        ),
        ("/opt/nothing", 127, "No such file or directory"),
        ("dmesg", 127, "No such file or directory"),  # its file is gone
    ],
)
def test_what_is_not_there(machine: Machine, command: str, status: int, said: str) -> None:
    os.unlink(machine.path("/bin/dmesg"))
    answer = machine.run(command.split())
    assert (answer.status, answer.stderr.strip()) == (status, said)


def test_xenstore(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path))
    machine.write_attribute("/sys/class/net/eth1/device/sriov_numvfs", "2")
    backends = "/local/domain/0/backend/pci"
    assert machine.run(["xenstore-ls", "-f", backends]).stderr == (
        f"xenstore-ls: xs_directory ({backends}): No such file or directory\n"
    )
    machine.start_domain("11111111-0000-4000-8000-000000000001", "no device")
    uuid = "11111111-0000-4000-8000-000000000002"
    assert machine.start_domain(uuid, "two devices", ["0000:07:10.0", "0000:07:10.2"]) == 2
    lines = machine.run(["xenstore-ls", "-f", backends]).stdout.splitlines()
    assert lines[:2] == [f'{backends}/2 = ""', f'{backends}/2/0 = ""']
    assert f'{backends}/2/0/dev-1 = "0000:07:10.2"' in lines
    answer = machine.run(["xenstore-read", "/local/domain/2/vm", "/local/domain/9/vm"])
    assert (answer.status, answer.stdout) == (1, f"/vm/{uuid}\n")


# -- one machine, many processes -----------------------------------------------------------------

WRITER = """
import sys
sys.path[:0] = sys.argv[3:]
from machine import Machine
machine = Machine(sys.argv[1])
for number in range(20):
    command = f"ip link set eth1 vf {sys.argv[2]} vlan {100 + number}"
    assert machine.run(command.split()).status == 0
"""


def test_processes_share_a_machine(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path))
    machine.write_attribute("/sys/class/net/eth1/device/sriov_numvfs", "3")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(vf), *sys.path]) for vf in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert ["vlan 119" in line for line in vf_lines(machine, "eth1")] == [True, True, True]


def test_a_plugin_process_loads_nothing_of_the_imitation_to_read() -> None:
    """It is what the benchmarks measure with."""
    code = "import sys; sys.path[:0] = sys.argv[1:]; import machine; print(*sorted(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code, *sys.path], stdout=subprocess.PIPE, check=True)
    modules = answer.stdout.decode().split()
    assert "machine" in modules
    assert not [name for name in modules if name.startswith(("kernel", "commands", "machine_"))]
