"""The fake machine's kernel: VFs that come and go, drivers and pciback, and the refusals that were measured
on the lab host (Linux 6.1)."""

import errno
from pathlib import Path
from typing import Any, List

import pytest
from machine import Machine, create, default_host, from_recording
from machine_description import recorded_description

PF = "/sys/bus/pci/devices/0000:01:00.0"
VF = "0000:01:10.0"
DRIVERS = "/sys/bus/pci/drivers"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """The lab's host, with pciback loaded."""
    machine = create(str(tmp_path), recorded_description())
    machine.run(["modprobe", "xen-pciback"])
    return machine


def refusal(machine: Machine, path: str, text: str) -> str:
    """The name of the error that a write raises."""
    try:
        machine.write_attribute(path, text)
    except OSError as refused:
        return errno.errorcode[refused.errno or 0]
    return "accepted"


def kernel_log(machine: Machine) -> str:
    return machine.run(["dmesg"]).stdout


def driver(machine: Machine, address: str) -> Any:
    return machine.link(f"/sys/bus/pci/devices/{address}/driver")


def virtual_functions(machine: Machine, pf: str = PF) -> List[Any]:
    numbers = range(machine.number(pf + "/sriov_numvfs") or 0)
    return [machine.link(f"{pf}/virtfn{number}") for number in numbers]


# -- sriov_numvfs --------------------------------------------------------------------------------


def test_the_number_of_vfs(machine: Machine) -> None:
    number = PF + "/sriov_numvfs"
    assert refusal(machine, number, "8") == "ERANGE"
    assert refusal(machine, number, "many") == "EINVAL"
    assert refusal(machine, number, "") == "EINVAL"
    machine.write_attribute(number, "7\n")
    assert virtual_functions(machine)[::6] == [VF, "0000:01:11.4"]
    assert refusal(machine, number, "3") == "EBUSY"
    assert "7 VFs already enabled. Disable before enabling 3 VFs" in kernel_log(machine)
    machine.write_attribute(number, "7")  # the same again: nothing happens
    machine.write_attribute(number, "0")
    assert not machine.exists(f"/sys/bus/pci/devices/{VF}")
    assert not [name for name in machine.names("/sys/class/net") if "v" in name]
    assert machine.names(PF)[-1] == "vendor"


def test_a_vf_that_pciback_holds_is_in_the_way(machine: Machine) -> None:
    machine.write_attribute(PF + "/sriov_numvfs", "2")
    machine.write_attribute(f"{DRIVERS}/igbvf/unbind", VF)
    machine.write_attribute(f"{DRIVERS}/pciback/new_slot", VF)
    machine.write_attribute(f"{DRIVERS}/pciback/bind", VF)
    assert refusal(machine, PF + "/sriov_numvfs", "0") == "EPERM"
    assert "Cannot deallocate SR-IOV virtual functions while they are assigned" in kernel_log(machine)
    machine.write_attribute(f"{DRIVERS}/pciback/unbind", VF)
    machine.write_attribute(PF + "/sriov_numvfs", "0")
    assert virtual_functions(machine) == []


def test_sysfs_refuses_what_a_real_one_refuses(machine: Machine) -> None:
    assert refusal(machine, PF + "/nothing", "1") == "ENOENT"
    with pytest.raises(PermissionError):
        machine.read(f"{DRIVERS}/igb/bind")
    with pytest.raises(OSError, match="Invalid argument"):
        machine.read("/sys/class/net/enp1s0/carrier")
    assert machine.text("/sys/class/net/enp1s0/carrier") is None
    with pytest.raises(NotImplementedError):
        machine.write_attribute(PF + "/reset", "1")


# -- pciback -------------------------------------------------------------------------------------


def test_slots(machine: Machine) -> None:
    new_slot, slots = f"{DRIVERS}/pciback/new_slot", f"{DRIVERS}/pciback/slots"
    for text in ("junk", "10000:01:01.1"):  # of five digits
        assert refusal(machine, new_slot, text) == "EINVAL"
    assert refusal(machine, f"{DRIVERS}/pciback/remove_slot", VF) == "ENOENT"
    machine.write_attribute(new_slot, VF)  # no such device yet
    machine.write_attribute(new_slot, "01:10.0\n")  # the same one
    assert machine.read(slots) == VF + "\n"
    machine.write_attribute(f"{DRIVERS}/pciback/remove_slot", VF)
    assert machine.read(slots) == ""


