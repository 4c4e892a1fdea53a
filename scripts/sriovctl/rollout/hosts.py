"""What is done to one host after the other of a setup: a state, its step, the next state.

A step is recorded before it is begun, and looks before it acts. So a program that ends anywhere leaves a
record that another one goes on from, and nothing is put right by a `finally` that a kill would leave out.
"""

import threading
from typing import Callable, Dict, List

from .. import clock, names
from ..errors import Failed
from ..pool import Host, Pool
from . import pinned_vms, steps
from . import plan as plans
from . import state as states
from .plan import HostPlan
from .state import Keeper, State


class Voice:
    """How a run speaks: `tell` of what is waited for, `say` what stays to be read, `error` a failure."""

    def tell(self, text: str) -> None:
        raise NotImplementedError

    def say(self, text: str) -> None:
        raise NotImplementedError

    def error(self, failed: Failed, what: str = "") -> None:
        raise NotImplementedError


class Hosts:
    """The hosts of the setup of this keeper."""

    def __init__(self, pool: Pool, keeper: Keeper, voice: Voice, patience: float) -> None:
        """`patience`: seconds that a host may take to answer a question."""
        self.pool = pool
        self.keeper = keeper
        self.voice = voice
        self.patience = patience
        self.hosts = {host.uuid: host for host in pool.hosts}
        self._texts: Dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        return self.keeper.state

    def _change(self, change: Callable[[State], State]) -> None:
        steps.patiently(lambda: self.keeper.change(change), self.voice.tell)

    def _change_host(self, uuid: str, phase: str = "", **changes: object) -> None:
        if phase:
            changes["phase"] = phase
        self._change(lambda state: state.with_host(uuid, **changes))
        if phase:
            self._tell(uuid, phase)

    # -- what is said ----------------------------------------------------------------------------------

    def _tell(self, uuid: str, text: str) -> None:
        with self._lock:
            self._texts[uuid] = text
            self.voice.tell("; ".join(f"{self._name(one)} {said}" for one, said in self._texts.items()))

    def _teller(self, uuid: str) -> Callable[[str], None]:
        return lambda text: self._tell(uuid, f"{self.state.hosts[uuid].phase}: {text}")

    def _name(self, uuid: str) -> str:
        return self.hosts[uuid].name if uuid in self.hosts else uuid

    def _in(self, *phases: str) -> List[str]:
        """UUIDs of those in one of these phases."""
        return [uuid for uuid, host in self.state.hosts.items() if host.phase in phases]

    def _do_host(self, uuid: str) -> None:
        """Its steps from where it is, until it is done or has failed, and then is given back."""
        do = {
            states.WAITING: self._look,
            states.DRAINING: self._drain,
            states.APPLYING: self._apply,
            states.REBOOTING: self._reboot,
            states.VERIFYING: self._verify,
        }
        try:
            while self.state.hosts[uuid].phase in do:
                do[self.state.hosts[uuid].phase](uuid)
            self.voice.say(f"Host {self._name(uuid)}: done.")
        except Failed as failed:
            if failed.code == "SETUP_TAKEN_OVER":
                raise
            self._change_host(uuid, states.FAILED, note=failed.message)
            self.voice.error(failed)
            if self.state.hosts[uuid].disabled:
                self._give_back(uuid)

    def _plan(self, uuid: str) -> HostPlan:
        wish, pinned, ours = self.state.wish, self.state.options.pinned, self.state.hosts[uuid].disabled

        def look() -> HostPlan:
            seen = steps.look(self.pool, steps.refreshed(self.pool, self.hosts[uuid]), wish)
            return plans.of_host(seen, wish, pinned, False, ours)

        return steps.patiently(look, self._teller(uuid))

    def _unblocked(self, uuid: str) -> HostPlan:
        """Its plan; Failed where something has come into its way."""
        found = self._plan(uuid)
        if found.blockers:
            raise found.blockers[0]
        return found

    def _look(self, uuid: str) -> None:
        found = self._unblocked(uuid)
        if found.nothing:
            self._back_in_service(uuid)  # of a setup that is taken up again it may be out of it, or its VMs
            self._change_host(uuid, states.DONE)
        elif found.reboot:
            self._change_host(uuid, states.DRAINING, disabled=True)
        else:
            self._change_host(uuid, states.APPLYING)

    def _drain(self, uuid: str) -> None:
        host, tell, options = self.hosts[uuid], self._teller(uuid), self.state.options
        steps.wait_for_operations(self.pool, host, options.minutes * 60, tell)
        found = self._unblocked(uuid)
        stop = [guest.uuid for guest in found.stop]
        homes = dict.fromkeys(stop, uuid)
        self._change(lambda state: state._replace(vms={**state.vms, **homes}))
        if options.pinned in (plans.RELOCATE, plans.MIGRATE):
            self._relocate(uuid)  # while the host still takes those back that fail
        steps.disable(self.pool, host)
        if options.pinned == plans.SHUTDOWN:
            pinned_vms.shut_down(self.pool, stop, tell)
        steps.evacuate(self.pool, host, options.batch, tell)
        left = steps.guests(self.pool, host)
        if left:
            names = ", ".join(guest.name for guest in left)
            raise Failed(
                "HOST_NOT_EMPTY",
                f"Host {host.name} still has VMs after its evacuation: {names}.",
                "Were they started there by somebody? `sriovctl setup resume` looks again.",
            )
        self._change_host(uuid, states.APPLYING)

    def _relocate(self, uuid: str) -> None:
        """Its VMs that cannot be moved, to hosts that are done first: these have their VFs."""
        done, home, options = self._in(states.DONE), self.hosts[uuid], self.state.options
        now = [steps.refreshed(self.pool, host) for host in self.hosts.values() if host.uuid != uuid]
        others = steps.targets(now, home, lambda host: host.uuid in done)
        tell = self._teller(uuid)
        for vm in self._vms_of(uuid):
            pinned_vms.leave(self.pool, vm, options.pinned, home, others, options.allowed, tell)
            self._is_up(vm)

    def _vms_of(self, uuid: str) -> List[str]:
        return [vm for vm, home in self.state.vms.items() if home == uuid]

    def _apply(self, uuid: str) -> None:
        host, tell = self.hosts[uuid], self._teller(uuid)
        warnings = steps.apply(self.pool, host, self._unblocked(uuid).acts, tell)
        now = self._plan(uuid)
        known = self.state.hosts[uuid]
        if now.reboot and known.rebooted:
            raise self._not_verified(now)
        if not now.reboot:
            for warning in warnings:
                self.voice.say(f"Host {host.name}: {warning}")
            self._change_host(uuid, states.VERIFYING)
        elif known.disabled:
            booted, down = steps.boot_time(self.pool, host), clock.of_host(self.pool, host)
            self._change_host(uuid, states.REBOOTING, booted=booted, down=down)
        else:
            self._change_host(uuid, states.DRAINING, disabled=True)

    def _reboot(self, uuid: str) -> None:
        host, known = self.hosts[uuid], self.state.hosts[uuid]
        if self._still_up(host, known.booted, known.down):
            now = steps.refreshed(self.pool, host)
            if now.enabled or steps.guests(self.pool, host):  # by its toolstack's restart, or by somebody
                self._change_host(uuid, states.DRAINING)
                return
            steps.reboot(self.pool, host)
        seconds, tell = self.state.options.minutes * 60, self._teller(uuid)
        steps.wait_for_boot(self.pool, host, known.booted, known.down, seconds, tell)
        self._change_host(uuid, states.APPLYING, rebooted=True)

    def _still_up(self, host: Host, booted: float, down: float) -> bool:
        """Whether it runs as before and was not told to go down. What does not answer is going down."""
        try:
            if steps.has_booted(self.pool, host, booted, down) or steps.is_going_down(self.pool, host):
                return False
            return clock.of_host(self.pool, host) > 0
        except Failed as failed:
            if failed.code not in steps.GONE:
                raise
            return False

    def _verify(self, uuid: str) -> None:
        now = self._plan(uuid)
        if not now.nothing:
            raise self._not_verified(now)
        self._back_in_service(uuid)
        self._change_host(uuid, states.DONE)

    def _not_verified(self, found: HostPlan) -> Failed:
        if found.blockers:
            return found.blockers[0]
        missing = [f"{act.object} is {act.before}, not {act.after}" for act in found.acts]
        missing += [f"a reboot is still asked for: {found.reboot}"] if found.reboot else []
        return Failed(
            "NOT_VERIFIED",
            f"Host {found.host.name} was set up and is not as it should be: {'; '.join(missing)}.",
            f"`sriovctl doctor {names.word(self.pool, found.host)}` says what keeps it.",
        )

    # -- back in service ---------------------------------------------------------------------------------

    def _back_in_service(self, uuid: str) -> None:
        """Enabled, and its VMs that were shut down started there."""
        host, tell, seconds = self.hosts[uuid], self._teller(uuid), self.state.options.minutes * 60
        if self.state.hosts[uuid].disabled:
            steps.enable(self.pool, host, seconds, tell)
            self._change_host(uuid, disabled=False)
        failures: List[Failed] = []  # one VM that does not start keeps no other down
        for vm in self._vms_of(uuid):
            try:
                pinned_vms.start(self.pool, vm, host, tell)
                self._is_up(vm)
            except Failed as failed:
                if failed.code != "VM_NOT_STARTED":
                    raise
                failures.append(failed)
        for other in failures[1:]:
            self.voice.error(other)
        if failures:
            raise failures[0]

    def _give_back(self, uuid: str) -> None:
        """The same of a host that is not through, if it is up: a host that is down cannot be helped."""
        host = self.hosts.get(uuid)
        if host is None:
            return
        try:
            if steps.is_going_down(self.pool, host):
                raise Failed(
                    "HOST_REBOOTING",
                    f"Host {host.name} is rebooting; its xapi enables it when it is up.",
                    "Call again then: `sriovctl setup resume` or `sriovctl setup stop`.",
                )
            clock.of_host(self.pool, host)
            self._back_in_service(uuid)
        except Failed as failed:
            if failed.code == "SETUP_TAKEN_OVER":
                raise
            self.voice.error(failed)

    def _is_up(self, vm: str) -> None:
        self._change(
            lambda state: state._replace(vms={one: home for one, home in state.vms.items() if one != vm})
        )
