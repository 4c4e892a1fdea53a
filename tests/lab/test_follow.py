"""Two hosts, one wire: VLANs between their guests, and VMs whose host dies come up on the other with a VF."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Tuple

import pytest
from lab import image, two_hosts, vms
from lab.host import LabHost, say, wait_for
from lab.qemu import Hardware
from lab.toolstack import ask, call
from lab.two_hosts import CARDS, START_SECONDS, Cables, Pool
from lab.vms import Vm

SwitchOn = Callable[..., LabHost]

LISTENER = CARDS[1]  # the card of the master's dom0 that pings guests over the wire


@pytest.fixture(scope="module")
def cables() -> Cables:
    return two_hosts.cables("wire")


@pytest.fixture(scope="module")
def hosts(switch_on: SwitchOn, cables: Cables) -> Tuple[LabHost, LabHost]:
    """Two that are alike, with our package; the first is the master."""

    def host(name: str, number: int, hardware: Hardware, master: int = 0) -> LabHost:
        return two_hosts.bring(switch_on(name, image.WITH_IOMMU, hardware), number, master)

    with ThreadPoolExecutor() as threads:
        first = threads.submit(host, "alpha", 1, cables.first)
        second = threads.submit(host, "beta", 2, cables.second, master=1)
        return first.result(), second.result()


@pytest.fixture(scope="module")
def pool(hosts: Tuple[LabHost, LabHost]) -> Pool:
    """The master's pool. Its second card listens on the wire."""
    master = hosts[0]
    pool = Pool(master, two_hosts.joined(master, master))
    pool.with_vfs(master)
    master.run(f"ip address add 192.0.2.1/24 dev {LISTENER} && ip link set {LISTENER} up")
    return pool


@pytest.fixture(scope="module")
def second(hosts: Tuple[LabHost, LabHost], pool: Pool) -> str:
    """The reference of the second host."""
    return pool.with_vfs(hosts[1])


def test_vlans_between_two_hosts(hosts: Tuple[LabHost, LabHost], pool: Pool, second: str) -> None:
    """Guests on VFs of two hosts reach each other in one VLAN, and do not in two."""
    here = pool.vm("here", pool.ref, mac="02:16:3e:00:00:20", vlan="12")
    there = pool.vm("there", second, mac="02:16:3e:00:00:21", vlan="12")
    apart = pool.vm("apart", second, mac="02:16:3e:00:00:22", vlan="13")
    for vm in (here, there, apart):
        vm.start()
    for host, ref in ((hosts[0], pool.ref), (hosts[1], second)):
        for vf in call(pool.master, "list_vfs", ref, state="in-use"):
            say(f"{host.name}: {vf['address']} has {vf['mac']} in VLAN {vf['vlan']}")
    assert "3 packets received" in pings(hosts[0], "here", "02:16:3e:00:00:21")
    say("in one VLAN they reach each other")
    assert " 0 packets received" in pings(hosts[0], "here", "02:16:3e:00:00:22")
    say("in two they do not")
    for vm in (here, there, apart):
        vm.shut_down()


def pings(host: LabHost, guest: str, mac: str) -> str:
    return host.attempt(f"guest-run {guest} 'ping -c 3 -W 5 {vms.address_of(mac)}'").stdout


@pytest.mark.short
def test_alike_hosts(hosts: Tuple[LabHost, LabHost], pool: Pool, second: str) -> None:
    """A host dies: HA starts its VM on one that is alike, with no change of the VM and no second start."""
    web = pool.vm("web", second, mac="02:16:3e:00:00:30")
    mac = running_on(pool, web, second, hosts[1])
    assert answers(pool, mac)
    say("its guest answers over the wire")
    before, lease = web.record["other_config"], pool.ledger(web)

    dies(pool, hosts[1], second, web, mac)
    assert web.mac(pool.master) == mac
    assert web.record["other_config"] == before
    after = pool.ledger(web)
    assert after["lease"]["host"] == ask(pool.master, "host.get_uuid", pool.ref)
    assert after["lease"]["vfs"] == lease["lease"]["vfs"]
    assert {**after, "lease": None} == {**lease, "lease": None}
    say("the VM's keys are as they were, and so is its lease but for the host")
    web.shut_down()


def test_cards_in_other_slots(
    switch_on: SwitchOn,
    cables: Cables,
    hosts: Tuple[LabHost, LabHost],
    pool: Pool,
) -> None:
    """The same where addresses differ, and the old one is another network's: the VM gets one that fits."""
    hosts[1].stop()  # its cables are for another host
    hardware = cables.second._replace(empty=1)
    third = two_hosts.bring(switch_on("gamma", image.WITH_IOMMU, hardware), 3, master=1)
    ref = pool.with_vfs(third)
    db = pool.vm("db", ref, mac="02:16:3e:00:00:40")
    mac = running_on(pool, db, ref, third)
    assert answers(pool, mac)
    old = plugged(pool, ref, db)
    assert old["pf"] == "0000:02:00.0"
    say(f"its guest has {old['address']}, a VF of {third.name}'s first card, and answers over the wire")

    dies(pool, third, ref, db, mac)
    now = plugged(pool, pool.ref, db)
    assert (now["pf"], now["mac"]) == ("0000:01:00.0", mac)
    assert db.mac(pool.master) == mac
    assert db.pci == f"0/{now['address']}"
    others = call(pool.master, "list_vfs", pool.ref, pf=LISTENER)
    assert old["address"] in [vf["address"] for vf in others]
    assert mac not in [vf["mac"] for vf in others]
    say(f"it has {now['address']} now; {old['address']} is the other network's here, and was not touched")
    assert call(pool.master, "list_assignments", vm_uuid=db.uuid)["conflicts"] == []
    db.shut_down()


def answers(pool: Pool, mac: str) -> bool:
    """Whether the guest with this MAC answers dom0 of the master over the wire."""
    return vms.answers(pool.master, mac, LISTENER)


def running_on(pool: Pool, vm: Vm, ref: str, host: LabHost) -> str:
    """Starts the VM as HA protects it, and gives the MAC that its guest has on that host."""
    ask(pool.master, "VM.set_ha_restart_priority", vm.ref, "restart")
    vm.start()
    assert vm.record["resident_on"] == ref
    return vm.mac(host)


def plugged(pool: Pool, ref: str, vm: Vm) -> Dict[str, Any]:
    """The VF that the VM's guest has there."""
    (vf,) = call(pool.master, "list_vfs", ref, vm_uuid=vm.uuid, state="in-use")
    return dict(vf)


def dies(pool: Pool, host: LabHost, ref: str, vm: Vm, mac: str) -> None:
    """The host's QEMU ends, and the VM comes up on the master by itself."""
    host.stop()
    died = time.monotonic()
    wait_for(f"{host.name}, declared dead", lambda: not two_hosts.is_live(pool.master, ref), START_SECONDS)
    say(f"{host.name} is held for dead {time.monotonic() - died:.0f} s after its death")
    wait_for(f"{vm.name} on the master", lambda: vm.record["resident_on"] == pool.ref, START_SECONDS)
    wait_for("an answer", lambda: answers(pool, mac), START_SECONDS)
    say(f"{time.monotonic() - died:.0f} s from the death of the host to the answer of its VM elsewhere")
