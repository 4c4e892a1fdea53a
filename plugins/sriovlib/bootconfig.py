"""Xen's command line for the next boot: read and changed by the host's xen-cmdline, else in extlinux.conf.

Both ways answer with the IOMMU options of each normal boot entry, and take what they shall become.
"""

import os
from typing import Dict, List, NamedTuple, Union

from . import extlinux, grub, xenoption
from .errors import Problem, SriovError
from .host import NOT_FOUND, Host, Running

XEN_CMDLINE = "/opt/xensource/libexec/xen-cmdline"
# Where xen-cmdline looks (xcp.bootloader), in its order.
GRUB_FILES = ("/boot/efi/EFI/xenserver/grub.cfg", "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
EXTLINUX_FILES = ("/boot/extlinux.conf", "/boot/extlinux/extlinux.conf")
LOADER_FILES = ("ldlinux.sys", "extlinux.sys")  # beside the configuration; the second before 4.0
BACKUP_SUFFIX = ".before-sriov"
USAGE = 64  # what extlinux exits with where it does not know --update

DEFAULT_ENTRY = "default"  # what stands for a label where only the default entry can be read

Options = Dict[str, List[str]]  # label of a boot entry -> its options that are about the IOMMU


class NotPutBack(SriovError):
    """The change failed, and what was there could not be put back: the new text stands."""


def refused(message: str, hint: str) -> SriovError:
    return SriovError("SRIOV_BOOT_CONFIG", message, hint)


class File(NamedTuple):
    data: bytes
    mode: int


def _file(host: Host, path: str) -> File:
    return File(host.read_bytes(path), host.mode(path))


def _keep_first(host: Host, files: Dict[str, File]) -> None:
    """Keeps the first original of each file beside it."""
    for path, file in files.items():
        if not host.exists(path + BACKUP_SUFFIX):
            host.replace_file(path + BACKUP_SUFFIX, file.data, file.mode)


def _put_back(host: Host, path: str, file: File, reason: BaseException) -> None:
    try:
        if host.read_bytes(path) != file.data:
            host.replace_file(path, file.data)
        host.set_mode(path, file.mode)
    except OSError as error:
        raise NotPutBack(
            "SRIOV_BOOT_CONFIG",
            f"{reason} Then {path} could not be put back: {error.strerror}. The new text stands.",
            f"Make room and call disable_iommu, or put {path}{BACKUP_SUFFIX} in its place.",
        ) from reason


class XenCmdline(NamedTuple):
    """The host's own tool: the only right way where it exists, because it knows the boot loaders.

    It reads the default entry, writes the entries `xe` and `xe-serial`, and exits 0 on nearly
    everything; with two keys in one call it spoils the command line. So: one key a call, and then
    what it did is read back.
    """

    host: Host

    @property
    def bootloader(self) -> str:
        return "grub" if any(self.host.exists(path) for path in GRUB_FILES) else "extlinux"

    @property
    def default(self) -> str:
        return DEFAULT_ENTRY

    def _start(self, *arguments: str) -> Running:
        return self.host.start([XEN_CMDLINE, *arguments])

    def _call(self, *arguments: str) -> str:
        return self._answer(self._start(*arguments))

    @staticmethod
    def _answer(running: Running) -> str:
        answer = running.finish()
        if answer.status != 0:
            raise refused(
                f"xen-cmdline cannot read this host's boot configuration ({answer.complaint}).",
                "See that its `set default=` is the number or the title of a normal entry, and that this "
                "entry gives Xen at least one option.",
            )
        return answer.stdout

    def read(self) -> Options:
        calls = [self._start("--get-xen", key) for key in ("iommu", "no-iommu")]
        return {DEFAULT_ENTRY: [option for call in calls for option in self._answer(call).split()]}

    def write(self, wanted: Options) -> List[Problem]:
        options = wanted[DEFAULT_ENTRY]
        before = self._files()
        try:
            _keep_first(self.host, before)
            if options:
                self._call("--set-xen", xenoption.as_one(options))
            else:
                self._call("--delete-xen", "iommu")
            if "no-iommu" in self.read()[DEFAULT_ENTRY]:
                self._call("--delete-xen", "no-iommu")
            self._look_for_harm(before)
            now = self.read()[DEFAULT_ENTRY]
            if xenoption.parts(now) != xenoption.parts(options):
                raise refused(
                    f"xen-cmdline did not change the entry that boots by default: it has "
                    f"`{' '.join(now) or 'no iommu option'}`, not `{' '.join(options) or 'none'}`.",
                    "It writes the entries `xe` and `xe-serial` only: make the normal entry the default "
                    "one in the boot configuration, then call again. Nothing was changed.",
                )
        except BaseException as error:
            for path, file in before.items():
                _put_back(self.host, path, file, error)
            raise
        for path, file in before.items():
            self.host.set_mode(path, file.mode)  # the tool leaves 0600
        return []

    def regenerate(self) -> List[Problem]:
        """Nothing: xen-cmdline does all that the boot loader needs."""
        return []

    def _files(self) -> Dict[str, File]:
        return {
            path: _file(self.host, path) for path in GRUB_FILES + EXTLINUX_FILES if self.host.exists(path)
        }

    def _look_for_harm(self, before: Dict[str, File]) -> None:
        for path in GRUB_FILES:
            if path in before:
                was, now = before[path].data, self.host.read_bytes(path)
                harm = grub.harm(was.decode("latin-1"), now.decode("latin-1"))
                if harm:
                    raise refused(
                        f"xen-cmdline would have spoilt {path}: {harm}.",
                        "Nothing was changed. The tool understands plain entries with different titles only: "
                        "put the option on Xen's line (multiboot2) by hand, or simplify the file.",
                    )


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
            entry.label: xenoption.iommu_options(extlinux.xen_options(self.config, entry))
            for entry in self.entries
        }

    def write(self, wanted: Options) -> List[Problem]:
        data = extlinux.with_iommu(self.config, wanted)
        self._check(data, wanted)
        before = File(self.data, self.host.mode(self.path))
        try:
            _keep_first(self.host, {self.path: before})
            self.host.replace_file(self.path, data)
        except OSError as error:
            raise refused(
                f"{self.path} could not be replaced: {error.strerror}.",
                "Make room or make it writable, then call again; the old file is as it was.",
            ) from error
        try:
            return self._unfit() + self.regenerate()
        except BaseException as error:
            _put_back(self.host, self.path, before, error)
            raise

    def _unfit(self) -> List[Problem]:
        return [
            Problem(
                "BOOT_ENTRY_UNFIT",
                f"The boot entry `{label}` of {self.path} would not boot, so it was left as it is.",
                "Mend it or take it out.",
            )
            for label in extlinux.unfit_entries(self.config)
        ]

    def _check(self, data: bytes, wanted: Options) -> None:
        """Parses the new text before it replaces the old one: nothing but the wanted options may
        differ, and every changed entry must still boot."""
        new = extlinux.parse(data)
        options = {
            entry.label: xenoption.iommu_options(extlinux.xen_options(new, entry))
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
    if host.exists(XEN_CMDLINE):
        return XenCmdline(host)
    paths = [path for path in EXTLINUX_FILES if host.exists(path)]
    if not paths:
        raise refused(
            f"There is neither {XEN_CMDLINE} nor {EXTLINUX_FILES[0]} on this host.",
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


def _has_loader(host: Host, folder: str) -> bool:
    return any(host.exists(os.path.join(folder, name)) for name in LOADER_FILES)
