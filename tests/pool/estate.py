"""A pool whose hosts have our package with its hooks, as its administrator and the owners of VMs see it."""

import json
import os
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from box import PoolInABox
from box_host import BoxHost
from calls import Context
from machine import LOG
from machine_description import Description, default_description, intel_82599
from sriovlib.pool import ledger
from sriovlib.vf import apply, restore
from values import Failure

PLUGINS = os.path.abspath(f"{__file__}/../../../plugins")
IMPATIENT = """#!/usr/bin/python3
import os, sys
sys.path[:0] = [{plugins!r}]
import sitecustomize
from sriovlib.starts import hooks
hooks.SILENT_SECONDS = hooks.TOOLSTACK_SECONDS = 1
os._exit(hooks.run("vm-pre-start", sys.argv))
"""
HOOKS = ("vm-pre-start", "vm-post-destroy", "vm-pre-resume")


def alike(number: int) -> Description:
    return default_description(number, xen_options="iommu=1")


def other_slot(number: int) -> Description:
    """A host whose fast card sits in another slot: its VFs have other addresses."""
    first, _ = default_description(number).cards
    macs = (f"00:1b:21:00:{number:02x}:00", f"00:1b:21:00:{number:02x}:01")
    fast = intel_82599(("0000:09:00.0", "0000:09:00.1"), ("eth1", "eth2"), macs)
    return default_description(number, xen_options="iommu=1", cards=(first, fast))


class Estate:
    """Each host has four VFs on eth1."""

    def __init__(self, box: PoolInABox) -> None:
        self.box = box
        for host in box.hosts:
            box.call(host, "load_pciback")
            box.call(host, "set_vf_count", pf="eth1", count="4")
            for hook in HOOKS:
                box.link_hook(host, hook)

    def call(self, function: str, **args: str) -> Any:
        """On a member: the master does it."""
        return self.box.call(self.box.hosts[1], function, **args)

    def vm(self, name: str, pci: str = "", **values: Any) -> str:
        return self.box.add_vm(name, other_config={"pci": pci} if pci else {}, **values)

    def with_vf(self, name: str, on: int = 0, **settings: str) -> str:
        """A VM with a VF of the network of eth1."""
        vm = self.vm(name)
        args = {"vm_uuid": self.uuid(vm), "network": self.network, "host_uuid": self.box.hosts[on].uuid}
        self.call("assign_vf", **args, **settings)
        return vm

    @property
    def network(self) -> str:
        database = self.box.xapi.database
        (network,) = database.by_name_label("network", "Pool-wide network associated with eth1")
        return str(database.get("network", network, "uuid"))

    def uuid(self, vm: str) -> str:
        return str(self.box.xapi.database.get("VM", vm, "uuid"))

    def pci(self, vm: str) -> Any:
        return self.box.xapi.database.get("VM", vm, "other_config").get("pci")

    def set_pci(self, vm: str, pci: str) -> None:
        self.box.xapi.call("VM.remove_from_other_config", vm, "pci")
        self.box.xapi.call("VM.add_to_other_config", vm, "pci", pci)

    def key(self, vm: str) -> ledger.Key:
        """The VM's key in the ledger that counts."""
        (pool,) = self.box.xapi.database.refs("pool")
        return ledger.keys(self.box.xapi.database.get("pool", pool, "other_config"))[self.uuid(vm)][-1]

    def set_key(self, vm: str, text: str) -> None:
        """Writes another text into the VM's key of the ledger, as a pool-operator may."""
        (pool,) = self.box.xapi.database.refs("pool")
        key = self.key(vm).name
        self.box.xapi.call("pool.remove_from_other_config", pool, key)
        self.box.xapi.call("pool.add_to_other_config", pool, key, text)

    def lease(self, vm: str) -> Any:
        return json.loads(self.key(vm).text)["lease"]

    def mac(self, vm: str) -> str:
        (row,) = self.call("list_assignments", vm_uuid=self.uuid(vm))["vms"]
        return str(row["requests"][0]["settings"]["mac"])

    def settings(self, host: int, vf: str) -> Tuple[Any, Any]:
        now = apply.look(self.box.hosts[host].machine)[vf].now
        return now.mac, now.vlan

    def start(self, vm: str, host: int) -> None:
        self.box.start(vm, self.box.hosts[host])

    def refused(self, vm: str, host: int) -> List[str]:
        """The lines that a refused start shows."""
        with pytest.raises(Failure) as failure:
            self.start(vm, host)
        return self.lines(failure.value)

    @staticmethod
    def lines(failure: Failure) -> List[str]:
        code, hook, _reason, stdout, status = failure.description
        assert (code, status) == ("XAPI_HOOK_FAILED", "2"), failure.description
        assert hook.endswith("/50-xapi-sriov")
        lines: List[str] = stdout.splitlines()
        assert len(lines) == 3, lines
        return lines

    @contextmanager
    def lost(self, number: int) -> Iterator[None]:
        """The host dies, and boots again at the end."""
        host = self.box.hosts[number]
        self.box.lose(host, noticed=False)
        try:
            yield
        finally:
            self.box.bring_back(host)
            assert [result.error for result in restore.restore(host.machine)] == [None, None]

    @contextmanager
    def impatient(self, number: int) -> Iterator[None]:
        """Meanwhile that host's start hook gives a silent xapi up after a second, which saves a test a
        minute."""
        host = self.box.hosts[number]
        link = host.machine.path("/etc/xapi.d/vm-pre-start/50-xapi-sriov")
        ours = os.readlink(link)
        os.unlink(link)
        self.box.put_hook(host, "vm-pre-start", IMPATIENT.format(plugins=PLUGINS), name="50-xapi-sriov")
        try:
            yield
        finally:
            os.unlink(link)
            os.symlink(ours, link)

    def conflicts(self) -> List[Dict[str, Any]]:
        found: List[Dict[str, Any]] = self.call("list_assignments")["conflicts"]
        return found

    def log(self, host: int) -> str:
        return self.box.hosts[host].machine.read(LOG)

    def clear(self) -> None:
        """Without VMs, and nothing is remembered of any."""
        database = self.box.xapi.database
        assert self.box.wait_for_calls()
        for vm in database.refs("VM"):
            if not database.get("VM", vm, "is_control_domain"):
                if self.box.power_state(vm) != "Halted":
                    self.box.shut_down(vm, hard=True)
                self.box.xapi.call("VM.destroy", vm)
        (pool,) = database.refs("pool")
        database.set("pool", pool, "other_config", {})
        for host in self.box.hosts:
            with open(host.machine.path(LOG), "w"):
                pass


