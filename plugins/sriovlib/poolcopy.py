"""The copy of /etc/sriov.conf in `host.other_config:sriov-conf`: what a reinstalled host gets back."""

from typing import Optional

from . import hostconfig, ini
from .host import Host
from .pool import COPY_KEY
from .xapi import Xapi


def store(host: Host, xapi: Xapi, host_ref: str) -> Optional[str]:
    """Copies the file as it is now; what went wrong, where something did: the file itself counts,
    and the next change copies it again."""
    text = hostconfig.as_bytes(hostconfig.read(host).document).decode("utf-8", "replace")
    try:
        xapi.call("host.remove_from_other_config", host_ref, COPY_KEY)
        if text:
            xapi.call("host.add_to_other_config", host_ref, COPY_KEY, text)
        return None
    except Exception as error:  # the client's errors have no common class
        host.log(f"the copy in host.other_config:{COPY_KEY} could not be written: {error}")
        return (
            f"The copy of {hostconfig.PATH} in the pool (host.other_config:{COPY_KEY}) could not be written."
        )


def fetch(xapi: Xapi, host_ref: str) -> Optional[hostconfig.HostConfig]:
    """The copy, or None where there is none."""
    text = xapi.call("host.get_other_config", host_ref).get(COPY_KEY)
    return hostconfig.interpret(ini.parse(text)) if text else None
