"""extlinux.conf as hosts have it, and as it should never be: what is changed, what is refused."""

from typing import Dict, List, Sequence, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sriovlib.boot import extlinux

ORIGINAL = """# location mbr
serial 0 115200
default xe
prompt 1
timeout 50

label xe
  # XenServer
  kernel mboot.c32
  append /boot/xen.gz dom0_mem=752M iommu=0 com1=9600 --- /boot/vmlinuz-2.6 iommu=soft --- /boot/initrd-2.6

label xe-serial
  # XenServer (Serial)
  kernel mboot.c32
  append /boot/xen.gz console=com1,tty dom0_mem=752M --- /boot/vmlinuz-2.6 ro --- /boot/initrd-2.6

label safe
  # XenServer in Safe Mode
  kernel mboot.c32
  append /boot/xen.gz nosmp noreboot iommu=0 --- /boot/vmlinuz-2.6 nousb --- /boot/initrd-2.6

label fallback
  # XenServer (Xen 3.4.2 / Linux 2.6.27.42)
  kernel mboot.c32
  append /boot/xen-3.4.2.gz dom0_mem=752M --- /boot/vmlinuz-2.6.27 ro --- /boot/initrd-2.6.27
"""
XE_LINE = ORIGINAL.splitlines()[9]
MARK = "  menu default\n"


def parse(text: str) -> extlinux.Config:
    return extlinux.parse(text.encode("latin-1"))


def options(text: str) -> Dict[str, List[str]]:
    """Label of each normal entry -> Xen's options."""
    return {
        entry.label: [word.text for word in entry.xen[1:]] for entry in extlinux.normal_entries(parse(text))
    }


def turned_on(text: str, label: str = "xe", value: Sequence[str] = ("iommu=1",)) -> str:
    return extlinux.with_iommu(parse(text), {label: list(value)})


def edited(*edits: Tuple[str, str]) -> str:
    """The original with the first of each of these texts replaced."""
    text = ORIGINAL
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_the_normal_entries_and_their_xen_options() -> None:
    assert options(ORIGINAL) == {
        "xe": ["dom0_mem=752M", "iommu=0", "com1=9600"],
        "xe-serial": ["console=com1,tty", "dom0_mem=752M"],
    }
    assert extlinux.iommu_options(parse(ORIGINAL)) == {"xe": ["iommu=0"], "xe-serial": []}


@pytest.mark.parametrize(
    ("text", "label", "old", "new"),
    [
        (ORIGINAL, "xe", "752M iommu=0 com1", "752M iommu=1 com1"),  # in its place
        # behind Xen's own options, not among the kernel's
        (ORIGINAL, "xe-serial", "tty dom0_mem=752M ---", "tty dom0_mem=752M iommu=1 ---"),
        # line endings, odd bytes and a last line without an end
        (
            "# \xe9t\xe9 \x85\x0b caf\xc3\xa9\r\n" + ORIGINAL.replace("\n", "\r\n") + "# the end\xff",
            "xe",
            "M iommu=0 com1",
            "M iommu=1 com1",
        ),
        # tabs and many blanks
        (
            edited(
                (
                    "  append /boot/xen.gz dom0_mem=752M iommu=0",
                    "\tAPPEND   /xen.gz\tdom0_mem=752M  iommu=0\t",
                )
            ),
            "xe",
            "752M  iommu=0\t",
            "752M  iommu=1\t",
        ),
        # Xen behind a tboot
        (
            edited(("/boot/xen.gz", "/boot/tboot.gz logging=serial --- /boot/xen.gz")),
            "xe",
            "M iommu=0 com1",
            "M iommu=1 com1",
        ),
        # behind two dashes they are dom0's
        (edited(("iommu=0 com1=9600 ---", "com1=9600 -- iommu=0 ---")), "xe", "9600 --", "9600 iommu=1 --"),
        # quotes mean nothing to Xen, and extlinux leaves them
        (edited((" iommu=0 com1", ' "iommu=1" com1')), "xe", "com1=9600 ---", "com1=9600 iommu=1 ---"),
    ],
    ids=["replaced", "new", "bytes", "blanks", "tboot", "two-dashes", "quotes"],
)
def test_turning_on_changes_the_option_and_nothing_else(text: str, label: str, old: str, new: str) -> None:
    assert turned_on(text, label) == text.replace(old, new, 1) != text


@pytest.mark.parametrize(("label", "before"), [("xe", ["iommu=0"]), ("xe-serial", [])])
def test_putting_back_gives_the_very_same_bytes(label: str, before: List[str]) -> None:
    assert turned_on(turned_on(ORIGINAL, label), label, before) == ORIGINAL


