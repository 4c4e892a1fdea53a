"""The hypervisor's commands: `xl info`, and xenstore's."""

from typing import Any, Dict, Iterator, Sequence, Tuple

import kernel_domains
from commands import Answer, not_imitated
from kernel_sysfs import Sysfs
from machine_devices import NO_VFS
from machine_tree import recording

WITHOUT_IOMMU = "xen-5-no-iommu-one-vf-on-pciback"


def xl(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    return Answer(0, _info(sysfs)) if list(arguments) == ["info"] else not_imitated("xl", arguments)


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


# -- xenstore ------------------------------------------------------------------------------------


def xenstore_ls(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """`xenstore-ls -f PATH`: all below it by full paths."""
    if arguments[:1] != ["-f"] or len(arguments) != 2:
        return not_imitated("xenstore-ls", arguments)
    path = arguments[1]
    try:
        top = _find(sysfs, path)
    except KeyError:
        return Answer(1, "", f"xenstore-ls: xs_directory ({path}): No such file or directory\n")
    return Answer(0, "".join(f'{below} = "{value}"\n' for below, value in _below(top, path)))


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
