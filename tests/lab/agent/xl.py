"""A real Xen as the hypervisor below xenopsd: guests are started, ended and watched by `xl`, in any dom0."""

import os
import threading
from typing import Callable, Dict, List, Optional, Sequence

from hypervisor import FEATURES, CannotStart, Guest, Hypervisor, Report
from programs import Ended, Programs
from reach import Reach
from values import Failure

PCIBACK = "/sys/bus/pci/drivers"
REBOOT = "1"  # why a domain ended (xen: public/sched.h, SHUTDOWN_reboot)

WhenEnded = Callable[[str, int, str], None]  # told of the VM's UUID, its domain and Xen's reason


class Xl(Hypervisor):
    """The guests of one host, which `reach` knows. A domain that ends by itself stays until it is stopped."""

    migrates = True

    def __init__(self, programs: Programs, reach: Reach, host: str, when_ended: WhenEnded) -> None:
        super().__init__()
        self._programs = programs
        self._reach = reach
        self._host = host
        self._when_ended = when_ended

    def start(self, guest: Guest, addresses: Sequence[str]) -> int:
        """As xenopsd does: whatever has a device here loses it to pciback (ocaml/xenopsd/xc/device.ml)."""
        if addresses and "pciback" not in self._programs.names(PCIBACK):
            raise CannotStart("PCIBack_not_loaded")
        ended = self._run("guest-create", guest.name, guest.uuid, *addresses)
        domain = self.domain(guest.uuid)
        if ended.status or domain is None:
            self.stop(guest.uuid)
            raise CannotStart(ended.stderr.decode("utf-8", "replace").strip())
        threading.Thread(target=self._watch, args=(guest.uuid, domain), daemon=True).start()
        return domain

    def stop(self, uuid: str) -> None:
        domain = self.domain(uuid)
        if domain is not None:
            self._run("xl", "destroy", str(domain))

    def domain(self, uuid: str) -> Optional[int]:
        return self._running().get(uuid)

    def plugged(self, uuid: str) -> List[str]:
        domain = self.domain(uuid)
        listed = self._run("xl", "pci-list", str(domain)).stdout.decode() if domain is not None else ""
        return [line.split()[1] for line in listed.splitlines()[1:]]  # Vdev Device

    def arguments_of_hooks(self, uuid: str) -> List[str]:
        domain = self.domain(uuid)
        return [] if domain is None else ["-vmdomid", str(domain)]

    def report(self, guest: Guest) -> Report:
        return Report("pv", guest.nomigrate, FEATURES)

    def _watch(self, uuid: str, domain: int) -> None:
        """Until the domain has ended: by itself, or because it was stopped, which is of no interest."""
        try:
            said = self._run("guest-wait", str(domain)).stdout.decode().split()
        except (OSError, Failure):
            return  # the host is gone
        if said:
            self._when_ended(uuid, domain, said[0])

    def _running(self) -> Dict[str, int]:
        """By UUID. `xl list -v`: Name ID Mem VCPUs State Time UUID Reason Label."""
        listed = self._run("xl", "list", "-v").stdout.decode("utf-8", "replace")
        rows = [line.split() for line in listed.splitlines()[1:]]
        return {row[6]: int(row[1]) for row in rows if len(row) > 6}

    def _run(self, *words: str) -> Ended:
        return self._programs.run(
            [b"/usr/bin/env", *map(os.fsencode, words)],
            {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"},
            lambda process: self._reach.at_work(self._host, process),
        )
