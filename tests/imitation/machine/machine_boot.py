"""The boot loader's files: what they hold on a fresh machine, and what the next boot makes of them.

GRUB as on XCP-ng 8.3, extlinux with mboot.c32 as on the first hosts. The lab's report on extlinux tells
what a damaged configuration does: it never falls back to another entry.
"""

import re
import shlex
from typing import Dict, List, NamedTuple

from kernel_sysfs import Sysfs
from machine_description import Description
from machine_tree import Tree

GRUB, GRUB_EFI, EXTLINUX = "/boot/grub/grub.cfg", "/boot/efi/EFI/xenserver/grub.cfg", "/boot/extlinux.conf"
XEN_CMDLINE = "/opt/xensource/libexec/xen-cmdline"
PLACES = {"grub": GRUB, "grub-efi": GRUB_EFI, "extlinux": EXTLINUX}
XEN, LINUX, INITRD = "/boot/xen.gz", "/boot/vmlinuz-xen", "/boot/initrd-xen.img"
DOM0 = "root=LABEL=root-vgdorj ro nolvm hpet=disable"


class DoesNotBoot(Exception):
    """The default entry would not bring the machine up."""


class Options(NamedTuple):
    xen: str
    dom0: str


class Entry(NamedTuple):
    """A boot entry of a fresh host: its title, or its label for extlinux."""

    title: str
    xen: str
    dom0: str
    suffix: str = ""  # of the files' names


def files(description: Description) -> Tree:
    """Boot loader and kernels on the disk of a fresh machine."""
    if description.bootloader == "extlinux":
        tree: Tree = {EXTLINUX: _extlinux(_entries(description))}
        tree.update({f"/boot/{name}": "not a real one\n" for name in ("mboot.c32", _loader(description))})
    else:
        tree = {PLACES[description.bootloader]: _grub(_entries(description))}
    for suffix in ("", "-fallback"):
        for path in (XEN, LINUX, INITRD):
            stem, dot, ending = path.partition(".")
            tree[stem + suffix + dot + ending] = "not a real one\n"
    return tree


def next_boot(sysfs: Sysfs) -> Options:
    """The options that Xen and dom0 would be booted with; raises DoesNotBoot."""
    loader = sysfs.description.bootloader
    path = PLACES[loader]
    if not sysfs.exists(path):
        raise DoesNotBoot(f"{path} is missing")
    text = sysfs.text(path)
    if loader != "extlinux":
        return _boot_grub(sysfs, text)
    own = f"{sysfs.state['extlinux']}/{_loader(sysfs.description)}"
    if not sysfs.exists(own):
        raise DoesNotBoot(f"the boot sector looks for {own}")
    return _boot_extlinux(sysfs, text)


def _loader(description: Description) -> str:
    """extlinux's own file: the boot sector knows in which folder."""
    return "ldlinux.sys" if description.extlinux >= 4 else "extlinux.sys"


def _entries(description: Description) -> List[Entry]:
    versions = f"{description.brand} {{}}Xen {description.xen_version} / Linux {description.kernel})"
    quiet = f"{DOM0} console=hvc0 console=tty0 quiet vga=785 splash plymouth.ignore-serial-consoles"
    plain = re.sub(r" (console|vga)=\S+", "", description.xen_options)
    serial, both = "com1=115200,8n1 console=com1,vga", f"{DOM0} console=tty0 console=hvc0"
    careful = "nosmp noreboot noirqbalance no-mce no-bootscrub no-numa no-hap no-mmcfg max_cstate=0"
    return [
        Entry(description.brand, description.xen_options, quiet),
        Entry(f"{description.brand} (Serial)", f"{serial} {plain}", both),
        Entry(f"{description.brand} in Safe Mode", f"{careful} {serial}", f"earlyprintk=xen {both}"),
        Entry(versions.format("("), plain, f"{DOM0} console=hvc0 console=tty0", "-fallback"),
        Entry(versions.format("(Serial, "), f"{serial} {plain}", both, "-fallback"),
    ]


# -- GRUB ----------------------------------------------------------------------------------------