def test_bind_and_unbind(machine: Machine) -> None:
    machine.write_attribute(PF + "/sriov_numvfs", "1")
    bind, unbind = f"{DRIVERS}/pciback/bind", f"{DRIVERS}/pciback/unbind"
    assert refusal(machine, bind, VF) == "EBUSY"  # igbvf has it
    machine.write_attribute(f"{DRIVERS}/igbvf/unbind", VF)
    assert machine.names("/sys/class/net") == ["enp0s2", "enp1s0", "enp2s0", "lo"]
    assert refusal(machine, bind, VF) == "ENODEV"  # no slot
    assert refusal(machine, bind, "0000:01:1f.0") == "ENODEV"
    assert refusal(machine, unbind, VF) == "ENODEV"
    machine.write_attribute(f"{DRIVERS}/pciback/new_slot", VF)
    machine.write_attribute(bind, VF)
    assert driver(machine, VF) == "pciback"
    machine.write_attribute(unbind, VF)
    assert machine.read(f"{DRIVERS}/pciback/slots") == VF + "\n"  # the slot stays
    machine.write_attribute(f"{DRIVERS}/pciback/remove_slot", VF)
    machine.write_attribute("/sys/bus/pci/drivers_probe", VF)
    assert driver(machine, VF) == "igbvf"


def test_driver_override(machine: Machine) -> None:
    machine.write_attribute(PF + "/sriov_numvfs", "1")
    machine.write_attribute(f"{DRIVERS}/igbvf/unbind", VF)
    override = f"/sys/bus/pci/devices/{VF}/driver_override"
    machine.write_attribute(override, "xen-pciback")  # not the driver's name
    machine.write_attribute("/sys/bus/pci/drivers_probe", VF)
    assert driver(machine, VF) is None
    machine.write_attribute(override, "pciback")
    machine.write_attribute("/sys/bus/pci/drivers_probe", VF)
    assert driver(machine, VF) == "pciback"
    assert machine.read(f"{DRIVERS}/pciback/slots") == VF + "\n"
    machine.write_attribute(override, "\n")
    assert machine.read(override) == "(null)\n"
    assert refusal(machine, "/sys/bus/pci/drivers_probe", "0000:01:1f.0") == "ENODEV"


def test_seizing_before_birth(machine: Machine) -> None:
    """No interface of a VF ever appears in dom0; and a slot outlives its VF."""
    for address in (VF, "0000:01:10.2"):
        machine.write_attribute(f"{DRIVERS}/pciback/new_slot", address)
    machine.write_attribute(PF + "/sriov_numvfs", "3")
    assert [driver(machine, vf) for vf in virtual_functions(machine)] == ["pciback", "pciback", "igbvf"]
    assert machine.exists("/sys/class/net/enp1s0v2")
    assert not machine.exists("/sys/class/net/enp1s0v0")
    for address in (VF, "0000:01:10.2"):
        machine.write_attribute(f"{DRIVERS}/pciback/unbind", address)
    machine.write_attribute(PF + "/sriov_numvfs", "0")
    machine.write_attribute(PF + "/sriov_numvfs", "1")
    assert driver(machine, VF) == "pciback"


def test_the_older_driver_is_asked_first(machine: Machine) -> None:
    machine.write_attribute(f"{DRIVERS}/pciback/new_slot", VF)
    machine.write_attribute(PF + "/sriov_numvfs", "1")
    assert driver(machine, VF) == "pciback"  # older than igbvf, which came with this VF
    machine.write_attribute(f"{DRIVERS}/pciback/unbind", VF)
    machine.write_attribute(PF + "/sriov_numvfs", "0")
    machine.run(["modprobe", "--remove", "xen-pciback"])
    machine.run(["modprobe", "xen-pciback"])
    machine.write_attribute(f"{DRIVERS}/pciback/new_slot", VF)
    machine.write_attribute(PF + "/sriov_numvfs", "1")
    assert driver(machine, VF) == "igbvf"


