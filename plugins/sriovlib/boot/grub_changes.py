"""What xen-cmdline may do to a GRUB file: change Xen's IOMMU options in the normal entries, and nothing else.
Pure text.

The tool (xcp.bootloader of python-libs) rewrites the whole file from what it understood of it: it drops what
stands behind the last entry, moves, joins and rewrites what it takes for its own. So the file is judged as
GRUB reads it, before and after: the same commands with the same words, in the same order, under the same
conditions. Only commands that are independent of each other may have changed places.
"""

import re
from collections import Counter
from typing import Any, Container, Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

from . import grub_config, grub_script, iommu_option
from .grub_config import Config
from .grub_script import Command, Compound, Node, Nodes, ScriptError

# The tool adds this before the first entry where no `load_env` is (xcp/bootloader.py: readGrub2).
_OVERRIDE_TEXT = """if [ -s $prefix/grubenv ]; then
    load_env
fi
if [ -n "$override_entry" ]; then
    set default=$override_entry
fi
"""
_OVERRIDE = grub_script.parse(_OVERRIDE_TEXT)
# Variables that GRUB itself goes by; that block lets grubenv set them.
_GRUBS_OWN = frozenset(
    "default fallback timeout timeout_style root prefix cmdpath override_entry superusers theme".split()
)
_VARIABLE = re.compile(r"\0[vq]\{(\w+)\}")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)
_LOADERS = (
    "multiboot multiboot2 module module2 xen_hypervisor xen_module"
    " linux linux16 linuxefi initrd initrd16 initrdefi".split()
)
# What commands write beside variables that their words name; what is no variable has a name with a NUL.
_WRITES: Dict[str, Sequence[str]] = {
    **dict.fromkeys("echo insmod true false test [ loadfont sleep clear".split(), ()),
    **dict.fromkeys("serial terminal_input terminal_output".split(), ("\0terminal",)),
    **dict.fromkeys(grub_config.MENUS, ("\0menu",)),
    **dict.fromkeys(_LOADERS, ("\0loader",)),
    "search": ("root",),
}


def harm(before: str, after: str, normal: Container[str] = (), grubenv: str = "") -> Optional[str]:
    """What was done to the file beside the IOMMU options of the entries with the titles `normal`, in a few
    words that name the line; None where nothing was. `grubenv` is the text of GRUB's environment block, which
    the tool may bring into play. Raises ScriptError where GRUB does not understand the file as it was."""
    was = grub_config.read(before)
    try:
        now = grub_config.read(after)
    except ScriptError as error:
        lost = _lost_line(was, after)
        return f"{lost}GRUB would not understand the new text ({error})"
    nodes = _without_override(was.nodes, now.nodes)
    if nodes != now.nodes:
        brought = _variables_of(grubenv) & (_GRUBS_OWN | _read_variables(was.nodes))
        if brought:
            return f"it would go by what grubenv beside it says of {', '.join(sorted(brought))}"
    return _difference(_Side(was, normal), was.nodes, _Side(now, normal), _without_default(was.nodes, nodes))


def _lost_line(was: Config, after: str) -> str:
    """The first line of the old file that is not in the new one, which GRUB does not understand."""
    there = Counter(line.strip() for line in after.splitlines())
    if "load_env" not in was.text:
        there -= Counter(line.strip() for line in _OVERRIDE_TEXT.splitlines())
    for number, line in enumerate(was.text.split("\n"), 1):
        if line.split()[:1] and line.split()[0] not in grub_config.LOADS_XEN and not there[line.strip()]:
            return f"{was.line(number)} is lost, and "
        there[line.strip()] -= 1
    return ""


def _variables_of(grubenv: str) -> FrozenSet[str]:
    return frozenset(
        line.partition("=")[0] for line in grubenv.splitlines() if "=" in line and not line.startswith("#")
    )


def _without_override(was: Nodes, now: Nodes) -> Nodes:
    """The new commands without the block that the tool adds."""
    block = [_plain(node) for node in _OVERRIDE]
    there = [n for n in range(len(was)) if [_plain(node) for node in was[n : n + 2]] == block]
    places = [n for n in range(len(now)) if [_plain(node) for node in now[n : n + 2]] == block]
    if len(places) != len(there) + 1:
        return now
    return now[: places[0]] + now[places[0] + 2 :]


def _without_default(was: Nodes, now: Nodes) -> Nodes:
    """The new commands without the `set default=0` that the tool writes first of all where it found none (it
    sees `set default=` at the beginning of a line only): what it missed comes behind it, and else the first
    entry boots anyway."""
    there, written = _defaults(was), _defaults(now)
    if "default" in _read_variables(was) or len(written) != len(there) + 1:
        return now
    first = written[0]
    return now[:first] + now[first + 1 :] if grub_config.default_value(now[first]) == "0" else now


def _defaults(nodes: Nodes) -> List[int]:
    """The places of the commands that say which entry boots by itself."""
    return [n for n, node in enumerate(nodes) if grub_config.default_value(node) is not None]


# -- sameness ------------------------------------------------------------------------------------------


