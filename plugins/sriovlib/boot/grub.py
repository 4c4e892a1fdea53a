"""GRUB: Xen's IOMMU options are read from grub.cfg, and changed by the host's own tool xen-cmdline.

Where that tool exists it is the right way, for it knows the boot loader. But it rewrites the whole file,
exits 0 on nearly everything, and with two keys in one call it damages the command line. So it gets one key a
call, what it wrote is judged as GRUB reads it, and the file is put back if anything but the option changed.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence

from ..errors import Problem, SriovError
from ..machine import xensource_inventory
from ..machine.command import NOT_FOUND
from ..machine.host import Host
from . import boot_file, grub_changes, grub_config, iommu_option
from .boot_file import GRUB_FILES, Options, refused
from .grub_config import Config, Entry
from .grub_script import ScriptError

PROGRAM = "/opt/xensource/libexec/xen-cmdline"
CHECKERS = ("grub-script-check", "grub2-script-check")  # of GRUB itself, where it is installed


class Grub(NamedTuple):
    """The host's grub.cfg, and the tool that changes it."""

    host: Host
    path: str
    config: Config
    default: str  # the label of the entry that boots by itself
    entries: Dict[str, List[Entry]]  # by label: those that the tool changes, and the default one

    @property
    def bootloader(self) -> str:
        return "grub"

    def read(self) -> Options:
        return {label: _options(self.path, found[-1]) for label, found in self.entries.items()}

    def doubts(self) -> List[Problem]:
        """A change that was cut off, and why this host may boot by another file than this one."""
        found = boot_file.cut_off(self.host, self.path)
        real = self.host.real_path(self.path)
        others = [path for path in files(self.host) if self.host.real_path(path) != real]
        if others:
            found.append(boot_file.other_file(self.path, f"there is {' and '.join(others)} too"))
        for command in grub_config.reads_other_files(self.config)[:1]:
            found.append(
                boot_file.other_file(self.path, f"its {self.config.line(command.line)} may read another file")
            )
        return found

    def rehearse(self, _wanted: Options) -> None:
        """Raises what `write` would raise, as far as that can be told without changing the file."""
        # Asked about the default entry: unlike --set-xen, that fails where `default` is a title.
        _call(self.host, "--get-xen", "iommu")

    def write(self, wanted: Options) -> List[Problem]:
        """Gives these options to the entries with these labels, and leaves the others theirs."""
        self.rehearse(wanted)
        before = boot_file.read(self.host, self.path)
        expected = {**self.read(), **wanted}
        asked = wanted[self.default] if self.default in wanted else next(iter(wanted.values()))
        option = iommu_option.as_one(asked) if asked else None
        with boot_file.changed(self.host, self.path, before):
            _call(self.host, *(("--set-xen", option) if option else ("--delete-xen", "iommu")))
            text = self._judged(_text(before.data), _text(self.host.read_bytes(self.path)))
            new = self._tuned(grub_config.read(text), expected, option)
            if new != text:
                self._judged(_text(before.data), new)
                self.host.replace_file(self.path, new.encode("latin-1"))
            self._ask_grub()
        return []

    def _judged(self, before: str, after: str) -> str:
        normal = [entry.title for found in self.entries.values() for entry in found]
        grubenv = self.host.text(self.path.rpartition("/")[0] + "/grubenv") or ""
        changeable = [title for title in normal if not grub_config.is_way_back(title)]
        harm = grub_changes.harm(before, after, changeable, grubenv)
        if harm:
            raise _spoilt(self.path, harm)
        return after

    def _tuned(self, config: Config, expected: Options, option: Optional[str]) -> str:
        """The tool's text with the options of each entry: it gives the same to all."""
        edits = []
        for label, entries in _by_label(self.host, config, self.default).items():
            for entry in entries if label in expected else []:
                now = _options(self.path, entry)
                if now == expected[label]:
                    continue
                if option and option not in now:
                    raise self._not_changed(label, now, option)
                edits.append((entry.loads_xen[0], expected[label]))
        text = config.text
        for command, options in sorted(edits, key=lambda edit: -edit[0].line):
            text = grub_config.with_iommu(text, command, options)
        return text

    def _not_changed(self, label: str, now: Sequence[str], option: str) -> SriovError:
        which = "the entry that boots by default" if label == self.default else "an entry"
        entry = self.entries[label][-1]
        line = self.config.line(entry.loads_xen[0].line)
        return refused(
            f"xen-cmdline did not change {which}, `{entry.title}`: in {line} it has"
            f" `{' '.join(now) or 'no iommu option'}`, not `{option}`.",
            "Nothing was changed. The tool changes the entries titled like the product and `... (Serial)`"
            " only, and writes behind the last word of their line: make such an entry the default"
            " one, without a comment or `--` on Xen's line, or put the option there by hand.",
        )

    def _ask_grub(self) -> None:
        """GRUB's own checker, where there is one: what it took before it has to take now."""
        undo = self.path + boot_file.UNDO_SUFFIX
        for checker in CHECKERS:
            answer = self.host.run([checker, self.host.path(self.path)])
            if answer.status == NOT_FOUND:
                continue
            if answer.status != 0 and self.host.run([checker, self.host.path(undo)]).status == 0:
                raise _spoilt(self.path, f"GRUB would refuse it ({answer.complaint})")
            return


