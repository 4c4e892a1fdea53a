"""No byte goes to a host before its certificate was found right: by a CA, by name, or taken by a person."""

import os
import subprocess
import sys
from typing import Any, Callable, Iterator, List

import certificate_maker
import pytest
import workstation
from certificate_maker import Made
from fronts import PASSWORD, Fronts, made
from hypothesis import given
from hypothesis import strategies as st
from sriovctl import certificates, known_pools, main
from sriovctl.errors import Failed
from terminal_session import Terminal

pytestmark = [pytest.mark.story, workstation.ONLY]

FIRST = "From now on this certificate is taken"


@pytest.fixture
def fronts(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fronts]:
    with made(str(tmp_path), monkeypatch) as there:
        yield there


@pytest.fixture
def ctl(fronts: Fronts, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """sriovctl that reaches the master through its front; gives what it said on standard error."""

    def run(*words: str, status: int = 0, at: str = fronts.master.address) -> str:
        capsys.readouterr()
        ended = main.run(["--host", at, *words], local=False)
        said = capsys.readouterr().err
        assert ended == status, said
        return said

    return run


# -- what is right -----------------------------------------------------------------------------------------


def test_verified_by_a_ca(fronts: Fronts, ctl: Any) -> None:
    ca = fronts.made("ca1")
    fronts.master.show(fronts.made("signed", signed_by="ca1"))
    assert ctl("vms", "--ca-file", ca.certificate).splitlines() == ["No VM has VFs."]
    assert PASSWORD.encode() in fronts.master.received
    assert not os.path.exists(known_pools.path())


def test_own_certificate_of_a_host_as_ca_file(fronts: Fronts, ctl: Any) -> None:
    """As a person copies it from there."""
    ctl("vms", "--ca-file", fronts.own.certificate)


def test_named_fingerprint(fronts: Fronts, ctl: Any) -> None:
    ctl("vms", "--fingerprint", fronts.own.fingerprint.lower())
    assert PASSWORD.encode() in fronts.master.received
    assert not os.path.exists(known_pools.path())


def test_insecure_is_said_each_time(ctl: Any) -> None:
    for _ in range(2):
        assert "Any certificate is taken" in ctl("--insecure", "vms")


# -- what is not: nothing is sent --------------------------------------------------------------------------


def test_unknown_and_nobody_to_ask(fronts: Fronts, ctl: Any) -> None:
    said = ctl("--no-input", "vms", status=1)
    assert "it is signed by itself" in said
    assert fronts.own.fingerprint in said
    assert f"`sriovctl trust {fronts.master.address}`" in said
    assert "(CERTIFICATE_UNKNOWN)" in said
    assert fronts.master.received == b""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"names": ["DNS:host1", "IP:192.0.2.7"]}, "it is not for this address"),
        ({"ends": "20210101000000Z"}, "it has expired"),
        ({"begins": "20500101000000Z"}, "it is not valid yet"),
    ],
)
def test_vouched_for_but_wrong(fronts: Fronts, ctl: Any, options: Any, reason: str) -> None:
    """With a CA file it is not asked either: who names one wants no other certificate."""
    ca = fronts.made("ca1")
    fronts.master.show(fronts.made("signed", signed_by="ca1", **options))
    said = ctl("vms", "--ca-file", ca.certificate, status=1)
    assert reason in said
    assert "(CERTIFICATE_NOT_VERIFIED)" in said
    assert fronts.master.received == b""


def test_signed_by_a_stranger(fronts: Fronts, ctl: Any) -> None:
    fronts.made("ca1")
    other = fronts.made("ca2")
    fronts.master.show(fronts.made("signed", signed_by="ca1"))
    assert "who signed it is not known here" in ctl("vms", "--ca-file", other.certificate, status=1)
    assert "who signed it is not known here" in ctl("vms", "--no-input", status=1)
    assert fronts.master.received == b""


def test_not_the_named_one(fronts: Fronts, ctl: Any) -> None:
    """Even where a CA vouches for it."""
    ca, other = fronts.made("ca1"), fronts.made("signed", signed_by="ca1")
    fronts.master.show(other)
    words = ("--ca-file", ca.certificate, "--fingerprint", fronts.own.fingerprint)
    said = ctl("vms", *words, status=1)
    assert f"Shown: {other.fingerprint}. Named: {fronts.own.fingerprint}." in said
    assert fronts.master.received == b""


