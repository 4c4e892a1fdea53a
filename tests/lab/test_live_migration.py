"""VFs of running VMs, on real HVM guests: out of one and into it again, and from host to host.

The guest has a bond of its VF and of a VIF on the same wire, and a third machine there pings it ten times a
second. Who answers tells what carries the guest: each of the two has a MAC of its own.
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, List

import pytest
import XenAPI
from lab import image, peer, two_hosts, vms
from lab.host import LabHost, say, wait_for
from lab.peer import Peer
from lab.toolstack import ask, call, call_and_wait, finishes
from lab.two_hosts import CARDS, Cables, Pool
from lab.vms import Vm

SwitchOn = Callable[..., LabHost]

VF_MAC, VIF_MAC = "02:16:3e:00:00:50", "02:16:3e:00:01:50"
NAMES = {VF_MAC: "VF", VIF_MAC: "VIF"}
PEER = "192.0.2.1"
CARRIED_SECONDS = 300  # until the other of the two carries the guest
LOST_AT_MOST = 3  # pings, when the VF goes and when it comes
PHASES = {
    (VF_MAC, VIF_MAC): "at the detach",
    (VIF_MAC, VIF_MAC): "while the VIF carried it",
    (VIF_MAC, VF_MAC): "at the return",
    (VF_MAC, VF_MAC): "while the VF carried it",
}
LETS_GO_SECONDS = "200"  # an emulated guest takes 1 to 40
# by which the guest's ACPI is told that a PCI device shall go, or has come (QEMU: GPE.1 of its PIIX4)
HOTPLUG_EVENT = "/sys/firmware/acpi/interrupts/gpe01"


@pytest.fixture(scope="module")
def cables() -> Cables:
    return two_hosts.cables("live", of_second=2)


@pytest.fixture(scope="module")
def here(switch_on: SwitchOn, cables: Cables) -> LabHost:
    """The pool's master, with our package."""
    return two_hosts.bring(switch_on("here", image.WITH_IOMMU, cables.first), 1)


@pytest.fixture(scope="module")
def pool(here: LabHost) -> Pool:
    pool = Pool(here, two_hosts.joined(here, here))
    is_ready(pool, here)
    return pool


def is_ready(pool: Pool, host: LabHost) -> None:
    """Its first card has VFs. The second one has none, and is in the bridge of its network, where VIFs are: a
    card that has VFs is not promiscuous in QEMU (README.md)."""
    vfs, of_vifs = CARDS
    pool.with_vfs(host, [vfs])
    vms.bridge(host, pool.master, pool.network_of(of_vifs), of_vifs)


@pytest.fixture(scope="module")
def vm(pool: Pool) -> Vm:
    """A running HVM guest with a bond of a VF and a VIF."""
    vm = pool.vm("mover", pool.ref, mac=VF_MAC)
    vm.make_hvm()
    vm.add_vif(pool.network_of(CARDS[1]), VIF_MAC)
    vm.start()
    assert vm.record["resident_on"] == pool.ref
    bonded(pool.master, vm)
    return vm


def bonded(host: LabHost, vm: Vm) -> None:
    host.run_in_guest(vm.name, f"ip address flush dev eth0; bond {VF_MAC}")


@pytest.fixture(scope="module")
def pinged(cables: Cables, vm: Vm) -> Iterator[Peer]:
    """Pings the guest, which its VF carries."""
    assert vm.record["power_state"] == "Running"
    machine = Peer(cables.third, PEER, vms.address_of(VF_MAC))
    carries(machine, VF_MAC)
    yield machine
    machine.stop()


def carries(pinged: Peer, mac: str) -> None:
    """Waits until the guest answers by that MAC, and of each ping before it is known whether it was lost."""
    since = time.monotonic()

    def does() -> bool:
        answered = [ping.mac for ping in pinged.pings(since) if ping.took is not None]
        return answered[-10:] == [mac] * 10

    wait_for(f"answers of the {NAMES[mac]}", does, CARRIED_SECONDS)


