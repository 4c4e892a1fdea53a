"""Pools to draw, as the plugin's answers describe them: one with everything that can be in a picture and
names that mean harm, and one that is as big as pools get."""

from typing import Any, Dict, List, Optional

from sriovctl.picture import model
from sriovctl.picture.model import Failure, Heard, Picture

# What somebody may call a VM. Each that can do something in a browser would change the page's title.
NAMES = [
    "web",
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "</title></style></script><script>document.title='owned'</script>",
    "' onmouseover='document.title=1",
    "a & b &amp; c",
    "]]><!-- -->",
    "tab\tline\n\x1b[31mred\x1b[2J\x07\x00",
    "\u202estrebor\u2066",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u4eee\u60f3\u30de\u30b7\u30f3" * 8,
    "x" * 200,
    "y " * 400,
    "lone \ud800",
    "",
]
NETWORKS = {"net1": "storage & backup", "net2": "dmz"}


def owner(number: int, name: str, power_state: Optional[str] = "Running") -> Dict[str, Any]:
    return {
        "vm_uuid": f"{number:08x}-0000-4000-8000-000000000000",
        "vm_name": name,
        "power_state": power_state,
    }


def vf(port: int, index: int, state: Optional[str] = "free", **keys: Any) -> Dict[str, Any]:
    """VF `index` of eth`port`."""
    return {
        "address": f"0000:{port:02x}:{0x10 + index // 8:02x}.{index % 8}",
        "index": index,
        "pf": f"0000:{port:02x}:00.0",
        "interface": f"eth{port}",
        "network": f"net{port}",
        "numa_node": None,
        "mac": "00:00:00:00:00:00",
        "vlan": 0,
        "state": state,
        "assigned_to": None,
        **keys,
    }


def pf(port: int, **keys: Any) -> Dict[str, Any]:
    return {
        "address": f"0000:{port:02x}:00.0",
        "interface": f"eth{port}",
        "network": f"net{port}",
        "description": "Intel Corporation 82599 Ethernet Controller",
        "numa_node": None,
        "total_vfs": 63,
        "num_vfs": 8,
        "management": False,
        "managed_by": None,
        "link_up": True,
        "speed": 10000,
        "ports": [{"interface": f"eth{port}"}],
        "problems": [],
        **keys,
    }


def host(number: int, pfs: Optional[List[Any]], vfs: Optional[List[Any]], **keys: Any) -> Heard:
    known = {"master": number == 1, "enabled": True, **keys}
    return Heard(uuid=f"h{number}", name=known.pop("name", f"host{number}"), pfs=pfs, vfs=vfs, **known)


def assignments(*hosts: Heard, vms: Any = (), conflicts: Any = ()) -> Dict[str, Any]:
    return {
        "vms": list(vms),
        "conflicts": list(conflicts),
        "hosts": [{"host_uuid": one.uuid, "name": one.name, "live": True} for one in hosts],
    }


def everything() -> Picture:
    """Every state, two NUMA nodes, a silent host, one without a port, VMs that lack VFs, conflicts."""
    taken = [
        vf(
            1,
            index,
            "in-use" if index % 3 else "assigned",
            assigned_to=owner(index, name, "Running" if index % 3 else "Halted"),
            mac=f"02:00:00:00:00:{index:02x}",
            vlan=12,
            numa_node=0,
        )
        for index, name in enumerate(NAMES)
    ]
    rest = [
        vf(1, index, "dom0" if index < 20 else "reserved" if index < 24 else "free", numa_node=0)
        for index in range(len(NAMES), 63)
    ]
    second = vf(2, 0, "in-use", assigned_to=owner(1, NAMES[1]), numa_node=1)
    near = [second, *(vf(2, index, numa_node=1) for index in range(1, 16))]
    one = host(
        1,
        [pf(1, numa_node=0, num_vfs=63), pf(2, numa_node=1), pf(3, numa_node=1, link_up=False, num_vfs=0)],
        [*taken, *rest, *near],
    )
    two = host(2, [pf(1, management=True, speed=1000)], [vf(1, index, None) for index in range(8)])
    silent = host(
        3,
        None,
        None,
        name="rack-7 <b>&\"'",
        enabled=False,
        failure=Failure("HOST_OFFLINE", "Host rack-7 <b>&\"' is offline.", "Check its power and network."),
    )
    none = host(4, [], [])
    told = assignments(
        one,
        two,
        silent,
        none,
        vms=[
            {
                **owner(0, "web", "Halted"),
                "host_uuid": "h1",
                "requests": [{"vf": "0000:01:10.0"}, {"vf": None}],
                "warnings": ["0000:01:10.0 (eth1) is on NUMA node 0, the VM on node 1."],
            },
            {**owner(90, "archive", "Halted"), "host_uuid": "h3", "requests": [{"vf": "0000:07:10.4"}]},
            {**owner(91, "<i>lost & found", "Halted"), "host_uuid": None, "requests": [{"vf": None}]},
        ],
        conflicts=[
            {
                "code": "LEASE_TWICE",
                "message": "0000:01:10.1 is leased to <script>document.title='owned'</script> twice.",
                "hint": "Call reinstate_vfs.",
                "vm_uuids": [],
                "host_uuid": "h1",
                "address": "0000:01:10.1",
            },
            {
                "code": "COPY",
                "message": "VM web copy has a copy of the entries of VM web.",
                "hint": "adopt_vm gives it VFs of its own.",
                "vm_uuids": [],
                "host_uuid": None,
                "address": None,
            },
        ],
    )
    return model.picture(
        "lab <script>document.title='owned'</script>", [one, two, silent, none], told, NETWORKS
    )


def big(hosts: int = 64, ports: int = 2, vfs: int = 126) -> Picture:
    """Every other VF is in use, each by a VM of its own."""
    made = [
        host(
            number,
            [pf(port, num_vfs=vfs, numa_node=port - 1) for port in range(1, ports + 1)],
            [
                vf(port, index, "in-use", assigned_to=owner(number << 12 | port << 8 | index, f"vm-{index}"))
                if index % 2
                else vf(port, index)
                for port in range(1, ports + 1)
                for index in range(vfs)
            ],
        )
        for number in range(1, hosts + 1)
    ]
    return model.picture("big", made, assignments(*made), NETWORKS)
