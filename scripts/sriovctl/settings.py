"""Which pool is meant, and who logs in: from what was typed, the environment, and pools.toml.

What is typed wins over the environment, the environment over the file's default. `--pool NAME` is typed too:
its table wins over the environment, whose values are then another pool's. A host that is named without a pool
gets nothing of the file: the password of one pool must not go to another.
"""

import argparse
import os
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from sriovlib.safetext import safe

from .errors import Failed, Usage

FILE = "pools.toml"
_KEYS = {  # of a pool's table: what is allowed, in words
    "host": "a text",
    "user": "a text",
    "password-file": "a text",
    "keyring": "true or false",
    "fingerprint": "a text or a list of texts",
    "ca-file": "a text",
}
EXAMPLE = 'It looks like: default = "lab", and below [pools.lab] lines such as host = "192.0.2.10".'
_FINGERPRINT = re.compile("[0-9A-F]{64}")


class Address(NamedTuple):
    """Where a xapi listens."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """As a person types it: without what is usual."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self == usual_address(self.host)
        return self.host if usual else f"{'http://' if self.scheme == 'http' else ''}{host}:{self.port}"

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def usual_address(host: str) -> Address:
    return Address("https", host, 443)


class Target(NamedTuple):
    """A pool to log in to. `name` is that of its table, empty where it has none. Of `password`,
    `password_file` and `keyring` at most one is set."""

    name: str
    address: Address
    user: str
    password: Optional[str]
    password_file: Optional[str]
    keyring: bool
    fingerprints: List[str]
    ca_file: Optional[str]

    @property
    def key(self) -> str:
        """What this pool is called in file names of ours."""
        return self.name or str(self.address)


# -- folders -----------------------------------------------------------------------------------------------


def folder(kind: str) -> str:
    """Ours for `config`, `data` or `cache`; it may not exist yet. SRIOVCTL_CONFIG_DIR and so on win."""
    chosen = os.environ.get(f"SRIOVCTL_{kind.upper()}_DIR")
    if chosen:
        return chosen
    try:
        import platformdirs
    except ImportError:  # dom0
        usual = {"config": ".config", "data": ".local/share", "cache": ".cache"}[kind]
        base = os.environ.get(f"XDG_{kind.upper()}_HOME") or os.path.join(os.path.expanduser("~"), usual)
        return os.path.join(base, "sriovctl")
    return str(getattr(platformdirs, f"user_{kind}_dir")("sriovctl", appauthor=False))


# -- pools.toml --------------------------------------------------------------------------------------------


class Pools(NamedTuple):
    """The file as it was read: tables by name. `default` is the one that is meant when none is named."""

    path: str
    default: Optional[str]
    tables: Dict[str, Dict[str, Any]]

    def table(self, name: str) -> Dict[str, Any]:
        if name not in self.tables:
            there = f"It has {', '.join(map(safe, self.tables))}." if self.tables else EXAMPLE
            raise Failed("NO_SUCH_POOL", f"{self.path} has no pool `{safe(name)}`.", there)
        return self.tables[name]


def pools() -> Pools:
    """What the file says; nothing where there is none."""
    path = os.path.join(folder("config"), FILE)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return Pools(path, None, {})
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    try:
        import tomli
    except ImportError as error:
        raise _bad(path, "cannot be read without the Python package tomli", "Install it.") from error
    try:
        return checked(path, tomli.loads(data.decode()))
    except (ValueError, RecursionError) as error:  # tomli's own, and bytes that are not UTF-8
        raise _bad(path, f"is no TOML: {error}") from error


def checked(path: str, document: Mapping[str, Any]) -> Pools:
    """Unknown keys are errors: one that is misspelt would be silently without effect."""
    _known(path, "", document, ("default", "pools"))
    tables = document.get("pools", {})
    if not isinstance(tables, dict):
        raise _bad(path, "`pools` must be tables", EXAMPLE)
    for name, table in tables.items():
        where = f"table pools.{safe(name)}"
        if not isinstance(table, dict):
            raise _bad(path, f"pools.{safe(name)} must be a table", EXAMPLE)
        _known(path, where, table, tuple(_KEYS))
        for key, value in table.items():
            _typed(path, where, key, value)
        if "host" not in table:
            raise _bad(path, f"{where} has no `host`", 'Add a line such as host = "192.0.2.10".')
        if table.get("keyring") and "password-file" in table:
            raise _bad(path, f"{where} has both `keyring` and `password-file`", "Leave one of them out.")
    default = document.get("default")
    if default is None and len(tables) == 1:
        (default,) = tables
    if default is not None and (not isinstance(default, str) or default not in tables):
        raise _bad(path, f"`default` names no pool of it: {safe(str(default))}", EXAMPLE)
    return Pools(path, default, dict(tables))


