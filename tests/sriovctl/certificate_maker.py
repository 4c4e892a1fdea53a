"""Certificates by openssl, as xapi makes them for a host, and as a CA signs them.

xapi's: signed by itself, with the host's names and addresses beside the CN, and no other extension (xen-api:
ocaml/gencert/selfcert.ml).
"""

import os
import re
import subprocess
from typing import NamedTuple, Sequence

NOW, LATER = "20200101000000Z", "20560101000000Z"
_CONF = """
[ca]
default_ca = this
[this]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[names]
subjectAltName = {names}
[own]
subjectAltName = {names}
subjectKeyIdentifier = none
authorityKeyIdentifier = none
[authority]
subjectAltName = {names}
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[req]
distinguished_name = any
"""


class Made(NamedTuple):
    """Files in PEM, and the fingerprint that openssl tells."""

    certificate: str
    key: str
    fingerprint: str


def make(
    folder: str,
    name: str,
    names: Sequence[str] = ("DNS:host1", "IP:127.0.0.1"),
    begins: str = NOW,
    ends: str = LATER,
    signed_by: str = "",
) -> Made:
    """`signed_by` is the name of one that was made in this folder before; without it, by itself."""
    conf = os.path.join(folder, f"{name}.conf")
    with open(conf, "w") as file:
        file.write(_CONF.format(folder=folder, names=", ".join(names)))
    open(os.path.join(folder, "index"), "w").close()
    key, request, made = (os.path.join(folder, f"{name}.{end}") for end in ("key", "csr", "pem"))
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    _openssl("req", "-new", "-config", conf, "-key", key, "-subj", f"/CN={name}", "-out", request)
    if signed_by:
        by = os.path.join(folder, signed_by)
        signer = ["-cert", f"{by}.pem", "-keyfile", f"{by}.key"]
    else:
        signer = ["-selfsign", "-keyfile", key]
    extensions = "authority" if name.startswith("ca") else "names" if signed_by else "own"
    _openssl(
        *("ca", "-batch", "-notext", "-config", conf, "-extensions", extensions, *signer),
        *("-startdate", begins, "-enddate", ends, "-in", request, "-out", made),
    )
    return Made(made, key, fingerprint(made))


def fingerprint(path: str) -> str:
    """By the command that our messages name."""
    said = _openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256")
    found = re.fullmatch("sha256 fingerprint=([0-9a-f:]+)", said.strip(), re.IGNORECASE)
    assert found, said
    return found.group(1)


def _openssl(*words: str) -> str:
    done = subprocess.run(
        ["openssl", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