def test_changed(fronts: Fronts, ctl: Any) -> None:
    """After it was taken, until the new one is."""
    assert FIRST in ctl("trust", "--fingerprint", fronts.own.fingerprint)
    ctl("vms")
    sent = fronts.master.received
    renewed = fronts.made("renewed")
    fronts.master.show(renewed)
    said = ctl("vms", status=1)
    assert f"Shown: {renewed.fingerprint}. Taken: {fronts.own.fingerprint}." in said
    assert "xe host-refresh-server-certificate" in said
    assert "(CERTIFICATE_CHANGED)" in said
    assert fronts.master.received == sent
    ctl("trust", "--fingerprint", fronts.own.fingerprint, status=1)
    assert FIRST in ctl("trust", "--fingerprint", renewed.fingerprint)
    ctl("vms")


def test_changed_to_one_that_a_ca_vouches_for(
    fronts: Fronts, ctl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator has installed a real one: nothing is left to ask."""
    ctl("trust", "--fingerprint", fronts.own.fingerprint)
    ca = fronts.made("ca1")
    fronts.master.show(fronts.made("signed", signed_by="ca1"))
    monkeypatch.setenv("SSL_CERT_FILE", ca.certificate)  # OpenSSL's own way to name the system's
    ctl("vms")
    assert "vouched for by a CA" in ctl("trust")


def test_changed_while_it_runs(fronts: Fronts) -> None:
    """Each new connection is looked at, not only the first."""
    connection = fronts.connect()
    assert connection.call("pool.get_all")
    fronts.master.hang_up()
    fronts.master.show(fronts.made("renewed"))
    sent = fronts.master.received
    with pytest.raises(Failed, match="shows another certificate than before"):
        connection.call("pool.get_all")
    assert fronts.master.received == sent
    connection.close()


def test_certificate_that_is_forgotten(fronts: Fronts, ctl: Any) -> None:
    ctl("trust", "--fingerprint", fronts.own.fingerprint)
    assert "was taken already" in ctl("trust")
    assert "any more" in ctl("trust", "--forget")
    assert "anyway" in ctl("trust", "--forget")
    ctl("vms", "--no-input", status=1)


# -- the master --------------------------------------------------------------------------------------------


def test_members_address_finds_its_master(fronts: Fronts, ctl: Any) -> None:
    """Whose certificate counts like any other."""
    its_own = fronts.made("host2")
    member = fronts.before(fronts.box.hosts[1], its_own)
    of_member = ("--fingerprint", its_own.fingerprint)
    said = ctl("vms", *of_member, status=1, at=member.address)
    assert f"{fronts.master.address} shows a certificate that was not named" in said
    assert PASSWORD.encode() in member.received
    assert fronts.master.received == b""
    ctl("vms", *of_member, "--fingerprint", fronts.own.fingerprint, at=member.address)


# -- a person at a terminal --------------------------------------------------------------------------------


def test_person_compares_and_takes_it(fronts: Fronts) -> None:
    words = ["--host", fronts.master.address, "vms"]
    with Terminal(words) as terminal:
        shown = terminal.until("[y/N]")
        assert fronts.own.fingerprint in shown
        assert "CN=host1 (and 127.0.0.1)" in shown
        assert "2020-01-01 to 2056-01-01" in shown
        assert "openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256" in shown
        assert fronts.master.received == b""
        terminal.type("y\n")
        assert terminal.end() == 0
    assert os.stat(known_pools.path()).st_mode & 0o777 == 0o600
    with Terminal(words) as terminal:
        assert terminal.end() == 0
        assert "[y/N]" not in terminal.shown


def test_person_says_no(fronts: Fronts) -> None:
    with Terminal(["--host", fronts.master.address, "vms"]) as terminal:
        terminal.until("[y/N]")
        terminal.type("\n")
        assert terminal.end() == 1
        assert "(CERTIFICATE_REFUSED)" in terminal.shown
    assert fronts.master.received == b""
    assert not os.path.exists(known_pools.path())


def test_trust_at_a_terminal_shows_both(fronts: Fronts, ctl: Any) -> None:
    ctl("trust", "--fingerprint", fronts.own.fingerprint)
    renewed = fronts.made("renewed")
    fronts.master.show(renewed)
    with Terminal(["trust", fronts.master.address]) as terminal:
        shown = terminal.until("[y/N]")
        assert fronts.own.fingerprint in shown
        assert renewed.fingerprint in shown
        terminal.type("yes\n")
        assert terminal.end() == 0
    ctl("vms")


# -- the file known-pools ----------------------------------------------------------------------------------

KEEPS = """
import sys
from sriovctl import known_pools
sys.stdin.readline()
for number in range(25):
    known_pools.keep("host%s-%d" % (sys.argv[1], number), ":".join(["AB"] * 32))
"""


@pytest.mark.usefixtures("fronts")
def test_processes_that_keep_certificates_at_once() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    keepers = [
        subprocess.Popen([sys.executable, "-c", KEEPS, name], stdin=subprocess.PIPE, env=environment)
        for name in "abc"
    ]
    for keeper in keepers:
        assert keeper.stdin is not None
        keeper.stdin.write(b"\n")
        keeper.stdin.flush()
    for keeper in keepers:
        keeper.communicate()
        assert keeper.returncode == 0
    assert len(known_pools.all_known()) == 75


def test_folder_that_cannot_be_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a read-only home: there is a way that keeps nothing."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("SRIOVCTL_DATA_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(Failed) as failed:
        known_pools.keep("192.0.2.10", "AB")
    assert (failed.value.code, "--fingerprint" in failed.value.hint) == ("NOT_KEPT", True)


def test_line_that_cannot_be_understood(fronts: Fronts) -> None:
    """It is no unknown host; and lines of others stay as they are."""
    known_pools.keep("host1", fronts.own.fingerprint)
    with open(known_pools.path(), "a") as file:
        file.write("# ours\nhost2 AB:CD\n[::1]:8443 AB:CD\n")
    assert known_pools.fingerprint("host1") == fronts.own.fingerprint
    assert known_pools.fingerprint("host3") is None
    with pytest.raises(Failed, match="line 3: no SHA-256 fingerprint follows host2"):
        known_pools.fingerprint("host2")
    with pytest.raises(Failed) as failed:
        known_pools.fingerprint("[::1]:8443")
    assert "`sriovctl trust '[::1]:8443'`" in failed.value.hint  # as a shell takes it
    known_pools.forget("host1")
    with open(known_pools.path()) as file:
        assert file.read() == "# ours\nhost2 AB:CD\n[::1]:8443 AB:CD\n"


# -- what is shown of a certificate ------------------------------------------------------------------------


def der(made: Made) -> bytes:
    done = subprocess.run(
        ["openssl", "x509", "-in", made.certificate, "-outform", "DER"], stdout=subprocess.PIPE, check=True
    )
    return done.stdout


def test_certificate_as_openssl_reads_it(tmp_path: Any) -> None:
    names = ["DNS:host1", "DNS:host1.example", "IP:192.0.2.7", "IP:fd00::7"]
    made = certificate_maker.make(str(tmp_path), "host1", names, "20491231235959Z", "20500101000000Z")
    assert certificates.certificate(der(made)) == certificates.Certificate(
        made.fingerprint,
        "CN=host1",
        ("host1", "host1.example", "192.0.2.7", "fd00::7"),
        "2049-12-31",
        "2050-01-01",
    )


@given(st.data())
def test_certificate_that_is_broken(broken_from: List[bytes], data: st.DataObject) -> None:
    """Whatever it is, it has a fingerprint, and what is shown is harmless."""
    (whole,) = broken_from
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + data.draw(st.integers(0, 4)) :]
    shown = certificates.certificate(changed)
    assert len(shown.fingerprint) == 95
    assert "\x1b" not in "".join([shown.subject, *shown.names])


@pytest.fixture(scope="module")
def broken_from(tmp_path_factory: pytest.TempPathFactory) -> List[bytes]:
    folder = tmp_path_factory.mktemp("broken")
    return [der(certificate_maker.make(str(folder), "host1", ["DNS:host1", "IP:192.0.2.7"]))]
