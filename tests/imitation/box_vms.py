"""VMs of the pool in a box, as a test drives them: through xapi, and what a look at their machine shows."""

import os
import time
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List, Optional

import ha
import hurry
import vm_guest
import vm_metadata
from migration_stages import Held
from vm_operations import new_vm, update_allowed
from vm_rules import CANNOT_SUSPEND

HOOK_SCRIPT = os.path.abspath(f"{__file__}/../../../hooks/xapi/xapi-sriov")

if TYPE_CHECKING:
    from box_host import BoxHost
    from xapi import Xapi


class BoxVMs:
    """What PoolInABox can do with VMs. A VM is its reference; what xapi refuses is a values.Failure."""

    xapi: "Xapi"

    def add_vm(self, name: str, **values: Any) -> str:
        """A halted VM with these fields; its reference."""
        return new_vm(self.xapi, {"name_label": name, **values})

    # -- through xapi, in root's name ----------------------------------------------------------------

    def start(self, vm: str, host: Optional["BoxHost"] = None) -> None:
        """On that host, or where xapi likes."""
        if host is None:
            self.xapi.call("VM.start", vm, False, False)
        else:
            self.xapi.call("VM.start_on", vm, host.ref, False, False)

    def shut_down(self, vm: str, hard: bool = False) -> None:
        self.xapi.call("VM.hard_shutdown" if hard else "VM.clean_shutdown", vm)

    def reboot(self, vm: str, hard: bool = False) -> None:
        self.xapi.call("VM.hard_reboot" if hard else "VM.clean_reboot", vm)

    def protect(self, vm: str) -> None:
        """HA starts it again when its host is lost, from its next start on at the latest."""
        self.xapi.call("VM.set_ha_restart_priority", vm, "restart")

    # -- without xapi ----------------------------------------------------------------------------------

    def reboot_from_inside(self, vm: str) -> None:
        """The guest reboots itself. A hook's refusal, which nobody is told, is raised here."""
        vm_guest.reboot(self.xapi, vm)

    def shut_down_from_inside(self, vm: str) -> None:
        vm_guest.shut_down(self.xapi, vm)

    def let_xenopsd_know(self, vm: str) -> None:
        """Moments pass, in which xapi tells xenopsd of the running VM's entries. It does so by itself, and
        before each reboot; a test needs this where it does not wait for it."""
        vm_metadata.tell(self.xapi, vm)

    # -- hosts that are lost (PoolInABox.lose), and time ------------------------------------------------

    def declare_dead(self, host: "BoxHost") -> None:
        """As an administrator does where there is no HA: its VMs become Halted, nothing is started."""
        self.xapi.call("host.declare_dead", host.ref)

    def run_ha(self) -> "ha.Outcomes":
        """A round of HA on the master: it notices lost hosts and starts what is protected. What came of
        each VM that was to be started: None, or the failure of the attempt."""
        return ha.run_round(self.xapi)

    def pass_time(self, seconds: float) -> "List[ha.Outcomes]":
        """So many seconds pass at once for xapi, and for all programs of dom0 that are started later; HA has
        a round every 20 of them. What came of each round."""
        return ha.pass_time(self.xapi, seconds)

    # -- what may go wrong -----------------------------------------------------------------------------

    def waiting_calls_are_late(self) -> ContextManager[None]:
        """Meanwhile no start that waits for another operation of its VM gets its turn, but new calls do: so
        somebody else may be first, within the 20 s that xapi takes at most."""
        return self.xapi.life.late()

    def silent_xapi(self, host: "BoxHost") -> ContextManager[None]:
        """Meanwhile the host's xapi refuses connections, to its own dom0 too."""
        return self.xapi.silent(host.ref)

    def kill_programs(self, host: "BoxHost") -> int:
        """kill -9 for all plugins and hooks that run there now; how many."""
        programs = self.xapi.reach.programs(host.ref)
        for program in programs:
            program.kill()
        return len(programs)

    def set_unmigratable(self, vm: str, reason: str, xapi_knows: bool = True) -> None:
        """QEMU of the running VM has a device whose state it cannot send, or none any more, as there is no
        reason; xapi hears of that moments later."""
        record = self.xapi.database.record("VM", vm)
        self.xapi.life.hypervisor(self.xapi, record["resident_on"]).unmigratable[record["uuid"]] = reason
        if xapi_knows:
            metrics = record["guest_metrics"]
            other = dict(self.xapi.database.get("VM_guest_metrics", metrics, "other"))
            other.pop(CANNOT_SUSPEND, None)
            said = {CANNOT_SUSPEND: reason} if reason else {}
            self.xapi.database.set("VM_guest_metrics", metrics, "other", {**other, **said})
            update_allowed(self.xapi, vm)

    def xapi_tells_late(self) -> ContextManager[None]:
        """Meanwhile xenopsd does not hear of changes of running VMs."""
        return vm_metadata.late(self.xapi)

    def migration_held_at(self, stage: str) -> ContextManager[Held]:
        """The next migration waits at that stage (migration_stages.py) until the end of this."""
        return self.xapi.life.stages.held_at(stage)

    # -- what is the case ----------------------------------------------------------------------------

    def power_state(self, vm: str) -> str:
        return str(self.xapi.database.get("VM", vm, "power_state"))

    def devices(self, vm: str) -> List[str]:
        """The PCI devices that the VM's running domain was given, in their order, as its host's xenstore
        shows them; empty where it does not run."""
        host = self.xapi.database.get("VM", vm, "resident_on")
        if host not in self.xapi.dom0s:
            return []
        uuid = self.xapi.database.get("VM", vm, "uuid")
        return self.xapi.life.hypervisor(self.xapi, host).plugged(uuid)

    def resets_under_guests(self, host: "BoxHost") -> List[str]:
        """Devices of running guests that were reset when another domain ended, whose xenstore still named
        them."""
        with host.machine.changed() as sysfs:
            return list(sysfs.state.get("reset_under_a_guest", []))

    def wait_for_calls(self, seconds: float = 60.0) -> bool:
        """Until no operation on a VM goes on, waits or is about to begin; whether it came to that."""
        life, end = self.xapi.life, hurry.real() + seconds
        with life.changed:
            while life.waiting or self._under_way() or self._tasks():
                if hurry.real() > end:
                    return False
                life.changed.wait(0.01)  # the end of a task is told to nobody
        return True

    def wait_for_task(self, task: str, seconds: float = 60.0) -> Dict[str, Any]:
        """The record of the task when it has ended, or the time is up."""
        end = hurry.real() + seconds
        while self.xapi.database.get("task", task, "status") == "pending" and hurry.real() < end:
            time.sleep(0.01)
        return self.xapi.database.record("task", task)

    def _under_way(self) -> Dict[str, Any]:
        database = self.xapi.database
        operations = {vm: database.get("VM", vm, "current_operations") for vm in database.refs("VM")}
        return {vm: names for vm, names in operations.items() if names}

    def _tasks(self) -> List[str]:
        """Those of operations on VMs."""
        database = self.xapi.database
        pending = database.find("task", status="pending")
        return [task for task in pending if database.get("task", task, "name_label").startswith("Async.VM.")]

    # -- hooks ---------------------------------------------------------------------------------------

    def put_hook(self, host: "BoxHost", hook: str, text: str, name: str = "50-test") -> str:
        """A script of that text in /etc/xapi.d/HOOK; its path on this machine."""
        path = self._hook(host, hook, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    def link_hook(self, host: "BoxHost", hook: str, name: str = "50-xapi-sriov") -> None:
        """The repository's script as that hook, as the RPM links it."""
        os.symlink(HOOK_SCRIPT, self._hook(host, hook, name))

    def _hook(self, host: "BoxHost", hook: str, name: str) -> str:
        folder = host.machine.path(f"/etc/xapi.d/{hook}")
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name)
