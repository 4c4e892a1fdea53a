"""The service sriov-metrics: reads what VFs in use carry, each time just before xcp-rrdd reads it from here.

Nothing depends on it. It asks nothing while no VF in use is counted, and where something is silent it says
nothing of VFs rather than something old.
"""

import sys
import time
from typing import Dict, FrozenSet, List, Optional, Set, Tuple

from ..config import sriov_conf
from ..machine import vf_counters
from ..machine.host import RUN_FOLDER, Host
from ..machine.metrics_file import MetricsFile
from ..machine.xenstore_watch import ALL, Watch
from ..safetext import plural
from ..vf import start_notes
from ..xapi import rrdd
from ..xapi.rrdd import PERIOD
from ..xapi.session import XapiSilent
from . import counted_vfs, payload, rates, textfile
from .counted_vfs import CountedVf, Found
from .drivers import Counting
from .payload import Request, Source
from .rates import Carried, Reading

UID = "xapi-sriov"
TEXTFILE = f"{RUN_FOLDER}/metrics.prom"
LEAD = 0.5  # seconds before rrdd's reading: rrdp-netdev's
LEAST = 0.1
IDLE_SECONDS = 60.0  # between looks at what tells of no change: /etc/sriov.conf, ports that come back
SETTLE_SECONDS = 1.0  # a VM's devices come one after the other
NEVER = float("inf")


