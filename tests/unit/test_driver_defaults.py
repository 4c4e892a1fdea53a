"""What a setting left out means: what the driver of that card gives a fresh VF, not what another one does."""

import errno
from pathlib import Path
from typing import Any, Dict, List, Tuple

import machine
import pytest
from machine import Machine
from machine_description import Card, Sriov, default_description
from one_host import call, not_telling, refused
from pyfakefs.fake_filesystem import FakeFilesystem
from small_pool import SmallPool
from sriovlib.config import sriov_conf
from sriovlib.config.vf_settings import NO_MAC, VfSettings
from sriovlib.machine.host import Host
from sriovlib.starts import handover
from sriovlib.starts.handover import Permitted
from sriovlib.vf import apply, driver_defaults, restore, start_notes

PF, VF0, VF1 = "0000:05:00.0", "0000:05:00.2", "0000:05:00.3"
WEB, MAIL = "11111111-2222-4333-8444-555555555555", "66666666-2222-4333-8444-555555555555"
MAC = "82:00:00:00:00:01"
CODE = "SETTINGS_UNKNOWN"


def host_with(folder: Path, driver: str, vfs: int = 2, how: str = "restore") -> Machine:
    """A host with a card of that driver, whose VFs `sriov-restore` makes, or something else before us."""
    card = Card(
        (PF,),
        "15b3:1015",
        "a 25G card",
        driver,
        interfaces=("eth5",),
        macs=("00:02:c9:00:00:01",),
        sriov=Sriov(8, "1016", offset=2, stride=1),
        speed=25000,
    )
    host = machine.default_host(str(folder), cards=(*default_description().cards, card))
    if how == "restore":
        host.replace_file(sriov_conf.PATH, f"[pf {PF}]\nvfs = {vfs}\n".encode())
        assert [one.error for one in restore.restore(host)] == [None, None]
    else:
        host.write_attribute(f"/sys/bus/pci/devices/{PF}/sriov_numvfs", str(vfs))
    host.run(["ip", "link", "set", "dev", "eth5", "up"])
    return host


def settings(host: Machine, vf: str = VF0) -> Any:
    now = apply.look(host)[vf].now
    return now.mac, now.vlan, now.max_tx_rate, now.spoof_check


def starts(host: Machine, vm: str = WEB, vf: str = VF0, **wanted: str) -> None:
    handover.arrive(host, vm, Permitted([vf], {vf: {"mac": MAC, **wanted}}, {}))


def ends(host: Machine, vm: str = WEB, vf: str = VF0) -> None:
    assert apply.release(host, [vf]) == {}
    start_notes.remove(host, vm)


DRIVERS = [
    ("ixgbe", True),
    ("mlx5_core", False),
    ("mlx4_core", False),
    ("be2net", False),
    ("qede", True),
    ("bnx2x", True),
]


@pytest.mark.parametrize("how", ["restore", "before us"])
@pytest.mark.parametrize(("driver", "checks"), DRIVERS)
def test_a_start_changes_nothing_that_was_left_out(
    tmp_path: Path, driver: str, checks: bool, how: str
) -> None:
    host = host_with(tmp_path, driver, how=how)
    starts(host, vlan="12")
    assert settings(host) == (MAC, 12, 0, checks)
    ends(host)
    assert settings(host) == (NO_MAC, 0, 0, checks)


@pytest.mark.parametrize("driver", ["ixgbe", "mlx5_core", "qede"])
@pytest.mark.parametrize("vfs", [1, 2])
def test_next_vm_does_not_get_the_settings_of_the_last(tmp_path: Path, driver: str, vfs: int) -> None:
    """Also where there is no other VF to look at."""
    host = host_with(tmp_path, driver, vfs, how="before us")
    before = settings(host)
    starts(host, spoof_check="off" if before[3] else "on", max_tx_rate="500", trust="on")
    assert settings(host)[2:] == (500, not before[3])
    ends(host)
    assert settings(host) == before
    starts(host, MAIL)
    assert settings(host) == (MAC, *before[1:])


