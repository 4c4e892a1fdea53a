"""Two lab hosts as one pool: cables between their cards, a network between dom0s, a master and a member.

The agent of the first host is the master's (agent/members.py); the second has a small one (agent/member.py).
"""

import json
import os
import selectors
import socket
import threading
from contextlib import suppress
from typing import Any, Dict, List, NamedTuple, Sequence, Set

import XenAPI
from lab import image, toolstack, vms
from lab.host import LabHost, say, wait_for
from lab.qemu import POOL_SLOT, Hardware, Wire
from lab.toolstack import ask, call
from lab.vms import Vm

CARDS = ("eth1", "eth2")  # interfaces of a XenServer host are named by their place
VFS = 4  # of each card
JOIN_SECONDS = 300
START_SECONDS = 600
OWN_NAMES = "lab-own-names"  # a unit
FULL_SECONDS = 0.05  # that a card may take to make room for a frame


class Hub:
    """What comes in at one port goes out at all others, whoever is plugged in and whoever is not:
    QEMU's own hub ends with its QEMU, and the wire has to outlive any host."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._ports: List[Wire] = []
        self._full: Set[Wire] = set()
        self._selector = selectors.DefaultSelector()
        os.makedirs(folder, exist_ok=True)

    def port(self) -> Wire:
        """For one card at a time. All are asked for before the first frame comes."""
        path = os.path.join(self._folder, str(len(self._ports)))
        wire = Wire(near=f"{path}-card", far=f"{path}-hub")
        end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with suppress(FileNotFoundError):
            os.unlink(wire.far)  # an earlier run's
        end.bind(wire.far)
        end.settimeout(FULL_SECONDS)
        self._selector.register(end, selectors.EVENT_READ, wire)
        self._ports.append(wire)
        return wire

    def start(self) -> None:
        threading.Thread(target=self._pass_on, daemon=True).start()

    def _pass_on(self) -> None:
        while True:
            for key, _ in self._selector.select():
                end: Any = key.fileobj
                frame = end.recv(1 << 16)
                for wire in self._ports:
                    if wire != key.data:
                        self._send(end, frame, wire)

    def _send(self, end: socket.socket, frame: bytes, wire: Wire) -> None:
        """A card that took none in time, as one that is down, is not waited for until it takes one again."""
        end.settimeout(0 if wire in self._full else FULL_SECONDS)
        try:
            end.sendto(frame, wire.near)
            self._full.discard(wire)
        except (socket.timeout, BlockingIOError):
            self._full.add(wire)
        except OSError:
            self._full.discard(wire)  # nobody is there
        finally:
            end.settimeout(FULL_SECONDS)


class Cables(NamedTuple):
    """Cards of the two hosts are on one wire, the second one of the first host too; so its dom0 reaches a
    guest over the wire by that card, whichever host the guest is on."""

    first: Hardware
    second: Hardware
    third: Wire  # for a machine that is no host


def cables(folder: str, of_second: int = 1) -> Cables:
    """`folder`: a name that no other module has; `of_second`: how many cards of the second host."""
    folder = os.path.join(image.LAB, folder)
    hub = Hub(folder)
    third, *ports = [hub.port() for _ in range(3 + of_second)]
    hub.start()
    between = Wire(os.path.join(folder, "pool-1"), os.path.join(folder, "pool-2"))
    return Cables(
        Hardware(wires=tuple(ports[:2]), pool=between),
        Hardware(wires=tuple(ports[2:]), pool=Wire(between.far, between.near)),
        third,
    )


class Pool(NamedTuple):
    """The pool by its master, which is never killed."""

    master: LabHost
    ref: str  # of the master

    def with_vfs(self, host: LabHost, cards: Sequence[str] = CARDS) -> str:
        """The reference of a host that has come, when it has VFs on these cards."""
        ref = joined(self.master, host)
        for card in cards:
            call(self.master, "set_vf_count", ref, pf=card, count=str(VFS))
        return ref

    @property
    def network(self) -> str:
        """That of the first cards of all hosts, which are on the wire."""
        return self.network_of(CARDS[0])

    def network_of(self, card: str) -> str:
        """A UUID."""
        pfs = call(self.master, "list_pfs", self.ref)
        return str(next(pf["network"] for pf in pfs if pf["interface"] == card))

    def vm(self, name: str, host: str, **settings: str) -> Vm:
        """A VM with a VF of that host (a reference), which is asked until it answers the master in time."""
        vm = vms.new(self.master, name)
        ask(self.master, "VM.set_affinity", vm.ref, host)
        wish = {
            "vm_uuid": vm.uuid,
            "network": self.network,
            "host_uuid": ask(self.master, "host.get_uuid", host),
        }

        def assigned() -> bool:
            try:
                call(self.master, "assign_vf", **wish, **settings)
            except XenAPI.Failure as failure:
                say(f"{name} has no VF yet: {failure.details[1]}")
                return False
            return True

        wait_for(f"a VF for {name}", assigned, START_SECONDS)
        return vm

    def ledger(self, vm: Vm) -> Dict[str, Any]:
        keys = ask(self.master, "pool.get_other_config", *ask(self.master, "pool.get_all"))
        (text,) = [keys[name] for name in keys if name.startswith(f"sriov-vm-{vm.uuid}.")]
        return dict(json.loads(text))


def bring(host: LabHost, number: int, master: int = 0) -> LabHost:
    """Makes a host that has booted the pool's master, or a member of the pool of host number `master`. Our
    package is installed; VFs come later, once the host has joined."""
    identity = {
        "INSTALLATION_UUID": f"8c2f7d8e-5d0b-4a43-9f0e-4a1b6a0c1a{number:02d}",
        "CONTROL_DOMAIN_UUID": f"3f1f7c2a-8f54-4f0e-9a4b-6f7f7cb9f2{number:02d}",
    }
    for key, value in identity.items():
        host.run(f"sed -i \"s/^{key}=.*/{key}='{value}'/\" /etc/xensource-inventory")
    host.run(f"echo LAB_ADDRESS={_address(number)} >> /etc/xensource-inventory")
    slot = f"{int(POOL_SLOT, 16):02x}"
    host.push("/opt/lab", os.path.join(toolstack.PUSHED, "own-names"))
    host.push("/etc/systemd/system", os.path.join(toolstack.PUSHED, f"{OWN_NAMES}.service"))
    arguments = " ".join([host.name, _address(number), slot, *CARDS])
    host.run(f"sed -i 's/ARGUMENTS/{arguments}/' /etc/systemd/system/{OWN_NAMES}.service")
    host.run(f"systemctl daemon-reload && systemctl enable -q --now {OWN_NAMES}")
    role = f"slave:{_address(master)}" if master else "master"
    host.run(f"mkdir -p /etc/xensource && printf {role} > /etc/xensource/pool.conf")
    return toolstack.bring(host)


def _address(number: int) -> str:
    return f"192.168.7.{number}"


def joined(master: LabHost, host: LabHost) -> str:
    """The host's reference, when the master has it in its pool."""
    refs: List[str] = wait_for(
        f"{host.name} in the pool", lambda: ask(master, "host.get_by_name_label", host.name), JOIN_SECONDS
    )
    return refs[0]


def is_live(master: LabHost, ref: str) -> bool:
    """Whether the master holds the host for alive."""
    return bool(ask(master, "host_metrics.get_live", ask(master, "host.get_metrics", ref)))
