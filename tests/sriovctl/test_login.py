"""Passwords, sessions that end, masters that change; and what is in the way, in sentences."""

import io
import os
import socket
import stat
import sys
import threading
from typing import Any, Callable, Dict, Iterator, List, Tuple

import mastership
import pytest
import workstation
from fronts import PASSWORD, Fronts, made
from sriovctl import main, tls
from sriovctl.errors import Unreachable, XapiFailed
from terminal_session import Terminal

pytestmark = [pytest.mark.story, workstation.ONLY]


@pytest.fixture
def fronts(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fronts]:
    with made(str(tmp_path), monkeypatch) as there:
        yield there


@pytest.fixture
def ctl(fronts: Fronts, capsys: pytest.CaptureFixture[str]) -> Callable[..., Tuple[int, str]]:
    """The exit status and what was said of it: `ctl("vms")`."""
    reach = ["--host", fronts.master.address, "--fingerprint", fronts.own.fingerprint]

    def run(*words: str, reach: Any = reach) -> Tuple[int, str]:
        capsys.readouterr()
        return main.run([*reach, *words], local=False), capsys.readouterr().err

    return run


def sessions(fronts: Fronts) -> int:
    return len(fronts.box.xapi.database.refs("session"))


# -- passwords ---------------------------------------------------------------------------------------------


