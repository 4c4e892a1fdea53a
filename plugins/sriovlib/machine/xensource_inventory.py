"""`/etc/xensource-inventory`: what the installer and xapi noted of this host."""

from typing import Dict

from .host import Host

PATH = "/etc/xensource-inventory"


def read(host: Host) -> Dict[str, str]:
    """KEY='value' line by line, without the quotes; empty where there is no such file."""
    values = {}
    for line in (host.text(PATH) or "").splitlines():
        key, separator, value = line.partition("=")
        if separator:
            values[key.strip()] = value.strip().strip("'\"")
    return values
