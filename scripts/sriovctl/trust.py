"""Which certificate a host may show: one that the CAs vouch for, the one that was named, or the one that a
person took for it at first sight.

xapi makes its own at a host's first boot, signed by itself, for ten years, with the host's names and
addresses (xen-api: ocaml/gencert/selfcert.ml, ocaml/xapi-aux/networking_info.ml), and another whenever
`host.refresh_server_certificate` is called or one is installed. No CA knows it, so it is kept here.
"""

import shlex
import sys
from typing import List

from . import known_pools, terminal, tls
from .certificates import Certificate
from .client import Client
from .errors import Failed
from .settings import Address, Target

IN_DOM0 = "openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256"


def accepted(client: Client, target: Target, address: Address) -> tls.Accepted:
    """For all connections to that address. It may ask; it raises Failed where no certificate is taken."""
    seconds = client.longest
    if client.options.insecure:
        client.warn(f"Any certificate is taken for {address} (--insecure): who listens there is not known.")
        return tls.anything()
    known = None if target.fingerprints or target.ca_file else known_pools.fingerprint(str(address))
    wanted = target.fingerprints or ([known] if known else [])
    if wanted:
        shown = tls.peer(address, tls.anything(), seconds)
        if shown.fingerprint in wanted:
            return tls.exactly(wanted)
        if target.fingerprints:
            raise not_the_named(address, shown, wanted)
    by_cas = tls.verified(target.ca_file)
    try:
        tls.peer(address, by_cas, seconds)
        return by_cas
    except tls.NotVerified as error:
        reason = error.reason
        if target.ca_file:
            raise
    shown = tls.peer(address, tls.anything(), seconds)
    if known:
        raise changed(address, shown, known)
    take(client, address, shown, reason)
    return tls.exactly([shown.fingerprint])


def take(client: Client, address: Address, shown: Certificate, reason: str) -> None:
    """Shows the certificate, asks, and keeps it; raises Failed where the answer is not yes."""
    if client.options.no_input or not sys.stdin.isatty():
        raise Failed(
            "CERTIFICATE_UNKNOWN",
            f"The certificate of {address} cannot be verified: {reason}. Its fingerprint is "
            f"{shown.fingerprint}, and nobody can be asked whether that is right.",
            f"Compare it in the host's dom0 (`{IN_DOM0}`), then give --fingerprint, or type "
            f"`sriovctl trust {shlex.quote(str(address))}` at a terminal.",
        )
    client.say(f"The certificate of {address} cannot be verified: {reason}.")
    describe(client, shown)
    if not terminal.asked(f"Is that the same? Then only this one is taken for {address} from now on."):
        raise Failed("CERTIFICATE_REFUSED", f"The certificate of {address} was not taken.", "")
    known_pools.keep(str(address), shown.fingerprint)


def describe(client: Client, shown: Certificate) -> None:
    """With the way to compare it: only the host itself can tell what is right."""
    names = [name for name in shown.names if f"CN={name}" != shown.subject]
    subject = shown.subject + (f" (and {', '.join(names)})" if names else "")
    for line in (
        f"  subject  {subject or '(cannot be read)'}",
        f"  valid    {shown.begins} to {shown.ends}",
        f"  SHA-256  {shown.fingerprint}",
        "Compare that with what the host says of itself, in its dom0:",
        f"  {IN_DOM0}",
    ):
        client.say(line)


def changed(address: Address, shown: Certificate, known: str) -> Failed:
    return Failed(
        "CERTIFICATE_CHANGED",
        f"{address} shows another certificate than the one that was taken for it: someone may listen in. "
        f"Shown: {shown.fingerprint}. Taken: {known}.",
        f"If it was renewed (`xe host-refresh-server-certificate`, or the host was reinstalled), compare "
        f"the new one and take it: `sriovctl trust {shlex.quote(str(address))}`.",
    )


def not_the_named(address: Address, shown: Certificate, wanted: List[str]) -> Failed:
    return Failed(
        "CERTIFICATE_CHANGED",
        f"{address} shows a certificate that was not named. Shown: {shown.fingerprint}. Named: "
        f"{', '.join(wanted)}.",
        f"If it was renewed, compare the new one in the host's dom0 (`{IN_DOM0}`), and name that by "
        "--fingerprint or in pools.toml.",
    )
