"""login, logout, trust and pools: what this workstation knows of pools, and what it keeps to reach them."""

import argparse
from typing import Any, Dict, List

from .. import known_pools, settings
from ..client import Client
from ..command import Command
from ..errors import DONE, Failed, Usage
from ..output import by_key

# -- the keyring -------------------------------------------------------------------------------------------


def _of_keyring(client: Client) -> settings.Target:
    _not_for_dom0(client)
    options = argparse.Namespace(**{**vars(client.options), "password_file": None})
    target = settings.target(options)
    if not target.keyring:
        where = f"[pools.{target.name}]" if target.name else "[pools.NAME]"
        raise Usage(
            f"The password of the pool at {target.address} is not to be in the keyring.",
            f"Add `keyring = true` below {where} in {settings.pools().path}.",
        )
    return target


def login(client: Client, args: argparse.Namespace) -> int:
    from .. import login as logging_in
    from .. import password

    target = _of_keyring(client)
    if args.password_file:
        word = password.from_file(args.password_file, client.warn)
    else:
        word = password.asked(target, args)
    opened = logging_in.Login(client, target, word)()  # only one that is right is kept
    opened.log_out()
    opened.close()
    password.keep(target, word)
    client.say(f"The keyring has the password of {target.user} of pool {target.name}.")
    return DONE


def logout(client: Client, _args: argparse.Namespace) -> int:
    from .. import password

    target = _of_keyring(client)
    gone = password.forget(target)
    state = "has no longer" if gone else "had not"
    client.say(f"The keyring {state} the password of {target.user} of pool {target.name}.")
    return DONE


# -- certificates ------------------------------------------------------------------------------------------


def trust_certificate(client: Client, args: argparse.Namespace) -> int:
    from .. import tls, trust

    _not_for_dom0(client)
    address = settings.address(args.address) if args.address else settings.target(args).address
    if args.forget:
        gone = known_pools.forget(str(address))
        client.say(f"No certificate is taken for {address} {'any more' if gone else 'anyway'}.")
        return DONE
    if address.scheme == "http":
        raise Usage(f"{address} has no certificate.", "Name it without http://.")
    shown = tls.peer(address, tls.anything(), client.longest)
    known = known_pools.fingerprint(str(address))
    if known == shown.fingerprint:
        client.say(f"The certificate of {address} was taken already: {known}.")
        return DONE
    named = settings.fingerprints(args.fingerprint or [])
    if shown.fingerprint in named:
        known_pools.keep(str(address), shown.fingerprint)
    elif named:
        raise trust.not_the_named(address, shown, named)
    else:
        reason = _unverified(client, address)
        if not reason:
            client.say(f"The certificate of {address} is vouched for by a CA: there is nothing to keep.")
            return DONE
        if known:
            client.warn(f"Until now another one was taken for {address}: {known}.")
        trust.take(client, address, shown, reason)
    client.say(f"From now on this certificate is taken for {address}.")
    return DONE


def _unverified(client: Client, address: settings.Address) -> str:
    from .. import tls

    try:
        tls.peer(address, tls.verified(client.options.ca_file), client.longest)
    except tls.NotVerified as error:
        return error.reason
    return ""


def _trust_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", nargs="?", metavar="ADDRESS", help="of a host (default: the pool's)")
    parser.add_argument("--forget", action="store_true", help="take none any more that was taken before")


def _not_for_dom0(client: Client) -> None:
    if client.local and not client.options.pool and not client.options.host:
        raise Failed(
            "NOT_IN_DOM0",
            "In dom0 sriovctl is root of its own host: there is no password and no certificate to keep.",
            "This command is for workstations.",
        )


# -- pools.toml --------------------------------------------------------------------------------------------

POOLS = (
    by_key("NAME", "name"),
    by_key("HOST", "host"),
    by_key("USER", "user"),
    by_key("PASSWORD", "password"),
    by_key("CERTIFICATE", "certificate"),
    by_key("DEFAULT", "default"),
)


def pools(client: Client, _args: argparse.Namespace) -> int:
    found = settings.pools()
    known = known_pools.all_known()
    rows: List[Dict[str, Any]] = [
        {
            "name": name,
            "host": table["host"],
            "user": table.get("user", "root"),
            "password": "keyring"
            if table.get("keyring")
            else "file"
            if "password-file" in table
            else "asked",
            "certificate": _certificate(table, known),
            "default": name == found.default,
        }
        for name, table in found.tables.items()
    ]
    client.show(rows, POOLS, f"{found.path} has no pools. {settings.EXAMPLE}")
    return DONE


def _certificate(table: Dict[str, Any], known: Dict[str, str]) -> str:
    """What it must be."""
    if "fingerprint" in table:
        return "named"
    if "ca-file" in table:
        return "ca-file"
    return "taken" if str(settings.address(table["host"])) in known else "by-system-cas"


COMMANDS = [
    Command("login", "keep the password of a pool in this system's keyring", lambda _: None, login),
    Command("logout", "remove the password of a pool from the keyring", lambda _: None, logout),
    Command(
        "trust",
        "show the certificate of a host, and take it from now on",
        _trust_arguments,
        trust_certificate,
    ),
    Command("pools", "list the pools of the configuration file", lambda _: None, pools, columns=POOLS),
]
