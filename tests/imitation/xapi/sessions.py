"""Logging in and out. Imitates session.json."""

from typing import List

import mastership
import roles
from calls import Call, Calls, Context
from database import new_ref
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
    """A user who is not root is a subject with roles, once there is external authentication. Before that
    PAM lets in whom it likes, with all rights (roles.json)."""
    mastership.refuse_clients_of_members(context.xapi, context.origin)
    _authenticate(context, user, password)
    values = {
        "this_host": context.origin.host,
        "auth_user_name": user,
        "originator": originator,
        "last_active": now(),
        "validation_time": now(),
    }
    database = context.xapi.database
    if user in context.xapi.users and database.get("host", context.xapi.master, "external_auth_type"):
        values.update(roles.session_of(context.xapi, user))
    return database.create("session", values)


def slave_local_login_with_password(context: Context, user: str, password: str) -> str:
    """The emergency login. Its session is not in the database: no ordinary call takes it."""
    _authenticate(context, user, password)
    return new_ref()


def logout(context: Context) -> None:
    context.xapi.database.destroy("session", context.session)


def local_logout(_context: Context, _session: str) -> None:
    """Ends an emergency session; an ordinary one lives on."""


def logout_subject_identifier(_context: Context, _identifier: str) -> None:
    """Ends the sessions of a user of a directory service, of whom there are none here."""


def get_all_subject_identifiers(_context: Context) -> List[str]:
    return []


CALLS: Calls = {
    "session.login_with_password": Call(
        login_with_password, ["string", "string", "string", "string"], optional=2, needs_session=False
    ),
    "session.slave_local_login_with_password": Call(
        slave_local_login_with_password, ["string", "string"], needs_session=False
    ),
    "session.logout": Call(logout),
    "session.local_logout": Call(local_logout, ["ref"], needs_session=False),
    "session.logout_subject_identifier": Call(logout_subject_identifier, ["string"]),
    "session.get_all_subject_identifiers": Call(get_all_subject_identifiers),
}
