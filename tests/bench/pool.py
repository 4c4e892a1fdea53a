"""The pool of a measured host, its master: a program, so that it shares no interpreter with whoever asks.

Its argument is JSON: what `Imitated` is made of. The other hosts are like the measured one: what the plugin
answers there, it has answered on this machine, with another UUID. Reads a line of JSON for each thing that is
asked of it, `[name, argument, ...]`, and answers it with a line.
"""

import base64
import json
import os
import re
import resource
import sys
import uuid
from functools import partial
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple
from uuid import uuid4

import box_host
import server
import vm_metadata
from bench import machines, trees
from bench.answers import Answers
from hosts import HostDescription
from machine import Machine
from plugin_calls import Dom0
from programs import HERE, AtWork, Ended, Programs
from xapi import Xapi

# What records of VMs made from a template are full of, by number and length as in real pools.
LIMIT = '<restriction field="has-vendor-device" min="0" max="1649267441664" property="has-vendor-device"/>'
RECOMMENDATIONS = f"<restrictions>{12 * LIMIT}</restrictions>"
PLATFORM = {f"device-model-{number}": "qemu" for number in range(14)}
BIOS_STRINGS = {f"system-version-{number}": "HVM domU" for number in range(10)}
EFI_VARIABLES = base64.b64encode(bytes(range(256)) * 32).decode()  # every fourth VM boots by UEFI

SPARE = 13  # VFs of each host's first fast port that no VM has by the ledger
LEARNT = ("other_config", "platform", "blocked_operations", "HVM_boot_params")


class Alike(Programs):
    """Programs of a host that is like the measured one: those of that one, which know it by another UUID.
    Each call is run once, or each time if `live`."""

    live = False
    answers: ClassVar[Dict[Tuple[str, ...], Ended]] = {}

    def __init__(self, plugin: str, own: str, other: str) -> None:
        self._plugin = plugin
        self._own, self._other = own.encode(), other.encode()

    def names(self, folder: str) -> List[str]:
        return ["sriov"] if folder.endswith("plugins") else []

    def run(self, command: Sequence[bytes], environment: Mapping[str, str], at_work: AtWork) -> Ended:
        interpreter, _plugin, argument = (os.fsdecode(word) for word in command)
        key = (interpreter, re.sub("OpaqueRef:[0-9a-f-]*", "", argument))
        if self.live or key not in self.answers:
            words = [word.encode() for word in (*trees.command(interpreter, self._plugin), argument)]
            self.answers[key] = HERE.run(words, environment, at_work)
        ended = self.answers[key]
        return ended._replace(stdout=ended.stdout.replace(self._own, self._other))


