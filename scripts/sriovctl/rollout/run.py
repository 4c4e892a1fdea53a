"""Does a setup: what is in the way of reboots is turned off, the hosts are done, it is turned on again."""

import threading
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence

from .. import tasks
from ..errors import DONE, FAILED, PARTLY, Failed
from ..pool import Host, Pool
from . import pinned_vms, steps
from . import plan as plans
from . import state as states
from .hosts import Hosts
from .plan import HostPlan, Wish
from .state import HostState, State


def look_at_all(
    pool: Pool,
    hosts: Sequence[Host],
    wish: Wish,
    pinned: str,
    ha: bool,
    seconds: float,
    ours: Sequence[str] = (),
) -> List[HostPlan]:
    """The plan of each host, all looked at at once; of one that does not answer in these seconds, that.
    `ours`: UUIDs of those that this setup has disabled."""

    def look(host: Host) -> HostPlan:
        return plans.of_host(steps.look(pool, host, wish), wish, pinned, ha, host.uuid in ours)

    return plans.order(
        [
            HostPlan(answer.host, [], "", [], [], [answer.error]) if answer.error else answer.value
            for answer in pool.at_once(hosts, look, seconds)
        ]
    )


class Run(Hosts):
    """A program at work on a setup."""

    def go(self) -> int:
        with self._alive():
            asked = ""
            try:
                self._forget_hosts_that_left()
                asked = self._do_hosts(begin=self._begin())
            except Failed as failed:
                if failed.code == "SETUP_TAKEN_OVER":
                    raise
                self.voice.error(failed)
            return self._finish(asked)

    def put_back(self, asked: str) -> int:
        """What a setup that nobody is at has turned off, and no more of it."""
        with self._alive():
            self._forget_hosts_that_left()
            for uuid in [
                uuid for uuid, host in self.state.hosts.items() if host.disabled or self._vms_of(uuid)
            ]:
                self._give_back(uuid)
            self._finish(asked)
            return DONE if self._clean else FAILED

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Meanwhile others can see that somebody is at it. A program that is killed takes nothing back."""
        over = threading.Event()

        def live() -> None:
            while not over.wait(states.ALIVE_SECONDS):
                try:
                    self.keeper.sign_of_life()
                except Failed:
                    pass  # the master is booting, or the steps themselves will meet it

        self.keeper.sign_of_life()
        thread = threading.Thread(target=live, name="sign of life", daemon=True)
        thread.start()
        ours = True
        try:
            yield
        except BaseException as error:
            ours = isinstance(error, KeyboardInterrupt)
            raise
        finally:
            over.set()
            thread.join(states.ALIVE_SECONDS)  # its call may hang where the master has just gone
            if ours:
                self._at_rest()

    def _at_rest(self) -> None:
        try:
            self.keeper.nobody_is_at_it()
        except Failed:
            pass  # it shows in half a minute

    # -- before the first host, and after the last -------------------------------------------------------

    def _forget_hosts_that_left(self) -> None:
        left = [uuid for uuid in self.state.hosts if uuid not in self.hosts]
        for uuid in left:
            self.voice.say(f"Host {uuid} is not in this pool any more: left out.")
        waits = [vm for vm, home in self.state.vms.items() if home not in self.hosts]
        for vm in waits:  # nobody can say where else it may run
            self.voice.error(pinned_vms.without_home(self.pool, vm))
        self._change(
            lambda state: state._replace(
                hosts={uuid: host for uuid, host in state.hosts.items() if uuid not in left},
                vms={vm: home for vm, home in state.vms.items() if vm not in waits},
            )
        )

    def _begin(self) -> bool:
        """Turns off what is in the way of reboots; whether nothing else is in the way of hosts that were not
        touched yet."""
        pending, noted = self._in(states.WAITING), steps.ha_of(self.pool)
        found = self._unblocked_plans(pending, ha=noted is not None)
        out = any(host.disabled for host in self.state.hosts.values())
        if not out and not (found and any(one.reboot for one in found)):
            return found is not None
        if noted is not None:
            self._change(lambda state: state._replace(off={**state.off, "ha": noted}))
            steps.ha_off(self.pool, self.voice.tell)
        if self.pool.other_config().get(steps.AUTO_POWERON) == "true":
            self._change(lambda state: state._replace(off={**state.off, steps.AUTO_POWERON: "true"}))
            steps.auto_poweron(self.pool, "false")
        # Only now xapi tells which VMs it can move: with HA on it names each that HA does not protect.
        return found is not None and (noted is None or self._unblocked_plans(pending, ha=False) is not None)

    def _unblocked_plans(self, uuids: Sequence[str], ha: bool) -> Optional[List[HostPlan]]:
        """Of hosts that were not touched; None: something is in the way, and was said."""
        hosts = [steps.refreshed(self.pool, self.hosts[uuid]) for uuid in uuids]
        wish, pinned = self.state.wish, self.state.options.pinned
        found = look_at_all(self.pool, hosts, wish, pinned, ha, self.patience)
        for one in found:
            for blocker in one.blockers:
                self.voice.error(blocker)
        return None if any(one.blockers for one in found) else found

    def _finish(self, asked: str) -> int:
        self._turn_on()
        state = self.state
        done, untouched = len(self._in(states.DONE)), len(self._in(states.WAITING))
        if self._clean and (asked == states.END or len(state.hosts) in (done, 0 if asked else untouched)):
            steps.patiently(self.keeper.end, self.voice.tell)
        else:
            failed = bool(self._in(states.FAILED))
            halted = (
                "failed" if failed else {states.PAUSE: "paused", states.END: "stopped"}.get(asked, "halted")
            )
            self._change(lambda state: state._replace(halted=halted))
            self.voice.say(states.summary(self.state, self._name))
        if done == len(state.hosts) and self._clean:
            return DONE
        return PARTLY if done else FAILED

    @property
    def _clean(self) -> bool:
        """Whether all that was turned off or down is as it was."""
        state = self.state
        return not (state.off or state.vms or any(host.disabled for host in state.hosts.values()))

    def _turn_on(self) -> None:
        """What was turned off in the pool. What cannot be turned on is named, and stays in the record."""
        noted = self.state.off.get("ha")
        if noted is not None:
            try:
                steps.ha_on(self.pool, noted, self.voice.tell)
                self._not_off("ha")
            except Failed as failed:
                srs = ",".join(noted["srs"])
                by_hand = f"`xe pool-ha-enable heartbeat-sr-uuids={srs}`"
                hint = f"Turn it on when that is mended: `sriovctl setup resume` or `stop`, or {by_hand}."
                self.voice.error(Failed("HA_STAYS_OFF", f"HA stays off: {failed.message}", hint))
        if steps.AUTO_POWERON in self.state.off:
            steps.patiently(lambda: steps.auto_poweron(self.pool, "true"))
            self._not_off(steps.AUTO_POWERON)

    def _not_off(self, what: str) -> None:
        self._change(
            lambda state: state._replace(off={name: kept for name, kept in state.off.items() if name != what})
        )

    # -- the hosts -------------------------------------------------------------------------------------

    def _do_hosts(self, begin: bool) -> str:
        """All that are not done, so many at a time as the options say; what another program asked for.
        Without `begin` those alone that were begun: they are out of service, whatever is in others' way."""
        options = self.state.options
        left_out = self._in(states.DONE, states.FAILED, *([] if begin else [states.WAITING]))
        waiting = [uuid for uuid in self.state.hosts if uuid not in left_out]
        # Those that are out of service come first: nobody else will see to them.
        waiting.sort(key=lambda uuid: self.state.hosts[uuid].phase == states.WAITING)
        at_work: Dict[str, threading.Thread] = {}
        ends: List[BaseException] = []
        changed = threading.Event()
        asked = ""

        def work(uuid: str) -> None:
            try:
                self._do_host(uuid)
            except BaseException as error:
                ends.append(error)
            finally:
                changed.set()

        while True:
            for uuid in [uuid for uuid, thread in at_work.items() if not thread.is_alive()]:
                del at_work[uuid]
                with self._lock:
                    self._texts.pop(uuid, None)
            if ends:
                raise ends[0]
            asked = asked or steps.patiently(self.keeper.asked)
            room = len(at_work) + len(self._in(states.FAILED)) < options.unavailable
            free = waiting and not asked and room and len(at_work) < options.parallel
            if free and not (self.hosts[waiting[0]].master and at_work):
                uuid = waiting.pop(0)
                at_work[uuid] = threading.Thread(
                    target=work, args=(uuid,), name=self._name(uuid), daemon=True
                )
                at_work[uuid].start()
            elif at_work:
                changed.wait(tasks.POLL_SECONDS)
                changed.clear()
            else:
                return asked


def to_resume(state: State) -> State:
    """The hosts of a setup that is taken up again: one that has failed begins anew, but for a reboot that it
    was told to make."""

    def again(host: HostState) -> HostState:
        if host.phase != states.FAILED:
            return host
        if host.down and not host.rebooted:
            return host._replace(phase=states.REBOOTING, note="")
        return host._replace(phase=states.WAITING, note="", down=0.0, rebooted=False)

    return state._replace(hosts={uuid: again(host) for uuid, host in state.hosts.items()})


def asked_for(wish: Wish, found: Sequence[HostPlan], options: states.Options, who: str, now: float) -> State:
    """A setup that begins, from the plans of its hosts."""
    hosts = {one.host.uuid: HostState(since=now) for one in plans.order(found)}
    return State(who, now, wish, options, hosts, {}, {})
