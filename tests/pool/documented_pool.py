"""The pool in a box that README.md and docs/ are about: two hosts alike, the IOMMU is off on host1 and on on
host2, which has four VFs; four VMs, two of which have entries by hand."""

import sys
from contextlib import contextmanager
from typing import Dict, Iterator, NamedTuple

from box import PoolInABox
from machine_description import default_description

HOOKS = ("vm-pre-start", "vm-post-destroy", "vm-pre-resume")
XEN_OPTIONS = "dom0_mem=7584M,max:7584M watchdog iommu="


class Vm(NamedTuple):
    name: str
    uuid: str
    other_config: Dict[str, str]


VMS = {
    "WEB": Vm("web", "1976038b-3b1e-48b7-95ba-9c5a7af10089", {}),
    "DB": Vm("db", "ad9080ab-0e46-455c-9ded-10ce097f5c85", {}),
    "OLD": Vm(
        "old",
        "fdd40d49-0621-4137-9006-fd09192664e4",
        {"pci": "0/0000:07:10.6", "sriovmacs": "0/02:16:3e:00:00:0a", "sriovvlans": "0/42"},
    ),
    "NIC": Vm("nic", "d4fda207-a40b-43ec-8d95-e5ef93d497ca", {"pci": "0/0000:02:00.0"}),
}


@contextmanager
def documented_pool() -> Iterator[PoolInABox]:
    hosts = [
        default_description(1, xen_options=XEN_OPTIONS + "0", pciback="xen-pciback"),
        default_description(2, xen_options=XEN_OPTIONS + "1"),
    ]
    with PoolInABox(hosts, interpreter=sys.executable) as box:
        for vm in VMS.values():
            box.add_vm(vm.name, uuid=vm.uuid, other_config=dict(vm.other_config))
        for host in box.hosts:
            for hook in HOOKS:
                box.link_hook(host, hook)
        box.call(box.hosts[1], "load_pciback")
        box.call(box.hosts[1], "set_vf_count", pf="eth1", count="4")
        box.xapi.restart_toolstack(box.hosts[1].ref)
        box.xapi.database.set("pool", box.xapi.pool, "suspend_image_SR", "OpaqueRef:a repository")
        yield box


def variables(box: PoolInABox) -> Dict[str, str]:
    """The UUIDs that the documents call $HOST1, $WEB and so on: the same in each run."""
    hosts = {f"HOST{number}": host.uuid for number, host in enumerate(box.hosts, 1)}
    return {**hosts, **{name: vm.uuid for name, vm in VMS.items()}}


def networks(box: PoolInABox) -> Dict[str, str]:
    """Those of networks, by bridge: $XENBR1 and so on."""
    records = box.xapi.call("network.get_all_records").values()
    return {str(one["bridge"]).upper(): str(one["uuid"]) for one in records}
