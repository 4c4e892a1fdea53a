"""VMs of a lab pool, as an administrator has them: by XenAPI and our plugin; and a look into their guests."""

from typing import Any, Dict, List, NamedTuple

import pytest
import XenAPI
from lab.host import LabHost, wait_for
from lab.toolstack import ask

BLANK = "blank"  # the VM of the agent that others are cloned from
REBOOT_SECONDS = 300


class Vm(NamedTuple):
    xapi: LabHost  # which has the pool's master
    ref: str
    uuid: str
    name: str  # its guest's, too

    @property
    def record(self) -> Dict[str, Any]:
        return dict(ask(self.xapi, "VM.get_record", self.ref))

    @property
    def pci(self) -> str:
        return str(self.record["other_config"].get("pci", ""))

    def start(self) -> None:
        """Where xapi likes; the guest is up when this returns."""
        ask(self.xapi, "VM.start", self.ref, False, False)

    def shut_down(self) -> None:
        ask(self.xapi, "VM.clean_shutdown", self.ref)

    def clone(self, name: str) -> "Vm":
        return _clone(self.xapi, self.ref, name)

    def refused_start(self) -> List[str]:
        """What a hook said to a start that it refuses: its lines."""
        with pytest.raises(XenAPI.Failure) as refused:
            self.start()
        code, hook, _, stdout, status = refused.value.details
        assert (code, hook, status) == ("XAPI_HOOK_FAILED", "vm-pre-start/50-xapi-sriov", "2")
        assert self.record["power_state"] == "Halted"
        return str(stdout).splitlines()

    def make_hvm(self) -> None:
        """Before its first start."""
        ask(self.xapi, "VM.set_domain_type", self.ref, "hvm")

    def add_vif(self, network: str, mac: str) -> None:
        """Of an HVM guest; `network`: its UUID."""
        ref = ask(self.xapi, "network.get_by_uuid", network)
        needed: Dict[str, Any] = {"device": "0", "network": ref, "VM": self.ref, "MAC": mac, "MTU": "1500"}
        empty: Dict[str, Any] = {"other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}
        ask(self.xapi, "VIF.create", {**needed, **empty})

    def boot_from_network(self) -> None:
        """An HVM guest, without a disk."""
        ask(self.xapi, "VM.set_HVM_boot_params", self.ref, {"order": "n"})

    # -- its guest -----------------------------------------------------------------------------------

    def mac(self, host: LabHost) -> str:
        """That of its first network interface, as the guest has it."""
        return host.run_in_guest(self.name, "cat /sys/class/net/eth0/address").strip()

    def interface(self, host: LabHost, mac: str) -> str:
        """The guest's name of the one with that MAC."""
        return host.run_in_guest(self.name, f"grep -l {mac} /sys/class/net/eth*/address").split("/")[4]

    def set_addresses(self, host: LabHost, mac: str, *addresses: str) -> None:
        """These and no others, each in a network of /24, for that interface of the guest; it is up then."""
        nic = self.interface(host, mac)
        adds = [f"address add {address}/24 dev {nic}" for address in addresses]
        steps = [f"address flush dev {nic}", *adds, f"link set {nic} up"]
        host.run_in_guest(self.name, " && ".join(f"ip {step}" for step in steps))

    def reboot_from_inside(self, host: LabHost) -> None:
        """It is up again when this returns."""
        before = self.record["domid"]
        host.run_in_guest(self.name, "{ (sleep 1; reboot -f) > /dev/null 2>&1 & }")
        wait_for(
            f"{self.name} after its reboot",
            lambda: self.record["domid"] not in (before, "-1"),
            REBOOT_SECONDS,
        )


def new(host: LabHost, name: str) -> Vm:
    (blank,) = ask(host, "VM.get_by_name_label", BLANK)
    return _clone(host, blank, name)


def existing(host: LabHost, name: str) -> Vm:
    (ref,) = ask(host, "VM.get_by_name_label", name)
    return Vm(host, ref, ask(host, "VM.get_uuid", ref), name)


def _clone(host: LabHost, origin: str, name: str) -> Vm:
    ask(host, "VM.clone", origin, name)
    return existing(host, name)


def address_of(mac: str) -> str:
    """The address that a guest gives the interface with this MAC."""
    return f"192.0.2.{int(mac[-2:], 16)}"


def answers(host: LabHost, mac: str, interface: str) -> bool:
    """Whether dom0 has an answer to each ping of the guest with this MAC, through that interface."""
    said = host.attempt(f"ping -c 3 -i 0.5 -W 5 -I {interface} {address_of(mac)}").stdout
    return " 0% packet loss" in said


def bridge(host: LabHost, xapi: LabHost, network: str, interface: str) -> str:
    """Makes the bridge of that network (a UUID) on the host, with the interface in it, for VIFs; its name."""
    name = str(ask(xapi, "network.get_bridge", ask(xapi, "network.get_by_uuid", network)))
    host.run(f"ip link add {name} type bridge forward_delay 0 && ip link set {name} up")
    host.run(f"ip link set {interface} up promisc on master {name}")
    return name
