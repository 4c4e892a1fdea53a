"""What else is done to the VFs of VMs: sriov-restore runs while one is being started, and a PF's driver
is bound anew under a VM that runs.

igb takes its VFs away when it goes, unless one is assigned; then it leaves them, and when it is bound again
it does not know them: `ip` tells nothing of them, and a 0 is a success that removes nothing (Linux 6.1,
igb_main.c: igb_disable_sriov, igb_probe_vfs). With `max_vfs` it adopts all that there are, settings fresh
(igb_enable_sriov).
"""

from typing import Any, Callable, Dict, List, Tuple

import pytest
from lab import image, toolstack, vms
from lab.host import LabHost, say, wait_for
from lab.toolstack import call, refusal
from lab.vfs import FIRST, RESTORE
from lab.vms import Vm

SwitchOn = Callable[..., LabHost]

MAC, VLAN, OF_THE_FILE = "02:16:3e:00:00:21", 12, 100
NO_MAC = "00:00:00:00:00:00"
VFS = 3
IGB = "/sys/bus/pci/drivers/igb"
CONF = "cat /etc/sriov.conf"
TOLD = "/run/lab-restore"
# Between our hook and the domain: the file as it is, and with another number.
BETWEEN = rf"""#!/bin/sh
exec > {TOLD} 2>&1
{RESTORE}; echo "ended with $?"
sed -i "s/^vfs = {VFS}$/vfs = {VFS + 1}/" /etc/sriov.conf
{RESTORE}; echo "ended with $?"
sed -i "s/^vfs = {VFS + 1}$/vfs = {VFS}/" /etc/sriov.conf
exit 0
"""


@pytest.fixture(scope="module")
def host(switch_on: SwitchOn) -> LabHost:
    """A host with our package and 3 VFs, the first one in a VLAN by /etc/sriov.conf."""
    host = toolstack.bring(switch_on("reloaded", image.WITH_IOMMU))
    host.run("systemctl start sriov-restore")  # as at each boot from now on
    call(host, "set_vf_count", pf=FIRST, count=str(VFS))
    call(host, "configure_vf", vf=vfs(host)[0]["address"], vlan=str(OF_THE_FILE))
    return host


@pytest.fixture(scope="module")
def web(host: LabHost) -> Vm:
    """A VM with a request for the first VF, in a VLAN of its own."""
    return with_the_first_vf(host, "web")


def test_sriov_restore_runs_while_a_vm_starts(host: LabHost, web: Vm) -> None:
    """sriov-restore between a start's settings and its domain leaves MAC, VLAN and VF to the VM."""
    hook = "/etc/xapi.d/vm-pre-start/60-between"
    host.run(f"cat > {hook} <<'END'\n{BETWEEN}END\nchmod +x {hook}")
    web.start()
    host.run(f"rm {hook}")
    told = host.run(f"cat {TOLD}").splitlines()
    say(f"it ran twice before the guest was there: {' / '.join(told)}")
    assert len([line for line in told if line.startswith("ended with")]) == 2
    assert web.mac(host) == MAC
    assert settings(host) == (MAC, VLAN)
    assert len(vfs(host)) == VFS
    say("the guest has its MAC and its VLAN, not the one of /etc/sriov.conf, and no VF was made anew")


def test_the_driver_is_bound_anew_under_a_running_vm(host: LabHost, web: Vm) -> None:
    """igb bound anew forgets a running VM's VF: the VM is named, and its VFs cannot silently stay or go."""
    host.run(f"echo {FIRST} > {IGB}/unbind && echo {FIRST} > {IGB}/bind")
    restored(host)
    assert settings(host) == (None, None)  # the driver tells nothing
    problems = {problem["code"]: problem for problem in call(host, "status")["problems"]}
    assert web.uuid in problems["VF_UNLIKE_REQUEST"]["message"]
    (conflict,) = call(host, "list_assignments")["conflicts"]
    assert (conflict["code"], conflict["vm_uuids"]) == ("VF_UNLIKE_REQUEST", [web.uuid])
    say(f"status and list_assignments name the VM: {conflict['message']} {conflict['hint']}")
    assert refusal(host, "set_vf_count", pf=FIRST, count="0")[0] == "SRIOV_VF_IN_USE"

    web.shut_down()
    call(host, "unassign_vf", vm_uuid=web.uuid, all="true")
    before = host.run(CONF)
    refused = refusal(host, "set_vf_count", pf=FIRST, count="0")
    assert refused[0] == "SRIOV_KERNEL_REFUSED"
    assert "3 VFs are still there" in refused[1]
    assert (host.run(CONF), len(vfs(host))) == (before, VFS)
    say(f"without a VM on it: {' '.join(refused[1:3])}")

    host.run("modprobe -r igb && modprobe igb")
    restored(host)
    again = refusal(host, "set_vf_count", pf=FIRST, count="0")
    assert (again[0], len(vfs(host))) == ("SRIOV_KERNEL_REFUSED", VFS)
    assert "reboot the host" in again[2]
    say("igb loaded once more does not know them either, so the hint does not say that it would help")
    host.reboot()
    assert settings(host) == (NO_MAC, OF_THE_FILE)
    assert call(host, "set_vf_count", pf=FIRST, count="0")["after"] == 0
    assert vfs(host) == []
    say("after a reboot the VFs are those of /etc/sriov.conf, and go when they are told to")


def test_a_driver_that_finds_the_vfs_gets_their_settings_again(host: LabHost) -> None:
    """A driver that comes back with fresh records of the VFs: a running VM's are set again, by udev."""
    call(host, "set_vf_count", pf=FIRST, count=str(VFS))
    db = with_the_first_vf(host, "db")
    db.start()
    assert settings(host) == (MAC, VLAN)
    host.run("modprobe -r igb && modprobe igb max_vfs=1")
    wait_for("MAC and VLAN", lambda: settings(host) == (MAC, VLAN), 120)
    log = host.run("journalctl -b -t sriov -o cat --no-pager").splitlines()
    told = next(line for line in log if f"({db.uuid}) has " in line)
    assert call(host, "list_assignments")["conflicts"] == []
    say(f"the VM runs with its MAC and VLAN again, and the log says: {told}")
    db.shut_down()


def with_the_first_vf(host: LabHost, name: str) -> Vm:
    vm = vms.new(host, name)
    vf = vfs(host)[0]["address"]
    call(host, "assign_vf", vm_uuid=vm.uuid, vf=vf, mac=MAC, vlan=str(VLAN))
    return vm


def vfs(host: LabHost) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = call(host, "list_vfs", pf=FIRST)
    return found


def settings(host: LabHost) -> Tuple[Any, Any]:
    """MAC and VLAN of the first VF."""
    first = vfs(host)[0]
    return first["mac"], first["vlan"]


def restored(host: LabHost) -> None:
    """Waits until sriov-restore, which udev has had started for the driver that came, has ended."""
    host.run("udevadm settle")
    host.attempt(f"systemctl start sriov-restore-pf@{FIRST}")
