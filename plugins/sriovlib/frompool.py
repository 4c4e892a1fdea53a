"""`sriov-restore --from-pool`: a host that was reinstalled gets its /etc/sriov.conf back from the pool."""

from typing import Any

from . import hostconfig, identity, pci, poolcopy, product
from .errors import SriovError
from .host import Host
from .xapi import Xapi


def login() -> Any:
    """A session of our own over xapi's Unix socket, as root of this host."""
    import XenAPI  # takes as long as the rest of the boot service

    session = XenAPI.xapi_local()
    session.xenapi.login_with_password("root", "", "1.0", "xapi-sriov")
    return session


def bring_back(host: Host) -> str:
    """Writes the file from its copy, if the PFs of this host are those that it speaks of."""
    if hostconfig.read(host).pfs:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"{hostconfig.PATH} of this host already speaks of PFs.",
            "Move it away first, if the pool's copy shall take its place.",
        )
    session = login()
    try:
        xapi = Xapi(host, session)
        uuid = product.read(host).get("INSTALLATION_UUID", "")
        copy = poolcopy.fetch(xapi, xapi.call("host.get_by_uuid", uuid))
    finally:
        session.logout()
    if copy is None:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            "The pool has no copy of this host's configuration.",
            "Configure the host anew.",
        )
    pfs, _ = pci.functions(host)
    macs = identity.permanent_macs(host, pfs)
    for wanted in copy.pfs.values():
        found = identity.match(wanted, pfs, macs)
        if found.pf is None and found.problem:
            raise SriovError(
                "SRIOV_NOT_FOUND", f"{found.problem.message} Nothing was written.", found.problem.hint
            )
    with host.lock("config", "sriov-restore --from-pool"):
        hostconfig.write(host, copy.document)
    return f"{hostconfig.PATH}: brought back from the pool, {len(copy.pfs)} PF sections"
