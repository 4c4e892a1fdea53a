"""The hypervisor's commands: `xl info`, and xenstore's."""

import re
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import kernel_domains
from commands import Answer, not_imitated
from kernel_sysfs import Sysfs
from machine_description import Description
from machine_devices import NO_VFS
from machine_tree import recording
from sriovlib.machine.xenstored import DIRECTORY

WITHOUT_IOMMU = "xen-5-no-iommu-one-vf-on-pciback"


def xl(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    if len(arguments) == 2 and arguments[0] == "list":
        return _list(sysfs, arguments[1])
    if list(arguments) not in (["info"], ["info", "-n"]):
        return not_imitated("xl", arguments)
    return Answer(0, _info(sysfs, [] if len(arguments) == 1 else _topology(sysfs.description)))


def _list(sysfs: Sysfs, domid: str) -> Answer:
    """`xl list DOMID` (tools/xl/xl_info.c, list_domains)."""
    domain = sysfs.state["domains"].get(domid)
    if domain is None:
        return Answer(1, "", f"{domid} is an invalid domain identifier (rc=-6)\n")
    head = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
    state = "--p---" if domain.get("paused") else "-b----"
    return Answer(0, f"{head}{domain['name']:40} {domid:>5} 1024     1     {state} {12.5:8.1f}\n")


def _topology(description: Description) -> List[str]:
    """As xl prints it (tools/xl/xl_info.c, output_topologyinfo and output_numainfo)."""
    lines = ["cpu_topology           :", "cpu:    core    socket     node"]
    for cpu, node in enumerate(description.cpu_nodes):
        lines.append(f"{cpu:3d}:    {cpu:4d}     {max(node, 0):4d}     {node:4d}")
    lines += ["device topology        :", "device           node"]
    cards = [(address, card.numa_node) for card in description.cards for address in card.addresses]
    known = [f"{address}      {node}" for address, node in sorted(cards) if node >= 0]
    lines += known or ["No device topology data available"]
    lines += ["numa_info              :", "node:    memsize    memfree    distances"]
    nodes = sorted({*description.cpu_nodes} - {-1})
    for node in nodes:
        distances = ",".join("10" if other == node else "21" for other in nodes)
        lines.append(f"{node:4d}:    {32768:6d}     {16384:6d}      {distances}")
    return lines


def _info(sysfs: Sysfs, topology: Sequence[str]) -> str:
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
    lines: List[str] = []
    for line in recorded.meta["xl_info"].splitlines():
        key = line.partition(":")[0].strip()
        if key == "xen_major":
            lines += topology
        lines.append(f"{key.ljust(23)}: {own[key]}" if key in own else line)
    return "\n".join(lines) + "\n"


# -- xenstore ------------------------------------------------------------------------------------


def xenstored(sysfs: Sysfs, kind: int, key: str) -> Optional[bytes]:
    """XS_DIRECTORY or XS_READ of a key; None is ENOENT (Xen: docs/misc/xenstore.txt)."""
    try:
        found = _find(sysfs, key)
    except KeyError:
        return None
    if kind == DIRECTORY:
        return "".join(f"{name}\0" for name in found).encode() if isinstance(found, dict) else b""
    return b"" if isinstance(found, dict) else str(found).encode()


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


def xenstore_list(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """The names of the children of one path."""
    (path,) = arguments
    try:
        found = _find(sysfs, path)
    except KeyError:
        return Answer(1, "", f"xenstore-list: could not list path {path}\n")
    return Answer(0, "".join(f"{name}\n" for name in found))


def xenstore_write(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """A device more of a domain."""
    path, value = arguments
    try:
        kernel_domains.note(sysfs, *_device_key(path), value)
    except LookupError:
        return Answer(1, "", f"xenstore-write: could not write path {path}\n")
    return Answer(0)


def xenstore_rm(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """A device less."""
    (path,) = arguments
    try:
        kernel_domains.note(sysfs, *_device_key(path), None)
    except LookupError:
        return Answer(1, "", f"xenstore-rm: could not remove path {path}\n")
    return Answer(0)


def _device_key(path: str) -> Tuple[str, int]:
    found = re.fullmatch(r"/local/domain/0/backend/pci/(\d+)/0/dev-(\d+)", path)
    return (found.group(1), int(found.group(2))) if found else not_imitated("xenstore-write", [path])


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
