"""What a setup has got to: kept in the pool, so that any workstation can go on, and says so at any command.

A key of pool.other_config is changed by taking it out and adding it again, two calls, between which a program
may be killed. So the state is `sriov-setup.N`: the next one is added before the last one goes, and the
highest counts. Adding a key that is there is refused (xen-api: MAP_DUPLICATE_KEY), so of two that write the
same N one finds that it is no longer its setup.
"""

import json
import re
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from sriovlib.safetext import plural, safe, shortened

from .. import clock
from ..errors import Failed
from ..pool import UNREADABLE, Pool, key_removal
from .plan import STOP, Wish

KEY = "sriov-setup."
ALIVE = "sriov-setup-alive"  # the master's time, written again and again by the program that is at work
ASKED = "sriov-setup-asked"  # what another program asks of it: PAUSE or END
PAUSE, END = "pause", "stop"
ALIVE_SECONDS = 10.0  # from one sign of life to the next; after three none is at work

WAITING, DRAINING, APPLYING, REBOOTING = "Waiting", "Draining", "Applying", "Rebooting"
VERIFYING, DONE, FAILED = "Verifying", "Done", "Failed"
PHASES = (WAITING, DRAINING, APPLYING, REBOOTING, VERIFYING, DONE, FAILED)


class HostState(NamedTuple):
    """`since` is the workstation's time. `down` is the host's own, before it was told to reboot, so that a
    later boot is the one that was asked for, and `booted` when it had been booted then."""

    phase: str = WAITING
    since: float = 0.0
    note: str = ""  # why it has failed
    down: float = 0.0
    booted: float = 0.0
    rebooted: bool = False
    disabled: bool = False  # by us


class Options(NamedTuple):
    pinned: str = STOP
    parallel: int = 1
    unavailable: int = 1
    batch: int = 0  # VMs that a host's evacuation moves at a time; 0: what its xapi.conf says
    minutes: int = 30  # that a reboot may take
    # VMs with VFs are moved on a product on which nobody has confirmed that it works.
    unconfirmed: bool = False

    @property
    def allowed(self) -> Dict[str, str]:
        """Arguments of migrate_vm, see relocation.planned."""
        return {"unconfirmed": "true"} if self.unconfirmed else {}


class State(NamedTuple):
    who: str
    begun: float
    wish: Wish
    options: Options
    hosts: Dict[str, HostState]  # by UUID, in the order in which they are done
    vms: Dict[str, str]  # VMs that were shut down and must be started: UUID -> UUID of their host
    off: Dict[str, Any]  # what was turned off in the pool: `ha` (SRs, configuration), `auto_poweron`
    halted: str = ""  # why nobody is at it

    def with_host(self, uuid: str, **changes: Any) -> "State":
        before = self.hosts[uuid]
        if changes.get("phase", before.phase) != before.phase:
            changes["since"] = time.time()
        return self._replace(hosts={**self.hosts, uuid: before._replace(**changes)})

    def to_json(self) -> str:
        document = {
            "who": self.who,
            "begun": self.begun,
            "wish": self.wish._asdict(),
            "options": self.options._asdict(),
            "hosts": {uuid: _short(host) for uuid, host in self.hosts.items()},
            "vms": self.vms,
            "off": self.off,
            "halted": self.halted,
        }
        return json.dumps(document, separators=(",", ":"))


def _short(host: HostState) -> Dict[str, Any]:
    usual = HostState()._asdict()
    return {name: value for name, value in host._asdict().items() if value != usual[name]}


def from_json(text: str) -> State:
    """Raises one of UNREADABLE where it is none."""
    document = json.loads(text)
    wish = document["wish"]
    hosts = {uuid: _of(HostState(), fields) for uuid, fields in document["hosts"].items()}
    for host in hosts.values():
        if host.phase not in PHASES:
            raise ValueError(f"a host is {host.phase}")
    known = {name: document["options"][name] for name in Options._fields if name in document["options"]}
    off = dict(document["off"])
    if "ha" in off:
        off["ha"] = {"srs": list(off["ha"]["srs"]), "configuration": dict(off["ha"]["configuration"])}
    return State(
        str(document["who"]),
        float(document["begun"]),
        Wish(tuple(map(str, wish["pfs"])), tuple(map(str, wish["networks"])), int(wish["vfs"])),
        _of(Options(), known),
        hosts,
        {vm: str(home) for vm, home in document["vms"].items()},
        off,
        str(document["halted"]),
    )


