"""What a VIF and a VF cost dom0: the same guest sends and receives the same bytes by either, and
scripts/measure-dom0-cost, run in dom0 as an administrator runs it, tells dom0's CPU-seconds per GiB.

Each card has a network of its own behind it, of QEMU's; the bytes come from there by TCP. They are asked for
from outside, so that dom0 has nothing to do with them but to carry them. The cards are emulated, by QEMU
below Xen: only the ratio counts.
"""

import re
import socket
from typing import Any, Callable, Dict, NamedTuple

import pytest
from lab import dom0_cost, image, toolstack, vms
from lab.dom0_cost import by_hand
from lab.host import LabHost, free_port, say
from lab.qemu import Hardware, Outside
from lab.toolstack import call
from lab.vfs import FIRST, SECOND
from lab.vms import Vm

SwitchOn = Callable[..., LabHost]

VF_MAC, VIF_MAC = "02:16:3e:00:00:61", "02:16:3e:00:01:61"
SENDS, RECEIVES = 5001, 5002  # ports of the guest
MIB = 256  # of 64 the steps of xl's times would be 5 % of what a VIF costs
BLOCK = 1 << 16
TRAFFIC_SECONDS = 600.0
AIM = 5.0  # per cent of the VIF's cost, that a VF may have


class Lane(NamedTuple):
    """How bytes get to the guest, and from it: ports of this machine."""

    outside: Outside

    @staticmethod
    def of(number: int) -> "Lane":
        net = f"198.51.{100 + number}"
        return Lane(Outside(f"{net}.0/24", f"{net}.61", {free_port(): SENDS, free_port(): RECEIVES}))

    def move(self, direction: str) -> None:
        """MIB in that direction, all of them, by TCP."""
        wanted = SENDS if direction == "sends" else RECEIVES
        (port,) = [here for here, there in self.outside.ports.items() if there == wanted]
        with socket.create_connection(("127.0.0.1", port), TRAFFIC_SECONDS) as line:
            if direction == "receives":
                for _ in range((MIB << 20) // BLOCK):
                    line.sendall(bytes(BLOCK))
                line.shutdown(socket.SHUT_WR)
            got = sum(map(len, iter(lambda: line.recv(BLOCK), b"")))
        if direction == "sends":
            assert got >= MIB << 20


@pytest.fixture(scope="module")
def lanes() -> Dict[str, Lane]:
    return {"vf": Lane.of(0), "vif": Lane.of(1)}


@pytest.fixture(scope="module")
def host(switch_on: SwitchOn, lanes: Dict[str, Lane]) -> LabHost:
    """A host with our package, VFs on its first card and a bridge on its second."""
    hardware = Hardware(outsides=(lanes["vf"].outside, lanes["vif"].outside))
    host = toolstack.bring(switch_on("costs", image.WITH_IOMMU, hardware))
    call(host, "set_vf_count", pf=FIRST, count="2")
    vms.bridge(host, host, pf(host, SECOND)["network"], pf(host, SECOND)["interface"])
    dom0_cost.bring_script(host)
    return host


def pf(host: LabHost, address: str) -> Dict[str, Any]:
    return next(dict(pf) for pf in call(host, "list_pfs") if pf["address"] == address)


@pytest.fixture(scope="module")
def vm(host: LabHost, lanes: Dict[str, Lane]) -> Vm:
    """A running HVM guest with a VF and a VIF, each in a network of its own, that gives and takes bytes."""
    vm = vms.new(host, "streams")
    call(host, "assign_vf", vm_uuid=vm.uuid, network=pf(host, FIRST)["network"], mac=VF_MAC)
    vm.make_hvm()
    vm.add_vif(pf(host, SECOND)["network"], VIF_MAC)
    vm.start()
    for mac, lane in ((VF_MAC, lanes["vf"]), (VIF_MAC, lanes["vif"])):
        vm.set_addresses(host, mac, lane.outside.guest)
    for port, program in (
        (SENDS, f"dd if=/dev/zero bs={BLOCK} count={(MIB << 20) // BLOCK}"),
        (RECEIVES, f"dd of=/dev/null bs={BLOCK}"),
    ):
        host.run_in_guest(vm.name, f"{{ nc -ll -p {port} -e {program} > /dev/null 2>&1 & }}")
    return vm


WAYS = ("vif-sends", "vif-receives", "vf-sends", "vf-receives")


def test_a_vf_costs_dom0_less_than_a_vif(host: LabHost, vm: Vm, lanes: Dict[str, Lane]) -> None:
    """Five rounds in both directions: the table of docs/performance.md."""

    def move(way: str) -> None:
        by, _, direction = way.partition("-")
        lanes[by].move(direction)

    measured = dom0_cost.measure(host, vm, MIB, "--idle", "15", "--rounds", "5", *by_hand(*WAYS), move=move)
    assert measured.status == 0
    for line in measured.stdout.splitlines():
        say(line)
    for direction in ("sends", "receives"):
        (row,) = re.findall(rf"^VM {direction} .*", measured.stdout, re.MULTILINE)
        vif, _, ratio = (float(number) for number in re.findall(r"(-?[\d.]+)(?: %)? \(", row))
        assert vif * MIB / 1024 > 1  # second: ten steps of xl's times
        assert ratio <= AIM


@pytest.mark.parametrize(("way", "lane"), [("vf-sends", "vif"), ("vif-receives", "vf")])
def test_bytes_that_go_another_way_are_no_measurement(
    host: LabHost, vm: Vm, lanes: Dict[str, Lane], way: str, lane: str
) -> None:
    """What is said to go by the VF and goes by the VIF, and the reverse: dom0's counters tell."""

    def move(way: str) -> None:
        lanes[lane].move(way.partition("-")[2])

    measured = dom0_cost.measure(host, vm, MIB, "--idle", "1", "--rounds", "1", *by_hand(way), move=move)
    assert (measured.status, measured.stdout) == (1, "")
    assert f"--{way}: in dom0 the VIFs of the VM counted" in measured.last