class Service:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._file = MetricsFile(host, UID)
        self._watch: Optional[Watch] = None
        self._found = counted_vfs.NOTHING
        self._moved: Set[int] = set()  # domains that may have got or lost devices
        self._look_at = 0.0  # when to look who has what, whatever has happened
        self._before: Dict[str, Reading] = {}
        self._held: FrozenSet[Request] = frozenset()  # by running VMs, as far as xenstore told last
        self._counting: Dict[Request, Counting] = {}  # of all that rrdd was told of and may be told of again
        self._lost: Dict[Request, float] = {}  # those of them whose VM has no VF now, since when
        self._trouble: Dict[str, str] = {}
        self._sources: List[Source] = []
        self._described = payload.metadata([])
        self._conf: Optional[Tuple[int, ...]] = ()  # version of /etc/sriov.conf; None: there is no such file
        self._on = True
        self._has_textfile = False
        self._totals: Dict[str, Carried] = {}
        self._status: Optional[int] = None  # of the process, once it was told to end
        self._waits = False

    def run(self) -> int:
        """Until /etc/sriov.conf says `metrics = no`, or the process is told to end; its exit status."""
        try:
            while self._status is None and self.is_wanted():
                self.wait(self.turn())
            if self._status is None:
                self._host.log("sriov-metrics ends: metrics = no in /etc/sriov.conf")
            return self._status or 0
        finally:
            self.end()

    def tell_to_end(self, status: int) -> None:
        """For a handler of signals. Python loses what a handler raises in a callback of its own, as importlib
        has them, so a reading comes to its end first."""
        self._status = status
        if self._waits:
            sys.exit(status)

    def end(self) -> None:
        self._file.remove()
        self._host.try_to_remove(TEXTFILE)
        self._forget_watch()

    def is_wanted(self) -> bool:
        """Looks into the file when it has changed."""
        try:
            version: Optional[Tuple[int, ...]] = self._host.version(sriov_conf.PATH)
        except OSError:
            version = None
        if version != self._conf:
            conf = sriov_conf.read(self._host)
            if not conf.readable:  # what it said before may be what it says
                self._say("conf", f"{sriov_conf.PATH}: {conf.errors[0]}")
                return self._on
            self._conf = version
            self._on, self._has_textfile = conf.metrics, conf.textfile
            self._is_over("conf", f"{sriov_conf.PATH} is read")
        return self._on

    def turn(self) -> float:
        """One reading; seconds until the next is due."""
        carried = self.read()
        self._totals = rates.added(self._totals, carried)
        self._totals = {vf: self._totals[vf] for vf in self._totals if vf in self._found.vfs}
        self._write_textfile()
        told = self._to_tell(carried)
        if not (told or self._found.vfs):
            self._file.remove()
            return IDLE_SECONDS if self._watch is not None else PERIOD
        try:
            if self._file.write(self._payload(told)):
                rrdd.forget(self._host, UID)
            wait = (rrdd.next_reading(self._host, UID) - LEAD) % PERIOD
        except (OSError, XapiSilent) as error:
            self._file.remove()  # when rrdd comes back it must find nothing old
            about = (self._file.path, error.strerror) if isinstance(error, OSError) else (rrdd.SOCKET, error)
            self._say("rrdd", "xcp-rrdd gets no statistics of VFs: {}: {}".format(*about))
            return PERIOD
        self._is_over("rrdd", "xcp-rrdd gets statistics of VFs")
        return wait if wait >= LEAST else wait + PERIOD

    def wait(self, seconds: float) -> None:
        """Or until xenstore tells of a change, where there is nothing to read yet, or the process is told to
        end."""
        until = time.monotonic() + seconds
        while self._status is None and time.monotonic() < until:
            self._sleep(until - time.monotonic())
            if self._watch is None:  # the next reading asks for it
                continue
            self._moved |= self._changed()
            if self._watch is None:
                return
            if self._moved and not self._found.vfs:
                time.sleep(SETTLE_SECONDS)
                return

    def _sleep(self, seconds: float) -> None:
        """Not long: of a signal that comes just before a system call Python knows only after it."""
        self._waits = True
        if self._status is None:
            (self._watch.wait if self._watch else time.sleep)(min(seconds, PERIOD))
        self._waits = False

    # -- reading -----------------------------------------------------------------------------------

    def read(self) -> Dict[str, Carried]:
        """VF -> what it carries, of all of which that is known."""
        moved = self._moved | self._changed()
        self._moved = set()
        if moved or time.monotonic() >= self._look_at:
            self._look()
        now = self._ask()
        late = self._changed()  # of these it is not known whom the reading is of: the next look forgets it
        self._moved |= late
        before = rates.untouched(self._before, moved | late)
        oldest = time.monotonic() - rates.LONGEST
        self._before = {vf: one for vf, one in before.items() if vf in self._found.vfs and one.at >= oldest}
        carried = rates.between(self._before, now)
        self._before.update(now)
        return carried

    def _changed(self) -> Set[int]:
        """Domains that may have got or lost devices; ALL as long as xenstore does not tell."""
        try:
            if self._watch is None:
                self._watch = Watch(self._host)
                self._is_over("xenstore", "xenstore tells which VMs have VFs")
                return {ALL}
            return self._watch.changed()
        except OSError as error:
            self._forget_watch()
            self._say("xenstore", f"xenstore does not tell which VMs have VFs: {error.strerror or error}")
            return {ALL}

    def _forget_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = None

    def _look(self) -> None:
        found: Optional[Found] = counted_vfs.look(self._host) if self._watch is not None else None
        self._found = found or counted_vfs.NOTHING
        if found is not None:
            self._held = found.requests
            self._forget_lost()
        later = time.monotonic() + IDLE_SECONDS if self._found.without_port else NEVER
        self._look_at = 0.0 if found is None else later
        for note in self._found.notes:
            self._say(note, note)

    def _forget_lost(self) -> None:
        """What is not back after as long as a reboot may take: a host sees many VMs come and go."""
        now = time.monotonic()
        self._lost = {one: self._lost.get(one, now) for one in self._counting if one not in self._held}
        for request in [one for one, since in self._lost.items() if now - since > start_notes.STALE_SECONDS]:
            del self._counting[request]

    def _ask(self) -> Dict[str, Reading]:
        """One question a port; a port that does not answer stops none of the others."""
        by_port: Dict[int, Dict[str, CountedVf]] = {}
        for vf, one in self._found.vfs.items():
            by_port.setdefault(one.port, {})[vf] = one
        found: Dict[str, Reading] = {}
        silent = []
        for port, of_port in by_port.items():
            interface = next(iter(of_port.values())).interface
            try:
                told = vf_counters.read(self._host, port)
            except OSError as error:
                silent.append(f"{interface}: {error.strerror or error}")
                self._look_at = min(self._look_at, time.monotonic() + IDLE_SECONDS)
                continue
            at = time.monotonic()
            if told.name != interface:  # it was renamed, and its name may be another port's by now
                self._look_at = 0.0
            if len(told.vfs) < told.num_vfs:
                silent.append(
                    f"{interface}: the kernel tells of {len(told.vfs)} of {plural(told.num_vfs, 'VF')}"
                )
            for vf, one in of_port.items():
                counters = told.vfs.get(one.number)
                if counters is not None and rates.is_told(counters):
                    found[vf] = Reading(one.holder, port, at, counters)
        if silent:
            self._say("ports", "; ".join(silent))
        else:
            self._is_over("ports", "all ports tell what their VFs carry")
        return found

    # -- what is said ------------------------------------------------------------------------------

    def _to_tell(self, carried: Dict[str, Carried]) -> Dict[Request, Tuple[Counting, Optional[Carried]]]:
        """Of all requests that have a VF and that rrdd was told of once: None where nothing is known now."""
        known = payload.by_request(carried)
        self._counting.update({request: self._found.vfs[vf].counting for request, vf in known.items()})
        return {
            request: (counting, carried[known[request]] if request in known else None)
            for request, counting in self._counting.items()
            if request in self._held
        }

    def _payload(self, told: Dict[Request, Tuple[Counting, Optional[Carried]]]) -> bytes:
        sources, values = payload.sources(told)
        if sources != self._sources:
            self._sources, self._described = sources, payload.metadata(sources)
        return payload.payload(values, self._described, time.time())

    def _write_textfile(self) -> None:
        """Of the VFs of which there is a reading; of none there is no file."""
        told = {vf: one for vf, one in self._found.vfs.items() if vf in self._before}
        if not (self._has_textfile and told):
            self._host.try_to_remove(TEXTFILE)
            return
        try:
            self._host.make_folder(RUN_FOLDER)
            self._host.replace_file(TEXTFILE, textfile.text(told, self._totals).encode("utf-8", "replace"))
        except OSError as error:
            self._host.try_to_remove(TEXTFILE)
            self._say("textfile", f"{TEXTFILE} cannot be written: {error.strerror}")
        else:
            self._is_over("textfile", f"{TEXTFILE} is written")

    def _say(self, about: str, text: str) -> None:
        """Once."""
        if self._trouble.get(about) != text:
            self._trouble[about] = text
            self._host.log(f"sriov-metrics: {text}")

    def _is_over(self, about: str, text: str) -> None:
        if self._trouble.pop(about, None) is not None:
            self._host.log(f"sriov-metrics: {text} again")
