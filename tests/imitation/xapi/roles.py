"""Roles: what users other than root may change.

Facts from xen-api: ocaml/idl/datamodel*.ml (the least role for a call; `pci` is a protected key of
VM.other_config), ocaml/xapi/rbac.ml (how a call is refused), helpers.ml (set_map_with_rbac: since 26.12 a
whole map is held against its protected keys, before it was not: XSA-489). Reading takes no more than a login.
"""

from typing import Any, Sequence

from calls import Context
from values import Failure

# Each may do what those before it may do.
ROLES = ("read-only", "vm-operator", "vm-power-admin", "pool-operator", "pool-admin")
READ_ONLY, VM_OPERATOR, VM_POWER_ADMIN, POOL_OPERATOR, POOL_ADMIN = ROLES

_LEAST = {
    "VM.start": VM_OPERATOR,
    "VM.clean_shutdown": VM_OPERATOR,
    "VM.hard_shutdown": VM_OPERATOR,
    "VM.clean_reboot": VM_OPERATOR,
    "VM.hard_reboot": VM_OPERATOR,
    "host.call_plugin": POOL_ADMIN,
}
# Of a class, for what changes something and is not named above; any other: pool-operator.
_LEAST_OF_CLASS = {"VM": VM_POWER_ADMIN, "VIF": VM_POWER_ADMIN, "session": READ_ONLY, "task": READ_ONLY}
_PROTECTED_KEY = "pci"


def check(context: Context, method: str, arguments: Sequence[Any]) -> None:
    """Raises RBAC_PERMISSION_DENIED."""
    role = context.xapi.roles_of_sessions.get(context.session, POOL_ADMIN)
    needed, asked = _least(method), method
    if method in ("VM.add_to_other_config", "VM.remove_from_other_config") and arguments[1] == _PROTECTED_KEY:
        needed, asked = POOL_ADMIN, f"{method}/key:{_PROTECTED_KEY}"
    elif method == "VM.set_other_config" and context.xapi.checks_whole_maps:
        before = context.xapi.database.get("VM", arguments[0], "other_config")
        if before.get(_PROTECTED_KEY) != arguments[1].get(_PROTECTED_KEY):
            change = "add_to" if _PROTECTED_KEY in arguments[1] else "remove_from"
            needed, asked = POOL_ADMIN, f"VM.{change}_other_config/key:{_PROTECTED_KEY}"
    if not is_at_least(role, needed):
        able = ", ".join(one for one in ROLES if ROLES.index(one) >= ROLES.index(needed))
        why = f"No permission in user session. (Roles with this permission: {able})"
        # The class of the call is named in lower case.
        raise Failure("RBAC_PERMISSION_DENIED", asked.lower(), why)


def is_at_least(role: str, needed: str) -> bool:
    return ROLES.index(role) >= ROLES.index(needed)


def _least(method: str) -> str:
    class_name, _, name = method.partition(".")
    if name == "get" or name.startswith("get_") or class_name == "event":
        return READ_ONLY
    return _LEAST.get(method) or _LEAST_OF_CLASS.get(class_name, POOL_OPERATOR)