def test_password_is_no_argument(ctl: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--password", "s3cret", "vms"], ["vms", "--password=s3cret"], ["vms", "--password"]):
        status, said = ctl(*words)
        assert status == 2
        assert "a password is no argument" in said
        assert "s3cret" not in said
    assert main.run(["--help"], local=False) == 0
    assert "--password " not in capsys.readouterr().out


def test_password_in_a_file(ctl: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wins over the environment, and others should not read it."""
    monkeypatch.setenv("SRIOVCTL_PASSWORD", "wrong")
    file = tmp_path / "secret"
    file.write_text(f"{PASSWORD}\nnot this\n")
    file.chmod(0o600)
    assert ctl("--password-file", str(file), "vms") == (0, "No VM has VFs.\n")
    file.chmod(stat.S_IRUSR | stat.S_IROTH)
    status, said = ctl("--password-file", str(file), "vms")
    assert status == 0
    assert f"warning: Others may read or write {file}" in said


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), ("\n", "no password"), ("\0\xff", "")])
def test_password_file_without_one(ctl: Any, tmp_path: Any, content: Any, said: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    status, shown = ctl("--password-file", str(file), "vms")
    assert status == 1
    assert said in shown
    assert "(NO_PASSWORD)" in shown


def test_password_on_standard_input(ctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    assert ctl("--password-file", "-", "vms")[0] == 0


def test_no_password_and_nobody_to_ask(fronts: Fronts, ctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SRIOVCTL_PASSWORD")
    status, said = ctl("--no-input", "vms")
    assert status == 1
    assert f"No password for user root of {fronts.master.address}, and --no-input forbids to ask." in said
    assert "--password-file FILE, SRIOVCTL_PASSWORD" in said


def test_password_at_a_terminal(fronts: Fronts, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for when the certificate was found right, and not shown."""
    monkeypatch.delenv("SRIOVCTL_PASSWORD")
    words = ["--host", fronts.master.address, "--fingerprint", fronts.own.fingerprint, "vms"]
    with Terminal(words) as terminal:
        terminal.until(f"Password of user root of {fronts.master.address}: ")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.end() == 0
        assert PASSWORD not in terminal.shown
    with Terminal(words) as terminal:
        terminal.until("Password of")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    fronts.master.show(fronts.made("renewed"))
    with Terminal(words) as terminal:
        assert terminal.end() == 1
        assert "Password of" not in terminal.shown


# -- the keyring -------------------------------------------------------------------------------------------


class Keyring:
    """What this system's would be; None: it is locked."""

    def __init__(self) -> None:
        self.kept: Any = {}


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    import keyring
    import keyring.backend
    import keyring.errors

    there = Keyring()

    class Backend(keyring.backend.KeyringBackend):
        priority = 1

        def _words(self) -> Dict[Tuple[str, str], str]:
            if there.kept is None:
                raise keyring.errors.KeyringLocked("it is locked")
            words: Dict[Tuple[str, str], str] = there.kept
            return words

        def get_password(self, service: str, username: str) -> Any:
            return self._words().get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self._words()[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self._words()[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Backend())  # type: ignore[no-untyped-call] # no types
    monkeypatch.delenv("SRIOVCTL_PASSWORD", raising=False)
    yield there
    keyring.set_keyring(before)


@pytest.fixture
def lab(fronts: Fronts) -> None:
    """pools.toml has one pool, whose password is in the keyring."""
    os.makedirs(os.environ["SRIOVCTL_CONFIG_DIR"])
    with open(os.path.join(os.environ["SRIOVCTL_CONFIG_DIR"], "pools.toml"), "w") as file:
        file.write(f'[pools.lab]\nhost = "{fronts.master.address}"\nkeyring = true\n')
        file.write(f'fingerprint = "{fronts.own.fingerprint}"\n')


@pytest.mark.usefixtures("lab")
def test_password_in_the_keyring(keyring: Keyring, fronts: Fronts, ctl: Any, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("wrong")
    word = ("--password-file", str(secret))
    assert "(SESSION_AUTHENTICATION_FAILED)" in ctl("login", *word, reach=[])[1]
    assert keyring.kept == {}
    secret.write_text(PASSWORD)
    assert ctl("login", *word, reach=[]) == (0, "The keyring has the password of root of pool lab.\n")
    assert keyring.kept == {("sriovctl", "root@lab"): PASSWORD}
    assert ctl("vms", reach=[]) == (0, "No VM has VFs.\n")
    assert sessions(fronts) == 0
    assert "has no longer the password" in ctl("logout", reach=[])[1]
    assert "had not the password" in ctl("logout", reach=[])[1]
    assert "(NO_PASSWORD)" in ctl("vms", "--no-input", reach=[])[1]


@pytest.mark.usefixtures("lab")
def test_keyring_that_is_locked(keyring: Keyring, ctl: Any) -> None:
    """Then there is still the terminal."""
    keyring.kept = None
    status, said = ctl("vms", "--no-input", reach=[])
    assert status == 1
    assert "warning: The keyring does not work: it is locked." in said
    assert "(NO_PASSWORD)" in said


@pytest.mark.usefixtures("lab")
def test_keyring_whose_system_fails(keyring: Keyring, ctl: Any) -> None:
    """Some let errors of D-Bus and the like through."""
    keyring.kept = 3
    status, said = ctl("vms", "--no-input", reach=[])
    assert status == 1
    assert "warning: The keyring does not work: 'int' object" in said
    assert "(NO_PASSWORD)" in said


@pytest.mark.usefixtures("keyring")
def test_pool_without_keyring(ctl: Any) -> None:
    status, said = ctl("login")
    assert status == 2
    assert "Add `keyring = true` below [pools.NAME]" in said


@pytest.mark.usefixtures("keyring", "lab")
def test_pools_of_the_file(fronts: Fronts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["pools", "--no-headers"], local=False) == 0
    shown = capsys.readouterr().out.split()
    assert shown == ["lab", fronts.master.address, "root", "keyring", "named", "yes"]


# -- sessions ----------------------------------------------------------------------------------------------


def test_session_ends_with_the_command(fronts: Fronts, ctl: Any) -> None:
    assert ctl("vms")[0] == 0
    assert sessions(fronts) == 0


def test_session_that_has_ended_meanwhile(fronts: Fronts) -> None:
    """xapi restarts: all threads notice, one logs in."""
    connection = fronts.connect()
    assert connection.call("pool.get_all")
    mastership.forget_callers(fronts.box.xapi)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(connection.call("pool.get_all"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert sessions(fronts) == 1
    connection.close()
    assert sessions(fronts) == 0


def test_master_that_changes_meanwhile(fronts: Fronts) -> None:
    """The old one names the new one."""
    fronts.before(fronts.box.hosts[1])
    connection = fronts.connect()
    fronts.box.make_master(fronts.box.hosts[1])
    (pool,) = connection.call("pool.get_all")
    assert connection.call("pool.get_master", pool) == fronts.box.hosts[1].ref
    fronts.box.make_master(fronts.box.hosts[0])
    assert connection.call("pool.get_master", pool) == fronts.box.hosts[0].ref
    connection.close()


def test_members_that_name_each_other(fronts: Fronts, ctl: Any) -> None:
    """A pool in the middle of a change."""
    fronts.box.make_master(fronts.box.hosts[1])
    fronts.box.xapi.database.set("host", fronts.box.hosts[1].ref, "address", fronts.master.address)
    status, said = ctl("vms")
    assert status == 1
    assert "each say that another is the pool's master" in said


def test_connection_that_was_idle_too_long(fronts: Fronts) -> None:
    """xapi hangs up after ten seconds; the next call has a new one."""
    connection = fronts.connect()
    for _ in range(2):
        fronts.master.hang_up()
        assert connection.call("pool.get_all")
    connection.close()


def test_connection_that_breaks_in_a_call(fronts: Fronts) -> None:
    """The call is not sent again: it may have been done."""
    connection = fronts.connect()
    sent = fronts.master.received.count(b"POST")
    fronts.master.answers.clear()
    failed = []

    def call() -> None:
        with pytest.raises(Unreachable) as caught:
            connection.call("pool.get_all")
        failed.append(caught.value)

    caller = threading.Thread(target=call)
    caller.start()
    while b"pool.get_all" not in fronts.master.received:
        caller.join(0.01)
    fronts.master.hang_up()
    caller.join()
    fronts.master.answers.set()
    assert len(failed) == 1
    assert fronts.master.received.count(b"POST") == sent + 1
    assert connection.call("pool.get_all")
    connection.close()


def test_failure_of_a_call(fronts: Fronts) -> None:
    connection = fronts.connect()
    with pytest.raises(XapiFailed) as caught:
        connection.call("VM.get_by_uuid", "none")
    assert caught.value.details[0] == "UUID_INVALID"
    connection.close()


# -- what is in the way ------------------------------------------------------------------------------------


def test_wrong_password(fronts: Fronts, ctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRIOVCTL_PASSWORD", "wrong")
    status, said = ctl("vms")
    assert status == 1
    assert f"The xapi at {fronts.master.address} refused user or password." in said
    assert "(SESSION_AUTHENTICATION_FAILED)" in said


def test_user_without_the_role(fronts: Fronts, ctl: Any) -> None:
    fronts.box.xapi.users["ops"] = "pool-operator"
    status, said = ctl("--user", "ops", "vms")
    assert status == 1
    assert "Log in as a user with a role that may: pool-admin." in said
    assert "(RBAC_PERMISSION_DENIED)" in said


def test_member_without_its_master(fronts: Fronts, ctl: Any) -> None:
    member = fronts.before(fronts.box.hosts[1])
    fronts.box.lose(fronts.box.hosts[0], noticed=False)
    reach = ["--host", member.address, "--fingerprint", fronts.own.fingerprint]
    status, said = ctl("vms", reach=reach)
    assert status == 1
    assert "is still booting, or has lost its master" in said


def free_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return int(closed.getsockname()[1])


def test_port_that_nobody_listens_on(ctl: Any) -> None:
    port = free_port()
    status, said = ctl("vms", reach=["--host", f"127.0.0.1:{port}"])
    assert status == 1
    assert f"127.0.0.1:{port} refuses connections to port {port}." in said
    assert "(REFUSED)" in said


def test_name_that_is_not_known(ctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    status, said = ctl("vms", reach=["--host", "host7"])
    assert status == 1
    assert "There is no host with the name host7." in said


@pytest.mark.parametrize("name", ["a..b", 70 * "a"])
def test_name_that_none_can_be(ctl: Any, name: str) -> None:
    assert f"There is no host with the name {name}." in ctl("vms", reach=["--host", name])[1]


def test_host_that_does_not_answer(ctl: Any) -> None:
    """It takes connections, and then says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        address = "{}:{}".format(*silent.getsockname())
        status, said = ctl("--timeout", "0.2", "vms", reach=["--host", address])
    assert status == 1
    assert f"{address} does not answer within 0.2 s." in said
    assert "(TIMEOUT)" in said


def test_port_without_tls(fronts: Fronts, ctl: Any) -> None:
    address = fronts.box.url.replace("http://", "")
    status, said = ctl("vms", reach=["--host", address])
    assert status == 1
    assert f"{address} does not speak TLS as it should" in said


def test_in_the_clear_only_where_it_is_written(fronts: Fronts, ctl: Any) -> None:
    """To another machine not without a warning."""
    assert ctl("vms", reach=["--host", fronts.box.url]) == (0, "No VM has VFs.\n")
    status, said = ctl("--timeout", "0.2", "vms", reach=["--host", "http://192.0.2.1"])
    assert status == 1
    assert "warning: Password and all else go to http://192.0.2.1:80 unencrypted." in said


def test_call_that_takes_too_long(fronts: Fronts, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: List[Any] = []
    connect = tls.Connection.connect

    def connected(connection: tls.Connection) -> None:
        connect(connection)
        opened.append(connection.sock)

    monkeypatch.setattr(tls.Connection, "connect", connected)
    connection = fronts.connect("--timeout", "60")
    assert opened[-1].gettimeout() == 60
    opened[-1].settimeout(0.2)  # it has logged in, which may take longer
    fronts.master.answers.clear()
    with pytest.raises(Unreachable, match="timed out"):
        connection.call("pool.get_all")
    fronts.master.answers.set()
    connection.close()
