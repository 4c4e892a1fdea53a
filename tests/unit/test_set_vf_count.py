"""set_vf_count: VFs now and at each boot, none of them ever in dom0's hands or taken from a VM."""

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import forked
import machine
import one_host
import pytest
from machine import Machine
from machine_description import Card, Sriov, default_description
from one_host import drivers, host_with, odd, refusing
from small_pool import SmallPool
from sriovlib.config import sriov_conf
from sriovlib.errors import SriovError
from sriovlib.vf import create, pciback, pf_notes, restore

PF, ETH1 = "/sys/bus/pci/devices/0000:07:00.0", "0000:07:00.0"


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    """A host whose dom0 would load a driver for VFs, and whose pciback is a module."""
    return machine.default_host(str(tmp_path), blacklist=(), pciback="xen-pciback")


def call(host: Machine, pool: SmallPool, **args: str) -> Any:
    return one_host.call(host, pool, "set_vf_count", **args)


def refused(host: Machine, pool: SmallPool, **args: str) -> SriovError:
    return one_host.refused(host, pool, "set_vf_count", **args)


def codes(host: Machine, pool: SmallPool) -> List[str]:
    return [problem["code"] for problem in one_host.call(host, pool, "status")["problems"]]


def test_vfs_are_born_on_pciback_and_come_back_at_each_boot(host: Machine, pool: SmallPool) -> None:
    answer = call(host, pool, pf="eth1", count="7")
    assert answer.pop("warnings")[0].startswith("xapi does not know")
    assert answer == {
        "pf": ETH1,
        "before": 0,
        "after": 7,
        "changed": True,
        "reboot_required": False,
        "toolstack_restart_required": True,
    }
    assert drivers(host, ETH1) == ["pciback"] * 7
    assert not [name for name in host.names("/sys/class/net") if name.startswith("eth1v")]
    host.reboot()
    assert drivers(host, ETH1) == []
    assert [result.error for result in restore.restore(host)] == [None, None]
    assert drivers(host, ETH1) == ["pciback"] * 7
    assert "DRIFT" not in codes(host, pool)


def test_the_same_again_changes_nothing(host: Machine, pool: SmallPool) -> None:
    call(host, pool, pf="eth1", count="7")
    pool.known = create.present(host, ETH1)
    answer = call(host, pool, pf="07:00.0", count="7")
    assert (answer["changed"], answer["toolstack_restart_required"], answer["warnings"]) == (False, False, [])


def test_a_driver_that_is_older_than_pciback_gets_no_vf(host: Machine, pool: SmallPool) -> None:
    """The kernel asks drivers in the order in which they came, and a slot of pciback alone is no claim."""
    assert host.run(["modprobe", "ixgbevf"]).status == 0
    with host.changed() as sysfs:
        interfaces = sysfs.state["last_interface"]
    call(host, pool, pf="eth1", count="4")
    assert drivers(host, ETH1) == ["pciback"] * 4
    with host.changed() as sysfs:
        assert sysfs.state["last_interface"] == interfaces  # not even for a moment
    assert host.text(PF + "/sriov_drivers_autoprobe") == "1"
    assert call(host, pool, pf="eth1", count="0")["after"] == 0


@pytest.mark.parametrize("counts", [(7, 3), (3, 63), (5, 0)])
def test_vf_count_changes_by_way_of_zero(host: Machine, pool: SmallPool, counts: Any) -> None:
    first, second = counts
    call(host, pool, pf="eth1", count=str(first))
    answer = call(host, pool, pf="eth1", count=str(second))
    assert (answer["before"], answer["after"]) == (first, second)
    assert drivers(host, ETH1) == ["pciback"] * second
    assert pciback.slots(host) == set(create.present(host, ETH1))


def test_none_takes_the_configuration_away(host: Machine, pool: SmallPool) -> None:
    call(host, pool, pf="eth1", count="7")
    assert sriov_conf.read(host).pfs[ETH1] == sriov_conf.PfConfig(ETH1, "00:1b:21:00:01:00", 7, {})
    assert pool.other_config["sriov-conf"] == host.read(sriov_conf.PATH)
    call(host, pool, pf="eth1", count="0")
    assert sriov_conf.read(host).pfs == {}
    assert "sriov-conf" not in pool.other_config


def test_vfs_that_a_driver_got_are_taken_over(host: Machine, pool: SmallPool) -> None:
    host.write_attribute(PF + "/sriov_numvfs", "4")
    assert drivers(host, ETH1) == ["ixgbevf"] * 4
    answer = call(host, pool, pf="eth1", count="4")
    assert (answer["before"], answer["after"], answer["changed"]) == (4, 4, True)
    assert drivers(host, ETH1) == ["pciback"] * 4


def test_even_where_the_kernel_probes_no_vf_by_itself(host: Machine, pool: SmallPool) -> None:
    host.write_attribute(PF + "/sriov_drivers_autoprobe", "0")
    call(host, pool, pf="eth1", count="3")
    assert drivers(host, ETH1) == ["pciback"] * 3


