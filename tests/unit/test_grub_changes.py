"""What xen-cmdline makes of GRUB files as hosts have them, and which of it is harm. The tool is the one of
tests/imitation, which was compared with the real one."""

import json
from pathlib import Path
from typing import List, Tuple

import pytest
import xen_cmdline
from sriovlib.boot import grub_changes, grub_config, grub_script

TRANSCRIPT = Path(__file__).parent.parent / "imitation" / "transcripts" / "xen-cmdline.json"
NORMAL = ("XCP-ng", "XCP-ng (Serial)")

XCP_NG = """serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set default=0
set timeout=5
menuentry 'XCP-ng' {
	search --label --set root root-vgdorj
	multiboot2 /boot/xen.gz dom0_mem=7584M watchdog iommu=0
	module2 /boot/vmlinuz root=LABEL=root-vgdorj ro
	module2 /boot/initrd.img
}
menuentry 'XCP-ng (Serial)' {
	search --label --set root root-vgdorj
	multiboot2 /boot/xen.gz com1=115200,8n1 watchdog
	module2 /boot/vmlinuz root=LABEL=root-vgdorj ro
	module2 /boot/initrd.img
}
menuentry 'XCP-ng in Safe Mode' {
	search --label --set root root-vgdorj
	multiboot2 /boot/xen.gz nosmp
	module2 /boot/vmlinuz ro
	module2 /boot/initrd.img
}
menuentry 'XCP-ng (Xen 4.13.1 / Linux 4.19.0+1)' {
	search --label --set root root-vgdorj
	multiboot2 /boot/xen-fallback.gz watchdog
	module2 /boot/vmlinuz-fallback ro
	module2 /boot/initrd-fallback.img
}
"""
FIRST = "menuentry 'XCP-ng' {\n"
SEARCH = "\tsearch --label --set root root-vgdorj\n"
SERIAL_LINES = "".join(XCP_NG.splitlines(keepends=True)[:3])
OVERRIDE = """if [ -s $prefix/grubenv ]; then
	load_env
fi
if [ -n "$override_entry" ]; then
	set default=$override_entry
fi
"""


def told(text: str, grubenv: str = "") -> str:
    """The harm that the tool does to this file when it sets the option; empty for none."""
    _, after = xen_cmdline.run(["--set-xen", "iommu=1"], text.replace("\r", ""), "XCP-ng")
    assert after is not None
    return grub_changes.harm(text, after, NORMAL, grubenv) or ""


def replaced(old: str, new: str, text: str = XCP_NG, times: int = 1) -> str:
    assert old in text
    return text.replace(old, new, times)


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
def test_real_xen_cmdline_does_no_harm_with_one_iommu_key(arguments: str, before: str, after: str) -> None:
    spoils = arguments.startswith(("--set-xen", "--delete-xen")) and len(arguments.split()) > 2
    touches_other_options = "--set-dom0" in arguments or "--delete-dom0" in arguments
    assert bool(grub_changes.harm(before, after, NORMAL)) == (spoils or touches_other_options)