def test_default_of_configure_vf_is_the_drivers_own(tmp_path: Path) -> None:
    host, pool = host_with(tmp_path, "mlx5_core"), SmallPool()
    call(host, pool, "configure_vf", vf=VF0, spoof_check="on", vlan="7")
    assert settings(host)[1::2] == (7, True)
    call(host, pool, "configure_vf", vf=VF0, spoof_check="default", vlan="default")
    assert settings(host)[1::2] == (0, False)


@pytest.mark.parametrize("driver", ["mlx5_core", "qede"])
def test_configure_vf_undo_gives_the_driver_defaults(tmp_path: Path, driver: str) -> None:
    """802.1ad is refused; the rate, which was taken, goes. qede takes no 0 for that (qed_set_vf_rate)."""
    host = host_with(tmp_path, driver)
    before = settings(host)
    asked = {"vf": VF0, "max_tx_rate": "500", "vlan": "7", "vlan_protocol": "802.1ad"}
    assert "vlan_protocol" in refused(host, SmallPool(), "configure_vf", **asked).message
    assert settings(host) == before


def test_where_no_fresh_vf_is_seen_the_setting_is_left_alone(tmp_path: Path) -> None:
    """Each VF is configured, or was a VM's: who knows what the driver had given it."""
    host = host_with(tmp_path, "be2net", how="before us")
    host.run(["ip", "link", "set", "dev", "eth5", "vf", "1", "vlan", "99"])
    host.replace_file(sriov_conf.PATH, f"[pf {PF}]\nvfs = 2\n[vf {PF} 0]\nvlan = 5\n".encode())
    starts(host)
    assert settings(host) == (MAC, 5, 0, False)
    assert driver_defaults.kept(host).get(PF) is None


@pytest.mark.parametrize(
    ("untouched", "means"),
    [
        ([(0, False)], {"spoof_check": False}),
        ([(0, False), (12, True)], {"spoof_check": False}),  # one with a VLAN was set by somebody
        ([(0, False), (0, True)], {}),
        ([(0, None)], {}),
        ([], {}),
    ],
)
def test_driver_defaults_are_what_untouched_vfs_have_in_common(
    untouched: List[Tuple[int, Any]], means: Dict[str, Any]
) -> None:
    shown = [VfSettings(vlan=vlan, spoof_check=checks) for vlan, checks in untouched]
    assert driver_defaults.learned(shown, ["spoof_check"]) == means


def test_a_note_that_is_none_is_replaced(fs: FakeFilesystem) -> None:
    fs.create_file(driver_defaults.PATH, contents=f'{{"{PF}": 1}}')
    assert driver_defaults.kept(Host()) == {}
    driver_defaults.keep(Host(), {PF: {"spoof_check": False}})
    assert driver_defaults.kept(Host()) == {PF: {"spoof_check": False}}


def test_a_kernel_that_does_not_tell_of_a_card_costs_no_other(tmp_path: Path) -> None:
    """The card is named, and can be set all the same."""
    host = host_with(tmp_path, "mlx5_core")
    host.write_attribute("/sys/bus/pci/devices/0000:07:00.0/sriov_numvfs", "2")
    broken = not_telling(host, "eth5", errno.EMSGSIZE)
    shown = apply.look(broken)
    assert (shown["0000:07:10.0"].now.mac, shown[VF0].now.mac) == (NO_MAC, None)
    told = call(broken, SmallPool(), "list_pfs")
    unknown = {pf["address"]: problem for pf in told for problem in pf["problems"] if problem["code"] == CODE}
    assert list(unknown) == [PF]
    assert unknown[PF]["message"] == (
        f"{PF} (eth5): the settings of 2 VFs are not known, the first is VF 0: the kernel does not tell of "
        "eth5: Message too long."
    )
    starts(broken, vlan="12")
    assert settings(host)[:2] == (MAC, 12)