def _grub(entries: List[Entry]) -> str:
    text = "serial --unit=0 --speed=115200\nterminal_input serial console\nterminal_output serial console\n"
    text += "set default=0\nset timeout=5\n"
    for entry in entries:
        text += (
            f"menuentry '{entry.title}' {{\n"
            f"\tsearch --label --set root root-vgdorj\n"
            f"\tmultiboot2 {XEN.replace('.gz', entry.suffix + '.gz')} {entry.xen}\n"
            f"\tmodule2 {LINUX}{entry.suffix} {entry.dom0}\n"
            f"\tmodule2 {INITRD.replace('.img', entry.suffix + '.img')}\n"
            "}\n"
        )
    return text


def _boot_grub(sysfs: Sysfs, text: str) -> Options:
    entries = re.findall(r"^menuentry '([^']*)'.*?\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    default = re.search(r"^set default=[\"']?(.*?)[\"']?$", text, re.MULTILINE)
    wanted = default.group(1) if default else "0"
    titles = [title for title, _ in entries]
    number = int(wanted) if wanted.isdigit() else titles.index(wanted) if wanted in titles else -1
    if not 0 <= number < len(entries):
        raise DoesNotBoot(f"there is no entry {wanted}")
    body = entries[number][1]
    lines = [shlex.split(line, comments=True) for line in body.splitlines()]
    xen = [words[1:] for words in lines if words[:1] == ["multiboot2"]]
    modules = [words[1:] for words in lines if words[:1] == ["module2"]]
    if len(xen) != 1 or len(modules) != 2:
        raise DoesNotBoot(f"entry {titles[number]} does not load Xen, Linux and an initrd")
    _present(sysfs, xen[0][0], *(words[0] for words in modules))
    return _options(xen[0][1:], modules[0][1:])


def _options(xen: List[str], dom0: List[str]) -> Options:
    """What Xen takes for its own: behind two dashes the options are dom0's."""
    end = xen.index("--") if "--" in xen else len(xen)
    return Options(" ".join(xen[:end]), " ".join(dom0 + xen[end + 1 :]))


# -- extlinux ------------------------------------------------------------------------------------


def _extlinux(entries: List[Entry]) -> str:
    labels = ("xe", "xe-serial", "safe", "fallback", "fallback-serial")
    text = "# location mbr\nserial 0 115200\ndefault xe\nprompt 1\ntimeout 50\n"
    for label, entry in zip(labels, entries):
        text += (
            f"\nlabel {label}\n  # {entry.title}\n  kernel mboot.c32\n"
            f"  append {XEN.replace('.gz', entry.suffix + '.gz')} {entry.xen}"
            f" --- {LINUX}{entry.suffix} {entry.dom0}"
            f" --- {INITRD.replace('.img', entry.suffix + '.img')}\n"
        )
    return text


def _boot_extlinux(sysfs: Sysfs, text: str) -> Options:
    """Lines that it does not know are ignored, as are carriage returns; keywords in any case."""
    default, label = "", ""
    found: Dict[str, Dict[str, str]] = {"kernel": {}, "append": {}}
    for line in text.splitlines():
        keyword, _, value = line.strip().partition(" ")
        if keyword.lower() == "default":
            default = value.strip()
        elif keyword.lower() == "label":
            label = value.strip()
        elif keyword.lower() in found:
            found[keyword.lower()][label] = value.strip()
    kernels, appends = found["kernel"], found["append"]
    if default not in kernels or default not in appends:
        raise DoesNotBoot(f"boot: the default {default!r} has no kernel or no append, and so for ever")
    if kernels[default] != "mboot.c32":
        raise DoesNotBoot(f"failed to load COM32 file {kernels[default]}")
    parts = [part.split() for part in appends[default].split(" --- ")]
    if len(parts) != 3 or not all(parts):
        raise DoesNotBoot("panic on CPU 0: dom0 kernel not specified. Check bootloader configuration")
    _present(sysfs, *(part[0] for part in parts))
    return _options(parts[0][1:], parts[1][1:])


def _present(sysfs: Sysfs, *paths: str) -> None:
    for path in paths:
        if not sysfs.exists(path):
            raise DoesNotBoot(f"Loading {path}... failed!")
