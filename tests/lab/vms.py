"""VMs of a lab pool, as an administrator has them: by XenAPI and our plugin; and a look into their guests."""

import json
from typing import Any, Dict, List, NamedTuple

import pytest
import XenAPI
from lab.host import LabHost, wait_for

BLANK = "blank"  # the VM of the agent that others are cloned from
REBOOT_SECONDS = 300


class Vm(NamedTuple):
    session: Any
    ref: str
    uuid: str
    name: str  # its guest's, too

    @property
    def record(self) -> Dict[str, Any]:
        return dict(self.session.xenapi.VM.get_record(self.ref))

    @property
    def pci(self) -> str:
        return str(self.record["other_config"].get("pci", ""))

    def start(self) -> None:
        """Where xapi likes; the guest is up when this returns."""
        self.session.xenapi.VM.start(self.ref, False, False)

    def shut_down(self) -> None:
        self.session.xenapi.VM.clean_shutdown(self.ref)

    def clone(self, name: str) -> "Vm":
        return _vm(self.session, self.session.xenapi.VM.clone(self.ref, name), name)

    def refused_start(self) -> List[str]:
        """What a hook said to a start that it refuses: its lines."""
        with pytest.raises(XenAPI.Failure) as refused:
            self.start()
        code, hook, _, stdout, status = refused.value.details
        assert (code, hook, status) == ("XAPI_HOOK_FAILED", "vm-pre-start/50-xapi-sriov", "2")
        assert self.record["power_state"] == "Halted"
        return str(stdout).splitlines()

    # -- its guest -----------------------------------------------------------------------------------

    def mac(self, host: LabHost) -> str:
        """That of its first network interface, as the guest has it."""
        return host.run_in_guest(self.name, "cat /sys/class/net/eth0/address").strip()

    def reboot_from_inside(self, host: LabHost) -> None:
        """It is up again when this returns."""
        before = self.record["domid"]
        host.run_in_guest(self.name, "{ (sleep 1; reboot -f) > /dev/null 2>&1 & }")
        wait_for(
            f"{self.name} after its reboot",
            lambda: self.record["domid"] not in (before, "-1"),
            REBOOT_SECONDS,
        )


def new(session: Any, name: str) -> Vm:
    (blank,) = session.xenapi.VM.get_by_name_label(BLANK)
    return _vm(session, session.xenapi.VM.clone(blank, name), name)


def _vm(session: Any, ref: str, name: str) -> Vm:
    return Vm(session, ref, session.xenapi.VM.get_uuid(ref), name)


def call(session: Any, function: str, host: str = "", **arguments: str) -> Any:
    """The answer of a function of our plugin, on that host (a reference) or on the pool's master."""
    if not host:
        (pool,) = session.xenapi.pool.get_all()
        host = session.xenapi.pool.get_master(pool)
    return json.loads(session.xenapi.host.call_plugin(host, "sriov", function, arguments))


def refusal(session: Any, function: str, **arguments: str) -> List[str]:
    with pytest.raises(XenAPI.Failure) as refused:
        call(session, function, **arguments)
    details: List[str] = refused.value.details
    return details


def address_of(mac: str) -> str:
    """The address that a guest gives the interface with this MAC."""
    return f"192.0.2.{int(mac[-2:], 16)}"


def answers(host: LabHost, mac: str, interface: str) -> bool:
    """Whether dom0 has an answer to each ping of the guest with this MAC, through that interface."""
    said = host.attempt(f"ping -c 3 -i 0.5 -W 5 -I {interface} {address_of(mac)}").stdout
    return " 0% packet loss" in said
