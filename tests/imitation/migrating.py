"""VMs of the box that migrate from its second host, a member, to its first: what tests do, and look at."""

import json
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Tuple

from box import PoolInABox
from box_host import BoxHost
from values import NULL

VF = "0000:07:10.0"
NOTES = """#!/usr/bin/python3
import os, sys
with open({notes!r}, "a") as file:
    file.write(" ".join([{host!r}, os.path.basename(os.path.dirname(sys.argv[0])), *sys.argv[3:]]) + "\\n")
"""


def running(box: PoolInABox, pci: str = "", **values: Any) -> str:
    vm = box.add_vm("web", other_config={"pci": pci} if pci else {}, **values)
    box.start(vm, box.hosts[1])  # a member's
    return vm


def begin(box: PoolInABox, vm: str, **options: str) -> str:
    """The task of a migration to the first host."""
    return str(box.xapi.call("Async.VM.pool_migrate", vm, box.hosts[0].ref, options))


def migrate(box: PoolInABox, vm: str) -> Dict[str, Any]:
    return box.wait_for_task(begin(box, vm))


@contextmanager
def held_at(box: PoolInABox, vm: str, stage: str, to: int = 0) -> Iterator[Tuple[Any, str]]:
    """Its migration to that host has begun, and stands there; what holds it, and the task."""
    with box.migration_held_at(stage) as held:
        task = str(box.xapi.call("Async.VM.pool_migrate", vm, box.hosts[to].ref, {}))
        held.wait()
        yield held, task


def has(box: PoolInABox, vm: str, host: BoxHost) -> Tuple[bool, List[str]]:
    """Whether that host has a domain of it, and with which devices."""
    uuid = box.xapi.database.get("VM", vm, "uuid")
    hypervisor = box.xapi.life.hypervisor(box.xapi, host.ref)
    return hypervisor.domain(uuid) is not None, hypervisor.plugged(uuid)


def domains(host: BoxHost) -> List[Dict[str, Any]]:
    with host.machine.changed() as sysfs:
        return list(sysfs.state["domains"].values())


def known(box: PoolInABox, vm: str, host: BoxHost) -> Any:
    return box.xapi.life.xenopsd(box.xapi, host.ref).find(box.xapi.database.get("VM", vm, "uuid"))


def shown(box: PoolInABox, vm: str) -> Tuple[str, str]:
    """What xapi says of it, once nothing goes on: its power state and the name of its host."""
    record = box.xapi.database.record("VM", vm)
    assert (record["scheduled_to_be_resident_on"], record["current_operations"]) == (NULL, {})
    names = {host.ref: host.name for host in box.hosts}
    return record["power_state"], names.get(record["resident_on"], "")


def tell_passthrough(box: PoolInABox, vm: str) -> None:
    """As who keeps the flag does, by xenopsd's own calls, when xapi has told it what was written before: what
    it tells later takes the flag away."""
    box.let_xenopsd_know(vm)
    xenopsd = box.xapi.life.xenopsd(box.xapi, box.hosts[1].ref)
    with box.xapi.life.queue(vm):
        metadata = xenopsd.export_metadata(box.xapi.database.get("VM", vm, "uuid"))
        del metadata["domains"]
        metadata["vm"]["ty"] = ["HVM", {"pci_passthrough": True}]
        xenopsd.import_metadata(json.loads(json.dumps(metadata)))
