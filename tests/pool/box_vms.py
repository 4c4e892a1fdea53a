"""VMs of the pool in a box, as a test drives them: through xapi, and what a look at their machine shows."""

import os
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from vm_operations import new_vm

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

    def wait_for_calls(self, seconds: float = 60.0) -> bool:
        """Until no operation on a VM goes on or waits for its turn; whether it came to that."""
        life = self.xapi.life
        with life.changed:
            return life.changed.wait_for(lambda: not life.waiting and not self._under_way(), seconds)

    def _under_way(self) -> Dict[str, Any]:
        database = self.xapi.database
        operations = {vm: database.get("VM", vm, "current_operations") for vm in database.refs("VM")}
        return {vm: names for vm, names in operations.items() if names}

    # -- hooks ---------------------------------------------------------------------------------------

    def put_hook(self, host: "BoxHost", hook: str, text: str, name: str = "50-test") -> str:
        """A script of that text in /etc/xapi.d/HOOK; its path on this machine."""
        path = self._hook(host, hook, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    def link_hook(self, host: "BoxHost", hook: str, script: str, name: str = "50-xapi-sriov") -> None:
        """A file of the repository as that hook, as the RPM links it."""
        os.symlink(os.path.realpath(script), self._hook(host, hook, name))

    def _hook(self, host: "BoxHost", hook: str, name: str) -> str:
        folder = host.machine.path(f"/etc/xapi.d/{hook}")
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name)