def test_autoprobe_off(machine: Machine) -> None:
    machine.write_attribute(PF + "/sriov_drivers_autoprobe", "0")
    machine.write_attribute(PF + "/sriov_numvfs", "1")
    assert driver(machine, VF) is None
    machine.write_attribute(f"{DRIVERS}/pciback/new_slot", VF)
    assert refusal(machine, f"{DRIVERS}/pciback/bind", VF) == "ENODEV"
    machine.write_attribute(f"/sys/bus/pci/devices/{VF}/driver_override", "pciback")
    machine.write_attribute(f"{DRIVERS}/pciback/bind", VF)
    assert driver(machine, VF) == "pciback"
    assert refusal(machine, PF + "/sriov_drivers_autoprobe", "maybe") == "EINVAL"


def test_before_linux_5_3_autoprobe_off_makes_a_bind_look_successful(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), kernel="4.19.0+1")
    machine.write_attribute("/sys/class/net/eth1/device/sriov_drivers_autoprobe", "0")
    machine.write_attribute("/sys/class/net/eth1/device/sriov_numvfs", "1")
    assert driver(machine, "0000:07:10.0") == "pciback"
    assert machine.read(f"{DRIVERS}/pciback/slots") == ""


@pytest.mark.parametrize(("hide", "there"), [("(0000:07:00.1)", True), ("(0000:07:00.1)(7.1)", False)])
def test_devices_hidden_on_dom0s_command_line(tmp_path: Path, hide: str, there: bool) -> None:
    """One entry that cannot be read, and pciback does not register at all."""
    machine = default_host(str(tmp_path))
    tool = "/opt/xensource/libexec/xen-cmdline"
    assert machine.run([tool, "--set-dom0", f"xen-pciback.hide={hide}"]).status == 0
    machine.reboot()
    assert machine.exists(DRIVERS + "/pciback") is there
    assert driver(machine, "0000:07:00.1") == ("pciback" if there else "ixgbe")
    assert machine.exists("/sys/class/net/eth2") is not there


def test_a_built_in_pciback_shows_a_module_too(tmp_path: Path) -> None:
    """It has parameters (drivers/base/module.c); only /proc/modules and initstate tell the difference."""
    machine = default_host(str(tmp_path))
    assert machine.link(DRIVERS + "/pciback/module") == "xen_pciback"
    assert "xen_pciback" not in machine.read("/proc/modules")
    assert not machine.exists("/sys/module/xen_pciback/initstate")
    assert machine.run(["modprobe", "xen-pciback"]).status == 0


# -- guests --------------------------------------------------------------------------------------

GUEST, OTHER = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"


def test_a_guest_takes_a_device_from_whoever_holds_it(machine: Machine) -> None:
    machine.write_attribute(PF + "/sriov_numvfs", "2")
    number = machine.start_domain(GUEST, "a guest", [VF])
    assert driver(machine, VF) == "pciback"
    assert machine.read(f"/sys/bus/pci/devices/{VF}/enable") == "1\n"
    answer = machine.run(["xenstore-read", f"/local/domain/{number}/vm", f"/local/domain/{number}/name"])
    assert answer.stdout == f"/vm/{GUEST}\na guest\n"
    with pytest.raises(Exception, match="is not assignable"):
        machine.start_domain(OTHER, "another", [VF])
    assert machine.run(["modprobe", "-r", "xen-pciback"]).complaint.endswith("is in use.")
    machine.stop_domain(GUEST)
    assert driver(machine, VF) == "pciback"
    assert machine.run(["xenstore-ls", "-f", "/local/domain/0/backend/pci"]).status == 1


def test_without_iommu_or_pciback_no_guest_gets_a_device(tmp_path: Path) -> None:
    machine = default_host(str(tmp_path), iommu="")
    machine.write_attribute("/sys/class/net/eth1/device/sriov_numvfs", "1")
    with pytest.raises(Exception, match="passthrough not supported"):
        machine.start_domain(GUEST, "a guest", ["0000:07:10.0"])
    assert driver(machine, "0000:07:10.0") == "pciback"  # and yet it is there
    machine = from_recording(str(tmp_path / "lab"), "xen-1-before-vfs")
    with pytest.raises(Exception, match="PCIBack_not_loaded"):
        machine.start_domain(GUEST, "a guest", ["0000:01:00.0"])
