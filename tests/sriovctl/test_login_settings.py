"""Which pool is meant: options before the environment before pools.toml; mistakes in that are named."""

import argparse
import os
from typing import Any, Dict

import pytest
import workstation
from sriovctl import grammar, settings
from sriovctl.errors import Failed, Usage
from sriovctl.settings import Address

PRINT = "AB" * 32
WITH_COLONS = ":".join(["AB"] * 32)
DOCUMENT: Dict[str, Any] = {
    "default": "lab",
    "pools": {
        "lab": {"host": "192.0.2.10", "user": "ops", "password-file": "lab.secret"},
        "far": {"host": "[fd00::1]:8443", "fingerprint": [PRINT, PRINT.lower()], "keyring": True},
    },
}
FILE = f"""
default = "lab"
[pools.lab]
host = "192.0.2.10"
user = "ops"
password-file = "lab.secret"
[pools.far]
host = "[fd00::1]:8443"
fingerprint = ["{PRINT}", "{PRINT.lower()}"]
keyring = true
"""


@pytest.fixture
def folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in [name for name in os.environ if name.startswith("SRIOVCTL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SRIOVCTL_CONFIG_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def read(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is there and says the document; so it is tried without tomli too."""
    monkeypatch.setattr(settings, "pools", lambda: settings.checked(str(folder / settings.FILE), DOCUMENT))


def target(*words: str) -> settings.Target:
    return settings.target(grammar.read([*words, "status"]))


@pytest.mark.usefixtures("read")
def test_default_pool(folder: Any) -> None:
    """A path is seen from the file's folder."""
    found = target()
    assert found == settings.Target(
        "lab", Address("https", "192.0.2.10", 443), "ops", None, str(folder / "lab.secret"), False, [], None
    )


@pytest.mark.usefixtures("read")
def test_other_pool() -> None:
    found = target("--pool", "far")
    assert found.address == Address("https", "fd00::1", 8443)
    assert (found.user, found.keyring, found.fingerprints) == ("root", True, [WITH_COLONS, WITH_COLONS])
    with pytest.raises(Failed, match=r"has no pool `near`\. It has lab, far\."):
        target("--pool", "near")


@pytest.mark.usefixtures("read")
def test_environment_wins_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRIOVCTL_USER", "me")
    monkeypatch.setenv("SRIOVCTL_PASSWORD", "secret")
    found = target()
    assert (found.name, found.user, found.password, found.password_file) == ("lab", "me", "secret", None)
    monkeypatch.setenv("SRIOVCTL_POOL", "far")
    assert target().name == "far"


@pytest.mark.usefixtures("read")
def test_host_without_pool_gets_nothing_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password belongs to its pool."""
    found = target("--host", "h9")
    assert (found.name, found.user, found.password_file) == ("", "root", None)
    monkeypatch.setenv("SRIOVCTL_HOST", "h8")
    assert (target().address.host, target().user) == ("h8", "root")


@pytest.mark.usefixtures("read")
def test_pool_that_is_typed_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose host, user and password are another pool's."""
    monkeypatch.setenv("SRIOVCTL_HOST", "h8")
    monkeypatch.setenv("SRIOVCTL_USER", "me")
    monkeypatch.setenv("SRIOVCTL_PASSWORD", "secret")
    found = target("--pool", "lab", "--user", "admin")
    assert (found.address.host, found.user, found.password) == ("192.0.2.10", "admin", None)
    assert target("--pool", "lab", "--host", "h7").address.host == "h7"
    assert target("--pool", "far").password is None


@pytest.mark.usefixtures("read")
def test_password_file_that_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRIOVCTL_PASSWORD", "secret")
    found = target("--password-file", "-")
    assert (found.password, found.password_file) == (None, "-")


@pytest.mark.usefixtures("folder")
def test_nothing_says_which_pool() -> None:
    with pytest.raises(Usage, match=r"Which pool\?"):
        target()


def test_several_pools_and_no_default() -> None:
    tables = {"a": {"host": "h1"}, "b": {"host": "h2"}}
    assert settings.checked("f", {"pools": tables}).default is None
    assert settings.checked("f", {"pools": {"a": tables["a"]}}).default == "a"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"defualt": "a"}, "the file has an unknown key `defualt`"),
        ({"pools": []}, "`pools` must be tables"),
        ({"pools": {"a": 1}}, "pools.a must be a table"),
        ({"pools": {"a": {"hots": "h"}}}, "table pools.a has an unknown key `hots`"),
        ({"pools": {"a": {"user": "u"}}}, "table pools.a has no `host`"),
        ({"pools": {"a": {"host": 7}}}, "table pools.a: `host` must be a text"),
        ({"pools": {"a": {"host": "ftp://h"}}}, "table pools.a: `host`: `ftp://h` is no address"),
        ({"pools": {"a": {"host": "h", "keyring": "yes"}}}, "`keyring` must be true or false"),
        (
            {"pools": {"a": {"host": "h", "fingerprint": []}}},
            "`fingerprint` must be a text or a list of texts",
        ),
        ({"pools": {"a": {"host": "h", "fingerprint": "AB"}}}, "`fingerprint`: `AB` is no SHA-256"),
        ({"pools": {"a": {"host": "h", "password": "x"}}}, "table pools.a has the key `password`"),
        ({"pools": {"a": {"host": "h", "keyring": True, "password-file": "f"}}}, "both"),
        ({"default": "b", "pools": {"a": {"host": "h"}}}, "`default` names no pool of it: b"),
    ],
)
def test_mistakes_name_file_table_and_key(document: Dict[str, Any], said: str) -> None:
    with pytest.raises(Failed) as caught:
        settings.checked("/home/me/pools.toml", document)
    assert caught.value.message.startswith("/home/me/pools.toml: ")
    assert said in caught.value.message


