"""Logging in and out. Imitates session.json."""

import mastership
from calls import Call, Calls, Context
from values import Failure, now


def _authenticate(context: Context, user: str, password: str) -> None:
    """Over TCP the password is checked, in PAM's words; over the Unix socket nothing is. root and the other
    users have one password here."""
    if context.origin.local:
        return
    if user != "root" and user not in context.xapi.users:
        reason = "User not known to the underlying authentication module"
        raise Failure("SESSION_AUTHENTICATION_FAILED", user, reason)
    if password != context.xapi.password:
        raise Failure("SESSION_AUTHENTICATION_FAILED", user, "Authentication failure")


def login_with_password(
    context: Context, user: str, password: str, _version: str = "", originator: str = ""
) -> str:
    mastership.refuse_clients_of_members(context.xapi, context.origin)
    _authenticate(context, user, password)
    values = {
        "this_host": context.origin.host,
        "is_local_superuser": user not in context.xapi.users,
        "auth_user_name": user,
        "originator": originator,
        "last_active": now(),
        "validation_time": now(),
    }
    session = context.xapi.database.create("session", values)
    if user in context.xapi.users:
        context.xapi.roles_of_sessions[session] = context.xapi.users[user]
    return session


def logout(context: Context) -> None:
    context.xapi.database.destroy("session", context.session)


CALLS: Calls = {
    "session.login_with_password": Call(
        login_with_password, ["string", "string", "string", "string"], optional=2, needs_session=False
    ),
    "session.logout": Call(logout),
}
