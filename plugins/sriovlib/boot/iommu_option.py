"""The option `iommu=` of Xen's command line: what it says, and how it is turned on. Pure text.

Xen reads every `iommu=` of its command line, one after the other; each is a list of a boolean and
of sub-options separated by commas, and the last boolean counts (Xen: docs/misc/xen-command-line,
xen/drivers/passthrough/iommu.c). `no-iommu` is the same as `iommu=no`; quotes mean nothing to Xen, a boot
loader's script takes them away or not (xen/common/kernel.c: parse_params).
"""

from typing import Any, List, Sequence, Tuple

ON, OFF, DEFAULT = "on", "off", "default"

_TRUE = ("1", "on", "true", "yes", "enable")
_FALSE = ("0", "off", "false", "no", "disable")
# These ask for the IOMMU by themselves: Xen refuses to boot without one.
_DEMANDS = ("force", "required")


def is_iommu(option: str) -> bool:
    return option.partition("=")[0] in ("iommu", "no-iommu")


def iommu_options(options: Sequence[str]) -> List[str]:
    """The options of a Xen command line that are about the IOMMU, in their order."""
    return [option for option in options if is_iommu(option)]


def parts(options: Sequence[str]) -> List[str]:
    """What several options say, as one list: `iommu=0 iommu=verbose` is `0`, `verbose`."""
    found: List[str] = []
    for option in options:
        key, _, value = option.partition("=")
        if key == "iommu":
            found.extend(part for part in value.split(",") if part)
        elif not value:  # Xen refuses `no-iommu=...`
            found.append("no")
    return found


def as_one(options: Sequence[str]) -> str:
    """One option that says what several say."""
    return "iommu=" + ",".join(parts(options))


def setting(options: Sequence[str]) -> str:
    """`on`, `off`, or `default` where nothing says either (what Xen then does depends on its
    version: off in the Xen of XenServer 5.6, on where firmware offers an IOMMU in today's)."""
    said = parts(iommu_options(options))
    booleans = [part for part in said if part in _TRUE + _FALSE]
    if booleans:
        return ON if booleans[-1] in _TRUE else OFF
    return ON if any(part in _DEMANDS for part in said) else DEFAULT


def turned_on(options: Sequence[str]) -> str:
    """One `iommu=` option in the place of all that there are, with the boolean on and every
    sub-option kept in its order: `iommu=verbose,off` becomes `iommu=verbose,1`."""
    said = parts(iommu_options(options))
    booleans = [number for number, part in enumerate(said) if part in _TRUE + _FALSE]
    if not booleans:
        return "iommu=" + ",".join(["1", *said])
    kept = ["1" if number == booleans[-1] else part for number, part in enumerate(said)]
    return "iommu=" + ",".join(part for number, part in enumerate(kept) if number not in booleans[:-1])


def replaced(text: str, words: Sequence[Any], options: Sequence[str]) -> str:
    """A boot configuration with these IOMMU options in the place of those that Xen has now. `words` are the
    file that is Xen and its options, each with its `text`, `start` and `end`.

    The first new option stands in the place of the first old one, so that turning on and putting back gives
    the very same bytes; where there was none they stand behind Xen's other options.
    """
    old = [number for number, word in enumerate(words) if number and is_iommu(word.text)]
    new = "".join(f" {option}" for option in options)
    spans: List[Tuple[int, int, str]] = [(words[n - 1].end, words[n].end, "") for n in old]
    if not old:
        spans = [(words[-1].end, words[-1].end, new)]
    elif new:  # what is between the words stays
        spans[0] = (words[old[0]].start, words[old[0]].end, new[1:])
    for start, end, instead in reversed(spans):
        text = text[:start] + instead + text[end:]
    return text
