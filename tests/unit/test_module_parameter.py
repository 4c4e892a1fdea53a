"""Drivers that make VFs by a module parameter, in agreement with what xapi reads and writes."""

from pathlib import Path
from typing import Any

import pytest
from machine import Machine
from one_host import answering, call, drivers, host_with, refused
from small_pool import SmallPool
from sriovlib.machine.host import Host
from sriovlib.vf import create, module_parameter, restore

# As the package intel-igb of XCP-ng brings it.
IGB = """# VFs-param: max_vfs
# VFs-maxvfs-by-default: 7
# VFs-maxvfs-by-user:
options igb InterruptThrottleRate=1
"""
CONF = "/etc/modprobe.d/ixgbe.conf"
BY_PARAMETER = "# VFs-param: max_vfs\n# VFs-maxvfs-by-default: 63\n# mine\noptions ixgbe LRO=0 max_vfs=4,2\n"


def parameter(tmp_path: Path, text: str, driver: str = "igb") -> Any:
    (tmp_path / "etc/modprobe.d").mkdir(parents=True)
    (tmp_path / f"etc/modprobe.d/{driver}.conf").write_text(text)
    return module_parameter.find(Host(str(tmp_path)), driver)


def test_the_comments_say_what_the_parameter_is(tmp_path: Path) -> None:
    found = parameter(tmp_path, IGB)
    assert (found.name, found.maximum) == ("max_vfs", 7)
    assert module_parameter.find(Host(str(tmp_path)), None) is None


@pytest.mark.parametrize(
    ("text", "maximum"),
    [
        (IGB.replace("by-user:", "by-user: 4"), 4),  # the smaller one counts
        (IGB.replace("by-user:", "by-user: 9"), 7),
        (IGB.replace("# VFs-maxvfs-by-default: 7\n", ""), None),
        (IGB.replace("default: 7", "default: \N{SUPERSCRIPT TWO}"), None),
        (IGB + "# VFs-maxvfs-by-default: 2\n", 7),  # of two alike xapi takes the first
    ],
)
def test_limits(tmp_path: Path, text: str, maximum: Any) -> None:
    assert parameter(tmp_path, text).maximum == maximum


@pytest.mark.parametrize(
    "text", ["", "options igb max_vfs=7\n", "# VFs-param:\n", "#VFs-param: max_vfs\n", "# VFs-param: a b\n"]
)
def test_a_driver_without_the_comment_uses_sysfs(tmp_path: Path, text: str) -> None:
    assert parameter(tmp_path, text) is None


def test_an_option_is_added_or_changed_and_all_else_stays(tmp_path: Path) -> None:
    found = parameter(tmp_path, IGB)
    added = found.with_value("7,0")
    assert added == IGB + "options igb max_vfs=7,0\n"
    assert found._replace(text=added).with_value("7,3") == IGB + "options igb max_vfs=7,3\n"
    text = 'options igb a=1 max_vfs=2 b=3\noptions igbvf max_vfs=9\noptions igb \\\n  max-vfs="4,4" c=5'
    assert found._replace(text=text).with_value("5") == (
        "options igb a=1 max_vfs=5 b=3\noptions igbvf max_vfs=9\noptions igb \\\n  max-vfs=5 c=5"
    )
    commented = "# options igb max_vfs=1\n# goes on \\\noptions igb max_vfs=2"
    assert found._replace(text=commented).with_value("5") == commented + "\noptions igb max_vfs=5\n"


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    made = host_with(tmp_path, in_driver=False)
    made.replace_file(CONF, BY_PARAMETER.encode())
    made.run(["dracut", "-f", "/boot/initrd-4.19.0+1.img", "4.19.0+1"])
    made.reboot()
    return made


def test_the_next_boot_has_the_count_of_each_port(host: Machine, pool: SmallPool) -> None:
    assert [len(create.present(host, f"0000:07:00.{port}")) for port in (0, 1)] == [4, 2]
    answer = call(host, pool, "set_vf_count", pf="eth1", count="6")
    assert (answer["before"], answer["after"], answer["reboot_required"]) == (4, 4, True)
    assert host.read(CONF) == BY_PARAMETER.replace("4,2", "6,2")
    assert "max_vfs=6,2" in host.read("/boot/initrd-4.19.0+1.img")
    assert "makes them" in str([r.error for r in restore.restore(host)])  # not before the reboot
    host.reboot()
    assert [result.error for result in restore.restore(host)] == [None, None]
    assert drivers(host, "0000:07:00.0") == ["pciback"] * 6
    assert call(host, pool, "set_vf_count", pf="eth1", count="6")["reboot_required"] is False


def test_more_than_the_file_allows_is_refused(host: Machine, pool: SmallPool) -> None:
    host.replace_file(CONF, BY_PARAMETER.replace("default: 63", "default: 8").encode())
    error = refused(host, pool, "set_vf_count", pf="eth1", count="9")
    assert (error.code, "at most 8" in error.hint) == ("SRIOV_BAD_ARGUMENT", True)


def test_an_initrd_that_cannot_be_rebuilt_leaves_the_file_as_it_was(host: Machine, pool: SmallPool) -> None:
    broken = answering(host, "dracut", status=1)
    assert refused(broken, pool, "set_vf_count", pf="eth1", count="6").code == "SRIOV_BOOT_CONFIG"
    assert host.read(CONF) == BY_PARAMETER
    assert not host.exists("/etc/sriov.conf")
