"""The pool of a story: its administrator's calls, its VMs as their owners use them, and what is then true."""

import json
import os
import sys
from contextlib import contextmanager
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Sequence, Tuple

import pytest
import XenAPI
from box import PoolInABox
from box_host import BoxHost
from checks import until
from machine import LOG
from machine_description import Description, default_description, intel_82599
from refusals import Refusal, is_conflict
from sriovlib.calls import table
from sriovlib.pool import ledger
from sriovlib.pool.ledger import Entry
from sriovlib.vf import apply, restore
from sriovlib.xapi.own_session import OwnSession
from values import Failure

PLUGINS = os.path.abspath(f"{__file__}/../../../plugins")
HOOKS = ("vm-pre-start", "vm-post-destroy", "vm-pre-resume", "vm-pre-migrate", "vm-pre-suspend")
CHANGED = """#!/usr/bin/python3
import os, sys
sys.path[:0] = [{plugins!r}]
import sitecustomize
from sriovlib.starts import hooks
{change}
os._exit(hooks.run("vm-pre-start", sys.argv))
"""


def alike(number: int) -> Description:
    return default_description(number, xen_options="iommu=1")


def other_slot(number: int) -> Description:
    """From the second host on the fast card sits in another slot: its VFs have other addresses."""
    first, _ = default_description(number).cards
    macs = (f"00:1b:21:00:{number:02x}:00", f"00:1b:21:00:{number:02x}:01")
    fast = intel_82599(("0000:09:00.0", "0000:09:00.1"), ("eth1", "eth2"), macs)
    return alike(number) if number == 1 else alike(number)._replace(cards=(first, fast))


FOREIGN = "3/0000:00:1b.0"  # an entry by hand
OTHER_SLOTS = pytest.mark.pool(describe=other_slot)  # each change of hosts takes a re-placement
BY_KERNEL = pytest.mark.pool(by_kernel=True)