def _of(usual: Any, fields: Dict[str, Any]) -> Any:
    """The usual one with these fields, each of the type that it has there."""
    for name, value in fields.items():
        kind = type(getattr(usual, name))
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError(f"{name} is {value!r}")
    return usual._replace(**fields)


def read(keys: Mapping[str, str]) -> Optional[Tuple[int, State]]:
    """The state in the pool's other_config, and its number; raises Failed where it cannot be read."""
    numbers = _numbers(keys)
    if not numbers:
        return None
    try:
        return numbers[-1], from_json(keys[f"{KEY}{numbers[-1]}"])
    except UNREADABLE as error:
        key, why = f"{KEY}{numbers[-1]}", shortened(safe(str(error)))
        raise Failed(
            "SETUP_UNREADABLE",
            f"The pool's record of a setup, {key}, cannot be read: {why}.",
            "Was it written by a newer sriovctl? Look at it: `xe pool-list params=other-config`. To drop it: "
            f"{key_removal(key)}; then see to hosts that are disabled, to halted VMs, and to HA.",
        ) from error


class Keeper:
    """The state of the setup that this program is at. Each change is in the pool before `change` returns."""

    def __init__(self, pool: Pool, number: int, state: State) -> None:
        self.pool = pool
        self.state = state
        self._number = number
        self._lock = threading.Lock()
        self._text = ""  # what was written last, or was to be

    def change(self, change: Callable[[State], State]) -> State:
        with self._lock:
            after = change(self.state)
            if after != self.state or not self._text:
                self._write(after)
            return self.state

    def _write(self, state: State) -> None:
        keys = self.pool.other_config()
        found = read(keys)
        if found is not None and keys[f"{KEY}{found[0]}"] == self._text:
            self._number = found[0]  # also by an attempt whose answer was lost
        if (found[0] if found else 0) != self._number:
            raise taken_over(found[1] if found else None)
        self._text = state.to_json()
        try:
            self._add(f"{KEY}{self._number + 1}", self._text)
        except Failed as failed:
            if failed.code != "MAP_DUPLICATE_KEY":
                raise
            now = read(self.pool.other_config())
            raise taken_over(now[1] if now else None) from failed
        self.state = state
        self._number += 1
        for key in _lower(keys, self._number):
            self._remove(key)

    def end(self) -> None:
        """Nothing is left of it; what counts goes last."""
        keys = self.pool.other_config()
        for key in [ASKED, ALIVE, *_lower(keys, self._number + 1)]:
            if key in keys:
                self._remove(key)

    def asked(self) -> str:
        """What another program wants of this one."""
        return self.pool.other_config().get(ASKED, "")

    def sign_of_life(self) -> None:
        now = clock.of_host(self.pool, self.pool.master_host)
        self._remove(ALIVE)
        self._add(ALIVE, str(now))

    def nobody_is_at_it(self) -> None:
        self._remove(ALIVE)

    def _add(self, key: str, text: str) -> None:
        self.pool.call("pool.add_to_other_config", self.pool.ref, key, text)

    def _remove(self, key: str) -> None:
        self.pool.call("pool.remove_from_other_config", self.pool.ref, key)


def begin(pool: Pool, state: State) -> Keeper:
    """The first one wins; the second is told whose the first is."""
    keys = pool.other_config()
    found = read(keys)
    if found is not None:
        raise under_way(pool, found[1])
    for left in (ASKED, ALIVE):
        if left in keys:
            pool.call("pool.remove_from_other_config", pool.ref, left)
    keeper = Keeper(pool, 0, state)
    try:
        keeper.change(lambda before: before)
    except Failed as failed:
        if failed.code != "SETUP_TAKEN_OVER":
            raise
    found = read(pool.other_config())
    if found is None or found[1] != state:
        raise under_way(pool, found[1] if found else state)
    return keeper


