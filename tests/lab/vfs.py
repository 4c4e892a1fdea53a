"""What a host shows of its VFs, also at moments when nobody can ask it."""

import json
import os
import re
from typing import Any, Dict, List, NamedTuple, Set

from lab.host import LabHost
from lab.toolstack import PUSHED, call

FIRST, SECOND = "0000:01:00.0", "0000:02:00.0"  # the igb cards of a lab host

RESTORE = "/usr/sbin/sriov-restore"
IN_ORDER = "Nothing differs from /etc/sriov.conf.\n"  # what its --check says then


class Noted(NamedTuple):
    """What dom0 had at one moment."""

    drivers: Dict[str, str]  # VF address -> driver
    interfaces: Set[str]
    settings: Dict[str, Any]  # interface of a PF -> its VFs' settings, in the words of `ip`


def watch_vfs(host: LabHost) -> None:
    """Has it noted what there is when the network daemon and xapi start. And lets igbvf, the driver that
    VFs of igb are made for, into dom0, now and early at each boot: it gets every VF that it can get."""
    host.run("sed -i '/^blacklist igbvf$/d' /etc/modprobe.d/sriov.conf")
    host.run("echo igbvf > /etc/modules-load.d/igbvf.conf && modprobe igbvf")
    host.push("/opt/lab", os.path.join(PUSHED, "note-vfs"))
    for unit in ("xcp-networkd", "xapi"):
        folder = f"/etc/systemd/system/{unit}.service.d"
        dropped_in = r"[Service]\nExecStartPre=/opt/lab/note-vfs %%p\n"
        host.run(f"mkdir {folder} && printf '{dropped_in}' > {folder}/note.conf")


def note(host: LabHost, name: str) -> Noted:
    """What there is now."""
    host.run(f"/opt/lab/note-vfs {name}")
    return noted(host, name)


def noted(host: LabHost, name: str) -> Noted:
    """What there was when the unit of that name started."""
    drivers = dict(line.split() for line in host.run(f"cat /run/lab/{name}-drivers").splitlines())
    links = json.loads(host.run(f"cat /run/lab/{name}-links"))
    settings = {link["ifname"]: link["vfinfo_list"] for link in links if link.get("vfinfo_list")}
    return Noted(drivers, {link["ifname"] for link in links}, settings)


def all_vfs(host: LabHost) -> List[Dict[str, Any]]:
    """What list_vfs says, but for the networks: the agent that plays xapi makes new ones when it starts."""
    return [{key: vf[key] for key in vf if key != "network"} for vf in call(host, "list_vfs")]


def taken_by_dom0(host: LabHost) -> List[str]:
    """The VFs that igbvf ever had since boot, as the kernel's log tells."""
    return sorted(set(re.findall(r"igbvf (\w+:\w+:\w+\.\d)", host.run("journalctl -k -b -o cat --no-pager"))))