class Gate:
    """A hook of that name on that host, before ours or after it, that lets nobody through for the time
    being."""

    def __init__(self, host: BoxHost, name: str, hook: str = "vm-pre-start") -> None:
        self._folder = host.machine.path(f"/tmp/{name}-{time.monotonic()}")
        self.script = os.path.join(host.machine.path(f"/etc/xapi.d/{hook}"), name)
        os.makedirs(self._folder)
        with open(self.script, "w") as file:
            go = f"{self._folder}/go"
            file.write(f"#!/bin/sh\ntouch {self._folder}/$2\n")
            file.write(f"for n in $(seq 2400); do [ -e {go} ] && exit 0; sleep 0.05; done\nexit 3\n")
        os.chmod(self.script, 0o755)

    def wait_for(self, vm_uuid: str) -> None:
        """Until the VM's start is there."""
        end = time.monotonic() + 60
        while not os.path.exists(os.path.join(self._folder, vm_uuid)):
            assert time.monotonic() < end
            time.sleep(0.01)

    def open(self) -> None:
        with open(os.path.join(self._folder, "go"), "w"):
            pass

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.open()
        os.unlink(self.script)


@contextmanager
def calls_watched(box: PoolInABox, host: BoxHost, act: Callable[[int, str], None]) -> Iterator[List[str]]:
    """Before each call that a program of this host's dom0 makes, `act` is told its number and name."""
    seen: List[str] = []
    lock = threading.Lock()
    table = box.xapi.calls

    def watched(context: Context, *params: Any, name: str) -> Any:
        if context.origin.local and context.origin.host == host.ref:
            with lock:
                seen.append(name)
                number = len(seen)
            act(number, name)
        return table[name].function(context, *params)

    box.xapi.calls = {
        name: call._replace(function=partial(watched, name=name)) for name, call in table.items()
    }
    try:
        yield seen
    finally:
        box.xapi.calls = table