def few_are_lost(pinged: Peer, since: float, pauses: int = 0) -> None:
    """Since then, where the VF goes and comes, and none elsewhere; what was lost is said for each phase. In
    `pauses` the guest does not run, while its VIF carries it: a copy ends with one, a suspension is one."""
    pings = pinged.pings(since)
    took = sorted(ping.took for ping in pings if ping.took is not None)
    say(f"{len(pings)} pings, half of them answered within {took[len(took) // 2] * 1000:.0f} ms")
    gaps = peer.gaps(pings)
    for (before, after), phase in PHASES.items():
        lost = [gap for gap in gaps if (gap.before, gap.after) == (before, after)]
        told = ", ".join(f"{gap.lost} after {gap.began - since:.1f} s" for gap in lost)
        say(f"lost {phase}: {told or 'none'}")
    switched = [gap.lost for gap in gaps if gap.before != gap.after]
    assert [lost for lost in switched if lost > LOST_AT_MOST] == []
    longest = sorted((gap for gap in gaps if gap.before == gap.after == VIF_MAC), key=lambda gap: gap.lost)
    paused = longest[len(longest) - min(pauses, len(longest)) :]
    assert [gap for gap in gaps if gap.before == gap.after and gap not in paused] == []


def owner(host: LabHost, vf: str) -> str:
    """Which domain has the VF, by the word of Xen: d3, d0, or DomIO if nobody is to have it."""
    said = host.run("xl debug-keys Q && xl dmesg")
    (*_, last) = re.findall(rf"{re.escape(vf)} - (\w+)", said)
    return str(last)


def in_guest(host: LabHost, vm: Vm) -> List[str]:
    """The MACs of its interfaces, without the bond's own."""
    return host.run_in_guest(vm.name, "cat /sys/class/net/eth*/address").split()


@pytest.mark.short
def test_a_running_guest_loses_its_vf_and_gets_it_again(
    here: LabHost, pool: Pool, vm: Vm, pinged: Peer
) -> None:
    """unplug_vfs and plug_vfs: the guest is never without a network, and Xen is asked."""
    (vf,) = pool.ledger(vm)["lease"]["vfs"].values()
    domain = f"d{vm.record['domid']}"
    assert owner(here, vf) == domain
    began = time.monotonic()
    said = call(here, "unplug_vfs", pool.ref, vm_uuid=vm.uuid, timeout=LETS_GO_SECONDS)
    assert (said["unplugged"], said["not_unplugged"], said["passthrough"]) == ([vf], [], True)
    say(f"{vf} is unplugged after {time.monotonic() - began:.0f} s")
    carries(pinged, VIF_MAC)
    assert owner(here, vf) not in (domain, "d0")
    assert in_guest(here, vm) == [VIF_MAC]
    say(f"Xen says {owner(here, vf)} has it, the guest has its VIF alone, and answers by that")

    plugs = time.monotonic()
    said = call(here, "plug_vfs", pool.ref, vm_uuid=vm.uuid)
    assert (said["plugged"], said["not_plugged"]) == ([vf], [])
    say(f"{vf} is plugged after {time.monotonic() - plugs:.0f} s")
    carries(pinged, VF_MAC)
    assert owner(here, vf) == domain
    assert sorted(in_guest(here, vm)) == sorted([VF_MAC, VIF_MAC])
    few_are_lost(pinged, began)


def test_a_guest_that_does_not_let_go(here: LabHost, pool: Pool, vm: Vm, pinged: Peer) -> None:
    """It keeps its VF, and is carried by it; one that lets go later is finished by the next call."""
    (vf,) = pool.ledger(vm)["lease"]["vfs"].values()
    domain = f"d{vm.record['domid']}"
    here.run_in_guest(vm.name, f"echo mask > {HOTPLUG_EVENT}")
    said = call(here, "unplug_vfs", pool.ref, vm_uuid=vm.uuid, timeout="10")
    assert (said["unplugged"], [one["vf"] for one in said["not_unplugged"]]) == ([], [vf])
    assert owner(here, vf) == domain
    carries(pinged, VF_MAC)
    say(f"it does not: {said['not_unplugged'][0]['why']}; and its VF carries it as before")
    here.run_in_guest(vm.name, f"echo unmask > {HOTPLUG_EVENT}")
    carries(pinged, VIF_MAC)
    say("now it has let go")
    call(here, "unplug_vfs", pool.ref, vm_uuid=vm.uuid, timeout=LETS_GO_SECONDS)
    assert owner(here, vf) not in (domain, "d0")
    call(here, "plug_vfs", pool.ref, vm_uuid=vm.uuid)
    assert owner(here, vf) == domain
    carries(pinged, VF_MAC)


