"""dry_run of set_vf_count and configure_vf: what is told and refused beforehand is what then happens."""

import os
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import igb_hosts
import machine
import one_host
import pytest
from machine import Machine
from machine_description import Card, Sriov, default_description
from one_host import call
from small_pool import SmallPool
from sriovlib.config import sriov_conf

PF, QAT = "/sys/bus/pci/devices/0000:07:00.0", "0000:1a:00.0"
Made = Callable[[str], Machine]


def whole(host: Machine, pool: SmallPool) -> Tuple[Any, Any]:
    return one_host.tree(host), dict(pool.other_config)


def announced(
    host: Machine, pool: SmallPool, function: str = "set_vf_count", changes: bool = True, **args: str
) -> Any:
    before = whole(host, pool)
    told = call(host, pool, function, dry_run="true", **args)
    assert whole(host, pool) == before
    assert (told.pop("changed"), told.pop("would_change")) == (False, changes)
    done = call(host, pool, function, **args)
    assert done.pop("changed") is changes
    assert done == told
    return done


def refused(host: Machine, pool: SmallPool, function: str = "set_vf_count", **args: str) -> str:
    """The code that both are refused with."""
    before = whole(host, pool)
    told = one_host.refused(host, pool, function, dry_run="true", **args)
    assert whole(host, pool) == before
    done = one_host.refused(host, pool, function, **args)
    assert (told.code, told.message, told.hint) == (done.code, done.message, done.hint)
    return told.code


def test_pciback_is_not_loaded_yet(tmp_path: Path, pool: SmallPool) -> None:
    host = machine.default_host(str(tmp_path), pciback="xen-pciback")
    assert announced(host, pool, pf="eth1", count="4")["after"] == 4


def test_vfs_of_dom0s_driver_would_be_taken(tmp_path: Path, pool: SmallPool) -> None:
    host = machine.default_host(str(tmp_path), blacklist=())
    host.write_attribute(PF + "/sriov_numvfs", "4")
    host.replace_file(sriov_conf.PATH, b"[pf 0000:07:00.0]\nmac = 00:1b:21:00:01:00\nvfs = 4\n")
    announced(host, pool, pf="eth1", count="4")
    announced(host, pool, pf="eth1", count="4", changes=False)


def no_pciback(folder: str) -> Machine:
    return machine.default_host(folder, pciback="missing")


def made_elsewhere(folder: str) -> Machine:
    host = machine.default_host(folder)
    host.write_attribute(PF + "/sriov_numvfs", "2")
    os.chmod(host.path(PF + "/sriov_numvfs"), 0o444)
    return host


def unreadable_file(folder: str) -> Machine:
    return one_host.unreadable(machine.default_host(folder), sriov_conf.PATH)


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (no_pciback, "SRIOV_PCIBACK_UNAVAILABLE"),
        (made_elsewhere, "SRIOV_KERNEL_REFUSED"),
        (unreadable_file, "SRIOV_CONFIG_NOT_WRITTEN"),
    ],
)
def test_count_is_refused_beforehand(tmp_path: Path, pool: SmallPool, made: Made, code: str) -> None:
    assert refused(made(str(tmp_path)), pool, pf="eth1", count="4") == code


def test_a_driver_that_is_known_to_make_another_number(tmp_path: Path, pool: SmallPool) -> None:
    card = Card(
        (QAT,),
        "8086:37c8",
        "C62x QuickAssist Technology",
        "c6xx",
        pci_class="0b4000",
        sriov=Sriov(16, "37c9", offset=8, stride=1, driver="qat_c62xvf", makes=16),
    )
    host = machine.default_host(str(tmp_path), cards=(default_description().cards[0], card))
    call(host, pool, "set_vf_count", pf=QAT, count="4")
    again = announced(host, pool, pf=QAT, count="4")
    assert (again["after"], "made 16 VFs instead of the 4" in again["warnings"][0]) == (16, True)


def test_a_driver_with_a_parameter_makes_them_after_a_reboot(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_hosts.igb_host(tmp_path, "options igb max_vfs=0,0,0,2\n")
    made = announced(host, pool, pf="eth3", count="4")
    assert (made["before"], made["after"], made["reboot_required"]) == (2, 2, True)
    igb_hosts.reboot(host)
    announced(host, pool, pf="eth3", count="4")  # pciback takes them
    announced(host, pool, pf="eth3", count="4", changes=False)


@pytest.mark.parametrize(
    ("count", "code"), [("5", "SRIOV_BAD_ARGUMENT"), ("3", "SRIOV_BOOT_CONFIG")], ids=["limit", "overridden"]
)
def test_a_parameter_is_refused_beforehand(tmp_path: Path, pool: SmallPool, count: str, code: str) -> None:
    host = igb_hosts.igb_host(tmp_path, "")
    host.replace_file(igb_hosts.CONF, igb_hosts.COMMENTS.replace("default: 7", "default: 4").encode())
    host.replace_file("/etc/modprobe.d/zz.conf", b"options igb max_vfs=0,0,0,1\n")
    assert refused(host, pool, pf="eth3", count=count) == code


def test_settings_that_are_there_already(tmp_path: Path, pool: SmallPool) -> None:
    host = machine.default_host(str(tmp_path))
    call(host, pool, "set_vf_count", pf="eth1", count="4")
    call(host, pool, "list_vfs")
    args: Dict[str, Any] = {"vf": "07:10.2", "vlan": "12", "spoof_check": "off"}
    announced(host, pool, "configure_vf", **args)
    announced(host, pool, "configure_vf", changes=False, **args)
    host.run(["ip", "link", "set", "dev", "eth1", "vf", "1", "vlan", "99"])
    announced(host, pool, "configure_vf", **args)  # the file has it, the VF has it no more
    announced(host, pool, "configure_vf", vf="07:10.2", vlan="default", spoof_check="default")


def test_a_mac_that_the_file_gives_to_another_vf(tmp_path: Path, pool: SmallPool) -> None:
    host = machine.default_host(str(tmp_path))
    call(host, pool, "set_vf_count", pf="eth1", count="4")
    call(host, pool, "configure_vf", vf="07:10.2", mac="02:00:00:00:00:05")
    host.run(["ip", "link", "set", "dev", "eth1", "vf", "1", "mac", "02:00:00:00:00:06"])
    assert refused(host, pool, "configure_vf", vf="07:10.4", mac="02:00:00:00:00:05") == "SRIOV_BAD_ARGUMENT"
