"""A driver that was loaded anew under a running VM has forgotten what its VF was to have: somebody says so,
and it is set again."""

from pathlib import Path
from typing import Any, Dict, List, Optional

import machine
import pytest
from machine import Machine
from one_host import answering, not_telling, problems
from small_pool import SmallPool
from sriovlib.config.vf_settings import NO_MAC
from sriovlib.starts import handover
from sriovlib.starts.handover import Permitted
from sriovlib.vf import apply, inventory, ip_link, restore_running, start_notes

ETH1, VF = "0000:07:00.0", "0000:07:10.0"
WEB = "11111111-2222-4333-8444-555555555555"
MAC = "82:00:00:00:00:01"


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    """`web` runs with a VF in VLAN 12."""
    made = machine.default_host(str(tmp_path))
    made.write_attribute(f"/sys/bus/pci/devices/{ETH1}/sriov_numvfs", "2")
    wanted = {"mac": MAC, "vlan": "12", "trust": "default"}
    handover.arrive(made, WEB, Permitted([VF], {VF: wanted}, {}))
    made.start_domain(WEB, "web", [VF])
    return made


def driver_is_loaded_anew(host: Machine) -> None:
    host.run(["ip", "link", "set", "dev", "eth1", "vf", "0", "mac", NO_MAC, "vlan", "0"])


def renew(host: Machine, only: Optional[str] = None) -> Dict[str, Optional[str]]:
    return restore_running.renew(host, inventory.look(host), only)


def settings(host: Machine) -> Any:
    now = apply.look(host)[VF].now
    return now.mac, now.vlan


def named(host: Machine) -> List[str]:
    return [problem["message"] for problem in problems(host, SmallPool(), "VF_UNLIKE_REQUEST")]


def test_running_vm_gets_lost_settings_again(host: Machine) -> None:
    assert named(host) == []
    driver_is_loaded_anew(host)
    assert named(host) == [
        f"{VF} of the running VM web ({WEB}) has mac {NO_MAC}, not {MAC} and vlan 0, not 12: was its driver "
        "reloaded?"
    ]
    assert renew(host) == {VF: None}
    assert (settings(host), named(host), renew(host)) == ((MAC, 12), [], {})


def test_only_the_pf_whose_driver_it_was(host: Machine) -> None:
    driver_is_loaded_anew(host)
    assert renew(host, "0000:07:00.1") == {}
    assert settings(host) == (NO_MAC, 0)
    renew(host, ETH1)
    assert settings(host) == (MAC, 12)


def test_a_vm_that_has_ended_wants_nothing(host: Machine) -> None:
    driver_is_loaded_anew(host)
    host.stop_domain(WEB)
    assert (named(host), renew(host)) == ([], {})
    assert start_notes.read(host, WEB) is not None


def test_where_the_driver_takes_nothing_the_vm_is_named(host: Machine) -> None:
    """igb does not know the VFs any more: it tells of none, and takes nothing for them."""
    said = "RTNETLINK answers: Invalid argument\nCommand failed -:1\n"
    forgetful = answering(not_telling(host, "eth1"), " ".join(ip_link.BATCH), status=1, stderr=said)
    (message,) = named(forgetful)
    assert message == (
        f"{VF} of the running VM web ({WEB}): its settings are not known (the kernel tells of 0 of the 2 VFs "
        "of eth1)."
    )
    error = str(renew(forgetful)[VF])
    assert "Invalid argument" in error
    assert restore_running.HINT in error


def test_a_driver_that_tells_nothing_is_no_news(host: Machine) -> None:
    seen = inventory.look(host)._replace(settings={})
    assert restore_running.find(host, seen) == []
