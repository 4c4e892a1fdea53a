"""modprobe.d as kmod reads it: which line gives a driver its number of VFs."""

import errno
import os
from typing import Dict, List, Tuple

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.errors import SriovError
from sriovlib.machine import modprobe_conf
from sriovlib.machine.host import Host

IGB = "/etc/modprobe.d/igb.conf"


def values(**texts: str) -> List[Tuple[str, str]]:
    files: Dict[str, str] = {f"/etc/modprobe.d/{name}.conf": text for name, text in texts.items()}
    found = modprobe_conf.settings(Host(), "igb", "max_vfs", files)
    return [(setting.place, setting.value) for setting in found]


def test_the_order_of_kmod(fs: FakeFilesystem) -> None:
    """Seen with kmod 30, `modprobe -C a -C b -c`."""
    fs.create_file(IGB, contents="options igb max_vfs=1\noptions igb \\\n max_vfs=2,3\n")
    fs.create_file("/lib/modprobe.d/igb.conf", contents="options igb max_vfs=8\n")
    fs.create_file("/run/modprobe.d/aaa.conf", contents="options igb max_vfs=5\n")
    fs.create_file("/etc/modprobe.d/zz.conf", contents="\n\noptions igb max_vfs=6\n")
    fs.create_file("/etc/modprobe.d/zzz", contents="options igb max_vfs=7\n")
    fs.create_file("/etc/modprobe.d/.zzzz.conf", contents="options igb max_vfs=7\n")
    fs.create_file("/proc/cmdline", contents="root=/dev/sda1 igbvf.max_vfs=1 igb.max_vfs=0,4\n")
    assert values() == [
        ("line 1 of /run/modprobe.d/aaa.conf", "5"),
        ("line 1 of /etc/modprobe.d/igb.conf", "1"),
        ("line 2 of /etc/modprobe.d/igb.conf", "2,3"),
        ("line 3 of /etc/modprobe.d/zz.conf", "6"),
        ("the dom0 kernel's command line", "0,4"),
    ]


def test_lines_as_people_write_them(fs: FakeFilesystem) -> None:
    assert fs
    text = (
        "# this does not go on \\\\\n"
        "options igb max_vfs=1 # a note\n"
        " \toptions  ig_b max_vfs=2\n"
        'options igb InterruptThrottleRate=1 max-vfs="3,4"\n'
        "# this goes on: \\\noptions igb max_vfs=9\n"
        "#options igb max_vfs=9\n"
        "options igb max_vfs_x=9 max_vfs\n"
        "options igb\n"
        "install igb /sbin/modprobe --ignore-install igb max_vfs=5 $CMDLINE_OPTS\n"
    )
    found = values(igb=text, zz="options igb max_vfs=6\n")
    assert [value for _, value in found] == ["1", "3,4", "6", "5"]  # what a command gives comes behind all
    assert found[-1][0] == "line 10 of /etc/modprobe.d/igb.conf"


def test_a_file_that_cannot_be_read_may_say_anything(fs: FakeFilesystem) -> None:
    class Broken(Host):
        def read_bytes(self, path: str) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    fs.create_symlink("/etc/modprobe.d/dangling.conf", "/nowhere")
    assert values() == []
    fs.create_file("/etc/modprobe.d/zz.conf")

    class Unlisted(Host):
        def listing(self, path: str) -> List[str]:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    for host in (Broken(), Unlisted()):
        with pytest.raises(SriovError) as error:
            modprobe_conf.settings(host, "igb", "max_vfs", {})
        assert (error.value.code, "cannot be read" in error.value.message) == ("SRIOV_BOOT_CONFIG", True)
