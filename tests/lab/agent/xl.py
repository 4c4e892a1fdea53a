"""A real Xen as the hypervisor below xenopsd: `xl` starts, moves, ends and watches guests, in any dom0."""

import os
import re
import threading
from typing import Callable, Dict, List, Optional, Sequence

import lines
from hypervisor import FEATURES, CannotCopy, CannotStart, Guest, GuestEnded, Hypervisor, Report
from programs import Ended, Programs
from reach import Reach
from values import Failure, internal_error

PCIBACK = "/sys/bus/pci/drivers"
DEVICE = re.compile(r'^dev-(\d+) = "(.*)"$', re.MULTILINE)
HVM = "hvm"  # VM.domain_type of those that ask for it; all others are PV
RUNS, REBOOT, SUSPENDED = "-", "1", "2"  # why a domain ended (xen: public/sched.h, SHUTDOWN_reboot)
SAVED = "/var/lib/xen"  # what suspended guests were, by their UUIDs

WhenEnded = Callable[[str, int, str], None]  # told of the VM's UUID, its domain and Xen's reason


class Xl(Hypervisor):
    """The guests of one host, which `reach` knows. A domain that ends by itself stays until it is stopped."""

    migrates = True

    def __init__(
        self, programs: Programs, reach: Reach, host: str, address: str, when_ended: WhenEnded
    ) -> None:
        """`address`: where the other hosts' dom0s reach this one's."""
        super().__init__()
        self._programs = programs
        self._reach = reach
        self._host = host
        self._address = address
        self._expected: Optional[Guest] = None
        self._when_ended = when_ended

    def start(self, guest: Guest, addresses: Sequence[str]) -> int:
        """As xenopsd does: whatever has a device here loses it to pciback (ocaml/xenopsd/xc/device.ml). A
        guest that has come from another host is here, paused, and goes on; so does one that was saved."""
        if addresses and "pciback" not in self._programs.names(PCIBACK):
            raise CannotStart("PCIBack_not_loaded")
        domain, is_saved = self.domain(guest.uuid), guest.uuid in self._programs.names(SAVED)
        if addresses and (domain is not None or is_saved):
            raise CannotStart(f"the lab plugs nothing into a guest that arrives: {', '.join(addresses)}")
        if is_saved:
            ended = self._run(
                "guest-restore", f"{SAVED}/{guest.uuid}", *_options(guest), guest.name, guest.uuid
            )
        elif domain is None:
            ended = self._run("guest-create", *_options(guest), guest.name, guest.uuid, *addresses)
        else:
            ended = self._run("xl", "unpause", str(domain))
        domain = self.domain(guest.uuid)
        if ended.status or domain is None:
            self.stop(guest.uuid)
            raise CannotStart(_said(ended))
        threading.Thread(target=self._watch, args=(guest.uuid, domain), daemon=True).start()
        return domain

    def save(self, uuid: str) -> None:
        ended = self._run("xl", "save", str(self.domain(uuid)), f"{SAVED}/{uuid}")
        if ended.status:
            raise internal_error(f"xenopsd internal error: {_said(ended)}")

    def receive(self, guest: Guest) -> None:
        """Listens for it. `xl` makes its domain, when it hears what to make."""
        self._expected = guest
        ended = self._run("guest-receive", str(lines.GUESTS))
        if ended.status:
            raise CannotStart(_said(ended))

    def copy(self, uuid: str, to: Hypervisor, progress: Callable[[float], None]) -> None:
        """`xl` does all of it: the guest is suspended, has gone from here, and is paused there at the end. A
        domain that has ended by itself is not copied, and stays as it is."""
        assert isinstance(to, Xl)
        guest = to._expected
        assert guest is not None
        assert guest.uuid == uuid
        where = (to._address, str(lines.GUESTS))
        ended = self._run("guest-send", *where, *_options(guest), guest.name, guest.uuid)
        if ended.status:
            reason = self._why_ended(uuid)
            if reason:
                raise GuestEnded("reboot" if reason == REBOOT else "shutdown")
            raise CannotCopy(_said(ended))
        progress(1.0)

    def move_aside(self, uuid: str, aside: str) -> None:
        """Nothing is left to put aside."""

    def stop(self, uuid: str) -> None:
        domain = self.domain(uuid)
        if domain is not None:
            self._run("xl", "destroy", str(domain))

    def domain(self, uuid: str) -> Optional[int]:
        return self._running().get(uuid)

    def plugged(self, uuid: str) -> List[str]:
        """By the keys that xenopsd goes by, and xl writes too (ocaml/xenopsd/xc/device.ml, PCI.list)."""
        domain = self.domain(uuid)
        if domain is None:
            return []
        listed = self._run("xenstore-ls", f"/local/domain/0/backend/pci/{domain}/0").stdout.decode()
        found = {int(number): address for number, address in DEVICE.findall(listed)}
        return [found[number] for number in sorted(found)]

    def arguments_of_hooks(self, uuid: str) -> List[str]:
        domain = self.domain(uuid)
        return [] if domain is None else ["-vmdomid", str(domain)]

    def report(self, guest: Guest) -> Report:
        kind = HVM if guest.domain_type == HVM else "pv"
        return Report(kind, guest.nomigrate, FEATURES, pv_drivers=True)

    def _watch(self, uuid: str, domain: int) -> None:
        """Until the domain has ended: by itself, or because it was stopped, which is of no interest."""
        try:
            said = self._run("guest-wait", str(domain)).stdout.decode().split()
        except (OSError, Failure):
            return  # the host is gone
        if said:
            self._when_ended(uuid, domain, said[0])

    def _why_ended(self, uuid: str) -> str:
        """Empty: it has not, or was suspended."""
        (*_, reason) = [row[7] for row in self._rows() if row[6] == uuid] or [RUNS]
        return "" if reason in (RUNS, SUSPENDED) else reason

    def _running(self) -> Dict[str, int]:
        """By UUID."""
        return {row[6]: int(row[1]) for row in self._rows()}

    def _rows(self) -> List[List[str]]:
        """`xl list -v`: Name ID Mem VCPUs State Time UUID Reason Label."""
        listed = self._run("xl", "list", "-v").stdout.decode("utf-8", "replace")
        rows = [line.split() for line in listed.splitlines()[1:]]
        return [row for row in rows if len(row) > 7]

    def _run(self, *words: str) -> Ended:
        return self._programs.run(
            [b"/usr/bin/env", *map(os.fsencode, words)],
            {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"},
            lambda process: self._reach.at_work(self._host, process),
        )


def _options(guest: Guest) -> List[str]:
    """What guest-config is told of a guest that is HVM; only such guests have VIFs here."""
    if guest.domain_type != HVM:
        return []
    vifs = [word for vif in guest.vifs for word in ("--vif", f"{vif.mac},{vif.bridge}")]
    passthrough = ["--passthrough"] if guest.passthrough else []
    boot = ["--network-boot"] if guest.boot_order.startswith("n") else []
    return ["--hvm", *vifs, *passthrough, *boot]


def _said(ended: Ended) -> str:
    return ended.stderr.decode("utf-8", "replace").strip()