@pytest.mark.parametrize(
    "text",
    [
        XCP_NG,
        replaced("multiboot2", "xen_hypervisor", XCP_NG.replace("module2", "xen_module"), 9),
        replaced(FIRST, OVERRIDE + FIRST),
        XCP_NG[len(SERIAL_LINES) :],
        replaced("set default=0\n", ""),
        replaced("set default=0", "default=0"),  # GRUB takes it, the tool writes a second one before it
        replaced("set default=0", "  set default=0"),
        replaced("set default=0", "set default='XCP-ng'"),
        replaced("set default=0", "set default=xe"),  # no title: GRUB takes the first, and the tool too
        replaced("\n", "\r\n", times=99),
        replaced("'XCP-ng' {", '"XCP-ng" --class xen --id normal {'),
        replaced(SEARCH, "\t# a note\n" + SEARCH),
        replaced(SEARCH, SEARCH + "\tinsmod ext2\n\techo 'Loading Xen'\n"),
        replaced(SEARCH, SEARCH + "\tset gfxpayload=keep\n"),
        replaced(SEARCH, "\tunset override_entry\n\tsave_env override_entry\n" + SEARCH),
        replaced(SEARCH, "\tsearch --no-floppy --fs-uuid --set=root 12ab-34cd\n"),
        replaced("module2 /boot/initrd", "module2 --nounzip /boot/initrd"),
        replaced("set timeout=5\n", "insmod part_gpt\nset timeout=5\n"),
        replaced("set default=0\nset timeout=5\n", "set timeout=5\nset default=0\n"),
        replaced("set timeout=5\n", "if [ $a = b ]; then\n\tset gfxmode=auto\nfi\nset timeout=5\n"),
        replaced(
            "menuentry 'XCP-ng in",
            "submenu 'More' {\nmenuentry 'm' {\n\tlinux /m\n}\n}\nmenuentry 'XCP-ng in",
        ),
        XCP_NG + "menuentry 'XCP-ng upgrade' {\n\tmultiboot2 /boot/xen.gz a\n\tmodule2 /v b\n}\n",
        XCP_NG + "menuentry 'memory test' {\n\tlinux /memtest\n}\n",
    ],
    ids=lambda _: "",
)
def test_a_file_that_grub_reads_as_before_is_let_pass(text: str) -> None:
    assert told(text) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (replaced("set timeout=5", "set timeout=0"), "line 5 (`set timeout=0`) is lost"),
        (replaced("serial --unit=0 --speed", "serial --port=0x3e8 --speed"), "line 1 (`serial --port=0x3e8"),
        (replaced("terminal_output serial", "terminal_output gfxterm"), "becomes `terminal_output serial"),
        (replaced("terminal_input serial console\n", ""), "`terminal_input serial console` is added"),
        (replaced(SERIAL_LINES, "terminal_output gfxterm\n"), "line 1 (`terminal_output gfxterm`) is lost"),
        (
            replaced("set timeout=5\n", "if [ $a = b ]; then\nset timeout=1\nelse\nset timeout=9\nfi\n"),
            "line 6 (`set timeout=1`) is lost, and GRUB would not understand",
        ),
        (
            replaced("set timeout=5\n", "if [ $a = b ]; then\n\tset timeout=9\nfi\nset timeout=5\n"),
            "line 8 (`set timeout=5`) comes at another place",
        ),
        (replaced("set timeout=5", "set timeout=7\nset timeout=5"), "line 5 (`set timeout=7`) is lost"),
        (replaced(FIRST, "if [ $a = b ]; then\n" + FIRST) + "fi\n", "(`fi`) is lost, and GRUB"),
        (
            replaced(FIRST, "if [ $a = b ]; then\n" + FIRST) + "fi\nmenuentry 'm' {\n\tlinux /m\n}\n",
            "`if [ -s $prefix/grubenv ]; then` is added",
        ),
        (
            replaced(SEARCH, SEARCH + "\tif true; then\n").replace(".img\n}", ".img\n\tfi\n}", 1),
            "GRUB would not",
        ),
        (replaced("watchdog iommu=0", "watchdog \\\n iommu=0"), "line 8 (`multiboot2"),
        (
            replaced(SEARCH, SEARCH + "\tset root=(hd0,1)\n"),
            "line 8 (`set root=(hd0,1)`) in the entry `XCP-ng`",
        ),
        (
            replaced(SEARCH, SEARCH + "\tif true; then\n\t\tload_video\n\tfi\n"),
            "(`if true; then`) in the entry `XCP-ng` comes at another place",
        ),
        (
            replaced(SEARCH, "\tset label=root-vgdorj\n\tsearch --label --set root $label\n\tset label=x\n"),
            "(`set lab",
        ),
        (replaced(SEARCH, SEARCH + SEARCH.replace("dorj", "other")), "line 7 (`search"),
        (replaced("root-vgdorj\n", "root-vgdorj --hint hd0,gpt1\n"), "--hint hd0,gpt1`) in the entry"),
        (replaced("watchdog iommu", '"watch  dog" iommu'), "line 8 (`multiboot2"),
        (replaced("'XCP-ng' {", '"XCP-ng" --class "xen" {'), "line 6 (`menuentry"),
        (replaced("set default=0", "set default=$saved"), "line 4 (`set default=$saved`) is lost"),
        (
            XCP_NG + "menuentry 'Windows' {\n\tchainloader +1\n}\n",
            "`multiboot2 None None` is added in the entry `Win",
        ),
        (
            XCP_NG + "menuentry 'Old' {\n\tmultiboot /xen.gz\n\tmodule /v\n}\n",
            "`multiboot2 None None` is added",
        ),
        (
            XCP_NG + "menuentry 'mt' {\n\tlinux16 /mt\n}\n",
            "line 31 (`linux16 /mt`) in the entry `mt` is lost",
        ),
        (
            XCP_NG + "submenu 'More' {\nmenuentry 'm' {\n\tlinux /m\n}\n}\n",
            "(`}`) is lost, and GRUB would not",
        ),
        (XCP_NG + "function f {\n\techo a\n}\n", "line 30 (`function f {`) is lost"),
        (
            XCP_NG.replace("set default=0", "set default=4")
            + XCP_NG[XCP_NG.index("menuentry 'XCP-ng (Xen") :],
            "line 4 (`set default=4`) is lost or becomes `set default=3`",
        ),
    ],
    ids=lambda value: "" if "\n" in value else value,
)
def test_grub_lines_that_would_be_read_otherwise_are_named(text: str, words: str) -> None:
    assert words in told(text)