def test_a_running_vm_keeps_its_vfs_force_or_not(host: Machine, pool: SmallPool) -> None:
    call(host, pool, pf="eth1", count="4")
    host.start_domain("11111111-2222-4333-8444-555555555555", "web", ["0000:07:10.2"])
    for force in ("no", "yes"):
        error = refused(host, pool, pf="eth1", count="2", force=force)
        assert (error.code, "web (0000:07:10.2)" in error.message) == ("SRIOV_VF_IN_USE", True)
        assert ("force=true does not change that" in error.hint) == (force == "yes")
    assert len(drivers(host, ETH1)) == 4
    assert call(host, pool, pf="eth1", count="4")["changed"] is False  # nothing to take from anybody


def test_halted_vms_are_named_and_only_force_passes(host: Machine, pool: SmallPool) -> None:
    call(host, pool, pf="eth1", count="4")
    pool.add_vm("mail", "0/0000:07:10.4")
    assert "mail (0000:07:10.4)" in refused(host, pool, pf="eth1", count="0").message
    assert call(host, pool, pf="eth1", count="0", force="true")["after"] == 0


def test_management_port_and_xapis_own_sriov_are_out_of_bounds(host: Machine, pool: SmallPool) -> None:
    assert refused(host, pool, pf="eth0", count="2").code == "SRIOV_MANAGEMENT_INTERFACE"
    pool.managed = ["eth1"]
    assert refused(host, pool, pf="eth1", count="2").code == "SRIOV_MANAGED_BY_XAPI"
    assert not host.exists(sriov_conf.PATH)


@pytest.mark.parametrize("count", ["-1", "64", "x", "", "1.5", "0x4", "99999999999"])
def test_counts_that_are_none(host: Machine, pool: SmallPool, count: str) -> None:
    error = refused(host, pool, pf="eth1", count=count)
    assert error.code == "SRIOV_BAD_ARGUMENT"
    assert "count" in error.message


@pytest.mark.parametrize("pf", ["eth9", "0000:07:10.0", "eth1;reboot", "../eth1", "07:00"])
def test_pfs_that_are_none(host: Machine, pool: SmallPool, pf: str) -> None:
    assert refused(host, pool, pf=pf, count="2").code in ("SRIOV_NOT_FOUND", "SRIOV_BAD_ARGUMENT")
    assert refused(host, pool, count="2").code == "SRIOV_BAD_ARGUMENT"
    assert not host.exists(sriov_conf.PATH)


@pytest.mark.parametrize(
    ("sriov", "words"),
    [
        ({"lacking": "mmio"}, "not enough MMIO"),
        ({"lacking": "buses"}, "out of range"),
        ({"in_driver": False}, "sysfs"),
    ],
)
def test_a_refusal_has_the_kernels_reason_and_leaves_nothing(
    tmp_path: Path, pool: SmallPool, sriov: Dict[str, Any], words: str
) -> None:
    host = host_with(tmp_path, **sriov)
    error = refused(host, pool, pf="eth1", count="20")
    assert error.code == "SRIOV_KERNEL_REFUSED"
    assert words in error.message
    assert error.hint
    assert pciback.slots(host) == set()
    assert not host.exists(sriov_conf.PATH)
    assert one_host.call(host, pool, "status")["pfs"][1]["last_error"]
    assert pf_notes.failures(host) == {}


def test_after_a_refusal_the_former_vfs_are_back(host: Machine, pool: SmallPool) -> None:
    call(host, pool, pf="eth1", count="4")
    error = refused(refusing(host, errno.ENOMEM, "sriov_numvfs", "20"), pool, pf="eth1", count="20")
    assert "it has 4 as before" in error.message
    assert drivers(host, ETH1) == ["pciback"] * 4
    assert sriov_conf.read(host).pfs[ETH1].vfs == 4
    assert pciback.slots(host) == set(create.present(host, ETH1))


def test_the_link_that_comes_up_is_no_reason(host: Machine, pool: SmallPool) -> None:
    """Seen in the lab: the PF is brought up first, and its link is there just when the number is refused."""

    def link_comes_up(write: Any, path: str, text: str) -> None:
        if path.endswith("sriov_numvfs"):
            with host.changed() as sysfs:
                sysfs.say(f"ixgbe {ETH1} eth1: NIC Link is Up 10 Gbps, Flow Control: RX/TX")
        write(path, text)

    linked = odd(refusing(host, errno.ERANGE, "sriov_numvfs"), "write_attribute", link_comes_up)
    message = refused(linked, pool, pf="eth1", count="20").message
    assert (
        message == f"The kernel refused 20 VFs on {ETH1}: Numerical result out of range; it has 0 as before."
    )


