"""host.evacuate: all VMs of a host migrate away, or none does where one cannot.

Facts from xen-api: ocaml/xapi/xapi_host.ml (compute_evacuation_plan_no_wlb: no other enabled host ends it for
all VMs, then what forbids the move itself counts before what the other hosts lack, and with HA on a VM that
HA does not protect is not moved; the plan comes first, and its first error ends it; who calls it disables
the host before), message_forwarding.ml (it is one of the
host's current operations).
"""

from typing import TYPE_CHECKING, Dict, List, Union

import ha
import vm_migrate
import vm_placement
import vm_rules
from calls import Call, Calls, Context
from database import new_ref
from values import Failure
from vm_operations import standing

if TYPE_CHECKING:
    from xapi import Xapi


def evacuate(context: Context, host: str, _network: str = "", _batch: int = 0) -> None:
    xapi, database = context.xapi, context.xapi.database
    plan = _plan(xapi, host)
    key = new_ref()
    database.add_to("host", host, "current_operations", key, "evacuate")
    try:
        for outcome in plan.values():
            if isinstance(outcome, Failure):
                raise outcome
        for vm, target in plan.items():
            vm_migrate.pool_migrate(context, vm, str(target), {"live": "true"})
    finally:
        database.remove_from("host", host, "current_operations", key)


def _plan(xapi: "Xapi", host: str) -> Dict[str, Union[str, Failure]]:
    """Where each VM of the host goes, or why it cannot."""
    plan: Dict[str, Union[str, Failure]] = {}
    database = xapi.database
    enabled = [ref for ref in database.find("host", enabled=True) if ref != host]
    for vm in vm_placement.guests(xapi, host):
        nowhere = Failure("NO_HOSTS_AVAILABLE", vm)
        if not enabled:
            plan[vm] = nowhere
            continue
        refusal = vm_rules.refusal(standing(xapi, vm), "pool_migrate")
        if database.get("pool", xapi.pool, "ha_enabled") and not ha.is_protected(database.record("VM", vm)):
            refusal = refusal or Failure("HOST_EVACUATE_VM_NOT_HA_PROTECTED", vm)
        others = [other for other in vm_placement.possible_hosts(xapi, vm) if other != host]
        plan[vm] = refusal or (vm_placement.roomiest(xapi, others, {}) if others else nowhere)
    return plan


def get_vms_which_prevent(context: Context, host: str) -> Dict[str, List[str]]:
    plan = _plan(context.xapi, host)
    return {vm: outcome.description for vm, outcome in plan.items() if isinstance(outcome, Failure)}


def assert_can_evacuate(context: Context, host: str) -> None:
    errors = [",".join(description) for description in get_vms_which_prevent(context, host).values()]
    if errors:
        raise Failure("CANNOT_EVACUATE_HOST", "|".join(errors))


CALLS: Calls = {
    "host.assert_can_evacuate": Call(assert_can_evacuate, ["ref"]),
    "host.evacuate": Call(evacuate, ["ref", "ref", "int"], optional=2, may_be_async=True),
    "host.get_vms_which_prevent_evacuation": Call(get_vms_which_prevent, ["ref"]),
}