def _known(path: str, where: str, table: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in table:
        if key in ("password", "passwd", "pass"):
            hint = "A password is not kept here: use password-file, or keyring = true and `sriovctl login`."
            raise _bad(path, f"{where or 'the file'} has the key `{key}`", hint)
        if key not in keys:
            said = f"{where or 'the file'} has an unknown key `{safe(key)}`"
            raise _bad(path, said, f"Known there: {', '.join(keys)}.")


def _typed(path: str, where: str, key: str, value: Any) -> None:
    if key == "keyring":
        good = isinstance(value, bool)
    elif key == "fingerprint" and isinstance(value, list):
        good = bool(value) and all(isinstance(one, str) for one in value)
    else:
        good = isinstance(value, str) and value != ""
    if not good:
        raise _bad(path, f"{where}: `{key}` must be {_KEYS[key]}")
    try:
        if key == "host":
            address(value)
        elif key == "fingerprint":
            fingerprints(value)
    except Usage as error:
        raise _bad(path, f"{where}: `{key}`: {error.message}", error.hint) from error


def _bad(path: str, said: str, hint: str = "") -> Failed:
    return Failed("BAD_SETTINGS", f"{path}: {said.rstrip('.')}.", hint)


# -- the one that is meant ---------------------------------------------------------------------------------


def target(args: argparse.Namespace) -> Target:
    """The pool that the options, the environment and the file name; nothing is asked, nothing is reached."""
    typed = _values(args.host, args.user, None, args.password_file, args.fingerprint, args.ca_file)
    env = os.environ.get
    around = _values(env("SRIOVCTL_HOST"), env("SRIOVCTL_USER"), env("SRIOVCTL_PASSWORD"))
    name = ""
    if args.pool:
        name = args.pool
        layers = [typed, _of_table(pools(), name), around]
    elif args.host or around.get("host"):
        layers = [typed, around]
    else:
        found = pools()
        name = env("SRIOVCTL_POOL") or found.default or ""
        if not name:
            raise _which(found)
        layers = [typed, around, _of_table(found, name)]
    chosen = {key: value for layer in reversed(layers) for key, value in layer.items()}
    secret = next((layer for layer in layers if _secret(layer)), {})
    return Target(
        name,
        address(chosen["host"]),
        chosen.get("user") or "root",
        secret.get("password"),
        None if "password" in secret else secret.get("password-file"),
        bool(secret.get("keyring")),
        fingerprints(chosen.get("fingerprint", [])),
        chosen.get("ca-file"),
    )


def _values(
    host: Optional[str],
    user: Optional[str],
    password: Optional[str] = None,
    password_file: Optional[str] = None,
    fingerprint: Optional[List[str]] = None,
    ca_file: Optional[str] = None,
) -> Dict[str, Any]:
    """One layer: what is there."""
    values = {
        "host": host,
        "user": user,
        "password": password,
        "password-file": password_file,
        "fingerprint": fingerprint,
        "ca-file": ca_file,
    }
    return {key: value for key, value in values.items() if value}


def _secret(layer: Mapping[str, Any]) -> bool:
    return any(layer.get(key) for key in ("password", "password-file", "keyring"))


def _of_table(found: Pools, name: str) -> Dict[str, Any]:
    """With paths as seen from the file's folder."""
    table = dict(found.table(name))
    for key in {"password-file", "ca-file"} & set(table):
        table[key] = os.path.join(os.path.dirname(found.path), os.path.expanduser(table[key]))
    return table


def _which(found: Pools) -> Usage:
    if found.tables:
        names = ", ".join(map(safe, found.tables))
        return Usage("Which pool?", f'Give --pool: {names}; or set default = "NAME" in {found.path}.')
    return Usage("Which pool?", f"Give --host ADDRESS, or write pools into {found.path}. {EXAMPLE}")


def address(text: str) -> Address:
    """`host`, `host:port`, an IPv6 address with or without brackets, or a URL. Only a URL that says http://
    is reached without TLS: what a person wants in the clear, she has to write."""
    scheme, _, rest = text.rpartition("://")
    rest = rest.rstrip("/")
    scheme = scheme.lower() or "https"
    if scheme not in ("http", "https"):
        raise Usage(f"`{safe(text)}` is no address of a host.", "Write a name or an address: 192.0.2.10.")
    if "@" in rest:
        raise Usage(f"`{safe(text)}` is no address of a host.", "Give the user by --user.")
    usual = 443 if scheme == "https" else 80
    if rest.count(":") > 1 and not rest.startswith("["):
        return Address(scheme, rest, usual)  # IPv6
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s/:\[\]]+))(?::([0-9]{1,5}))?", rest)
    if not found or int(found.group(3) or usual) > 65535:
        raise Usage(f"`{safe(text)}` is no address of a host.", "Write a name or an address: 192.0.2.10.")
    return Address(scheme, found.group(1) or found.group(2), int(found.group(3) or usual))


def fingerprints(texts: Any) -> List[str]:
    """SHA-256 fingerprints as openssl writes them, from any usual way to write them."""
    return [_fingerprint(text) for text in ([texts] if isinstance(texts, str) else texts)]


def _fingerprint(text: str) -> str:
    digits = re.sub("[: ]", "", text.rpartition("=")[2].strip().upper())
    if not _FINGERPRINT.fullmatch(digits):
        raise Usage(
            f"`{safe(text)}` is no SHA-256 fingerprint.",
            "It has 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them.",
        )
    return ":".join(digits[place : place + 2] for place in range(0, 64, 2))
