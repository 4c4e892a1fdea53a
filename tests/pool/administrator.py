"""The pool as its administrator sees it: calls of the plugin, VMs as `xe` shows them, what conflicts there
are."""

import json
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

import pytest
import XenAPI
from box import PoolInABox
from box_host import set_vfs
from sriovlib.pool import ledger


class Administrator:
    """VMs and networks are UUIDs here, as they are for `xe`. `host` is one of the box, else the master."""

    def __init__(self, box: PoolInABox) -> None:
        self.box = box

    def api(self, method: str, *params: Any) -> Any:
        return self.box.xapi.call(method, *params)

    # -- the plugin ------------------------------------------------------------------------------------

    def call(self, function: str, host: Any = None, **args: str) -> Any:
        return self.box.call(host or self.box.master, function, **args)

    def refused(self, function: str, host: Any = None, **args: str) -> List[str]:
        """Code, sentence and hint of a call that must be refused, and must not have changed anything."""
        before = self.everything()
        with pytest.raises(XenAPI.Failure) as caught:
            self.call(function, host, **args)
        assert self.everything() == before
        details: List[str] = caught.value.details
        assert len(details) == 3
        return details

    def everything(self) -> Any:
        """All that a call may change, but for the settings of VFs."""
        vms = self.api("VM.get_all_records")
        return self.pool_keys(), {
            ref: (vm["other_config"], vm["platform"], vm["power_state"]) for ref, vm in vms.items()
        }

    def conflicts(self, **args: str) -> List[Dict[str, Any]]:
        found: List[Dict[str, Any]] = self.call("list_assignments", **args)["conflicts"]
        return found

    def codes(self) -> List[str]:
        return [conflict["code"] for conflict in self.conflicts()]

    def conflict(self, code: str) -> Dict[str, Any]:
        """The only one."""
        (conflict,) = self.conflicts()
        assert conflict["code"] == code
        return conflict

    def listed(self, vm: str) -> Any:
        (row,) = self.call("list_assignments", vm_uuid=vm)["vms"]
        return row

    # -- VMs -------------------------------------------------------------------------------------------

    def vm(self, name: str, pci: str = "", **values: Any) -> str:
        """A halted VM, with these entries in its other_config."""
        other_config = {**values.pop("other_config", {}), **({"pci": pci} if pci else {})}
        return self.uuid(self.box.add_vm(name, other_config=other_config, **values))

    def clone(self, vm: str, name: str) -> str:
        return self.uuid(self.api("VM.clone", self.ref(vm), name))

    def uuid(self, ref: str) -> str:
        return str(self.api("VM.get_uuid", ref))

    def ref(self, vm: str) -> str:
        return str(self.api("VM.get_by_uuid", vm))

    def record(self, vm: str) -> Dict[str, Any]:
        return dict(self.api("VM.get_record", self.ref(vm)))

    def pci(self, vm: str) -> Any:
        return self.record(vm)["other_config"].get("pci")

    def set_pci(self, vm: str, pci: Optional[str]) -> None:
        self.api("VM.remove_from_other_config", self.ref(vm), "pci")
        if pci is not None:
            self.api("VM.add_to_other_config", self.ref(vm), "pci", pci)

    def nomigrate(self, vm: str) -> Any:
        return self.record(vm)["platform"].get("nomigrate")

    # -- the pool --------------------------------------------------------------------------------------

    def pool_keys(self) -> Dict[str, str]:
        """The pool's other_config."""
        (pool,) = self.api("pool.get_all")
        return dict(self.api("pool.get_other_config", pool))

    def ledger(self, vm: str) -> Any:
        """The VM's key in it, as JSON."""
        keys = ledger.keys(self.pool_keys()).get(vm)
        return json.loads(keys[-1].text) if keys else None

    def set_ledger(self, vm: str, text: Optional[str]) -> None:
        """Somebody writes into it, or takes the key out."""
        (pool,) = self.api("pool.get_all")
        names = [key.name for key in ledger.keys(self.pool_keys()).get(vm, [])]
        for name in names:
            self.api("pool.remove_from_other_config", pool, name)
        if text is not None:
            self.api("pool.add_to_other_config", pool, (names or [ledger.PREFIX + vm])[-1], text)

    def network(self, device: str) -> str:
        """The network of the hosts' ports of that name."""
        pif = self.box.pif(self.box.hosts[0], device)
        return str(self.api("network.get_uuid", self.api("PIF.get_network", pif)))


@contextmanager
def two_hosts(*pfs: str) -> Iterator[Administrator]:
    """The usual ones, each with four VFs on each of these PFs."""
    with PoolInABox(interpreter=sys.executable) as box:
        for host in box.hosts:
            for pf in pfs:
                set_vfs(host, pf, 4)
        yield Administrator(box)
