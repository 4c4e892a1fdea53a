"""What xenopsd asks of the machine below it: a domain with these devices, and its end.

The place to put another machine in: a real `xl` is a further Hypervisor.
"""

import json
import os
import shutil
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

XENOPSD = "/run/nonpersistent/xenopsd/classic"  # dom0's /var/run, where xenopsd writes, is a link to /run
FEATURES = {"feature-suspend": "1", "feature-shutdown": "1", "feature-reboot": "1"}


class CannotStart(Exception):
    """There is no domain, for the reason that xenopsd gives."""


class CannotCopy(Exception):
    """A guest's memory is not copied to another host, for the reason that xenguest gives."""


class GuestEnded(Exception):
    """In the middle of a copy, by itself: `reboot` or `shutdown`."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Vif(NamedTuple):
    """One that netback serves: no VF of xapi's own SR-IOV."""

    mac: str
    bridge: str


class Guest(NamedTuple):
    uuid: str
    name: str
    domain_type: str = "hvm"
    nomigrate: bool = False
    passthrough: bool = True  # whether Xen lets its domain have devices
    vifs: Sequence[Vif] = ()
    boot_order: str = ""  # of HVM_boot_params: c is the disk, d the CD, n the network; empty: "cd"


class Report(NamedTuple):
    """What is told of a running guest: xenopsd's words, and those of the guest itself."""

    domain_type: str
    nomigrate: bool
    features: Mapping[str, str]
    pv_drivers: bool = False


class Hypervisor:
    """Notes what it is asked for, as xenopsd's simulator does: no device is looked for, nothing fails."""

    migrates = False  # the simulator does not

    def __init__(self) -> None:
        self._domains: Dict[str, int] = {}
        self._plugged: Dict[str, List[str]] = {}
        self._last = 0
        self.unmigratable: Dict[str, str] = {}  # what QEMU says of the state of a VM's devices, if it does

    def keep(self, uuid: str, vm: Mapping[str, Any], pcis: Mapping[str, Any]) -> None:
        """xenopsd writes down what it knows of a VM: a Vm.t, and a Pci.t for each address."""

    def forget(self, uuid: str) -> None:
        """And takes it away."""

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

    def save(self, uuid: str) -> None:
        """Suspends the guest, and keeps its memory for its next start."""

    def receive(self, guest: Guest) -> None:
        """A domain for a guest that comes from another host; raises CannotStart."""

    def copy(
        self,
        uuid: str,  # noqa: ARG002 - another hypervisor needs it
        to: "Hypervisor",  # noqa: ARG002 - and this
        progress: Callable[[float], None],
    ) -> None:
        """Copies the memory of the running guest, up to its last page; raises CannotCopy, GuestEnded."""
        progress(0.5)

    def move_aside(self, uuid: str, aside: str) -> None:
        """Suspends the guest, and calls its domain by that UUID."""
        self._domains[aside] = self._domains.pop(uuid)
        self._plugged[aside] = self._plugged.pop(uuid)

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
        self._notes = threading.Lock()  # a VM's folder may be the last, or the first, of its parent

    def keep(self, uuid: str, vm: Mapping[str, Any], pcis: Mapping[str, Any]) -> None:
        """In files: the VM in VM/UUID/config, each device in PCI/UUID/pci.ADDRESS; a folder goes with its
        last file (ocaml/xenopsd/lib: xenops_utils.ml, FileFS; xenops_server.ml, VM_DB and PCI_DB)."""
        of_vm, of_devices = self._folders(uuid)
        names = {f"pci.{address}": pci for address, pci in pcis.items()}
        with self._notes:
            os.makedirs(of_vm, exist_ok=True)
            _write(of_vm, "config", vm)
            for name in set(_listed(of_devices)) - set(names):
                os.unlink(os.path.join(of_devices, name))
            for name, pci in names.items():
                os.makedirs(of_devices, exist_ok=True)
                _write(of_devices, name, pci)
            _remove_empty(of_devices, os.path.dirname(of_devices))

    def forget(self, uuid: str) -> None:
        with self._notes:
            for folder in self._folders(uuid):
                shutil.rmtree(folder, ignore_errors=True)
                _remove_empty(os.path.dirname(folder))

    def _folders(self, uuid: str) -> Tuple[str, str]:
        backend = self._machine.path(XENOPSD)
        return os.path.join(backend, "VM", uuid), os.path.join(backend, "PCI", uuid)

    def start(self, guest: Guest, addresses: Sequence[str]) -> int:
        import kernel_domains  # not there where the machine is a real one

        try:
            return int(self._machine.start_domain(guest.uuid, guest.name, addresses, guest.passthrough))
        except kernel_domains.CannotStart as error:
            raise CannotStart(str(error)) from None

    def stop(self, uuid: str) -> None:
        if self.domain(uuid) is not None:
            self._machine.stop_domain(uuid)

    def receive(self, guest: Guest) -> None:
        """ocaml/xenopsd/xc/domain.ml, make: CAP_DirectIO."""
        import kernel_domains

        with self._machine.changed() as sysfs:
            if guest.passthrough and not kernel_domains.iommu_active(sysfs):
                raise CannotStart('Invalid_argument("IOMMU unavailable")')

    def copy(self, uuid: str, to: Hypervisor, progress: Callable[[float], None]) -> None:
        """Xen does not watch what a domain writes that has a device (measured: Failed to enable logdirty)."""
        with self._machine.changed() as sysfs:
            for domain in sysfs.state["domains"].values():
                if domain["uuid"] == uuid and domain.get("assigned", domain["devices"]):
                    raise CannotCopy("xenguest Invalid argument")
        super().copy(uuid, to, progress)

    def move_aside(self, uuid: str, aside: str) -> None:
        self._machine.rename_domain(uuid, aside)

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
        return Report(guest.domain_type, guest.nomigrate, FEATURES, pv_drivers=True)


def _write(folder: str, name: str, record: Any) -> None:
    """Whole or not at all, by a file of another name (xenops_utils.ml, FileFS.write)."""
    path = os.path.join(folder, name)
    with open(f"{path}.tmp", "w") as file:
        json.dump(record, file)
    os.replace(f"{path}.tmp", path)


def _listed(folder: str) -> List[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _remove_empty(*folders: str) -> None:
    for folder in folders:
        with suppress(OSError):
            os.rmdir(folder)


def hypervisor_of(machine: Any) -> Hypervisor:
    """That of a host whose dom0 has this machine; a real dom0's guests are notes."""
    return OnMachine(machine) if hasattr(machine, "start_domain") else Hypervisor()