class _Side(NamedTuple):
    """The file before or after, and the titles of the entries whose options may differ."""

    config: Config
    normal: Container[str]

    def shape(self, node: Node, may_differ: bool) -> Any:
        """The command without its place in the file, and without what may differ."""
        if isinstance(node, Compound):
            return node.words, [[self.shape(each, may_differ) for each in part] for part in node.parts]
        default = grub_config.default_value(node)
        place = None if default is None else grub_config.place_of(default, self.config.nodes)
        if place is not None:
            return "set default", place
        inside = may_differ or self.is_normal(node)
        block = None if node.block is None else [self.shape(each, inside) for each in node.block]
        changing = grub_config.xen_words(node) if may_differ and node.name in grub_config.LOADS_XEN else ()
        words = [w.text for w in node.words if not (w in changing and iommu_option.is_iommu(w.text))]
        return words, block

    def is_normal(self, node: Node) -> bool:
        if not isinstance(node, Command) or node.name != "menuentry":
            return False
        return grub_config.title_and_id(node)[0] in self.normal


def _plain(node: Node) -> Any:
    return _Side(Config("", (), [], None), ()).shape(node, False)


def _difference(
    was: _Side, before: Nodes, now: _Side, after: Nodes, inside: str = "", may_differ: bool = False
) -> Optional[str]:
    """The first difference between two lists of commands that counts."""
    shapes = [repr(was.shape(node, may_differ)) for node in before]
    new = [repr(now.shape(node, may_differ)) for node in after]
    for one, other in zip(_surplus(shapes, new), _surplus(new, shapes)):
        pairs = _contents(before[one], after[other])
        if pairs:
            where, in_normal = inside, may_differ or was.is_normal(before[one])
            command = before[one]
            if isinstance(command, Command):
                where = f" in the entry `{grub_config.title_and_id(command)[0]}`"
            found = (_difference(was, x, now, y, where, in_normal) for x, y in pairs)
            deeper = next((each for each in found if each), None)
            if deeper:
                return deeper
            new[other] = shapes[one]  # the same, but for an order that does not matter
    gone, added = _surplus(shapes, new), _surplus(new, shapes)
    if gone and added:
        lost = before[gone[0]]
        old, instead = grub_config.cut_pair(
            was.config.text_of(lost.line), now.config.text_of(after[added[0]].line)
        )
        return f"{grub_config.numbered(lost.line, old)}{inside} is lost or becomes `{instead}`"
    if gone:
        return f"{was.config.line(before[gone[0]].line)}{inside} is lost"
    if added:
        return f"`{grub_config.cut(now.config.text_of(after[added[0]].line))}` is added{inside}"
    moved = _moved(shapes, new, before)
    return None if moved is None else f"{was.config.line(before[moved].line)}{inside} comes at another place"


def _surplus(these: Sequence[str], those: Sequence[str]) -> List[int]:
    """The places of the shapes in `these` that are not in `those`."""
    left = Counter(those)
    found = []
    for number, shape in enumerate(these):
        if left[shape]:
            left[shape] -= 1
        else:
            found.append(number)
    return found


def _contents(x: Node, y: Node) -> List[Tuple[Nodes, Nodes]]:
    """The lists of commands within two commands that are the same otherwise; none where they are not."""
    if isinstance(x, Compound) and isinstance(y, Compound) and x.words == y.words:
        return list(zip(x.parts, y.parts))
    if not isinstance(x, Command) or not isinstance(y, Command) or not x.block or not y.block:
        return []
    return [(x.block, y.block)] if [w.text for w in x.words] == [w.text for w in y.words] else []


# -- order ---------------------------------------------------------------------------------------------


def _moved(shapes: Sequence[str], new: Sequence[str], nodes: Nodes) -> Optional[int]:
    """The first command that has changed places with one that it has to do with. The lists are the same but
    for their order."""
    free = {shape: [n for n, each in enumerate(new) if each == shape] for shape in new}
    places = [free[shape].pop(0) for shape in shapes]
    for first in range(len(places)):
        for second in range(first + 1, len(places)):
            if places[second] < places[first] and not _is_free(nodes[first], nodes[second]):
                return second
    return None


def _is_free(first: Node, second: Node) -> bool:
    """Whether the two do the same in either order."""
    one, other = _effects(first), _effects(second)
    if one is None or other is None:
        return False
    return not (one[1] & (other[0] | other[1]) or other[1] & one[0])


_NOTHING: FrozenSet[str] = frozenset()
_Effects = Tuple[FrozenSet[str], FrozenSet[str]]  # the variables that are read, and those that are written


def _effects(node: Node) -> Optional[_Effects]:
    """What the command reads and writes. None: not known."""
    if isinstance(node, Compound):
        if node.words[0] == "function":
            return _NOTHING, _NOTHING
        parts = [_effects(each) for part in node.parts for each in part]
        known = [each for each in parts if each is not None]
        if len(known) < len(parts) or node.words[0] == "for":
            return None
        return _NOTHING.union(*(each[0] for each in known)), _NOTHING.union(*(each[1] for each in known))
    words = [word.text for word in node.words]
    if node.block is not None and words[0] not in grub_config.MENUS:
        return None
    written = [word.partition("=") for word in words[words[0] == "set" :]]
    if (words[0] == "set" and len(words) == 2) or _ASSIGNMENT.match(words[0]):
        writes: Sequence[str] = [written[0][0]]
    elif words[0] in _WRITES:
        writes = _WRITES[words[0]]
    else:
        return None
    if words[0] == "search":
        writes = [*writes, *(value or name for name, _, value in written[1:])]
    return _variables_in(words).union(["root"] if words[0] in _LOADERS else ()), frozenset(writes)


def _variables_in(words: Sequence[str]) -> FrozenSet[str]:
    return frozenset(name for word in words for name in _VARIABLE.findall(word))


def _read_variables(nodes: Nodes) -> FrozenSet[str]:
    return _variables_in([w.text for command in grub_config.all_commands(nodes) for w in command.words])