def _spoilt(path: str, harm: str) -> SriovError:
    return refused(
        f"xen-cmdline would damage {path}: {harm}.",
        "Nothing was changed. The tool understands a plain file with different titles only: put the option on"
        " Xen's line of the normal entries (multiboot2, xen_hypervisor) by hand, or simplify the file.",
    )


def _text(data: bytes) -> str:
    """Latin-1 stands for bytes here: any byte goes through and comes out as it was."""
    return data.decode("latin-1")


def _call(host: Host, *arguments: str) -> None:
    answer = host.run([PROGRAM, *arguments])
    if answer.status != 0:
        raise refused(
            f"xen-cmdline cannot read or write this host's boot configuration ({answer.complaint}).",
            "Nothing was changed. Check that its `set default=` is the number of a normal entry (GRUB would"
            " take a title, the tool does not), its `set timeout=` a plain number, that each `multiboot2`,"
            " `module2` and `linux` line has an option behind the file (some versions of the tool need one),"
            " and that there is room beside the file; or put the option on Xen's line of the normal entries"
            " by hand.",
        )


def files(host: Host) -> List[str]:
    """The GRUB files of a host that has the tool, the one that it changes first."""
    return [path for path in GRUB_FILES if host.exists(path)] if host.exists(PROGRAM) else []


def find(host: Host, paths: Sequence[str]) -> Grub:
    """How this host boots by the first of these files; `SRIOV_BOOT_CONFIG` where that cannot be told."""
    path = paths[0]
    if host.is_link(path):
        raise refused(
            f"{path} is a link, and xen-cmdline would put a file in its place.",
            "Put the file itself there, or add the option to Xen's line of its normal entries by hand.",
        )
    text = _text(boot_file.read(host, path).data)
    try:
        config = grub_config.read(text)
    except ScriptError as error:
        raise _unreadable(path, error) from error
    if config.default is None:
        where = config.line(config.unclear)
        raise refused(
            f"{path} does not say which entry boots by default: see {where}.",
            "Check that its `set default=` is the number of a normal entry, and that neither this line nor"
            " the entries before that one depend on a condition; then call again.",
        )
    if not config.default.loads_xen:
        raise refused(
            f"The entry `{config.default.title}`, which {path} boots by default, does not load Xen.",
            "Make a normal entry the default one, then call again.",
        )
    default = grub_config.label(config.default, _brand(host))
    found = Grub(host, path, config, default, _by_label(host, config, default))
    found.read()
    return found


def _unreadable(path: str, error: ScriptError) -> SriovError:
    return refused(
        f"{path} cannot be read with certainty: {error}.",
        "Correct that line, or put the option on Xen's line of the normal entries by hand.",
    )


def _options(path: str, entry: Entry) -> List[str]:
    if len(entry.loads_xen) > 1:
        raise _unreadable(
            path, ScriptError(entry.loads_xen[1].line, "Xen is loaded a second time in an entry")
        )
    try:
        return grub_config.iommu_options(entry.loads_xen[0])
    except ScriptError as error:
        raise _unreadable(path, error) from error


def _brand(host: Host) -> str:
    """The product's name, by which the tool knows the normal entry (it has it from xcp.branding)."""
    return xensource_inventory.read(host).get("PRODUCT_BRAND", "")


def _by_label(host: Host, config: Config, default: str) -> Dict[str, List[Entry]]:
    """The entries that load Xen and that the tool changes, and the default one."""
    found: Dict[str, List[Entry]] = {}
    brand = _brand(host)
    for entry in config.entries:
        label = grub_config.label(entry, brand)
        if entry.loads_xen and (label in grub_config.NORMAL_LABELS or label == default):
            found.setdefault(label, []).append(entry)
    for entries in found.values():  # of two with one label the one that boots counts
        entries.sort(key=lambda entry: entry is config.default)
    return found