class Imitated:
    """What can be asked of the pool."""

    def __init__(self, xapi: Xapi, folder: str, socket: str, plugin: str, hosts: int, vfs: int) -> None:
        self._xapi = xapi
        self._vfs = list(machines.virtual_functions(vfs).values())
        machine = Machine(folder)
        description = machines.description(vfs)
        self._host: HostDescription = box_host.described(machine, description)
        alike = partial(Alike, plugin, self._host.uuid)
        dom0 = Dom0("/plugins", machine=machine, programs=alike(self._host.uuid))
        xapi.boot = lambda _host: True
        self._refs = [xapi.add_host(self._host, dom0, socket)]
        self._uuids = [self._host.uuid]
        for number in range(2, hosts + 1):
            other = str(uuid.UUID(int=number << 64))
            domain = str(uuid.UUID(int=number << 32))
            named = self._host._replace(name=f"host{number}", uuid=other, control_domain_uuid=domain)
            self._refs.append(xapi.add_host(named, Dom0("/plugins", programs=alike(other))))
            self._uuids.append(other)
        self._commands = Answers(machine, os.path.join(folder, "commands"))
        self._count()
        self._vms = 0

    def _count(self) -> None:
        """What is asked over Unix sockets, and how much is answered, is counted."""
        self._calls = self._bytes = 0
        reply = server._Handler._reply

        def counted(handler: Any, status: int, content_type: str, text: str) -> None:
            if handler.listener.origin.local:
                self._calls += 1
                self._bytes += len(text.encode("utf-8", "surrogateescape"))
            reply(handler, status, content_type, text)

        handlers: Any = server._Handler
        handlers._reply = counted

    # -- what can be asked of it --------------------------------------------------------------------

    def url(self) -> str:
        return self._xapi.listen()

    def served(self) -> Tuple[int, int]:
        """Calls and bytes since this was last asked."""
        before = (self._calls, self._bytes)
        self._calls = self._bytes = 0
        return before

    def cpu(self) -> float:
        """Seconds of this process and of the plugins that it started."""
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    def learn(self) -> None:
        self._commands.learn()

    def keep(self) -> int:
        return self._commands.keep()

    def start_plugins(self, interpreter: str, environment: Dict[str, str], live: bool) -> None:
        """How the hosts' plugins are started from now on, where xapi is asked for that."""
        Alike.live = live
        for ref in self._refs:
            dom0 = self._xapi.dom0s[ref]
            self._xapi.dom0s[ref] = dom0._replace(interpreter=interpreter, environment=environment)

    def network(self) -> str:
        """UUID of the network of the first fast port."""
        networks = self._xapi.call("network.get_all_records").values()
        return next(str(one["uuid"]) for one in networks if one["name_label"].endswith("eth1"))

    def vm(self, here: bool = False) -> str:
        """A VM more, halted and without devices, for this host or any; its UUID."""
        return self._add(vm(machines.vm_uuid(10**6 + self._vms), "new", None), 0 if here else None)

    def fill(self, count: int, given: Sequence[str]) -> None:
        """So many VMs; the first ones were given these VFs."""
        for number in range(count):
            address = given[number] if number < len(given) else None
            record = vm(machines.vm_uuid(number), machines.vm_name(number), address)
            running = number < len(given) // 2 or (number >= len(given) and number % 3 == 0)
            self._add(_state(record, number, running), 0)

    def fill_alike(self, count: int, sample: str) -> int:
        """So many VMs; how many of them have a VF, as `sample` has one on this host. Some VFs stay free."""
        database = self._xapi.database
        (ref,) = [one for one in database.refs("VM") if database.get("VM", one, "uuid") == sample]
        with database.lock:
            learnt = {field: database.get("VM", ref, field) for field in LEARNT}
            other_config = dict(database.get("pool", self._xapi.pool, "other_config"))
        keys = {name: text for name, text in other_config.items() if sample in name}
        (address,) = set(re.findall("0/([0-9a-f:.]+)", learnt["other_config"]["pci"]))
        (mac,) = set(re.findall("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", json.dumps(keys)))
        free = [one for one in self._vfs[0] if one != address][:-SPARE]
        for number in range(count):
            host, at = number % len(self._refs), number // len(self._refs)
            if at >= len(free):
                record = vm(machines.vm_uuid(number), machines.vm_name(number), None)
                self._add(_state(record, number, number % 3 == 0), host)
                continue
            own = machines.vm_uuid(number)
            changes = {
                sample: own,
                self._host.uuid: self._uuids[host],
                address: free[at],
                mac: "b6:00:00:" + ":".join(f"{number >> shift & 255:02x}" for shift in (16, 8, 0)),
            }
            like = json.loads(_changed(json.dumps(learnt), changes))
            record = vm(own, machines.vm_name(number), None)
            for field in LEARNT:
                record[field] = like[field]
            self._add(_state(record, number, number % 3 == 0), host)
            for name, text in keys.items():
                text = re.sub('"serial":[0-9]+', f'"serial":{number + 2}', _changed(text, changes))
                other_config[name.replace(sample, own)] = text
        database.set("pool", self._xapi.pool, "other_config", other_config)
        return min(count, len(free) * len(self._refs))

    def rename(self, uuid: str) -> None:
        """The VM has another name than it had."""
        ref = self._xapi.database.by_uuid("VM", uuid)
        before = self._xapi.database.get("VM", ref, "name_label")
        self._xapi.database.set("VM", ref, "name_label", f"{before[:8]} {uuid4()}")

    def start(self, uuid: str) -> None:
        """xapi tells xenopsd of the VM, as it does before the hooks of a start run."""
        refs = self._xapi.database.refs("VM")
        (ref,) = [one for one in refs if self._xapi.database.get("VM", one, "uuid") == uuid]
        vm_metadata.push(self._xapi, ref, self._refs[0])

    def _add(self, record: Dict[str, Any], host: Optional[int] = None) -> str:
        self._vms += 1
        if host is not None:
            record["affinity"] = self._refs[host]
        if record["power_state"] == "Running" and host is not None:
            record["resident_on"] = self._refs[host]
        ref = self._xapi.database.create("VM", record)
        for class_name, count in (("VIF", 1), ("VBD", 2)):
            for _ in range(count):
                self._xapi.database.create(class_name, {"VM": ref})
        return str(record["uuid"])


def _changed(text: str, changes: Mapping[str, str]) -> str:
    for before, after in changes.items():
        text = text.replace(before, after)
    return text


def _state(record: Dict[str, Any], number: int, running: bool) -> Dict[str, Any]:
    state = "Running" if running else "Halted"
    return {**record, "power_state": state, "domid": number + 1 if running else -1}


def vm(own: str, name: str, pci: Optional[str]) -> Dict[str, Any]:
    """A halted VM's record."""
    number = uuid.UUID(own).int >> 64 ^ uuid.UUID(own).int
    other_config = {
        "auto_poweron": "true",
        "base_template_name": "Debian Bookworm 12",
        "import_task": f"OpaqueRef:{own}",
        "install-methods": "cdrom,nfs,http,ftp",
        "linux_template": "true",
        "mac_seed": own,
        "xo:backup:schedule": str(uuid.UUID(int=0)),
    }
    if pci is not None:
        other_config["pci"] = f"0/{pci}"
    firmware = "uefi" if number % 4 == 0 else "bios"
    return {
        "uuid": own,
        "name_label": name,
        "name_description": "One of the machines of the accounting department",
        "power_state": "Halted",
        "other_config": other_config,
        "platform": PLATFORM,
        "recommendations": RECOMMENDATIONS,
        "bios_strings": BIOS_STRINGS,
        "HVM_boot_params": {"order": "cdn", "firmware": firmware},
        "NVRAM": {"EFI-variables": EFI_VARIABLES} if firmware == "uefi" else {},
        "xenstore_data": {"vm-data": "", "vm-data/mmio-hole-size": "268435456"},
        "tags": ["accounting"],
    }


if __name__ == "__main__":
    with Xapi() as served:
        asked = Imitated(served, **json.loads(sys.argv[1]))
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            print(json.dumps(getattr(asked, name)(*arguments)), flush=True)
