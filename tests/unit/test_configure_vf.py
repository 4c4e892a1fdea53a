"""configure_vf: what a VF is set to now and at each boot; all of a call, or none of it."""

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator

import kernel_net
import machine
import one_host
import pytest
from machine import Machine
from machine_description import default_description
from one_host import call, problems
from small_pool import SmallPool
from sriovlib.calls import table
from sriovlib.config import sriov_conf, vf_settings
from sriovlib.errors import SriovError
from sriovlib.pool import conf_copy
from sriovlib.vf import apply, ip_link, kernel_settings, restore

ETH1 = "0000:07:00.0"
SHOWN = ("mac", "vlan", "qos", "max_tx_rate", "spoof_check", "trust")


@pytest.fixture
def host(tmp_path: Path, pool: SmallPool) -> Machine:
    """A host with 4 VFs on eth1."""
    made = machine.default_host(str(tmp_path))
    call(made, pool, "set_vf_count", pf="eth1", count="4")
    return made


def configure(host: Machine, pool: SmallPool, vf: str, **args: str) -> Any:
    return call(host, pool, "configure_vf", vf=vf, **args)


def refused(host: Machine, pool: SmallPool, vf: str, **args: str) -> SriovError:
    return one_host.refused(host, pool, "configure_vf", vf=vf, **args)


def settings(host: Machine, pool: SmallPool) -> Dict[str, Any]:
    vfs = call(host, pool, "list_vfs")
    return {vf["address"]: tuple(vf[key] for key in SHOWN) for vf in vfs}


def test_settings_are_there_now_and_after_a_boot(host: Machine, pool: SmallPool) -> None:
    vf = configure(
        host, pool, "07:10.2", mac="02:00:00:00:00:05", vlan="12", qos="3", max_tx_rate="500", trust="on"
    )
    before = settings(host, pool)
    asked = ("02:00:00:00:00:05", 12, 3, 500, True, True)  # spoof_check was not given, so not touched
    assert tuple(vf[key] for key in SHOWN) == before["0000:07:10.2"] == asked
    host.reboot()
    assert [result.error for result in restore.restore(host)] == [None, None]
    assert settings(host, pool) == before
    assert restore.check(host) == []
    assert pool.other_config["sriov-conf"] == host.read(sriov_conf.PATH)


def test_a_setting_that_is_not_given_stays(host: Machine, pool: SmallPool) -> None:
    configure(host, pool, "07:10.2", vlan="12", spoof_check="off")
    configure(host, pool, "07:10.2", trust="on")
    assert settings(host, pool)["0000:07:10.2"] == ("00:00:00:00:00:00", 12, 0, 0, False, True)
    assert sriov_conf.read(host).pfs[ETH1].settings == {1: {"vlan": 12, "spoof_check": False, "trust": True}}


