"""Roles: what the users of a directory service may do.

Imitates roles.json. Facts from xen-api: ocaml/idl/datamodel*.ml (which role a call takes at least, which
keys of maps are protected), ocaml/xapi/rbac.ml (what is asked of a session, and how it is refused).
A session keeps the permissions that its subject had when it began.
"""

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Set

from calls import Call, Calls, Context
from database import Record
from values import Failure

if TYPE_CHECKING:
    from xapi import Xapi

# Each may do what those before it may do. root is more than any: a local superuser.
READ_ONLY, VM_OPERATOR, VM_ADMIN, VM_POWER_ADMIN, POOL_OPERATOR, POOL_ADMIN = ROLES = (
    *("read-only", "vm-operator", "vm-admin", "vm-power-admin", "pool-operator", "pool-admin"),
)
_AS_LISTED = ("vm-power-admin", "vm-admin", "vm-operator", "pool-admin", "pool-operator", "read-only")

_LEAST: Dict[str, str] = {
    **dict.fromkeys(
        ["VM." + name for name in ("start", "pause", "unpause", "resume", "suspend")], VM_OPERATOR
    ),
    **dict.fromkeys(["VM.clean_shutdown", "VM.clean_reboot", "VM.shutdown"], VM_OPERATOR),
    **dict.fromkeys(["VM.hard_shutdown", "VM.hard_reboot"], VM_OPERATOR),
    **dict.fromkeys(["VM.start_on", "VM.resume_on", "VM.pool_migrate", "VM.migrate_send"], VM_POWER_ADMIN),
    **dict.fromkeys(["VM.snapshot", "VM.checkpoint", "VM.revert", "VM.set_affinity"], VM_POWER_ADMIN),
    **dict.fromkeys(["network.create", "network.destroy"], VM_ADMIN),
    **dict.fromkeys(["host.call_plugin", "host.shutdown_agent", "pool.enable_external_auth"], POOL_ADMIN),
    **dict.fromkeys(["pool.disable_external_auth", "event.inject"], POOL_ADMIN),
}
# Of a class, for what changes something and is not named above; any other: pool-operator.
_LEAST_OF_CLASS = {
    **dict.fromkeys(["VM", "VIF", "VBD", "VM_metrics", "VM_guest_metrics", "console"], VM_ADMIN),
    **dict.fromkeys(["session", "event", "task"], READ_ONLY),
    **dict.fromkeys(["subject", "role"], POOL_ADMIN),
}
_PROTECTED_OF_VM = {
    "pci": POOL_ADMIN,
    "hvm_serial": POOL_ADMIN,
    "folder": VM_OPERATOR,
    "XenCenter.CustomFields.*": VM_OPERATOR,
}
_PROTECTED = {"VM.other_config": _PROTECTED_OF_VM}
_DESCRIPTIONS = {READ_ONLY: "The Read-Only role can log in with basic read-only access"}


def least(method: str) -> str:
    """The first role that may make this call. Whoever may log in may read."""
    class_name, _, name = method.partition(".")
    if method in _LEAST:
        return _LEAST[method]
    if name.startswith(("get_", "assert_")):
        return READ_ONLY
    return _LEAST_OF_CLASS.get(class_name, POOL_OPERATOR)


def permissions(xapi: "Xapi", role: str) -> List[str]:
    """By name, as a session keeps them: calls in lower case, and `.../key:K` for a protected key."""
    found = [(method, least(method)) for method in xapi.calls]
    for field, keys in _PROTECTED.items():
        class_name, name = field.split(".")
        for verb in ("add_to", "remove_from"):
            found += [(f"{class_name}.{verb}_{name}/key:{key}", needed) for key, needed in keys.items()]
    return [name.lower() for name, needed in found if ROLES.index(role) >= ROLES.index(needed)]


# -- what is asked at a call -----------------------------------------------------------------------


def check(context: Context, method: str, arguments: Sequence[Any]) -> None:
    """Raises RBAC_PERMISSION_DENIED. The call itself is asked for, unless it is about one protected key:
    then the key instead. A whole map that is set is asked for each protected key that would change."""
    if not context.session:
        return
    database = context.xapi.database
    if database.get("session", context.session, "is_local_superuser"):
        return
    granted = set(database.get("session", context.session, "rbac_permissions"))
    class_name, _, name = method.partition(".")
    verb = next((verb for verb in ("add_to_", "remove_from_", "set_") if name.startswith(verb)), "")
    field = f"{class_name}.{name[len(verb) :]}"
    if field not in _PROTECTED:
        _ask(granted, method, least(method))
        return
    if verb == "set_":
        _ask(granted, method, least(method))
        before = database.get(class_name, arguments[0], name[len(verb) :])
        _ask_for_keys(granted, field, before, arguments[1])
    else:
        key = _protected_key(field, arguments[1]) if verb else None
        if key is None:
            _ask(granted, method, least(method))
        else:
            _ask(granted, f"{method}/key:{key}", _PROTECTED[field][key])


