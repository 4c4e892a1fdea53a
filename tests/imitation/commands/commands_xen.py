"""The hypervisor's commands: `xl info`, `xl dmesg`, and xenstore's."""

from typing import Any, Dict, Iterator, List, Sequence, Tuple

import kernel_domains
from commands import Answer, not_imitated
from kernel_sysfs import Sysfs
from machine_devices import NO_VFS
from machine_tree import recording

WITHOUT_IOMMU = "xen-5-no-iommu-one-vf-on-pciback"


def xl(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    if list(arguments) == ["info"]:
        return Answer(0, _info(sysfs))
    if list(arguments) == ["dmesg"]:
        return Answer(0, "".join(f"(XEN) {line}\n" for line in _log(sysfs)))
    return not_imitated("xl", arguments)


def _info(sysfs: Sysfs) -> str:
    """As recorded, with or without an IOMMU, and this machine's own names and versions."""
    description = sysfs.description
    recorded = recording(NO_VFS if kernel_domains.iommu_active(sysfs) else WITHOUT_IOMMU)
    major, minor, extra = description.xen_version.split(".", 2)
    own = {
        "host": description.hostname,
        "release": description.kernel,
        "version": description.kernel_build,
        "xen_major": major,
        "xen_minor": minor,
        "xen_extra": "." + extra,
        "xen_version": description.xen_version,
        "xen_commandline": sysfs.state["xen_options"],
    }
    lines = []
    for line in recorded.meta["xl_info"].splitlines():
        key = line.partition(":")[0].strip()
        lines.append(f"{key.ljust(23)}: {own[key]}" if key in own else line)
    return "\n".join(lines) + "\n"


def _log(sysfs: Sysfs) -> List[str]:
    """The hypervisor's log, as far as it says how Xen was booted and what IOMMU it has (lab report)."""
    description = sysfs.description
    loader = {"extlinux": "SYSLINUX 6.04 20210613"}.get(description.bootloader, "GRUB 2.02")
    lines = [
        f"Xen version {description.xen_version} (mockbuild@[unknown]) (gcc) debug=n",
        f"Bootloader: {loader}",
        f"Command line: {sysfs.state['xen_options']}",
        *description.hypervisor_log,
    ]
    if not kernel_domains.iommu_active(sysfs):
        return [*lines, "I/O virtualisation disabled"]
    if description.iommu == "AMD-Vi":
        lines += ["AMD-Vi: IOMMU Extended Features:", "AMD-Vi: IOMMU 0 Enabled."]
    else:
        lines += [
            "Intel VT-d iommu 0 supported page sizes: 4kB, 2MB, 1GB",
            "Intel VT-d Snoop Control not enabled.",
            "Intel VT-d Dom0 DMA Passthrough not enabled.",
            "Intel VT-d Queued Invalidation enabled.",
            "Intel VT-d Interrupt Remapping enabled.",
            "Intel VT-d Posted Interrupt not enabled.",
            "Intel VT-d Shared EPT tables enabled.",
        ]
    return [*lines, "I/O virtualisation enabled", " - Dom0 mode: Relaxed", "Interrupt remapping enabled"]


# -- xenstore ------------------------------------------------------------------------------------


def xenstore_ls(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """A path and all below it: with -f by full paths, without by an indentation of one blank a level."""
    options = [word for word in arguments if word.startswith("-")]
    paths = [word for word in arguments if not word.startswith("-")]
    if len(paths) != 1 or options not in ([], ["-f"]):
        return not_imitated("xenstore-ls", arguments)
    try:
        top = _find(sysfs, paths[0])
    except KeyError:
        return Answer(1, "", f"xenstore-ls: xs_directory ({paths[0]}): No such file or directory\n")
    lines = []
    for path, value in _below(top, ""):
        depth = path.count("/") - 1
        shown = paths[0] + path if options else " " * depth + path.rsplit("/", 1)[-1]
        lines.append(f'{shown} = "{value}"\n')
    return Answer(0, "".join(lines))


def xenstore_read(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """The values of several paths, up to the first that is not there."""
    output = ""
    for path in arguments:
        try:
            value = _find(sysfs, path)
        except KeyError:
            return Answer(1, output, f"xenstore-read: couldn't read path {path}\n")
        output += ("" if isinstance(value, dict) else value) + "\n"
    return Answer(0, output)


def _find(sysfs: Sysfs, path: str) -> Any:
    found: Any = kernel_domains.xenstore(sysfs)
    for part in path.strip("/").split("/"):
        if not isinstance(found, dict):
            raise KeyError(path)
        found = found[part]
    return found


def _below(folder: Any, path: str) -> Iterator[Tuple[str, str]]:
    children: Dict[str, Any] = folder if isinstance(folder, dict) else {}
    for key, value in children.items():
        yield f"{path}/{key}", "" if isinstance(value, dict) else value
        yield from _below(value, f"{path}/{key}")