def test_default_takes_it_out_of_the_file_and_gives_what_a_fresh_vf_has(
    host: Machine, pool: SmallPool
) -> None:
    configure(host, pool, "07:10.2", mac="02:00:00:00:00:05", vlan="12", trust="on")
    configure(host, pool, "07:10.2", mac="default", vlan="default", trust="default")
    assert settings(host, pool)["0000:07:10.2"] == ("00:00:00:00:00:00", 0, 0, 0, True, False)
    assert sriov_conf.read(host).pfs[ETH1].settings == {}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "no setting"),
        ({"mac": "01:00:5e:00:00:01"}, "mac"),
        ({"mac": "00:00:00:00:00:00"}, "mac"),
        ({"mac": "02:00:00:00:00"}, "mac"),
        ({"vlan": "4095"}, "vlan"),
        ({"vlan": "-1"}, "vlan"),
        ({"qos": "3"}, "a VLAN beside it"),
        ({"vlan": "5", "qos": "8"}, "qos"),
        ({"vlan_protocol": "802.1ad"}, "a VLAN beside it"),
        ({"min_tx_rate": "500", "max_tx_rate": "100"}, "at most max_tx_rate"),
        ({"max_tx_rate": "10001"}, "speed of the link"),
        ({"trust": "perhaps"}, "trust"),
        ({"link_state": "up"}, "link_state"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_mistakes_are_named_before_anything_is_done(
    host: Machine, pool: SmallPool, args: Dict[str, str], words: str
) -> None:
    before, file = settings(host, pool), host.read(sriov_conf.PATH)
    error = refused(host, pool, "07:10.2", **args)
    assert error.code == "SRIOV_BAD_ARGUMENT"
    assert words in error.message + error.hint
    assert (settings(host, pool), host.read(sriov_conf.PATH)) == (before, file)


def test_the_call_takes_every_setting_that_there_is() -> None:
    assert table.SETTINGS.split() == list(vf_settings.NAMES)


def test_a_mac_is_had_once_on_a_host(host: Machine, pool: SmallPool) -> None:
    configure(host, pool, "07:10.2", mac="02:00:00:00:00:05")
    assert "VF 1 of eth1" in refused(host, pool, "07:10.4", mac="02:00:00:00:00:05").hint
    assert "eth2" in refused(host, pool, "07:10.4", mac="00:1B:21:00:01:01").hint
    configure(host, pool, "07:10.2", mac="02:00:00:00:00:05")  # its own is no other's


def test_all_or_none(host: Machine, pool: SmallPool) -> None:
    configure(host, pool, "07:10.2", vlan="7")
    before, file = settings(host, pool), host.read(sriov_conf.PATH)
    error = refused(
        host, pool, "07:10.2", mac="02:00:00:00:00:05", vlan="12", link_state="enable", trust="on"
    )
    assert error.code == "SRIOV_KERNEL_REFUSED"
    assert "link_state" in error.message
    assert (settings(host, pool), host.read(sriov_conf.PATH)) == (before, file)


def test_configure_vf_with_the_present_value_is_no_error(host: Machine, pool: SmallPool) -> None:
    assert configure(host, pool, "07:10.2", link_state="auto", min_tx_rate="0")["link_state"] == "auto"


def test_a_vf_that_a_vm_holds_belongs_to_the_vm(host: Machine, pool: SmallPool) -> None:
    pool.add_vm("mail", "0/0000:07:10.2")
    assert refused(host, pool, "07:10.2", vlan="5").code == "SRIOV_VF_IN_USE"
    host.start_domain("11111111-2222-4333-8444-555555555555", "web", ["0000:07:10.4"])
    assert "web" in refused(host, pool, "07:10.4", vlan="5").message


def test_a_vf_in_a_running_vm_is_not_reset_by_restore(host: Machine, pool: SmallPool) -> None:
    configure(host, pool, "07:10.2", vlan="12")
    host.start_domain("11111111-2222-4333-8444-555555555555", "web", ["0000:07:10.2"])
    host.run(["ip", "link", "set", "dev", "eth1", "vf", "1", "vlan", "99"])
    assert restore.check(host) == []
    restore.restore(host)
    assert settings(host, pool)["0000:07:10.2"][1] == 99


@pytest.mark.parametrize("vf", ["07:1f.0", "eth1", "", "07:00.0"])
def test_vfs_that_are_none(host: Machine, pool: SmallPool, vf: str) -> None:
    assert refused(host, pool, vf, vlan="5").code in ("SRIOV_NOT_FOUND", "SRIOV_BAD_ARGUMENT")


def test_a_step_that_fails_leaves_vf_and_file_as_they_were(
    host: Machine, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor is left for `ip`: that is no answer of the kernel's, and counts as one."""
    before = host.read(sriov_conf.PATH)
    real, calls_of = ip_link.apply, iter([True])

    def once(*args: Any) -> Any:
        if next(calls_of, False):
            real(*args)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(*args)

    monkeypatch.setattr(ip_link, "apply", once)
    refused(host, pool, "07:10.2", vlan="12")
    assert settings(host, pool)["0000:07:10.2"][1] == 0
    assert host.read(sriov_conf.PATH) == before


def test_a_file_that_cannot_be_set_back_does_not_hide_what_was_refused(
    host: Machine, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, edits = sriov_conf.edit, iter([False])

    def full(*args: Any) -> Any:
        if next(edits, True):
            raise SriovError("SRIOV_CONFIG_NOT_WRITTEN", "/etc/sriov.conf could not be written.", "")
        return edit(*args)

    monkeypatch.setattr(sriov_conf, "edit", full)
    error = refused(host, pool, "07:10.2", vlan="12", link_state="enable")
    assert (error.code, "still asks for what was refused" in error.message) == ("SRIOV_KERNEL_REFUSED", True)
    assert settings(host, pool)["0000:07:10.2"][1] == 0


def test_configure_vf_undoes_unknown_settings_to_the_rest_state(
    host: Machine, pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel cuts the list of very many VFs."""
    monkeypatch.setattr(kernel_settings, "told", lambda _link: {0: vf_settings.UNSET})
    refused(host, pool, "07:10.2", mac="02:00:00:00:00:05", vlan="12", link_state="enable")
    monkeypatch.undo()
    assert settings(host, pool)["0000:07:10.2"][:2] == (vf_settings.NO_MAC, 0)


def test_a_vf_that_stays_busy(host: Machine, pool: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = host.read(sriov_conf.PATH)

    def busy(*_args: Any) -> None:
        raise OSError(errno.EBUSY, apply.BUSY)

    monkeypatch.setattr(kernel_net, "set_vf", busy)
    monkeypatch.setattr(apply, "BUSY_SECONDS", 0.1)
    error = refused(host, pool, "07:10.2", vlan="12")
    assert (error.code, apply.BUSY in error.message) == ("SRIOV_KERNEL_REFUSED", True)
    assert error.hint == "Nothing was changed: call again in a moment."
    assert host.read(sriov_conf.PATH) == before


@contextmanager
def answering(pool: SmallPool) -> Iterator[SmallPool]:
    yield pool


def test_a_reinstalled_host_gets_its_file_back_from_the_pool(
    host: Machine, pool: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(host, pool, "07:10.2", vlan="12")
    new = machine.default_host(str(tmp_path / "new"))
    monkeypatch.setattr(conf_copy, "logged_in", lambda _host: answering(pool))
    assert problems(new, pool, "CONFIG_IN_POOL")
    assert "1 PF section" in conf_copy.bring_back(new)
    assert new.read(sriov_conf.PATH) == host.read(sriov_conf.PATH)
    restore.restore(new)
    assert settings(new, pool)["0000:07:10.2"][1] == 12


def test_another_hosts_copy_is_not_taken(
    host: Machine, pool: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host
    cards = default_description(7).cards
    other = machine.default_host(str(tmp_path / "other"), cards=cards)
    monkeypatch.setattr(conf_copy, "logged_in", lambda _host: answering(pool))
    with pytest.raises(SriovError) as error:
        conf_copy.bring_back(other)
    assert "another card" in error.value.message
    assert not other.exists(sriov_conf.PATH)