def test_a_guest_that_was_suspended_has_its_vf_again(here: LabHost, pool: Pool, vm: Vm, pinged: Peer) -> None:
    """The domain that a resume makes takes no device; the VM moves to one that does, in its place."""
    (vf,) = pool.ledger(vm)["lease"]["vfs"].values()
    began = time.monotonic()
    here.run_in_guest(vm.name, "echo suspended > /mark")
    insist(pool, vm, "detach_vfs", timeout=LETS_GO_SECONDS)
    carries(pinged, VIF_MAC)
    ask(pool.master, "VM.set_suspend_SR", vm.ref, "OpaqueRef:the disk of the host")
    finishes(pool.master, "VM.suspend", vm.ref)
    assert here.attempt(f"xl domid {vm.name}").returncode != 0
    finishes(pool.master, "VM.resume_on", vm.ref, pool.ref, False, False)
    carries(pinged, VIF_MAC)
    resumed = vm.record["domid"]
    with pytest.raises(XenAPI.Failure) as refused:
        insist(pool, vm, "attach_vfs")
    assert refused.value.details[0] == "SRIOV_MOVED_WITHOUT_VF"
    say(f"resumed as domain {resumed}: {refused.value.details[1]}")

    said = migrate(pool, vm, here)
    say(f"moved in its place, to domain {vm.record['domid']}: {said['seconds']}")
    carries(pinged, VF_MAC)
    assert vm.record["domid"] != resumed
    assert owner(here, vf) == f"d{vm.record['domid']}"
    assert "move" not in pool.ledger(vm)
    assert here.run_in_guest(vm.name, "cat /mark").strip() == "suspended"
    few_are_lost(pinged, began, pauses=2)


# -- from host to host -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def there(switch_on: SwitchOn, cables: Cables, pool: Pool) -> LabHost:
    """Another host of the pool, which is alike, with VFs on the same wire."""
    host = two_hosts.bring(switch_on("there", image.WITH_IOMMU, cables.second), 2, master=1)
    is_ready(pool, host)
    return host


def uuid_of(pool: Pool, host: LabHost) -> str:
    return str(ask(pool.master, "host.get_uuid", two_hosts.joined(pool.master, host)))


def migrate(pool: Pool, vm: Vm, host: LabHost) -> Any:
    """`network_gap`: the VIF is on the VF's wire, but not in its network (is_ready)."""
    wish = {"host_uuid": uuid_of(pool, host), "timeout": LETS_GO_SECONDS}
    return insist(pool, vm, "migrate_vm", **wish, network_gap="allowed", unconfirmed="true")


def insist(pool: Pool, vm: Vm, function: str, **arguments: str) -> Any:
    """Calls again, as the hint says, where a host of this emulated pool has not answered in time: that ends
    what was begun."""
    while True:
        try:
            return call_and_wait(pool.master, function, vm_uuid=vm.uuid, **arguments)
        except XenAPI.Failure as failure:
            if "timed out" not in failure.details[1]:
                raise
            say(f"once more: {failure.details[1]}")


def comes(vm: Vm, host: LabHost) -> None:
    """Waits until its memory is being copied to the host."""
    incoming = f"xl list | grep {vm.name}--incoming"
    wait_for("the guest's memory", lambda: host.attempt(incoming).returncode == 0, CARRIED_SECONDS)


def moves(pool: Pool, vm: Vm, pinged: Peer, source: LabHost, target: LabHost) -> None:
    """It does, with its VF, and what is lost is told."""
    (before,) = pool.ledger(vm)["lease"]["vfs"].values()
    began = time.monotonic()
    source.run_in_guest(vm.name, f"echo {source.name} > /mark")
    said = migrate(pool, vm, target)
    (vf,) = said["vfs"]
    say(f"{vm.name} has moved from {source.name} to {target.name}: {said['seconds']}")
    carries(pinged, VF_MAC)
    assert vm.record["resident_on"] == two_hosts.joined(pool.master, target)
    assert vm.record["domid"] in target.run(f"xl domid {vm.name}").split()
    assert target.run_in_guest(vm.name, "cat /mark").strip() == source.name
    assert source.attempt(f"xl domid {vm.name}").returncode != 0
    assert owner(target, vf["vf"]) == f"d{vm.record['domid']}"
    assert not owner(source, before).startswith("d") or owner(source, before) == "d0"
    now = pool.ledger(vm)
    assert (now["lease"]["host"], list(now["lease"]["vfs"].values())) == (said["host_uuid"], [vf["vf"]])
    assert "move" not in now
    assert vm.pci == f"0/{vf['vf']}"
    assert call(pool.master, "list_assignments", vm_uuid=vm.uuid)["conflicts"] == []
    few_are_lost(pinged, began, pauses=1)
    carried = peer.changes(pinged.pings(began))
    assert carried == [(VF_MAC, VIF_MAC), (VIF_MAC, VF_MAC)]