def test_the_words_that_changed_are_shown_in_a_long_line_too() -> None:
    options = " ".join(f"option{number}=yes" for number in range(20))
    assert (
        "(`multiboot2 ...option19=yes -- quiet`) in the entry `XCP-ng` is lost or becomes"
        " `multiboot2 ...option19=yes -- quiet iommu=1`"
    ) in told(replaced("watchdog iommu=0", f"{options} -- quiet"))


OWN = 'if [ "$override_entry" ]; then\n\tset default=$override_entry\n'
FIRMWARE = "menuentry 'firmware' {\n\tfwsetup\n}\n"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (XCP_NG, "XCP-ng"),
        (replaced("set default=0", "default=1"), "XCP-ng (Serial)"),
        (replaced("set default=0", "set default=1 and=more"), "XCP-ng (Serial)"),
        (replaced("set default=0\n", f"set default=1\n{OWN}fi\n"), "XCP-ng (Serial)"),
        (replaced("set default=0\n", f"{OWN}else\n\tset default=1\nfi\n"), "XCP-ng (Serial)"),
        (XCP_NG + f"if true; then\n{FIRMWARE}fi\n", "XCP-ng"),
        (f"if true; then\n{XCP_NG}fi\n", "XCP-ng"),
    ],
    ids=lambda _: "",
)
def test_default_boot_entry(text: str, title: str) -> None:
    default = grub_config.read(text).default
    assert default is not None
    assert default.title == title


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (replaced("set default=0", 'set default="${saved_entry}"'), 4),
        (replaced("set timeout", "if [ -e /x ]; then\n\tset default=1\nfi\nset timeout"), 6),
        (replaced("set timeout", "while read a; do\n\tset default=1\ndone\nset timeout"), 6),
        (replaced(FIRST, f"if true; then\n{FIRMWARE}fi\n{FIRST}"), 7),
        (replaced(FIRST, f"function more {{\n{FIRMWARE}}}\nmore\n{FIRST}"), 7),
        (f"if true; then\n{XCP_NG}fi\n{FIRMWARE}", 7),
        (f"if true; then\n{XCP_NG}else\n{FIRMWARE}fi\n", 7),
    ],
    ids=lambda _: "",
)
def test_an_entry_that_boots_only_under_a_condition_is_not_certain(text: str, line: int) -> None:
    config = grub_config.read(text)
    assert (config.default, config.unclear) == (None, line)


def test_an_entry_that_is_a_way_back_may_not_change_whatever_its_title_ends_with() -> None:
    text = replaced("'XCP-ng in Safe Mode'", "'XCP-ng in Safe Mode (Serial)'")
    assert "in the entry `XCP-ng in Safe Mode (Serial)` is lost or becomes" in told(text)


def test_variables_of_grubenv_count_where_the_tool_brings_it_into_play() -> None:
    grubenv = "# GRUB Environment Block\noverride_entry=2\nsaved_entry=1\n####"
    assert "what grubenv beside it says of override_entry" in told(XCP_NG, grubenv)
    assert told(XCP_NG, "# GRUB Environment Block\nsaved_entry=1\n####") == ""
    assert told(replaced(FIRST, OVERRIDE + FIRST), grubenv) == ""  # it was in play


def test_a_file_that_grub_does_not_understand_is_not_judged() -> None:
    with pytest.raises(grub_script.ScriptError, match="line 30"):
        grub_changes.harm(XCP_NG + "fi\n", XCP_NG)