LINUX = "label xe-serial\n  kernel vmlinuz\n  append root=/dev/sda1\n\nlabel other\n"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (edited(("default xe", "DEFAULT mine"), ("label fallback", "label mine")), "xe xe-serial mine"),
        (edited(("label xe-serial\n", LINUX)), "xe"),  # one that does not start Xen
        (edited(("default xe", "default menu.c32\nontimeout xe")), "xe xe-serial"),
        (edited(("prompt 1", "ontimeout mine"), ("label fallback", "label mine")), "xe xe-serial mine"),
        (edited(("label safe", "text help\nlabel xe\ndefault safe\nendtext\nlabel safe")), "xe xe-serial"),
        (edited(("  kernel mboot", "  COM32 /boot/mboot")), "xe xe-serial"),  # com32 starts it as kernel does
        (edited(("default xe", "ui menu.c32\ndefault xe")), "xe xe-serial"),
    ],
)
def test_normal_boot_entries(text: str, labels: str) -> None:
    assert list(options(text)) == labels.split()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (edited(("default xe", "")), "no `default` line"),
        (edited(("default xe", "default xx")), "no entry has that label"),
        (edited(("default xe", "default fallback")), "kept as a way back"),
        (edited(("/boot/xen.gz dom0_mem=752M iommu=0", "/boot/linux")), "does not start Xen"),
        (edited(("kernel mboot.c32", "kernel mbot.c32")), "its kernel is `mbot.c32`"),
        (edited((" --- /boot/initrd-2.6", "")), "would not boot"),
        (
            edited(("9600 --- /boot/vmlinuz-2.6 iommu=soft", "9600 ---")),
            "would not boot",
        ),  # a module is empty
        (edited(("label safe", "label xe")), "two entries are labelled `xe`"),
        (edited(("prompt 1", "ui mboot.c32 /boot/xen.gz")), "the default is `mboot.c32`"),  # no menu
        (
            edited(("default xe", "ui menu.c32"), ("label safe\n", "label safe\n" + MARK)),
            "boots `safe` by default",
        ),
        (
            edited(("default xe", "ui menu.c32\ndefault xe"), ("label safe\n", "label safe\n" + MARK)),
            "another entry than the one that is marked",
        ),
        (edited(("  kernel mboot.c32", "  linux mboot.c32")), "it starts `mboot.c32` by `linux`"),
        (edited(("mboot.c32", "mboot.c32\n  config other.conf")), "it starts `other.conf` by `config`"),
        # an append line of all entries is not for the normal one alone
        (
            edited((XE_LINE + "\n", ""), ("timeout 50", "timeout 50\n" + XE_LINE)),
            "has no `append` line of its own",
        ),
    ],
    ids=lambda value: "" if "\n" in value else value,
)
def test_a_host_that_would_not_boot_by_itself_is_refused(text: str, reason: str) -> None:
    with pytest.raises(extlinux.NotBootable) as refused:
        extlinux.normal_entries(parse(text))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("keywords", "boots"),
    [
        ("ui menu.c32\ndefault xe", "xe"),  # the menu takes the label of `default`
        ("default menu.c32", "xe"),  # its first entry
        ("DEFAULT VESAMENU.C32", "xe"),
        ("ui menu.c32\ndefault safe", "safe"),
        ("default xe iommu=0", "xe"),  # more words are options behind the initrd
        ("default safe\ndefault xe", "xe"),  # the last counts
    ],
)
def test_default_boot_entry(keywords: str, boots: str) -> None:
    assert parse(edited(("default xe", keywords))).default == boots


def test_the_last_entry_that_is_marked_as_the_menus_default_counts() -> None:
    marked = [(f"label {label}\n", f"label {label}\n{MARK}") for label in ("safe", "xe-serial")]
    assert parse(edited(("default xe", "ui menu.c32"), *marked)).default == "safe"  # it comes later


@given(st.integers(min_value=0, max_value=len(ORIGINAL)))
def test_a_file_cut_short_anywhere_is_refused_or_still_boots(end: int) -> None:
    config = parse(ORIGINAL[:end])
    try:
        entries = extlinux.normal_entries(config)
    except extlinux.NotBootable:
        return
    changed = extlinux.with_iommu(config, {entry.label: ["iommu=1"] for entry in entries})
    assert "iommu=1" in options(changed)["xe"]


@given(st.binary(max_size=300))
def test_any_bytes_go_through_and_come_out_as_they_were(data: bytes) -> None:
    assert extlinux.with_iommu(extlinux.parse(data), {}).encode("latin-1") == data
