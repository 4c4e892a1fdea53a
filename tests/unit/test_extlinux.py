"""extlinux.conf as hosts have it, and as it should never be: what is changed, what is refused."""

from typing import Dict, List, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sriovlib.boot import extlinux

ORIGINAL = b"""# location mbr
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


def options(data: bytes) -> Dict[str, List[str]]:
    config = extlinux.parse(data)
    return {e.label: extlinux.xen_options(config, e) for e in extlinux.normal_entries(config)}


def turned_on(data: bytes, label: str = "xe", value: Sequence[str] = ("iommu=1",)) -> bytes:
    return extlinux.with_iommu(extlinux.parse(data), {label: list(value)})


def why_refused(data: bytes) -> str:
    with pytest.raises(extlinux.NotBootable) as refused:
        extlinux.normal_entries(extlinux.parse(data))
    return str(refused.value)


def test_the_normal_entries_and_their_xen_options() -> None:
    assert options(ORIGINAL) == {
        "xe": ["dom0_mem=752M", "iommu=0", "com1=9600"],
        "xe-serial": ["console=com1,tty", "dom0_mem=752M"],
    }


def test_an_option_is_replaced_in_its_place_and_nothing_else_changes() -> None:
    assert turned_on(ORIGINAL) == ORIGINAL.replace(b"752M iommu=0 com1", b"752M iommu=1 com1")


def test_a_new_option_stands_behind_xens_own_and_not_among_the_kernels() -> None:
    assert turned_on(ORIGINAL, "xe-serial") == ORIGINAL.replace(
        b"tty dom0_mem=752M ---", b"tty dom0_mem=752M iommu=1 ---"
    )


@pytest.mark.parametrize("label", ["xe", "xe-serial"])
def test_putting_back_gives_the_very_same_bytes(label: str) -> None:
    before = [option for option in options(ORIGINAL)[label] if option.startswith("iommu")]
    assert turned_on(turned_on(ORIGINAL, label), label, before) == ORIGINAL


def test_several_options_become_one() -> None:
    data = ORIGINAL.replace(b"iommu=0 com1", b"iommu=0 com1", 1).replace(
        b"9600 ---", b"9600 iommu=verbose ---", 1
    )
    assert b"752M iommu=1,verbose com1=9600 --- " in turned_on(data, "xe", ["iommu=1,verbose"])


def test_line_endings_odd_bytes_and_a_missing_last_newline_are_kept() -> None:
    data = b"# \xe9t\xe9 \x85\x0b caf\xc3\xa9\r\n" + ORIGINAL.replace(b"\n", b"\r\n") + b"# the end\xff"
    assert turned_on(data) == data.replace(b"752M iommu=0 com1", b"752M iommu=1 com1")


def test_tabs_and_many_blanks_are_kept() -> None:
    data = ORIGINAL.replace(
        b"  append /boot/xen.gz dom0_mem=752M iommu=0", b"\tAPPEND   /boot/xen.gz\tdom0_mem=752M  iommu=0\t"
    )
    assert turned_on(data) == data.replace(b"752M  iommu=0\t", b"752M  iommu=1\t")


def test_another_default_entry_is_a_normal_one() -> None:
    data = ORIGINAL.replace(b"default xe", b"DEFAULT mine").replace(b"label fallback", b"label mine")
    assert list(options(data)) == ["xe", "xe-serial", "mine"]


def test_an_entry_that_does_not_start_xen_is_left_alone() -> None:
    linux = b"\nlabel xe-serial\n  kernel vmlinuz\n  append root=/dev/sda1\n"
    start = ORIGINAL.index(b"\nlabel xe-serial")
    data = ORIGINAL[:start] + linux + ORIGINAL[ORIGINAL.index(b"\nlabel safe") :]
    assert list(options(data)) == ["xe"]


@pytest.mark.parametrize(
    "menu", [b"ui menu.c32\ndefault xe", b"default menu.c32\nontimeout xe", b"default vesamenu.c32"]
)
def test_with_a_menu_the_entry_that_it_starts_by_itself_counts(menu: bytes) -> None:
    assert list(options(ORIGINAL.replace(b"default xe", menu))) == ["xe", "xe-serial"]


def test_a_menu_that_marks_a_way_back_as_its_default_is_refused() -> None:
    data = ORIGINAL.replace(b"default xe", b"ui menu.c32").replace(
        b"label safe\n", b"label safe\nmenu default\n"
    )
    assert "boots `safe` by default" in why_refused(data)


def test_an_entry_for_the_timeout_is_the_one_that_boots_by_itself() -> None:
    assert "boots `safe` by default" in why_refused(ORIGINAL.replace(b"prompt 1", b"ontimeout safe"))
    data = ORIGINAL.replace(b"prompt 1", b"ontimeout mine").replace(b"label fallback", b"label mine")
    assert list(options(data)) == ["xe", "xe-serial", "mine"]


def test_xen_behind_a_tboot_is_found() -> None:
    data = ORIGINAL.replace(
        b"append /boot/xen.gz", b"append /boot/tboot.gz logging=serial --- /boot/xen.gz", 1
    )
    assert options(data)["xe"] == options(ORIGINAL)["xe"]
    assert turned_on(data) == data.replace(b"752M iommu=0 com1", b"752M iommu=1 com1")


def test_words_of_a_help_text_are_no_entries() -> None:
    data = ORIGINAL.replace(b"label safe", b"text help\nlabel xe\ndefault safe\nendtext\nlabel safe")
    assert list(options(data)) == ["xe", "xe-serial"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"default xe", b"", "no `default` line"),
        (b"default xe", b"default xx", "no entry has that label"),
        (b"default xe", b"default fallback", "kept as a way back"),
        (b"/boot/xen.gz dom0_mem=752M iommu=0", b"/boot/linux", "does not start Xen"),
        (b"kernel mboot.c32", b"kernel mbot.c32", "its kernel is `mbot.c32`"),
        (b" --- /boot/initrd-2.6", b"", "would not boot"),
        (b"9600 --- /boot", b"9600 -- /boot", "would not boot"),
        (b"label safe", b"label xe", "two entries are labelled `xe`"),
        (b"prompt 1", b"ontimeout nothing", "no entry has that label"),
        (b"prompt 1", b"ui mboot.c32 /boot/xen.gz", "the default is `mboot.c32`"),  # no menu
    ],
)
def test_a_host_that_would_not_boot_by_itself_is_refused(old: bytes, new: bytes, reason: str) -> None:
    assert reason in why_refused(ORIGINAL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("keywords", "boots"),
    [
        ("ui menu.c32\ndefault xe", "xe"),  # the menu takes the label of `default`
        ("default menu.c32", "xe"),  # its first entry
        ("DEFAULT VESAMENU.C32", "xe"),
        ("ui menu.c32", "xe"),
        ("ui menu.c32\ndefault safe", "safe"),
        ("default xe iommu=0", "xe"),  # more words are options behind the initrd
        ("default safe\ndefault xe", "xe"),  # the last counts
    ],
)
def test_which_entry_boots_by_itself(keywords: str, boots: str) -> None:
    assert extlinux.parse(ORIGINAL.replace(b"default xe", keywords.encode())).default == boots


def test_the_last_entry_that_is_marked_as_the_menus_default_counts() -> None:
    data = ORIGINAL.replace(b"default xe", b"ui menu.c32")
    for label in (b"safe", b"xe-serial"):
        data = data.replace(b"label %s\n" % label, b"label %s\n  menu default\n" % label)
    assert extlinux.parse(data).default == "safe"  # it comes later in the file


def test_a_menu_whose_default_depends_on_its_age_is_refused() -> None:
    data = ORIGINAL.replace(b"default xe", b"ui menu.c32\ndefault xe").replace(
        b"label safe\n", b"label safe\n  menu default\n"
    )
    assert "another entry than the one that is marked" in why_refused(data)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"  kernel mboot.c32", b"  linux mboot.c32", "it starts `mboot.c32` by `linux`"),
        (
            b"  kernel mboot.c32",
            b"  kernel mboot.c32\n  config other.conf",
            "it starts `other.conf` by `config`",
        ),
        (b"  kernel mboot.c32", b"  kernel mboot.c32\n  localboot 0x80", "it starts `0x80` by `localboot`"),
    ],
)
def test_an_entry_that_starts_something_else_than_mboot_is_refused(
    old: bytes, new: bytes, reason: str
) -> None:
    assert reason in why_refused(ORIGINAL.replace(old, new, 1))


def test_com32_starts_mboot_as_kernel_does() -> None:
    assert options(ORIGINAL.replace(b"  kernel mboot", b"  COM32 /boot/mboot")) == options(ORIGINAL)


def test_an_append_line_of_all_entries_is_not_for_the_normal_one_alone() -> None:
    line = next(line for line in ORIGINAL.split(b"\n") if b"append" in line)
    data = ORIGINAL.replace(line + b"\n", b"", 1).replace(b"timeout 50", b"timeout 50\n" + line)
    assert "has no `append` line of its own" in why_refused(data)


def test_what_stands_behind_two_dashes_is_dom0s_and_not_xens() -> None:
    data = ORIGINAL.replace(b"iommu=0 com1=9600 ---", b"com1=9600 -- iommu=0 ---", 1)
    assert options(data)["xe"] == ["dom0_mem=752M", "com1=9600"]
    assert turned_on(data) == data.replace(b"9600 --", b"9600 iommu=1 --", 1)


def test_quotes_mean_nothing_to_xen_and_extlinux_leaves_them() -> None:
    data = ORIGINAL.replace(b" iommu=0 com1", b' "iommu=1" com1', 1)
    assert b'"iommu=1" com1=9600 iommu=1 ---' in turned_on(data)


@given(st.integers(min_value=0, max_value=len(ORIGINAL)))
def test_a_file_cut_short_anywhere_is_refused_or_still_boots(end: int) -> None:
    data = ORIGINAL[:end]
    config = extlinux.parse(data)
    assert "".join(config.lines).encode("latin-1") == data
    try:
        entries = extlinux.normal_entries(config)
    except extlinux.NotBootable:
        return
    changed = extlinux.with_iommu(config, {entry.label: ["iommu=1"] for entry in entries})
    assert "iommu=1" in options(changed)["xe"]


@given(st.binary(max_size=300))
def test_any_bytes_go_through_and_come_out_as_they_were(data: bytes) -> None:
    config = extlinux.parse(data)
    assert "".join(config.lines).encode("latin-1") == data
    assert extlinux.with_iommu(config, {}) == data
