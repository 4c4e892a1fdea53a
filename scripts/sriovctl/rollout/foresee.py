"""Where VMs go that xapi cannot move, by what the pool says before anything is changed: see Foreseen."""

from typing import Dict, List, Sequence

from .. import migration, names, relocation
from ..errors import Failed
from ..names import Vm
from ..pool import Host, Pool
from ..tasks import Tell
from . import plan as plans
from . import steps
from .plan import Foreseen, Guest, HostPlan

_NAMED = 3  # hosts that a sentence names
WHILE_IT_RUNS = "migrate_vm gives it VFs there"


def foresee(
    pool: Pool, made: Sequence[HostPlan], pinned: str, allowed: Dict[str, str], tell: Tell
) -> List[HostPlan]:
    """The same plans with `foreseen`, where VMs are to leave their hosts. Asks the hosts in the order in
    which a setup tries them: those first that are done by then. `allowed`: see relocation.planned."""
    if pinned not in (plans.RELOCATE, plans.MIGRATE):
        return list(made)
    found: List[HostPlan] = []
    done = {plan.host.uuid for plan in made if plan.nothing}
    for plan in made:
        others = steps.targets(pool.hosts, plan.host, lambda one: one.uuid in done)
        seen = {}
        for guest in plan.stop:
            tell(f"where VM {guest.name} of host {plan.host.name} can go")
            seen[guest.uuid] = of_guest(pool, guest, pinned, others, allowed, tell)
        found.append(plan._replace(foreseen=seen))
        done.add(plan.host.uuid)
    return found


def of_guest(
    pool: Pool, guest: Guest, pinned: str, others: Sequence[Host], allowed: Dict[str, str], tell: Tell
) -> Foreseen:
    """Of one VM: the first of these hosts that can have it."""
    try:
        ref = pool.call("VM.get_by_uuid", guest.uuid)
        vm = names.vm_of(ref, pool.call("VM.get_record", ref))
    except Failed as failed:
        return Foreseen("", "", failed.message.rstrip("."))
    if not others:
        return nowhere(pool, vm.record["resident_on"])
    whys: List[str] = []
    hints: List[str] = []
    for other in others:
        try:
            if pinned == plans.MIGRATE:
                migration.migrate(pool, vm, other, tell, dry_run="true", **allowed)
                return Foreseen(plans.MIGRATE, other.name, WHILE_IT_RUNS)
            return _relocated(pool, guest, vm, other, allowed)
        except Failed as failed:
            whys.append(failed.message.rstrip("."))
            hints.append(failed.hint)
    return Foreseen("", "", "; ".join(dict.fromkeys(whys)), " ".join(dict.fromkeys(filter(None, hints))))


def nowhere(pool: Pool, home: str) -> Foreseen:
    """Of any VM of that host (a reference), as no other takes VMs: in what state those are."""
    others = [one for one in pool.hosts if one.ref != home]
    whys = [f"host {one.name} is {'disabled' if one.live else 'offline'}" for one in others]
    ways = [
        f"Enable host {one.name} (`xe host-enable uuid={one.uuid}`)."
        if one.live
        else f"Check power and network of host {one.name}."
        for one in others
    ]
    if len(others) > _NAMED:
        whys[_NAMED:] = [f"{len(others) - _NAMED} more are so"]
    why = ", ".join(whys) if others else "the pool has none"
    return Foreseen("", "", f"no other host takes VMs ({why})", " ".join(ways[:1]))


def _relocated(pool: Pool, guest: Guest, vm: Vm, other: Host, allowed: Dict[str, str]) -> Foreseen:
    try:
        move = relocation.planned(pool, vm, other, True, allowed)
    except Failed as failed:
        if failed.code != "NO_REQUESTS":
            raise
        pool.call_for(other, "VM.assert_can_boot_here", vm.ref, other.ref)
        return Foreseen(plans.RELOCATE, other.name, f"it has no requests, and {plans.reason(guest.blocked)}")
    if move is not None and move.live is None:
        return Foreseen(plans.RELOCATE, other.name, move.why.rstrip("."))
    return Foreseen(plans.MIGRATE, other.name, WHILE_IT_RUNS)