def test_a_running_guest_moves_and_comes_back(
    here: LabHost, there: LabHost, pool: Pool, vm: Vm, pinged: Peer
) -> None:
    """migrate_vm, twice: memory and VF are on the other host, the MAC is the same, and xapi knows it all."""
    moves(pool, vm, pinged, here, there)
    moves(pool, vm, pinged, there, here)


def test_a_guest_that_reboots_in_the_copy(
    here: LabHost, there: LabHost, pool: Pool, vm: Vm, pinged: Peer
) -> None:
    """xl does not copy a domain that has ended; xapi begins anew when the guest has started again, as a
    domain that takes devices: it has its VF where it arrives."""
    domain = f"xl domid {vm.name}"
    before = here.run(domain)
    with ThreadPoolExecutor() as threads:
        moved = threads.submit(migrate, pool, vm, there)
        comes(vm, there)
        here.run_in_guest(vm.name, "{ (sleep 1; reboot -f) > /dev/null 2>&1 & }")
        say(f"it reboots, domain {before.strip()} of {here.name}")
        wait_for("its next domain", lambda: here.attempt(domain).stdout not in ("", before), CARRIED_SECONDS)
        say(f"it is domain {here.run(domain).strip()} now")
        said = moved.result()
    (vf,) = said["vfs"]
    say(f"and has moved: {said['seconds']}")
    assert vm.record["resident_on"] == two_hosts.joined(pool.master, there)
    assert owner(there, vf["vf"]) == f"d{vm.record['domid']}"
    assert "move" not in pool.ledger(vm)
    there.run_in_guest(vm.name, "test ! -e /mark")  # which moves() has left in its memory
    bonded(there, vm)
    carries(pinged, VF_MAC)
    migrate(pool, vm, here)
    carries(pinged, VF_MAC)


def test_a_host_without_vfs_takes_no_guest(there: LabHost, pool: Pool, vm: Vm, pinged: Peer) -> None:
    """It is refused before anything is done."""
    before, began = pool.ledger(vm), time.monotonic()
    ref = two_hosts.joined(pool.master, there)
    call(pool.master, "set_vf_count", ref, pf=CARDS[0], count="0")
    with pytest.raises(XenAPI.Failure) as refused:
        migrate(pool, vm, there)
    say(f"refused: {' '.join(refused.value.details)}")
    assert pool.ledger(vm) == before
    pool.with_vfs(there, CARDS[:1])
    carries(pinged, VF_MAC)
    assert peer.changes(pinged.pings(began)) == []


def test_a_host_that_dies_in_the_copy(
    here: LabHost, there: LabHost, pool: Pool, vm: Vm, pinged: Peer
) -> None:
    """The guest runs on where it was, and has its VF again at the latest by the next call."""
    (vf,) = pool.ledger(vm)["lease"]["vfs"].values()
    began = time.monotonic()
    with ThreadPoolExecutor() as threads:
        moved = threads.submit(migrate, pool, vm, there)
        comes(vm, there)
        there.stop()
        with pytest.raises(XenAPI.Failure) as failed:
            moved.result()
    say(f"refused: {' '.join(failed.value.details)}")
    assert vm.record["resident_on"] == pool.ref
    if "move" in pool.ledger(vm):
        insist(pool, vm, "attach_vfs")
    carries(pinged, VF_MAC)
    assert owner(here, vf) == f"d{vm.record['domid']}"
    assert "move" not in pool.ledger(vm)
    few_are_lost(pinged, began, pauses=1)
