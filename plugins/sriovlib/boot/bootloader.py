"""Which boot loader this host boots by: `Grub` or `Extlinux`. Both read the IOMMU options that each normal
boot entry gives to Xen, and write new ones."""

import os
from typing import List, NamedTuple, Union

from ..errors import Problem
from ..machine.command import NOT_FOUND
from ..machine.host import Host
from . import boot_file, extlinux, grub
from .boot_file import EXTLINUX_FILES, Options, refused
from .grub import Grub

LOADER_FILES = ("ldlinux.sys", "extlinux.sys")  # beside the configuration; the second before 4.0
USAGE = 64  # what extlinux exits with where it does not know --update


class Extlinux(NamedTuple):
    """`extlinux.conf`, which extlinux reads by its path at every boot."""

    host: Host
    path: str
    config: extlinux.Config

    @property
    def bootloader(self) -> str:
        return "extlinux"

    @property
    def default(self) -> str:
        return self.config.default or ""

    def read(self) -> Options:
        return extlinux.iommu_options(self.config)

    def doubts(self) -> List[Problem]:
        """A change that was cut off, and why this host may boot by another file than this one."""
        others = [boot_file.other_file(self.path, why) for why in extlinux.other_files(self.config)]
        return boot_file.cut_off(self.host, self.path) + others

    def rehearse(self, wanted: Options) -> None:
        """Raises what `write` would raise, as far as that can be told without changing the file."""
        self._changed(wanted)

    def write(self, wanted: Options) -> List[Problem]:
        text = self._changed(wanted)
        before = boot_file.read(self.host, self.path)._replace(data=self.config.text.encode("latin-1"))
        unfit = [
            Problem(
                "BOOT_ENTRY_UNFIT",
                f"The boot entry `{label}` of {self.path} was left as it is: {why}.",
                "Correct it or remove it.",
            )
            for label, why in extlinux.unfit_entries(self.config).items()
        ]
        with boot_file.changed(self.host, self.path, before):
            self.host.replace_file(self.path, text.encode("latin-1"))
            return unfit + self._run_extlinux()

    def _changed(self, wanted: Options) -> str:
        """The new text, parsed before it replaces the old one: nothing but the wanted options may differ,
        and every changed entry must still boot."""
        text = extlinux.with_iommu(self.config, wanted)
        new = extlinux.parse(text.encode("latin-1"))
        old_options, options = self.read(), extlinux.iommu_options(new)
        without: Options = {label: [] for label in old_options}
        rest = [extlinux.with_iommu(config, without) for config in (self.config, new)]
        if options != {**old_options, **wanted} or rest[0] != rest[1]:
            raise refused(
                f"{self.path} is written in a way that cannot be changed safely.",
                "Put the IOMMU option into its normal entries by hand. Nothing was changed.",
            )
        return text

    def _run_extlinux(self) -> List[Problem]:
        """On the one folder that holds its loader and this configuration: with any other folder of the same
        disk it exits 0 and ruins the boot sector."""
        folder = os.path.dirname(self.path)
        if not _has_loader(self.host, folder):
            return [_not_updated(f"there is no {LOADER_FILES[0]} in {folder}")]
        answer = self.host.run(["extlinux", "--update", folder])
        if answer.status == USAGE:  # extlinux 3 takes the folder alone, as the first hosts did
            answer = self.host.run(["extlinux", folder])
        if answer.status == NOT_FOUND:
            return [_not_updated("this host has no command extlinux")]
        if answer.status != 0:
            raise refused(
                f"The boot loader could not be updated: {answer.complaint}.",
                f"{self.path} is as it was. Resolve what extlinux says, then call again.",
            )
        return []


def _not_updated(why: str) -> Problem:
    return Problem(
        "BOOTLOADER_NOT_UPDATED",
        f"The boot configuration is changed, but extlinux was not run: {why}.",
        "extlinux reads its configuration at each boot, so the change takes effect if this host "
        "boots from that file; check that before you reboot.",
    )


BootConfig = Union[Grub, Extlinux]


def find(host: Host) -> BootConfig:
    """How this host boots; `SRIOV_BOOT_CONFIG` where that is not known or would not boot."""
    grub_files = grub.files(host)
    if grub_files:
        return grub.find(host, grub_files)
    paths = [path for path in EXTLINUX_FILES if host.exists(path)]
    if not paths:
        raise refused(
            f"This host has neither {grub.PROGRAM} with a grub.cfg nor {EXTLINUX_FILES[0]}.",
            "Add iommu=1 to Xen's command line in the configuration of this host's boot loader.",
        )
    with_loader = [path for path in paths if _has_loader(host, os.path.dirname(path))]
    if len(with_loader) > 1:
        raise refused(
            f"There are two boot configurations with a loader beside them: {' and '.join(with_loader)}.",
            "Remove the one that this host does not boot from, then call again.",
        )
    path = (with_loader or paths)[0]
    config = extlinux.parse(boot_file.read(host, path).data)
    try:
        extlinux.normal_entries(config)
    except extlinux.NotBootable as reason:
        raise refused(
            f"{path} is not changed: {reason}.",
            "Correct it before this host boots again, then call again.",
        ) from reason
    return Extlinux(host, path, config)


def _has_loader(host: Host, folder: str) -> bool:
    return any(host.exists(os.path.join(folder, name)) for name in LOADER_FILES)
