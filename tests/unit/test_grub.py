"""What xen-cmdline may do to a GRUB file, and what is harm."""

import json
from pathlib import Path
from typing import List, Tuple

import pytest
from sriovlib import grub

TRANSCRIPT = Path(__file__).parent.parent / "pool" / "transcripts" / "xen-cmdline.json"


def runs() -> List[Tuple[str, str, str]]:
    """What the real tool did to a real file: its arguments, the file before and after."""
    found, text = [], ""
    for step in json.loads(TRANSCRIPT.read_text())["steps"]:
        if "file" in step:
            text = step["text"]
        elif "file_after" in step:
            found.append((" ".join(step["run"][1:]), text, step["file_after"]))
            text = step["file_after"]
    return found


@pytest.mark.parametrize(("arguments", "before", "after"), runs(), ids=[run[0] for run in runs()])
def test_what_the_real_tool_does_to_a_real_file_is_no_harm_with_one_key(
    arguments: str, before: str, after: str
) -> None:
    spoils = arguments.startswith(("--set-xen", "--delete-xen")) and len(arguments.split()) > 2
    touches_other_options = "--set-dom0" in arguments or "--delete-dom0" in arguments
    assert bool(grub.harm(before, after)) == (spoils or touches_other_options)


FILE = """serial --unit=0 --speed=115200
set default="0"
set timeout=5
menuentry "XCP-ng" --class xen {
	search --label --set root root-abc --hint hd0,gpt1
	multiboot2 /boot/xen.gz iommu=0 watchdog
	module2 /boot/vmlinuz ro
}
menuentry 'memory test' {
	linux16 /boot/memtest
}
"""
AFTER = """serial --unit=0 --speed=115200
terminal_input serial console
set default=0
set timeout=5
if [ -s $prefix/grubenv ]; then
	load_env
fi
menuentry 'XCP-ng' --class xen {
	search --label --set root root-abc
	multiboot2 /boot/xen.gz watchdog iommu=1
	module2 /boot/vmlinuz ro
}
menuentry 'memory test' {
	linux /boot/memtest
}
"""


def test_its_own_words_for_the_same_are_no_harm() -> None:
    assert grub.harm(FILE, AFTER) is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (FILE + "}\n", AFTER, "the line `}` is lost"),  # of a submenu
        (FILE + "fi\n", AFTER.replace("fi\n", "fi2\n"), "the line `fi` is lost"),
        (FILE.replace("memory test", "XCP-ng"), AFTER, "boot entries are not what they were"),
        (FILE, AFTER.replace("watchdog ", ""), "is lost"),
        (FILE, AFTER.replace("vmlinuz ro", "vmlinuz"), "is lost"),
    ],
)
def test_what_is_lost_is_named(before: str, after: str, words: str) -> None:
    assert words in str(grub.harm(before, after))