def test_nvme_is_counted_and_restored_like_a_network_card(tmp_path: Path, pool: SmallPool) -> None:
    nvme = Card(
        ("0000:0a:00.0",),
        "1b36:0010",
        "NVMe",
        "nvme",
        pci_class="010802",
        sriov=Sriov(4, "0010", offset=1, stride=1),
    )
    host = machine.default_host(str(tmp_path), cards=(default_description().cards[0], nvme))
    assert call(host, pool, pf="0a:00.0", count="3")["after"] == 3
    host.reboot()
    restore.restore(host)
    assert drivers(host, "0000:0a:00.0") == ["pciback"] * 3


def test_a_pf_whose_vfs_something_else_makes_is_adopted_as_it_is(host: Machine, pool: SmallPool) -> None:
    host.write_attribute(PF + "/sriov_numvfs", "4")
    os.chmod(host.path(PF + "/sriov_numvfs"), 0o444)
    assert "count=4" in refused(host, pool, pf="eth1", count="2").hint
    assert call(host, pool, pf="eth1", count="4")["after"] == 4
    assert drivers(host, ETH1) == ["pciback"] * 4


def test_a_card_that_moved_is_found_by_its_mac(tmp_path: Path, pool: SmallPool) -> None:
    host = machine.default_host(str(tmp_path / "before"))
    call(host, pool, pf="eth1", count="4")
    management, card = default_description().cards
    moved = card._replace(addresses=("0000:0b:00.0", "0000:0b:00.1"))
    after = machine.default_host(str(tmp_path / "after"), cards=(management, moved))
    after.replace_file(sriov_conf.PATH, host.read_bytes(sriov_conf.PATH))
    restore.restore(after)
    assert drivers(after, "0000:0b:00.0") == ["pciback"] * 4
    assert "PF_MOVED" in codes(after, pool)
    call(after, pool, pf="eth1", count="4")
    assert list(sriov_conf.read(after).pfs) == ["0000:0b:00.0"]
    assert "PF_MOVED" not in codes(after, pool)


def test_another_card_at_the_address_is_not_touched(tmp_path: Path, pool: SmallPool) -> None:
    host = machine.default_host(str(tmp_path))
    host.replace_file(sriov_conf.PATH, b"[pf 0000:07:00.0]\nmac = 00:1b:21:99:99:99\nvfs = 4\n")
    assert "another card" in str(restore.restore(host)[-1].error)
    assert drivers(host, ETH1) == []
    assert "OTHER_CARD" in codes(host, pool)


def test_one_pf_that_fails_does_not_stop_the_others(host: Machine, pool: SmallPool) -> None:
    text = "[pf 0000:07:00.0]\nvfs = 99\n[pf 0000:07:00.1]\nvfs = 3\nnonsense\n[pf 0000:0f:00.0]\nvfs = 2\n"
    host.replace_file(sriov_conf.PATH, text.encode())
    results = {result.step: result.error for result in restore.restore(host)}
    assert "line 5" in str(results[sriov_conf.PATH])
    assert "refused 99 VFs" in str(results[ETH1])
    assert results["0000:07:00.1"] is None
    assert "has no PF" in str(results["0000:0f:00.0"])
    assert drivers(host, "0000:07:00.1") == ["pciback"] * 3
    found = one_host.call(host, pool, "status")["pfs"]
    assert [(pf["desired"], pf["actual"], bool(pf["last_error"])) for pf in found] == [
        (None, 0, False),
        (99, 0, True),
        (3, 3, False),
    ]
    assert {"DRIFT", "PF_MISSING", "CONFIG_ERROR"} <= set(codes(host, pool))


def test_check_says_what_differs_and_changes_nothing(host: Machine, pool: SmallPool) -> None:
    call(host, pool, pf="eth1", count="3")
    assert restore.check(host) == []
    host.reboot()
    host.replace_file(sriov_conf.PATH, host.read_bytes(sriov_conf.PATH) + b"[pf 0000:99:00.0]\nvfs = 2\n")
    *differs, missing = restore.check(host)
    assert differs == ["pciback: should be loaded", "0000:07:00.0: should have 3 VFs"]
    assert missing.startswith("0000:99:00.0: /etc/sriov.conf names the PF 0000:99:00.0")
    assert drivers(host, ETH1) == []


def test_a_driver_that_was_loaded_again_gets_its_vfs_back(host: Machine, pool: SmallPool) -> None:
    call(host, pool, pf="eth1", count="3")
    call(host, pool, pf="eth2", count="2")
    for address in create.present(host, ETH1):
        pciback.release(host, address)
    host.write_attribute(PF + "/sriov_numvfs", "0")
    results = restore.restore(host, only=ETH1)
    assert [result.step for result in results] == ["pciback", ETH1]
    assert drivers(host, ETH1) == ["pciback"] * 3


def test_two_callers_at_once_get_one_after_the_other(host: Machine, pool: SmallPool) -> None:
    counts = ("3", "5", "7")
    children = [forked.child(partial(call, host, pool, pf="eth1", count=count)) for count in counts]
    assert list(map(forked.status, children)) == [0] * 3
    made = sriov_conf.read(host).pfs[ETH1].vfs
    assert made in (3, 5, 7)
    assert drivers(host, ETH1) == ["pciback"] * made