class Pool:
    """VMs are UUIDs here, as they are for `xe`. In arguments of calls `vm` stands for vm_uuid, and `on`, a
    host of the box, for host_uuid."""

    def __init__(self, box: PoolInABox) -> None:
        self.box = box

    @classmethod
    @contextmanager
    def made(
        cls,
        describe: Callable[[int], Description] = alike,
        hosts: int = 2,
        ports: Sequence[str] = ("eth1",),
        hooks: bool = True,
        by_kernel: bool = False,
        **of_box: Any,
    ) -> Iterator["Pool"]:
        """So many hosts, each with four VFs on these ports, and our hooks. `describe` says what the host of a
        number is. `by_kernel`: we have not made the VFs, so pciback holds none of them."""
        descriptions = [describe(number) for number in range(1, hosts + 1)]
        with PoolInABox(descriptions, interpreter=sys.executable, **of_box) as box:
            pool = cls(box)
            for host in box.hosts:
                if not by_kernel:
                    pool.act("load_pciback", host)
                for port in ports:
                    if by_kernel:
                        host.machine.write_attribute(f"/sys/class/net/{port}/device/sriov_numvfs", "4")
                    else:
                        pool.act("set_vf_count", host, pf=port, count="4")
                for hook in HOOKS if hooks else ():
                    box.link_hook(host, hook)
            yield pool

    @classmethod
    def marked(cls, request: pytest.FixtureRequest) -> "ContextManager[Pool]":
        """As the markers `pool` of a test say: their arguments are those of `made`."""
        marks = reversed(list(request.node.iter_markers("pool")))
        return cls.made(**{name: value for mark in marks for name, value in mark.kwargs.items()})

    @property
    def hosts(self) -> List[BoxHost]:
        return self.box.hosts

    @property
    def one(self) -> BoxHost:
        return self.box.hosts[0]

    @property
    def other(self) -> BoxHost:
        return self.box.hosts[1]

    def api(self, method: str, *params: Any) -> Any:
        return self.box.xapi.call(method, *params)

    # -- the plugin ------------------------------------------------------------------------------------

    def call(self, function: str, host: Any = None, **args: Any) -> Any:
        """On that host, else on the master."""
        return self.box.call(host or self.box.master, function, **_texts(args))

    def act(self, function: str, host: Any = None, **args: Any) -> Any:
        """The same in this process, where it can be cut off or interfered with; raises SriovError."""
        machine = (host or self.box.master).machine
        with self.box.session() as session:
            return json.loads(table.call(machine, function, OwnSession(session._session), _texts(args)))

    def refused(self, function: str, host: Any = None, **args: Any) -> Refusal:
        """A call that must be refused, and must not have changed anything."""
        before = self.everything()
        with pytest.raises(XenAPI.Failure) as caught:
            self.call(function, host, **args)
        assert self.everything() == before
        return Refusal(*caught.value.details)

    def assign(self, vm: str, **args: Any) -> Any:
        return self.call("assign_vf", vm=vm, **args)

    def unassign(self, vm: str, **args: Any) -> Any:
        """All of them, unless told which."""
        return self.call("unassign_vf", vm=vm, **args or {"all": "true"})

    def reinstate(self, vm: str, **args: Any) -> Any:
        return self.call("reinstate_vfs", vm=vm, **args)

    def adopt(self, vm: str, **args: Any) -> Any:
        return self.call("adopt_vm", vm=vm, **args)

    def everything(self) -> Any:
        """All that a call may change, but for the settings of VFs."""
        return self.pool_keys(), {vm: self.keys(self.uuid(vm)) for vm in self.box.xapi.database.refs("VM")}

    def conflicts(self, **args: Any) -> List[Dict[str, Any]]:
        found: List[Dict[str, Any]] = self.call("list_assignments", **args)["conflicts"]
        return found

    def codes(self) -> List[str]:
        return [conflict["code"] for conflict in self.conflicts()]

    def conflict(self, code: str, *words: str, **expected: Any) -> Dict[str, Any]:
        """The only one; these words are in it, and these fields: `vms` (in any order), `host`, `address`."""
        (conflict,) = self.conflicts()
        return is_conflict(conflict, code, *words, **expected)

    def conflict_of(self, code: str, *words: str) -> None:
        """One of these, with these words, is among others."""
        assert any(all(word in str(one) for word in words) for one in self.conflicts() if one["code"] == code)

    def listed(self, vm: str) -> Any:
        (row,) = self.call("list_assignments", vm=vm)["vms"]
        return row

    def requests(self, vm: str) -> List[Dict[str, Any]]:
        """Its requests, as `list_assignments` shows them."""
        return list(self.listed(vm)["requests"])

    def asked(self, vm: str) -> List[Tuple[str, Dict[str, str]]]:
        """What its requests are by, and their settings; a VM may have none."""
        rows = self.call("list_assignments", vm=vm)["vms"]
        return [(one["by"], one["settings"]) for row in rows for one in row["requests"]]

    def mac(self, vm: str) -> str:
        """Of its first request."""
        return str(self.requests(vm)[0]["settings"]["mac"])

    def vfs(self, host: Any = None, **args: Any) -> List[Dict[str, Any]]:
        return list(self.call("list_vfs", host, **args))

    # -- VMs -------------------------------------------------------------------------------------------

    def vm(self, name: str, pci: str = "", **values: Any) -> str:
        """A halted VM, with these entries in its other_config."""
        other_config = {**values.pop("other_config", {}), **({"pci": pci} if pci else {})}
        return self.uuid(self.box.add_vm(name, other_config=other_config, **values))

    def with_vf(self, name: str, on: Any = None, **args: Any) -> str:
        """A VM with a VF of the network of eth1, if nothing else is said, of the first host."""
        vm = self.vm(name)
        choice = {} if {"vf", "pf", "network", "device"} & set(args) else {"network": self.network("eth1")}
        self.assign(vm, on=on or self.one, **choice, **args)
        return vm

    def clone(self, vm: str, name: str) -> str:
        return self.uuid(self.api("VM.clone", self.ref(vm), name))

    def snapshot(self, vm: str) -> str:
        return self.uuid(self.api("VM.snapshot", self.ref(vm), "a snapshot"))

    def revert(self, snapshot: str) -> None:
        self.api("VM.revert", self.ref(snapshot))

    def destroy(self, vm: str) -> None:
        self.api("VM.destroy", self.ref(vm))

    def set_template(self, vm: str, is_one: bool = True) -> None:
        self.api("VM.set_is_a_template", self.ref(vm), is_one)

    def set_operation(self, vm: str, operation: str) -> None:
        """xapi does this with it now."""
        self.box.xapi.database.add_to("VM", self.ref(vm), "current_operations", "OpaqueRef:1", operation)

    def uuid(self, ref: str) -> str:
        return str(self.box.xapi.database.get("VM", ref, "uuid"))

    def ref(self, vm: str) -> str:
        return self.box.xapi.database.by_uuid("VM", vm)

    def record(self, vm: str) -> Dict[str, Any]:
        return self.box.xapi.database.record("VM", self.ref(vm))

    def keys(self, vm: str) -> Tuple[Any, ...]:
        """Its other_config, its platform, and its power state."""
        record = self.record(vm)
        return record["other_config"], record["platform"], record["power_state"]

    def pci(self, vm: str) -> Any:
        return self.record(vm)["other_config"].get("pci")

    def set_pci(self, vm: str, pci: Optional[str]) -> None:
        self.api("VM.remove_from_other_config", self.ref(vm), "pci")
        if pci is not None:
            self.api("VM.add_to_other_config", self.ref(vm), "pci", pci)

    def xenopsd_has_heard(self, vm: str) -> None:
        """What xapi tells it of changes of a VM that ran has come, and comes into no later start."""
        xapi = self.box.xapi
        telling = xapi.life.telling

        def is_told() -> bool:
            with xapi.database.lock:
                return not telling.changed and not any(telling.queued.values())

        until(is_told)
        with xapi.life.queue(self.ref(vm)):
            pass

    def blocks(self, vm: str) -> Dict[str, str]:
        """Operation -> why it is blocked."""
        return dict(self.record(vm)["blocked_operations"])

    # -- their life ------------------------------------------------------------------------------------

    def start(self, vm: str, host: BoxHost) -> None:
        self.box.start(self.ref(vm), host)

    def start_refused(self, vm: str, host: BoxHost) -> Refusal:
        """What a start that our hook refuses shows."""
        with pytest.raises(Failure) as failure:
            self.start(vm, host)
        return self.refusal(vm, failure.value)

    def outcome(self, vm: str, host: BoxHost) -> str:
        """The code that whoever starts it is told."""
        try:
            self.start(vm, host)
        except Failure as failure:
            return self.refusal(vm, failure).code
        return "started"

    def refusal(self, vm: str, failure: Failure) -> Refusal:
        code, hook, _reason, stdout, status = failure.description
        assert (code, status) == ("XAPI_HOOK_FAILED", "2"), failure.description
        assert hook.endswith("/50-xapi-sriov")
        first, message, hint = stdout.splitlines()
        code, of_vm, host, *task = first.split(" ")
        hosts = {one.uuid for one in self.box.hosts} | ({"-"} if code == "SRIOV_XAPI_SILENT" else set())
        assert (of_vm, host in hosts, len(task)) == (vm, True, code == "SRIOV_RESTARTING"), first
        return Refusal(code, message, hint)

    def reboot_refused(self, vm: str) -> Refusal:
        """What a reboot by the guest itself that our hook refuses shows."""
        with pytest.raises(Failure) as failure:
            self.guest_reboots(vm)
        assert self.power_state(vm) == "Halted"
        return self.refusal(vm, failure.value)

    def restarts(self, vm: str, host: BoxHost, *words: str) -> List[str]:
        """A start there is refused, and a new one, with other entries, is queued: the devices that its domain
        then has."""
        self.start_refused(vm, host).says("SRIOV_RESTARTING", *words)
        assert self.box.wait_for_calls()
        return self.devices(vm)

    def shut_down(self, vm: str, hard: bool = True) -> None:
        self.box.shut_down(self.ref(vm), hard)

    def reboot(self, vm: str) -> None:
        self.box.reboot(self.ref(vm), hard=True)

    def guest_shuts_down(self, vm: str) -> None:
        self.box.shut_down_from_inside(self.ref(vm))

    def guest_reboots(self, vm: str) -> None:
        self.box.reboot_from_inside(self.ref(vm))

    def power_state(self, vm: str) -> str:
        return self.box.power_state(self.ref(vm))

    def devices(self, vm: str) -> List[str]:
        """The PCI devices of its domain."""
        return self.box.devices(self.ref(vm))

    # -- the pool --------------------------------------------------------------------------------------

    def pool_keys(self) -> Dict[str, str]:
        """The pool's other_config."""
        database = self.box.xapi.database
        return dict(database.get("pool", database.refs("pool")[0], "other_config"))

    def ledger(self, vm: str) -> Any:
        """The VM's key in it, as JSON; None: it has none."""
        keys = ledger.keys(self.pool_keys()).get(vm)
        return json.loads(keys[-1].text) if keys else None

    def key_names(self, vm: str) -> List[str]:
        """Of its keys in it; two of a call that was cut off."""
        return [key.name for key in ledger.keys(self.pool_keys()).get(vm, [])]

    def entry(self, vm: str) -> Entry:
        found = ledger.read(self.pool_keys())
        assert found.unreadable == {}
        return found.entries.get(vm, ledger.NO_ENTRY)

    def lease(self, vm: str) -> Any:
        return self.ledger(vm)["lease"]

    def set_ledger(self, vm: str, text: Optional[str]) -> None:
        """Somebody writes into it, or takes the key out."""
        (pool,) = self.api("pool.get_all")
        names = self.key_names(vm)
        for name in names:
            self.api("pool.remove_from_other_config", pool, name)
        if text is not None:
            self.api("pool.add_to_other_config", pool, (names or [ledger.PREFIX + vm])[-1], text)

    def network(self, device: str) -> str:
        """The network of the hosts' ports of that name."""
        database = self.box.xapi.database
        network = database.get("PIF", self.box.pif(self.one, device), "network")
        return str(database.get("network", network, "uuid"))

    # -- its hosts -------------------------------------------------------------------------------------

    def settings(self, host: BoxHost, vf: str) -> Tuple[Any, Any]:
        """MAC and VLAN of a VF."""
        now = apply.look(host.machine)[vf].now
        return now.mac, now.vlan

    def log(self, host: BoxHost) -> str:
        return host.machine.read(LOG)

    @contextmanager
    def lost(self, host: BoxHost) -> Iterator[None]:
        """The host dies, and boots again at the end."""
        self.box.lose(host, noticed=False)
        try:
            yield
        finally:
            self.box.bring_back(host)
            assert [result.error for result in restore.restore(host.machine)] == [None, None]

    @contextmanager
    def hook(
        self, host: BoxHost, text: str, hook: str = "vm-pre-start", name: str = "60-later"
    ) -> Iterator[None]:
        """Meanwhile the host has this hook of somebody else's."""
        script = self.box.put_hook(host, hook, text, name)
        try:
            yield
        finally:
            os.unlink(script)

    @contextmanager
    def our_hook(self, host: BoxHost, text: str) -> Iterator[None]:
        """Meanwhile this is our start hook there; `{ours}` in it is the real one."""
        link = host.machine.path("/etc/xapi.d/vm-pre-start/50-xapi-sriov")
        ours = os.readlink(link)
        os.unlink(link)
        with self.hook(host, text.format(ours=ours), name="50-xapi-sriov"):
            yield
        os.symlink(ours, link)

    def changed_hook(self, host: BoxHost, change: str) -> Any:
        """Meanwhile our start hook there does this first, in Python."""
        return self.our_hook(host, CHANGED.format(plugins=PLUGINS, change=change))

    def impatient(self, host: BoxHost) -> Any:
        """Meanwhile its start hook gives a silent xapi up after a second, which saves a test a minute."""
        return self.changed_hook(host, "hooks.SILENT_SECONDS = hooks.TOOLSTACK_SECONDS = 1")


def _texts(args: Dict[str, Any]) -> Dict[str, str]:
    texts = {name: text for name, text in args.items() if name not in ("vm", "on")}
    if "vm" in args:
        texts["vm_uuid"] = args["vm"]
    if args.get("on") is not None:
        texts["host_uuid"] = args["on"].uuid
    return texts
