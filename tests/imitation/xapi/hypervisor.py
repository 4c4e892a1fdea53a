"""What xenopsd asks of the machine below it: a domain with these devices, and its end.

The place to put another machine in: a real `xl` is a further Hypervisor.
"""

import json
import os
import shutil
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

XENOPSD = "/run/nonpersistent/xenopsd/classic"  # dom0's /var/run, where xenopsd writes, is a link to /run
FEATURES = {"feature-suspend": "1", "feature-shutdown": "1", "feature-reboot": "1"}


class CannotStart(Exception):
    """There is no domain, for the reason that xenopsd gives."""


class Guest(NamedTuple):
    uuid: str
    name: str
    domain_type: str = "hvm"
    nomigrate: bool = False


class Report(NamedTuple):
    """What is told of a running guest: xenopsd's words, and those of the guest itself."""

    domain_type: str
    nomigrate: bool
    features: Mapping[str, str]


class Hypervisor:
    """Notes what it is asked for, as xenopsd's simulator does: no device is looked for, nothing fails."""

    migrates = False  # the simulator does not

    def __init__(self) -> None:
        self._domains: Dict[str, int] = {}
        self._plugged: Dict[str, List[str]] = {}
        self._last = 0

    def told(self, uuid: str, addresses: Sequence[str]) -> None:
        """xapi pushes what it knows of a VM before it is started."""

    def start(self, guest: Guest, addresses: Sequence[str]) -> int:
        """The domain's number. Devices are plugged in this order; raises CannotStart, and then there is
        no domain."""
        self._last += 1
        self._domains[guest.uuid] = self._last
        self._plugged[guest.uuid] = list(addresses)
        return self._last

    def stop(self, uuid: str) -> None:
        """Destroys the domain, if there is one."""
        self._domains.pop(uuid, None)
        self._plugged.pop(uuid, None)

    def domain(self, uuid: str) -> Optional[int]:
        return self._domains.get(uuid)

    def plugged(self, uuid: str) -> List[str]:
        """The devices of the running domain, in the order in which they were plugged."""
        return list(self._plugged.get(uuid, []))

    def arguments_of_hooks(self, uuid: str) -> List[str]:  # noqa: ARG002 - another hypervisor needs it
        """What a hook is given beside the VM and the reason: nothing by the simulator (hooks.json)."""
        return []

    def report(self, guest: Guest) -> Report:  # noqa: ARG002 - another hypervisor needs it
        """The simulator's guests have no known kind, and say nothing (vm-life.json)."""
        return Report("unspecified", False, {})


class OnMachine(Hypervisor):
    """A machine of machine.py: its kernel, its pciback and its xenstore are asked, and may refuse."""

    migrates = True

    def __init__(self, machine: Any) -> None:
        super().__init__()
        self._machine = machine

    def told(self, uuid: str, addresses: Sequence[str]) -> None:
        """Kept in files: the VM in VM/UUID/config, each device in PCI/UUID/pci.ADDRESS; a folder goes with
        its last file (ocaml/xenopsd/lib: xenops_utils.ml, FileFS; xenops_server.ml, VM_DB and PCI_DB).
        pci_passthrough is whether there are any (ocaml/xapi/xapi_xenops.ml, create_metadata)."""
        backend = self._machine.path(XENOPSD)
        of_vm, of_devices = os.path.join(backend, "VM", uuid), os.path.join(backend, "PCI", uuid)
        os.makedirs(of_vm, exist_ok=True)
        _write(of_vm, "config", {"id": uuid, "ty": ["HVM", {"pci_passthrough": bool(addresses)}]})
        shutil.rmtree(of_devices, ignore_errors=True)
        for position, address in enumerate(addresses):
            os.makedirs(of_devices, exist_ok=True)
            _write(of_devices, f"pci.{address}", {"id": [uuid, address], "position": position})
        try:
            os.rmdir(os.path.dirname(of_devices))
        except OSError:
            pass  # another VM's are there

    def start(self, guest: Guest, addresses: Sequence[str]) -> int:
        import kernel_domains  # not there where the machine is a real one

        try:
            return int(self._machine.start_domain(guest.uuid, guest.name, addresses))
        except kernel_domains.CannotStart as error:
            raise CannotStart(str(error)) from None

    def stop(self, uuid: str) -> None:
        if self.domain(uuid) is not None:
            self._machine.stop_domain(uuid)

    def domain(self, uuid: str) -> Optional[int]:
        with self._machine.changed() as sysfs:
            for number, domain in sysfs.state["domains"].items():
                if domain["uuid"] == uuid:
                    return int(number)
        return None

    def plugged(self, uuid: str) -> List[str]:
        with self._machine.changed() as sysfs:
            domains = sysfs.state["domains"].values()
            return [address for domain in domains if domain["uuid"] == uuid for address in domain["devices"]]

    def arguments_of_hooks(self, uuid: str) -> List[str]:
        """xen-api: ocaml/xenopsd/xc/xenops_server_xen.ml, get_hook_args."""
        domain = self.domain(uuid)
        return [] if domain is None else ["-vmdomid", str(domain)]

    def report(self, guest: Guest) -> Report:
        return Report(guest.domain_type, guest.nomigrate, FEATURES)


def _write(folder: str, name: str, record: Any) -> None:
    with open(os.path.join(folder, name), "w") as file:
        json.dump(record, file)


def hypervisor_of(machine: Any) -> Hypervisor:
    """That of a host whose dom0 has this machine; a real dom0's guests are notes."""
    return OnMachine(machine) if hasattr(machine, "start_domain") else Hypervisor()
