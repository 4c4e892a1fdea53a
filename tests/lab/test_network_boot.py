"""Provisioning over a VF: a server VM serves a system to a target VM on another host. The target has a VIF
and no disk; it boots what it gets, and reads on.

The server has a VF on the first card of its host, and a VIF in a bridge on the second. Cables join these
cards to those of the target's host, which are in one bridge with the target's VIF. The target's firmware is
iPXE, on a card that QEMU emulates in dom0; DHCP tells it where the server has its boot script. The question
is what dom0 of the server's host has to do.
"""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, NamedTuple, Tuple

import pytest
from lab import dom0_cost, image, toolstack, vms
from lab.host import LabHost, say
from lab.qemu import Hardware, Wire
from lab.toolstack import ask, call, finishes
from lab.vms import Vm

SwitchOn = Callable[..., LabHost]

SERVE = os.path.join(toolstack.PUSHED, "serve-network-boot")
CARDS = ("enp1s0", "enp2s0")
VF_MAC, VIF_MAC, TARGET_MAC = "02:16:3e:00:00:71", "02:16:3e:00:01:71", "02:16:3e:00:01:72"
# of the server by VF and by VIF, of the target in both networks, of the server's dom0 in the VIF's
BY_VF, BY_VIF = "198.51.100.71", "203.0.113.71"
TARGET, TARGET_BY_VIF = "198.51.100.72", "203.0.113.72"
DOM0, STORE_PORT = "203.0.113.1", 8080
STORE = f"http://{DOM0}:{STORE_PORT}"
KERNEL, INITRD = "vmlinuz", "initrd-guest"
SERVED = "served_by=pvs1"  # what only a kernel has that the server's script started
STREAM_MIB, READS = 32, 2  # a way and round: guest-run waits two minutes for a read
LITTLE = 0.02  # of the bytes: ARP, say
AT_MOST = (
    20.0  # per cent of the cost by VIF; that by VF is some steps of xl's times, here 1.6 CPU-seconds per GiB
)


class Hosts(NamedTuple):
    of_server: LabHost
    of_target: LabHost


@pytest.fixture(scope="module")
def hosts(switch_on: SwitchOn) -> Hosts:
    """Two hosts whose cards are joined; that of the target has not even our package."""
    ends = [os.path.join(image.LAB, f"network-boot-{end}") for end in ("1", "2", "3", "4")]
    wires = (Wire(ends[0], ends[1]), Wire(ends[2], ends[3]))
    others = tuple(Wire(wire.far, wire.near) for wire in wires)
    with ThreadPoolExecutor() as both:
        server = both.submit(switch_on, "provides", image.WITH_IOMMU, Hardware(wires=wires))
        target = both.submit(switch_on, "boots", image.WITH_IOMMU, Hardware(wires=others))
        hosts = Hosts(server.result(), target.result())
    toolstack.bring_xapi(hosts.of_target)
    of_target = vms.bridge(hosts.of_target, hosts.of_target, network(hosts.of_target, CARDS[0]), CARDS[0])
    hosts.of_target.run(f"ip link set {CARDS[1]} up promisc on master {of_target}")
    toolstack.bring(hosts.of_server)
    call(hosts.of_server, "set_vf_count", pf=CARDS[0], count="2")
    of_vifs = vms.bridge(hosts.of_server, hosts.of_server, network(hosts.of_server, CARDS[1]), CARDS[1])
    hosts.of_server.run(f"ip address add {DOM0}/24 dev {of_vifs}")
    return hosts


def network(host: LabHost, card: str) -> str:
    """A UUID."""
    pifs = ask(host, "PIF.get_all_records").values()
    return str(ask(host, "network.get_uuid", next(pif["network"] for pif in pifs if pif["device"] == card)))


@pytest.fixture(scope="module")
def server(hosts: Hosts) -> Vm:
    """A running VM that got its store by its VIF, and serves it by its VF, and by its VIF as well."""
    host = hosts.of_server
    vm = vms.new(host, "pvs1")
    call(host, "assign_vf", vm_uuid=vm.uuid, network=network(host, CARDS[0]), mac=VF_MAC)
    vm.make_hvm()
    vm.add_vif(network(host, CARDS[1]), VIF_MAC)
    vm.start()
    vm.set_addresses(host, VF_MAC, BY_VF)
    vm.set_addresses(host, VIF_MAC, BY_VIF)
    host.push("/boot", SERVE)
    host.run(f"busybox httpd -p {DOM0}:{STORE_PORT} -h /boot")
    words = (STORE, vm.interface(host, VF_MAC), BY_VF, BY_VIF, TARGET, SERVED, str(STREAM_MIB))
    host.run_in_guest(vm.name, f"wget -q -O- {STORE}/{os.path.basename(SERVE)} | sh -s {' '.join(words)}")
    return vm