@workstation.ONLY
def test_file_as_it_is_written(folder: Any) -> None:
    (folder / "pools.toml").write_text(FILE)
    assert settings.pools() == settings.checked(str(folder / "pools.toml"), DOCUMENT)
    (folder / "pools.toml").write_text("default = lab")
    with pytest.raises(Failed, match=r"pools.toml: is no TOML: .*line 1"):
        settings.pools()
    (folder / "pools.toml").write_bytes(b"\xff")
    with pytest.raises(Failed, match="is no TOML"):
        settings.pools()


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("host1", Address("https", "host1", 443), "host1"),
        ("host1:8443", Address("https", "host1", 8443), "host1:8443"),
        ("https://host1/", Address("https", "host1", 443), "host1"),
        ("http://127.0.0.1:80", Address("http", "127.0.0.1", 80), "http://127.0.0.1:80"),
        ("fd00::1", Address("https", "fd00::1", 443), "fd00::1"),
        ("[fd00::1]:8443", Address("https", "fd00::1", 8443), "[fd00::1]:8443"),
    ],
)
def test_addresses(text: str, address: Address, shown: str) -> None:
    assert settings.address(text) == address
    assert str(address) == shown
    assert settings.address(address.url) == address


@pytest.mark.parametrize(
    "text", ["", "root@host1", "ssh://host1", "host1:99999", "a b", "host1/x", "[fd00::1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Usage, match="no address of a host"):
        settings.address(text)


def test_fingerprints_as_openssl_writes_them() -> None:
    assert settings.fingerprints([f"sha256 Fingerprint={WITH_COLONS}\n", PRINT.lower()]) == [WITH_COLONS] * 2
    with pytest.raises(Usage, match="no SHA-256 fingerprint"):
        settings.fingerprints("AB:CD")


def test_folders_of_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.delenv(f"SRIOVCTL_{kind}_DIR", raising=False)
        monkeypatch.delenv(f"XDG_{kind}_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert [settings.folder(kind) for kind in ("config", "data", "cache")] == [
        "/home/me/.config/sriovctl",
        "/home/me/.local/share/sriovctl",
        "/home/me/.cache/sriovctl",
    ]
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/me")
    assert settings.folder("cache") == "/var/tmp/me/sriovctl"


def test_options_stand_before_and_behind_the_command() -> None:
    """Those behind it win."""
    args: argparse.Namespace = grammar.read(
        ["--fingerprint", PRINT, "status", "--fingerprint", WITH_COLONS, "--ca-file", "f"]
    )
    assert (args.fingerprint, args.ca_file) == ([WITH_COLONS], "f")


@workstation.ONLY
def test_file_that_is_nested_too_deeply(folder: Any) -> None:
    (folder / "pools.toml").write_text("a=" + 5000 * "[")
    with pytest.raises(Failed) as failed:
        settings.pools()
    assert failed.value.code == "BAD_SETTINGS"