def _ask_for_keys(granted: Set[str], field: str, before: Dict[str, str], after: Dict[str, str]) -> None:
    class_name, _, name = field.partition(".")
    for verb, old, new in (("remove_from", after, before), ("add_to", before, after)):
        for given, value in new.items():
            key = _protected_key(field, given)
            changed = given not in old if verb == "remove_from" else old.get(given) != value
            if key is not None and changed:
                _ask(granted, f"{class_name}.{verb}_{name}/key:{key}", _PROTECTED[field][key])


def _protected_key(field: str, given: str) -> Optional[str]:
    for key in _PROTECTED[field]:
        if given == key or (key.endswith("*") and given.startswith(key[:-1])):
            return key
    return None


def _ask(granted: Set[str], permission: str, needed: str) -> None:
    if permission.lower() not in granted:
        able = [role for role in _AS_LISTED if ROLES.index(role) >= ROLES.index(needed)]
        why = f"No permission in user session. (Roles with this permission: {', '.join(able)})"
        # The name of the call is given with its class in lower case, a key in lower case too.
        raise Failure("RBAC_PERMISSION_DENIED", permission.lower(), why)


# -- subjects, and who they are --------------------------------------------------------------------


def make_roles(xapi: "Xapi") -> None:
    for name in ROLES:
        values = {"name_label": name, "name_description": _DESCRIPTIONS.get(name, f"The role {name}")}
        xapi.database.create("role", values)


def session_of(xapi: "Xapi", user: str) -> Record:
    """What a session of this user of the directory has; raises the failure of a login."""
    database, identifier = xapi.database, xapi.users[user]
    who = f"Subject {user} (identifier {identifier}"
    subjects = [
        ref
        for ref in database.refs("subject")
        if database.get("subject", ref, "subject_identifier") == identifier
    ]
    if not subjects:
        origin = "from HTTP request from Internet with User-Agent: unknown"
        raise Failure(
            "SESSION_AUTHORIZATION_FAILED", user, f"{who}, {origin}) has no access rights in this pool"
        )
    names = [
        database.get("role", role, "name_label") for role in database.get("subject", subjects[0], "roles")
    ]
    if not names:
        why = f"{who}) has no roles in this pool"
        raise Failure("RBAC_PERMISSION_DENIED", "session.login_with_password", why)
    return {
        "is_local_superuser": False,
        "subject": subjects[0],
        "auth_user_sid": identifier,
        "rbac_permissions": permissions(xapi, max(names, key=ROLES.index)),
    }


def get_permissions(context: Context, role: str) -> List[str]:
    return permissions(context.xapi, context.xapi.database.get("role", role, "name_label"))


def create_subject(context: Context, given: Record) -> str:
    values = {name: given[name] for name in ("subject_identifier", "other_config") if name in given}
    return context.xapi.database.create("subject", values)


def destroy_subject(context: Context, subject: str) -> None:
    context.xapi.database.destroy("subject", subject)


def add_to_roles(context: Context, subject: str, role: str) -> None:
    context.xapi.database.get("role", role, "uuid")
    context.xapi.database.add("subject", subject, "roles", role)


def remove_from_roles(context: Context, subject: str, role: str) -> None:
    context.xapi.database.remove("subject", subject, "roles", role)


def enable_external_auth(
    context: Context, pool: str, _config: Dict[str, str], service: str, kind: str
) -> None:
    database = context.xapi.database
    database.get("pool", pool, "uuid")
    for host in database.refs("host"):
        database.set("host", host, "external_auth_type", kind)
        database.set("host", host, "external_auth_service_name", service)


def disable_external_auth(context: Context, pool: str, _config: Dict[str, str]) -> None:
    """The sessions of subjects end."""
    enable_external_auth(context, pool, {}, "", "")
    database = context.xapi.database
    for session in database.refs("session"):
        if not database.get("session", session, "is_local_superuser"):
            database.destroy("session", session)


CALLS: Calls = {
    "role.get_permissions_name_label": Call(get_permissions, ["ref"]),
    "subject.create": Call(create_subject, ["record"], may_be_async=True),
    "subject.destroy": Call(destroy_subject, ["ref"], may_be_async=True),
    "subject.add_to_roles": Call(add_to_roles, ["ref", "ref"]),
    "subject.remove_from_roles": Call(remove_from_roles, ["ref", "ref"]),
    "pool.enable_external_auth": Call(enable_external_auth, ["ref", "string map", "string", "string"]),
    "pool.disable_external_auth": Call(disable_external_auth, ["ref", "string map"]),
}