def go_on(pool: Pool, who: str, change: Callable[[State], State]) -> Keeper:
    """The one that was left, taken over; refused while somebody is at it."""
    keys = pool.other_config()
    found = read(keys)
    if found is None:
        raise Failed("NO_SETUP", "No setup is under way, and none was left.", "`sriovctl setup --help`.")
    if is_alive(pool, keys):
        raise under_way(pool, found[1])
    keeper = Keeper(pool, *found)
    keeper.change(lambda before: change(before._replace(who=who, halted="")))
    if ASKED in keys:
        pool.call("pool.remove_from_other_config", pool.ref, ASKED)
    return keeper


def ask(pool: Pool, what: str) -> None:
    """Has the program that is at work do that, when the hosts that it is at are done."""
    pool.call("pool.remove_from_other_config", pool.ref, ASKED)
    pool.call("pool.add_to_other_config", pool.ref, ASKED, what)


def is_alive(pool: Pool, keys: Mapping[str, str]) -> bool:
    """Whether a program is at work: its last sign of life, by the master's clock on both sides."""
    try:
        last = float(keys[ALIVE])
    except (KeyError, ValueError):
        return False
    # A sign of the future is none either: a clock that was set back must not keep everybody off for hours.
    return abs(clock.of_host(pool, pool.master_host) - last) < 3 * ALIVE_SECONDS


def _lower(keys: Mapping[str, str], number: int) -> List[str]:
    """The names of the states before that one, in their order."""
    return [f"{KEY}{one}" for one in _numbers(keys) if one < number]


def _numbers(keys: Mapping[str, str]) -> List[int]:
    return sorted(int(key[len(KEY) :]) for key in keys if re.fullmatch(re.escape(KEY) + "[0-9]{1,15}", key))


def taken_over(by: Optional[State]) -> Failed:
    if by is None:
        return Failed(
            "SETUP_TAKEN_OVER", "Somebody has ended this setup.", "`sriovctl status` shows the hosts."
        )
    return Failed(
        "SETUP_TAKEN_OVER",
        f"{safe(by.who)} has taken this setup over, or begun another.",
        "`sriovctl setup status` shows how far it is.",
    )


def under_way(pool: Pool, state: State) -> Failed:
    return Failed(
        "SETUP_UNDER_WAY",
        f"There is a setup already. {summary(state, pool.host_name)}",
        "`sriovctl setup status` shows it. If nobody is at it, `sriovctl setup resume` goes on, and "
        "`sriovctl setup stop` ends it.",
    )


def when(seconds: float) -> str:
    """A time as people read it, here."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):  # no time at all
        return "?"


def summary(state: State, name: Callable[[str], str]) -> str:
    """Whose it is, and what is not as it should be meanwhile. `name`: of the host with that UUID."""
    said = [f"Setup by {safe(state.who)} of {when(state.begun)}"]
    said[0] += f", {state.halted}:" if state.halted else ":"
    for uuid, host in state.hosts.items():
        if host.phase not in (WAITING, DONE):
            out = ", disabled by it" if host.disabled else ""
            said.append(f"host {name(uuid)} {host.phase} since {when(host.since)}{out};")
    done = sum(1 for host in state.hosts.values() if host.phase == DONE)
    said.append(f"{done} of {plural(len(state.hosts), 'host')} done;")
    if state.vms:
        said.append(f"{plural(len(state.vms), 'VM')} shut down by it;")
    if "ha" in state.off:
        said.append("HA turned off by it;")
    if "auto_poweron" in state.off:
        said.append("auto_poweron turned off by it;")
    return " ".join(said)[:-1] + "."


def notice(pool: Pool) -> Optional[str]:
    """What every command says of a setup that is not over, None where there is none."""
    try:
        found = read(pool.record["other_config"])
    except Failed as failed:
        return str(failed)
    if found is None:
        return None
    return (
        f"{summary(found[1], pool.host_name)} On a workstation `sriovctl setup status` "
        "shows it; if nobody is at it, `sriovctl setup resume` goes on, and `sriovctl setup stop` puts back "
        "what it turned off."
    )
