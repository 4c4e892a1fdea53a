"""What may be done with a VM now: the calls that say so, and those that forbid something.

None of them waits for the operation that is under way (hooks-waiting.json).
"""

from functools import partial
from typing import Any

import objects
import vm_rules
from calls import Call, Calls, Context
from vm_operations import standing, update_allowed


def assert_operation_valid(context: Context, vm: str, name: str) -> None:
    refused = vm_rules.refusal(standing(context.xapi, vm), name)
    if refused is not None:
        raise refused


def update_allowed_operations(context: Context, vm: str) -> None:
    update_allowed(context.xapi, vm)


def _then_update(context: Context, vm: str, *values: Any, name: str) -> None:
    objects.CALLS[name].function(context, vm, *values)
    update_allowed(context.xapi, vm)


_BLOCKED = [f"VM.{verb}_blocked_operations" for verb in ("set", "add_to", "remove_from")]

CALLS: Calls = {
    **{name: objects.CALLS[name]._replace(function=partial(_then_update, name=name)) for name in _BLOCKED},
    "VM.assert_operation_valid": Call(assert_operation_valid, ["ref", "string"], may_be_async=True),
    "VM.update_allowed_operations": Call(update_allowed_operations, ["ref"], may_be_async=True),
}
