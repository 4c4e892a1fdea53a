"""The initrd that dom0 boots with: rebuilt by the host's own tool, and what it has.

A driver that the initrd has is loaded there, with the options of the initrd's own /etc/modprobe.d. dracut
puts that folder into an image in host-only mode only (modules.d/90kernel-modules/module-setup.sh, from
version 024 on: commit 87142801 of 2012; XCP-ng 8.3 and 9 have newer ones).
"""

import re
from typing import NamedTuple, Optional

from ..errors import SriovError
from . import modprobe_conf
from .command import NOT_FOUND
from .host import Host

REBUILD_SECONDS = 600
LOOK_SECONDS = 120


def _release(host: Host) -> str:
    return host.run(["uname", "-r"]).stdout.strip()


def _image(release: str) -> str:
    """xapi makes it there (xen-api: ocaml/networkd/lib/network_utils.ml, module Dracut)."""
    return f"/boot/initrd-{release}.img"


def rebuild(host: Host, why: str) -> None:
    """By dracut, as xapi calls it; `SRIOV_BOOT_CONFIG` where that fails. `why` is the changed file."""
    release = _release(host)
    answer = host.run(["dracut", "-f", _image(release), release], seconds=REBUILD_SECONDS)
    if answer.status == NOT_FOUND:
        answer = host.run(["update-initramfs", "-u", "-k", release], seconds=REBUILD_SECONDS)
    if answer.status != 0:
        raise SriovError(
            "SRIOV_BOOT_CONFIG",
            f"The initrd could not be rebuilt for {why}: {answer.complaint}.",
            "Correct what the tool reports, then call again; the file is as it was.",
        )


class Finding(NamedTuple):
    """What is wrong with an initrd; not `sure` where it could not be read."""

    sure: bool
    sentence: str


def against(host: Host, driver: str, parameter: str, path: str, value: str) -> Optional[Finding]:
    """Why the driver will not get `parameter=value` of the file `path` from the initrd; None where it will,
    or where the initrd has not the driver: then it is loaded later, with the host's own files."""
    release = _release(host)
    image = _image(release)
    if not host.exists(image):
        return None  # no image of dracut's; update-initramfs takes /etc/modprobe.d always
    listing = host.run(["lsinitrd", image], seconds=LOOK_SECONDS)
    if listing.status != 0 or f"lib/modules/{release}" not in listing.stdout:
        return Finding(
            False,
            f"{image} could not be read ({listing.complaint}), so it is not known whether it has {path}: if "
            "the VFs are missing after the reboot, it has not.",
        )
    module = re.escape(driver).replace("_", "[-_]").replace(r"\-", "[-_]")
    if not re.search(rf"/{module}\.ko(\.\w+)?$", listing.stdout, re.MULTILINE):
        return None
    copy = host.run(["lsinitrd", "-f", path.lstrip("/"), image], seconds=LOOK_SECONDS)
    given = modprobe_conf.in_text(copy.stdout, path, driver, parameter)
    if copy.status == 0 and given and given[-1].value == value:
        return None
    return Finding(
        True,
        f"{image} has the driver {driver} and not {path} as it is now, so the next boot does not give "
        f"{driver} {parameter}={value}. dracut takes that folder in host-only mode only: put "
        f'install_items+=" {path} " into /etc/dracut.conf.d/sriov.conf, then call set_vf_count again.',
    )
