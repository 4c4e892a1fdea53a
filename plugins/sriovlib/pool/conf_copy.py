"""The copy of /etc/sriov.conf in `host.other_config:sriov-conf`: what a reinstalled host gets back."""

from typing import Any, Dict, List, Optional

from ..config import ini, sriov_conf
from ..config.sriov_conf import HostConfig
from ..machine import xensource_inventory
from ..machine.host import Host
from ..safetext import LONGEST, safe
from ..xapi.session import Xapi, XapiError

COPY_KEY = "sriov-conf"  # in host.other_config


def store(host: Host, session: Any) -> Optional[str]:
    """Copies the file as it is now, if the copy is another. What went wrong, where something did: the
    file itself counts, and the next change copies it again."""
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
    """What a copy says; one that is too long is not read at all."""
    if len(text) > LONGEST:
        said = [f"host.other_config:{COPY_KEY} has {len(text)} characters, more than {LONGEST}"]
        return HostConfig(ini.parse(""), {}, said, readable=False)
    return sriov_conf.interpret(ini.parse(text))


def fetch(xapi: Xapi, host_uuid: str) -> List[HostConfig]:
    """The copies of the pool that speak of PFs, or are too long to be read: this host's own first, then those
    of others, for a host that was installed anew has a new UUID."""
    records: Dict[str, Dict[str, Any]] = xapi.call("host.get_all_records")
    own_first = sorted(records.values(), key=lambda record: bool(record["uuid"] != host_uuid))
    texts = [record["other_config"].get(COPY_KEY) for record in own_first]
    copies = [interpret(text) for text in texts if text]
    return [copy for copy in copies if copy.pfs or not copy.readable]
