"""What the plugin's answers look like, as far as they are read here: another project's plugin that is called
`sriov` too answers something else, which is to cost one host a sentence and not the whole pool its table.

What is not named here is not looked at: a newer plugin may have more keys, an older one fewer. Whatever is
not a `must` may be missing or null.
"""

from types import MappingProxyType
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple, Union


class Fields(NamedTuple):
    """An object: keys that each version has, and keys that are checked where they are there."""

    must: Dict[str, "Shape"]
    may: Mapping[str, "Shape"] = MappingProxyType({})


Shape = Union[Tuple[type, ...], List[Any], Fields]

_LARGEST = 2**53  # what every JSON reader keeps exact
_NULL = type(None)
_NAME = (str,)
_TEXT = (str, _NULL)
_NUMBER = (int, _NULL)
_FLAG = (bool, _NULL)
_SCALAR = (str, int, float, _NULL)

_PROBLEM = Fields({"code": _NAME, "message": _NAME, "hint": _NAME})
_SETTINGS = Fields({}, {"mac": _SCALAR, "vlan": _SCALAR})
_PLACED = Fields({"request": _NUMBER, "vf": _TEXT}, {"settings": _SETTINGS})
_IOMMU = Fields(
    {},
    {
        "active": _FLAG,
        "configured": _TEXT,
        "xen_option": _TEXT,
        "xen_option_after": _TEXT,
        "problems": [_PROBLEM],
    },
)
_VF = Fields(
    {"address": _NAME, "index": _NUMBER, "pf": _NAME},
    {
        "interface": _TEXT,
        "network": _TEXT,
        "state": _TEXT,
        "driver": _TEXT,
        "numa_node": _NUMBER,
        "assigned_to": Fields({}, {"vm_uuid": _TEXT, "vm_name": _TEXT, "power_state": _TEXT}),
    },
)
_PF = Fields(
    {"address": _NAME, "num_vfs": _NUMBER},
    {
        "interface": _TEXT,
        "interfaces": [_TEXT],
        "ports": [Fields({}, {"interface": _TEXT, "network": _TEXT, "link_up": _FLAG})],
        "network": _TEXT,
        "networks": [_NAME],
        "driver": _TEXT,
        "numa_node": _NUMBER,
        "total_vfs": _NUMBER,
        "configured_vfs": _NUMBER,
        "link_up": _FLAG,
        "managed_by": _TEXT,
        "problems": [_PROBLEM],
    },
)
_PLACE = Fields({"host_uuid": _NAME}, {"can": _FLAG, "vfs": [_PLACED], "problem": _PROBLEM})
_VM = Fields(
    {"vm_uuid": _NAME, "vm_name": _NAME},
    {
        "power_state": _TEXT,
        "host_uuid": _TEXT,
        "replaced_at": _NUMBER,
        "requests": [
            Fields(
                {"request": _NUMBER, "by": _NAME, "value": _TEXT, "vf": _TEXT, "settings": _SETTINGS},
                {"state": _TEXT},
            )
        ],
        "others": [_TEXT],
        "pci": _TEXT,
        "places": [_PLACE],
        "warnings": [_NAME],
    },
)
_CONFLICT = Fields(
    {"code": _NAME, "message": _NAME, "hint": _NAME},
    {"vm_uuids": [_NAME], "host_uuid": _TEXT, "address": _TEXT},
)
_WARNED: Dict[str, Shape] = {"warnings": [_NAME]}
_SHAPES: Dict[str, Shape] = {
    "status": Fields(
        {"version": _NAME},
        {
            "platform": Fields({}),
            "iommu": _IOMMU,
            "pciback": Fields({}, {"loaded": _FLAG, "persistent": _FLAG}),
            "pfs": [Fields({}, {"interface": _TEXT, "desired": _NUMBER, "actual": _NUMBER})],
            "vfs": Fields({}, {"free": _NUMBER, "total": _NUMBER}),
            "reboot_required": _FLAG,
            "problems": [_PROBLEM],
        },
    ),
    "list_pfs": [_PF],
    "list_vfs": [_VF],
    "list_assignments": Fields(
        {"vms": [_VM], "conflicts": [_CONFLICT]}, {"hosts": [Fields({"host_uuid": _NAME})]}
    ),
    "enable_iommu": _IOMMU,
    "assign_vf": Fields({"request": _NUMBER, "vf": _TEXT, "host_uuid": _TEXT}, _WARNED),
    "unassign_vf": Fields({"unassigned": [_PLACED]}, _WARNED),
    "reinstate_vfs": Fields({"host_uuid": _TEXT, "vfs": [_PLACED]}, _WARNED),
    "adopt_vm": Fields({"host_uuid": _TEXT, "vfs": [_PLACED]}, _WARNED),
    "park_vm": Fields({"host_uuid": _TEXT, "parked": [_PLACED]}, _WARNED),
    "migrate_vm": Fields(
        {"host_uuid": _NAME, "changed": _FLAG, "vfs": [_PLACED], "seconds": Fields({})}, _WARNED
    ),
    "detach_vfs": Fields({"changed": _FLAG, "detached": [_PLACED]}, _WARNED),
    "attach_vfs": Fields({"host_uuid": _TEXT, "changed": _FLAG, "vfs": [_PLACED]}, _WARNED),
    "set_vf_count": Fields({"before": _NUMBER, "after": _NUMBER, "reboot_required": _FLAG}, _WARNED),
    "configure_vf": _VF,
}


def are_of(function: str, value: Any) -> bool:
    """Whether the value is what this function of the plugin answers."""
    return _fits(value, _SHAPES.get(function, Fields({})))


def _fits(value: Any, shape: Shape) -> bool:
    if isinstance(shape, Fields):
        return (
            isinstance(value, dict)
            and all(key in value and _fits(value[key], of) for key, of in shape.must.items())
            and all(value.get(key) is None or _fits(value[key], of) for key, of in shape.may.items())
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(one, shape[0]) for one in value)
    if isinstance(value, int):  # as a truth value is, for Python
        return type(value) in shape and abs(value) <= _LARGEST
    return isinstance(value, shape)
