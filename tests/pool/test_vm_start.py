"""VMs of the box start and end on fake machines as they do on hosts: devices, hooks, and what is left of them."""

import json
import os
import sys
from typing import Iterator, List

import pytest
from box import PoolInABox
from machine_description import default_description
from values import NULL, Failure

PORT = "0000:07:00.0"
VFS = ["0000:07:10.0", "0000:07:10.2", "0000:07:10.4"]
NOTES = """#!/usr/bin/python3
import os, sys
with open({path!r}, "a") as notes:
    notes.write(" ".join([os.path.basename(os.path.dirname(sys.argv[0])), *sys.argv[3:]]) + "\\n")
"""
REFUSES = "#!/bin/sh\necho no\nexit 2\n"


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    """Two hosts whose Xen uses the IOMMU, the first with VFs on pciback."""
    descriptions = [default_description(number, xen_options="iommu=1") for number in (1, 2)]
    with PoolInABox(descriptions, interpreter=sys.executable) as box:
        for host in box.hosts:
            box.call(host, "load_pciback")
        box.call(box.hosts[0], "set_vf_count", pf=PORT, count="3")
        yield box


def add_vm(box: PoolInABox, pci: str, name: str = "web", **values: object) -> str:
    return box.add_vm(name, other_config={"pci": pci}, **values)


def refusal(box: PoolInABox, method: str, *params: object) -> List[str]:
    with pytest.raises(Failure) as caught:
        box.xapi.call(method, *params)
    return caught.value.description


def test_a_vm_gets_the_devices_of_its_list_in_their_order_and_leaves_them_to_pciback(box: PoolInABox) -> None:
    vm = add_vm(box, "1/0000:07:10.0,0/0000:07:10.2,rubbish,0/0000:07:10.4")
    box.start(vm, box.hosts[0])
    assert box.devices(vm) == ["0000:07:10.4", "0000:07:10.2", "0000:07:10.0"]
    states = {vf["address"]: vf["state"] for vf in box.call(box.hosts[0], "list_vfs")}
    assert states == dict.fromkeys(VFS, "in-use")
    box.shut_down(vm)
    assert (box.power_state(vm), box.devices(vm)) == ("Halted", [])
    assert {vf["driver"] for vf in box.call(box.hosts[0], "list_vfs")} == {"pciback"}
