"""The copy of /etc/sriov.conf in `host.other_config:sriov-conf`, and how a reinstalled host gets its PFs and
VFs back from it (`sriov-restore --from-pool`)."""

from typing import Any, Dict, List, Optional

from ..config import ini, pf_sections, sriov_conf
from ..config.sriov_conf import HostConfig
from ..errors import Problem, SriovError
from ..machine import pci, xensource_inventory
from ..machine.host import Host
from ..safetext import LONGEST, line, plural, safe
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiError, logged_in

COPY_KEY = "sriov-conf"  # in host.other_config


def store(host: Host, session: OwnSession) -> Optional[str]:
    """Copies the file, if the copy is another. Returns what went wrong: the file counts, and the next change
    copies it again."""
    text = safe(sriov_conf.as_bytes(sriov_conf.read(host).document).decode("utf-8", "replace"))
    if len(text) > LONGEST:
        return f"{sriov_conf.PATH} has more than {LONGEST} characters, so the pool has no copy of it."
    try:
        xapi = Xapi(host, session)
        ref = xapi.call("host.get_by_uuid", xensource_inventory.read(host).get("INSTALLATION_UUID", ""))
        before = xapi.call("host.get_other_config", ref).get(COPY_KEY, "")
        if before == text:
            return None
        xapi.call("host.remove_from_other_config", ref, COPY_KEY)
        try:
            if text:
                xapi.call("host.add_to_other_config", ref, COPY_KEY, text)
        except XapiError:
            xapi.call("host.add_to_other_config", ref, COPY_KEY, before)
            raise
        return None
    except XapiError as error:
        host.log(f"the copy in host.other_config:{COPY_KEY} could not be written: {error}")
        return (
            f"The copy of {sriov_conf.PATH} in the pool (host.other_config:{COPY_KEY}) could not be written."
        )


def interpret(text: str) -> HostConfig:
    """What a copy says; one that is too long is not read."""
    if len(text) > LONGEST:
        said = [f"host.other_config:{COPY_KEY} has {len(text)} characters, more than {LONGEST}"]
        return HostConfig(ini.parse(""), {}, said, readable=False)
    return sriov_conf.interpret(ini.parse(text))


def bring_back(host: Host) -> str:
    """Adds the sections of PFs and VFs from the copy whose PFs are all in this host; its file keeps the rest,
    which is of this installation (Xen's option before us). Returns what it added, as a pool-operator can
    write the copy."""
    if sriov_conf.read(host).pfs:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"{sriov_conf.PATH} of this host already has sections of PFs.",
            "Remove them first to replace them by the pool's copy.",
        )
    copy = _of_this_host(host, _copies(host))
    sections = [name for name in copy.document.sections if name.startswith(("pf ", "vf "))]
    sriov_conf.edit(host, lambda config: ini.put_back(config.document, copy.document, sections))
    lines = [f"{sriov_conf.PATH}: {plural(len(copy.pfs), 'PF section')} brought back from the pool"]
    for name in sections:
        values = (f"{key} = {value}" for key, value in copy.document.sections[name].items())
        lines.append(line(f"  [{name}] {', '.join(values)}"))
    return "\n".join(lines)


def _copies(host: Host) -> List[HostConfig]:
    """Those with PFs, or too long to be read: this host's own first, then those of others, as a reinstalled
    host has a new UUID."""
    own = xensource_inventory.read(host).get("INSTALLATION_UUID")
    try:
        with logged_in(host) as session:
            records: Dict[str, Dict[str, Any]] = Xapi(host, session).call("host.get_all_records")
    except XapiError as error:
        raise SriovError(
            "SRIOV_XAPI_SILENT", f"xapi did not answer ({error}).", "Call again when xapi runs."
        ) from error
    own_first = sorted(records.values(), key=lambda record: bool(record["uuid"] != own))
    texts = [record["other_config"].get(COPY_KEY) for record in own_first]
    copies = [interpret(text) for text in texts if text]
    return [copy for copy in copies if copy.pfs or not copy.readable]


def _of_this_host(host: Host, copies: List[HostConfig]) -> HostConfig:
    """The first copy of which every PF is in this host."""
    if not copies:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            "The pool has no copy of this host's configuration.",
            "Configure the host again.",
        )
    pfs, _ = pci.functions(host)
    macs = pf_sections.permanent_macs(host, pfs)
    problems = []
    for copy in copies:
        if not copy.readable:
            too_long = "This package writes none that long: find out who wrote it, and remove the key."
            problems.append(Problem("NOT_FOUND", f"A copy was not read: {copy.errors[0]}.", too_long))
            continue
        found = [pf_sections.match(wanted, pfs, macs) for wanted in copy.pfs.values()]
        missing = [one.problem for one in found if one.pf is None and one.problem]
        if not missing:
            return copy
        problems += missing
    raise SriovError("SRIOV_NOT_FOUND", f"{problems[0].message} Nothing was written.", problems[0].hint)
