"""load_pciback and the boot service: the driver now, and at each boot."""

import json
from pathlib import Path
from typing import Any, Dict, Optional

import machine
import pytest
from machine import Machine
from small_pool import SmallPool
from sriovlib.calls import table
from sriovlib.config import sriov_conf
from sriovlib.errors import SriovError
from sriovlib.vf import restore


def load(host: Machine, **args: str) -> Dict[str, Any]:
    answer: Dict[str, Any] = json.loads(table.call(host, "load_pciback", SmallPool(), args))
    return answer


def boot(host: Machine) -> bool:
    """A reboot up to the end of the boot service; whether pciback is there then."""
    host.reboot()
    assert all(result.error is None for result in restore.restore(host))
    return host.exists("/sys/bus/pci/drivers/pciback")


@pytest.mark.parametrize("module", ["xen-pciback", "pciback", None])
def test_pciback_now_and_at_each_boot(tmp_path: Path, module: Optional[str]) -> None:
    """None: built into the kernel."""
    host = machine.default_host(str(tmp_path), pciback=module or "built-in")
    assert load(host) == {"loaded": True, "changed": True, "persistent": True, "module": module}
    assert load(host) == {"loaded": True, "changed": False, "persistent": True, "module": module}
    assert boot(host)


def test_not_persistent_takes_it_out_of_the_boot(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), pciback="xen-pciback")
    load(host)
    answer = load(host, persistent="no")
    assert (answer["loaded"], answer["changed"], answer["persistent"]) == (True, True, False)
    assert not boot(host)
    assert load(host, persistent="0") == {
        "loaded": True,
        "changed": True,
        "persistent": False,
        "module": "xen-pciback",
    }


def test_a_kernel_without_it_is_refused_with_what_was_tried(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), pciback="missing")
    with pytest.raises(SriovError) as error:
        load(host)
    assert error.value.code == "SRIOV_PCIBACK_UNAVAILABLE"
    assert "modprobe xen-pciback" in error.value.message
    assert "modprobe pciback" in error.value.message
    assert not host.exists(sriov_conf.PATH)


def test_the_boot_service_names_what_failed(tmp_path: Path) -> None:
    host = machine.default_host(str(tmp_path), pciback="missing")
    host.replace_file(sriov_conf.PATH, b"[host]\npciback = yes\n")
    (result,) = restore.restore(host)
    assert result.step == "pciback"
    assert result.error
    assert "no pciback driver" in result.error


def test_the_boot_service_has_nothing_to_do_on_a_host_that_wants_nothing(tmp_path: Path) -> None:
    assert restore.restore(machine.default_host(str(tmp_path))) == []