@pytest.fixture(scope="module")
def target(hosts: Hosts) -> Vm:
    """A VM with a VIF and no disk, that is off."""
    vm = vms.new(hosts.of_target, "target")
    vm.make_hvm()
    vm.boot_from_network()
    vm.add_vif(network(hosts.of_target, CARDS[0]), TARGET_MAC)
    return vm


def sent(host: LabHost, server: Vm) -> Tuple[int, int]:
    """Bytes that the server has sent: by its VF, as its driver counts, and by its VIF, as dom0 counts."""
    nic = server.interface(host, VF_MAC)
    by_vf = host.run_in_guest(server.name, f"cat /sys/class/net/{nic}/statistics/tx_bytes")
    return int(by_vf), int(host.run(f"cat /sys/class/net/vif{server.record['domid']}.0/statistics/rx_bytes"))


def dom0_seconds(hosts: Hosts) -> Tuple[float, ...]:
    """CPU that each dom0 has had."""
    return tuple(float(host.run("xl list Domain-0").split()[-1]) for host in hosts)


def test_a_target_boots_by_its_vif_what_a_server_sends_by_its_vf(
    hosts: Hosts, server: Vm, target: Vm
) -> None:
    """DHCP, boot script, kernel and initramfs all come by the server's VF; its VIF has no part in it."""
    host = hosts.of_server
    size = int(host.run(f"cat /boot/{KERNEL} /boot/{INITRD} | wc -c"))
    vf_before, vif_before = sent(host, server)
    began, before = time.monotonic(), dom0_seconds(hosts)
    finishes(hosts.of_target, "VM.start", target.ref, False, False)
    took, after = time.monotonic() - began, dom0_seconds(hosts)
    vf_after, vif_after = sent(host, server)
    by_vf, by_vif = vf_after - vf_before, vif_after - vif_before
    of_server, of_target = (later - earlier for earlier, later in zip(before, after))
    say(f"the target booted {size:,} bytes; the server sent {by_vf:,} by its VF and {by_vif:,} by its VIF")
    say(f"in these {took:.0f} s dom0 of the server's host had {of_server:.1f} s of CPU, that of the target's")
    say(f"{of_target:.1f} s: it made a domain, emulated its firmware's card, and carried its VIF")
    assert by_vf >= size
    assert by_vif < size * LITTLE

    assert SERVED in hosts.of_target.run_in_guest(target.name, "cat /proc/cmdline").split()
    asked = host.run_in_guest(server.name, f"cat /run/requests-{BY_VF}")
    for name in ("boot.ipxe", KERNEL, INITRD):
        assert re.search(rf"{TARGET}\W.* url:/{name}$", asked, re.MULTILINE)
    assert host.run_in_guest(server.name, f"cat /run/requests-{BY_VIF}") == ""


def test_the_stream_costs_dom0_of_the_servers_host_next_to_nothing_by_vf(
    hosts: Hosts, server: Vm, target: Vm
) -> None:
    """The target reads on, by VF and by VIF of the server: the table of docs/provisioning-services.md."""
    target.set_addresses(hosts.of_target, TARGET_MAC, TARGET, TARGET_BY_VIF)
    dom0_cost.bring_script(hosts.of_server)

    def move(way: str) -> None:
        address = BY_VIF if way.startswith("vif") else BY_VF
        for _ in range(READS):
            hosts.of_target.run_in_guest(target.name, f"wget -q -O /dev/null http://{address}/stream")

    ways = dom0_cost.by_hand("vif-sends", "vf-sends")
    options = ("--idle", "10", "--rounds", "3", *ways)
    measured = dom0_cost.measure(hosts.of_server, server, STREAM_MIB * READS, *options, move=move)
    assert measured.status == 0
    for line in measured.stdout.splitlines():
        say(line)
    (row,) = re.findall(r"^VM sends .*", measured.stdout, re.MULTILINE)
    vif, _, ratio = (float(number) for number in re.findall(r"(-?[\d.]+)(?: %)? \(", row))
    assert vif * STREAM_MIB * READS / 1024 > 1  # second: ten steps of xl's times
    assert ratio <= AT_MOST
