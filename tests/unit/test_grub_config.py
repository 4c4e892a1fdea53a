"""Which entry of GRUB's menu is meant by a number, a title or an `--id`, and what Xen is told there."""

from typing import List, Optional, Tuple

import pytest
from sriovlib.boot import grub_config, grub_script
from sriovlib.boot.grub_script import Command, ScriptError

MENU = """menuentry 'XCP-ng' --class xcp --id normal { multiboot2 /boot/xen.gz }
submenu "Older ones" --id=older {
    menuentry '1' { multiboot2 /boot/xen-4.13.gz }
    menuentry fallback --id=way-back --hotkey=f { multiboot2 /boot/xen-fallback.gz }
}
menuentry --unrestricted 'Serial' 'more words' --id serial { multiboot2 /boot/xen.gz }
"""


def command(text: str) -> Command:
    (found,) = grub_script.parse(text)
    assert isinstance(found, Command)
    return found


@pytest.mark.parametrize(
    ("default", "place"),
    [
        ("0", (0,)),
        ("2", (2,)),
        ("Serial", (2,)),
        ("serial", (2,)),
        ("older>0", (1, 0)),
        ("1>1", (1, 1)),
        ("older>way-back", (1, 1)),
        ("Older ones>fallback", (1, 1)),
        ("1", (1, 0)),  # the first of a submenu, where nothing says which
        ("more words", (0,)),  # there is none: the first one
        ("9", (0,)),
        ("3", (0,)),
        ("", (0,)),
        ("\0q{saved_entry}", None),  # a variable says which
    ],
)
def test_the_place_of_a_default(default: str, place: Optional[Tuple[int, ...]]) -> None:
    assert grub_config.place_of(default, grub_script.parse(MENU)) == place


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("/boot/xen.gz iommu=1 watchdog", ["iommu=1"]),
        ('/boot/xen.gz "iommu=1" iommu=dom0-strict', ["iommu=1", "iommu=dom0-strict"]),
        ('/boot/xen.gz title="$name" no-iommu', ["no-iommu"]),
        ("/boot/xen.gz watchdog=iommu=1", []),
    ],
)
def test_the_iommu_options_of_xen(words: str, options: List[str]) -> None:
    assert grub_config.iommu_options(command(f"multiboot2 {words}")) == options


@pytest.mark.parametrize("words", ["$more", '"iommu=$on"', '"${which}=1"', '"iommu=1 watchdog"'])
def test_options_that_only_grub_knows_are_not_guessed(words: str) -> None:
    with pytest.raises(ScriptError):
        grub_config.iommu_options(command(f"multiboot2 /boot/xen.gz {words}"))


def test_other_files_may_bring_entries_from_anywhere_but_from_an_entry() -> None:
    """An entry that is chosen may do what it likes."""
    text = "if true; then source /a; fi\nsubmenu more { configfile /b }\nmenuentry one { configfile /c }\n"
    told = grub_config.reads_other_files(grub_config.read(MENU + text))
    assert [one.words[1].text for one in told] == ["/a", "/b"]


@pytest.mark.parametrize("same", [10, 79, 80, 81, 200])
def test_the_first_difference_of_two_lines_is_shown_however_long_they_are(same: int) -> None:
    start = ("set option=yes " * 20)[:same]
    one, other = grub_config.cut_pair(start + "a", start + "b")
    assert (one != other, len(one) < 100) == (True, True)
