"""Xen's command line for the next boot: read and changed by the host's xen-cmdline, else in extlinux.conf.

Both ways answer with the IOMMU options of each normal boot entry, and take what they shall become.
"""

import os
from typing import List, NamedTuple, Union

from ..errors import Problem
from ..machine.host import NOT_FOUND, Host
from . import boot_file, extlinux, iommu_option, xen_cmdline
from .boot_file import Options, refused
from .xen_cmdline import XenCmdline

EXTLINUX_FILES = ("/boot/extlinux.conf", "/boot/extlinux/extlinux.conf")
LOADER_FILES = ("ldlinux.sys", "extlinux.sys")  # beside the configuration; the second before 4.0
USAGE = 64  # what extlinux exits with where it does not know --update


class Extlinux(NamedTuple):
    """`extlinux.conf`, which extlinux reads by its path at every boot."""

    host: Host
    path: str
    data: bytes
    config: extlinux.Config
    entries: List[extlinux.Entry]

    @property
    def bootloader(self) -> str:
        return "extlinux"

    @property
    def default(self) -> str:
        return self.config.default or ""

    def read(self) -> Options:
        return {
            entry.label: iommu_option.iommu_options(extlinux.xen_options(self.config, entry))
            for entry in self.entries
        }

    def rehearse(self, wanted: Options) -> None:
        """Raises what `write` would raise, as far as that can be told without changing the file."""
        self._check(extlinux.with_iommu(self.config, wanted), wanted)

    def write(self, wanted: Options) -> List[Problem]:
        self.rehearse(wanted)
        data = extlinux.with_iommu(self.config, wanted)
        before = boot_file.read(self.host, self.path)._replace(data=self.data)
        is_first = False
        try:
            is_first = boot_file.keep_first(self.host, self.path, before)
            self.host.replace_file(self.path, data)
            return self._unfit() + self.regenerate()
        except BaseException as error:
            boot_file.put_back(self.host, self.path, before, error)
            if is_first:
                self.host.try_to_remove(self.path + boot_file.BACKUP_SUFFIX)
            if isinstance(error, OSError):
                raise refused(
                    f"{self.path} could not be replaced: {error.strerror}.",
                    "Make room or make it writable, then call again; the old file is as it was.",
                ) from error
            raise

    def doubts(self) -> List[Problem]:
        """Why this host may boot by another file than this one."""
        return [boot_file.other_file(self.path, why) for why in extlinux.other_files(self.config)]

    def _unfit(self) -> List[Problem]:
        return [
            Problem(
                "BOOT_ENTRY_UNFIT",
                f"The boot entry `{label}` of {self.path} was left as it is: {why}.",
                "Mend it or take it out.",
            )
            for label, why in extlinux.unfit_entries(self.config).items()
        ]

    def _check(self, data: bytes, wanted: Options) -> None:
        """Parses the new text before it replaces the old one: nothing but the wanted options may
        differ, and every changed entry must still boot."""
        new = extlinux.parse(data)
        options = {
            entry.label: iommu_option.iommu_options(extlinux.xen_options(new, entry))
            for entry in extlinux.normal_entries(new)
        }
        own = {entry.append_line for entry in self.entries}
        same = [
            old == line or number in own
            for number, (old, line) in enumerate(zip(self.config.lines, new.lines))
        ]
        if options != {**self.read(), **wanted} or len(new.lines) != len(self.config.lines) or not all(same):
            raise refused(
                f"{self.path} is written in a way that could not be changed safely.",
                "Put the IOMMU option into its normal entries by hand. Nothing was changed.",
            )

    def regenerate(self) -> List[Problem]:
        """Runs extlinux on the one folder that holds its loader and this configuration: with any
        other folder of the same disk it exits 0 and ruins the boot sector."""
        folder = os.path.dirname(self.path)
        if not _has_loader(self.host, folder):
            return [_not_regenerated(f"there is no {LOADER_FILES[0]} in {folder}")]
        answer = self.host.run(["extlinux", "--update", folder])
        if answer.status == USAGE:  # extlinux 3 takes the folder alone, as the first hosts did
            answer = self.host.run(["extlinux", folder])
        if answer.status == NOT_FOUND:
            return [_not_regenerated("this host has no command extlinux")]
        if answer.status != 0:
            raise refused(
                f"The boot loader could not be updated: {answer.complaint}.",
                f"{self.path} is as it was before; mend what extlinux says, then call again.",
            )
        return []


def _not_regenerated(why: str) -> Problem:
    return Problem(
        "BOOTLOADER_NOT_UPDATED",
        f"The boot configuration is changed, but extlinux was not run: {why}.",
        "extlinux reads its configuration at each boot, so the change counts if it is the file that "
        "this host boots with; check that before you reboot.",
    )


BootConfig = Union[XenCmdline, Extlinux]


def find(host: Host) -> BootConfig:
    """How this host boots; `SRIOV_BOOT_CONFIG` where that is not known or would not boot."""
    grub_files = xen_cmdline.files(host)
    if grub_files:
        return xen_cmdline.find(host, grub_files)
    paths = [path for path in EXTLINUX_FILES if host.exists(path)]
    if not paths:
        raise refused(
            f"There is neither {xen_cmdline.PROGRAM} with a grub.cfg nor {EXTLINUX_FILES[0]} on this host.",
            "Put iommu=1 on Xen's command line in the way that this host's boot loader wants.",
        )
    with_loader = [path for path in paths if _has_loader(host, os.path.dirname(path))]
    if len(with_loader) > 1:
        raise refused(
            f"There are two boot configurations with a loader beside them: {' and '.join(with_loader)}.",
            "Take away the one that this host does not boot with, then call again.",
        )
    path = (with_loader or paths)[0]
    try:
        data = host.read_bytes(path)
        config = extlinux.parse(data)
        return Extlinux(host, path, data, config, extlinux.normal_entries(config))
    except OSError as error:
        raise refused(f"{path} cannot be read: {error.strerror}.", "Mend that, then call again.") from error
    except extlinux.NotBootable as reason:
        raise refused(
            f"{path} is not changed: {reason}.",
            "Mend it before this host boots again, then call again.",
        ) from reason


def recover(host: Host) -> None:
    """Completes or takes back what a call left that was cut off; the caller holds the lock `boot`."""
    xen_cmdline.recover(host)


def _has_loader(host: Host, folder: str) -> bool:
    return any(host.exists(os.path.join(folder, name)) for name in LOADER_FILES)
