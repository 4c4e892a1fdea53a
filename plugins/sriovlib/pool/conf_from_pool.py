"""`sriov-restore --from-pool`: a host that was reinstalled gets its PFs and VFs of /etc/sriov.conf back."""

from typing import List

from ..config import ini, pf_sections, sriov_conf
from ..config.sriov_conf import HostConfig
from ..errors import Problem, SriovError
from ..machine import pci, xensource_inventory
from ..machine.host import Host
from ..safetext import line
from ..xapi.session import Xapi, XapiError, logged_in
from . import conf_copy

_TOO_LONG = "Nothing that this product wrote is that long: look who wrote it, and take the key away."


def bring_back(host: Host) -> str:
    """Adds the sections of PFs and VFs from the copy whose PFs are those of this host; what else is in
    this host's file (its Xen option before us) is of this installation, and stays. Says what it added: a
    pool-operator may have written the copy."""
    if sriov_conf.read(host).pfs:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"{sriov_conf.PATH} of this host already speaks of PFs.",
            "Take those sections out first, if the pool's copy shall take their place.",
        )
    copy = _mine(host, _copies(host))
    sections = [name for name in copy.document.sections if name.startswith(("pf ", "vf "))]
    sriov_conf.edit(host, lambda config: ini.put_back(config.document, copy.document, sections))
    lines = [f"{sriov_conf.PATH}: brought back from the pool, {len(copy.pfs)} PF sections"]
    for name in sections:
        values = (f"{key} = {value}" for key, value in copy.document.sections[name].items())
        lines.append(line(f"  [{name}] {', '.join(values)}"))
    return "\n".join(lines)


def _copies(host: Host) -> List[HostConfig]:
    try:
        with logged_in(host) as session:
            return conf_copy.fetch(
                Xapi(host, session), xensource_inventory.read(host).get("INSTALLATION_UUID", "")
            )
    except XapiError as error:
        raise SriovError(
            "SRIOV_XAPI_SILENT", f"xapi does not answer ({error}).", "Call again when xapi runs."
        ) from error


def _mine(host: Host, copies: List[HostConfig]) -> HostConfig:
    """The first copy of which every PF is in this host."""
    if not copies:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            "The pool has no copy of this host's configuration.",
            "Configure the host anew.",
        )
    pfs, _ = pci.functions(host)
    macs = pf_sections.permanent_macs(host, pfs)
    problems = []
    for copy in copies:
        if not copy.readable:
            problems.append(Problem("NOT_FOUND", f"A copy was not read: {copy.errors[0]}.", _TOO_LONG))
            continue
        found = [pf_sections.match(wanted, pfs, macs) for wanted in copy.pfs.values()]
        missing = [one.problem for one in found if one.pf is None and one.problem]
        if not missing:
            return copy
        problems += missing
    raise SriovError("SRIOV_NOT_FOUND", f"{problems[0].message} Nothing was written.", problems[0].hint)
