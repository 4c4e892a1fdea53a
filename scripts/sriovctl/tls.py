"""HTTPS connections that send nothing before the certificate of the other end was looked at."""

import errno
import http.client
import shlex
import socket
import ssl
from typing import Any, List, NamedTuple, Optional, Tuple

from sriovlib.safetext import safe

from .certificates import Certificate, certificate
from .errors import Failed
from .settings import Address

CONNECT_SECONDS = 20.0  # for TCP and the handshake; a call may take longer
_FRESH = "Call again; if it stays so, look at it: `sriovctl trust {}`."
# OpenSSL's verify codes (include/openssl/x509_vfy.h), in words.
_REASONS = {
    9: "it is not valid yet: are this machine's clock and the host's right",
    10: "it has expired",
    18: "it is signed by itself, as xapi makes them",
    19: "who signed it is not known here",
    20: "who signed it is not known here",
    21: "who signed it is not known here",
    62: "it is not for this name",
    64: "it is not for this address",
}


class Accepted(NamedTuple):
    """Which certificates are taken from an address: those with one of these fingerprints, or, without any,
    those that `context` lets through."""

    context: Any  # an ssl.SSLContext; ssl has it under another name before Python 3.7
    fingerprints: Tuple[str, ...] = ()


def anything() -> Accepted:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Accepted(context)


def exactly(fingerprints: List[str]) -> Accepted:
    return Accepted(anything().context, tuple(fingerprints))


def verified(ca_file: Optional[str]) -> Accepted:
    """By the CAs of the file, else by the system's."""
    try:
        return Accepted(ssl.create_default_context(cafile=ca_file))
    except (OSError, ssl.SSLError) as error:
        why = error.strerror if isinstance(error, FileNotFoundError) else "it has no certificates in PEM"
        raise Failed("BAD_CA_FILE", f"The CA file {safe(str(ca_file))} is of no use: {why}.", "") from error


class NotVerified(Failed):
    """The handshake found the certificate wanting. `reason` is why, as half a sentence."""

    def __init__(self, address: Address, reason: str) -> None:
        said = f"The certificate of {address} cannot be verified: {reason}."
        super().__init__("CERTIFICATE_NOT_VERIFIED", said, _FRESH.format(shlex.quote(str(address))))
        self.reason = reason


class Connection(http.client.HTTPSConnection):
    """`connect` raises Failed in sentences; every request of it comes after `connect`."""

    def __init__(self, address: Address, accepted: Accepted, seconds: float) -> None:
        self._first = min(seconds, CONNECT_SECONDS)
        super().__init__(address.host, address.port, timeout=self._first, context=accepted.context)
        self._address = address
        self._accepted = accepted
        self._seconds = seconds

    def connect(self) -> None:
        try:
            super().connect()
            _look(self._address, self._accepted, self.peer())
        except Exception as error:
            self.close()
            raise _said(self._address, self._first, error) from error
        self.sock.settimeout(self._seconds)

    def peer(self) -> Certificate:
        return certificate(self.sock.getpeercert(True) or b"")


class ClearConnection(http.client.HTTPConnection):
    """Without TLS, for an address that says http://."""

    def __init__(self, address: Address, seconds: float) -> None:
        self._first = min(seconds, CONNECT_SECONDS)
        super().__init__(address.host, address.port, timeout=self._first)
        self._address = address
        self._seconds = seconds

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            raise _said(self._address, self._first, error) from error
        self.sock.settimeout(self._seconds)


def peer(address: Address, accepted: Accepted, seconds: float) -> Certificate:
    """The certificate that is shown there, by a handshake and nothing more."""
    connection = Connection(address, accepted, seconds)
    connection.connect()
    try:
        return connection.peer()
    finally:
        connection.close()


def _look(address: Address, accepted: Accepted, shown: Certificate) -> None:
    if accepted.fingerprints and shown.fingerprint not in accepted.fingerprints:
        raise Failed(
            "CERTIFICATE_CHANGED",
            f"{address} shows another certificate than before: {shown.fingerprint}.",
            _FRESH.format(shlex.quote(str(address))),
        )


def _said(address: Address, seconds: float, error: Exception) -> Exception:
    """The error in a sentence that names what is in the way; as it is where it is no matter of reaching."""
    reason = unverified(error)
    if reason:
        return NotVerified(address, reason)
    if isinstance(error, (socket.gaierror, UnicodeError)):  # a label that is empty, or too long
        return Failed(
            "NAME_NOT_FOUND",
            f"There is no host with the name {safe(address.host)}.",
            "Check the name, and DNS.",
        )
    if isinstance(error, socket.timeout):
        said = f"{address} does not answer within {seconds:g} s."
        return Failed("TIMEOUT", said, "Check its power, its network, and firewalls on the way.")
    if isinstance(error, ConnectionRefusedError):
        said = f"{address} refuses connections to port {address.port}."
        return Failed("REFUSED", said, "Is it a host of the pool? In its dom0: `systemctl status xapi`.")
    if isinstance(error, (ssl.SSLError, ConnectionError)):
        why = str(getattr(error, "reason", None) or error.strerror or "it hung up")
        said = f"{address} does not speak TLS as it should at port {address.port}: {safe(why)}."
        return Failed("TLS_FAILED", said, "Is it a host of the pool, and is its toolstack up?")
    if isinstance(error, OSError):
        why = "no route to it" if error.errno == errno.EHOSTUNREACH else safe(error.strerror or str(error))
        return Failed("UNREACHABLE", f"{address} cannot be reached: {why}.", "Check its power and network.")
    return error


def unverified(error: Exception) -> str:
    """Why the certificate was found wanting; empty where the error is another one."""
    code = getattr(error, "verify_code", None)
    if code is not None:
        return _REASONS.get(code, safe(str(getattr(error, "verify_message", code))))
    if isinstance(error, ssl.CertificateError):  # Python 3.6 compares names itself
        return _REASONS[62]
    if isinstance(error, ssl.SSLError) and error.reason == "CERTIFICATE_VERIFY_FAILED":
        return "OpenSSL does not say why"
    return ""
