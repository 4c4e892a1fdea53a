"""The pool that a transcript was recorded on, made anew: its host and devices, and the objects it is given.

Objects are made of their own records in the transcript. Fields that are the other end of a reference, and
all that is asked of them afterwards, come from the imitation.
"""

import contextlib
import os
from typing import Any, Dict, Iterator, List

import temporary
from box import dom0_environment, dom0_python
from database import Database, new_ref
from hosts import HostDescription
from plugin_calls import Dom0
from schema import CLASSES
from transcript_match import Symbols
from transcript_player import Place, Step
from transcript_vms import VmPlayer
from values import take
from xapi import Xapi

_HOST = HostDescription(
    name="recorded",
    uuid="8f6e6a0c-0000-4000-8000-000000000001",
    control_domain_uuid="8f6e6a0c-0000-4000-8000-000000000002",
)
_INTEL = {"class_id": "0200", "class_name": "Ethernet controller", "vendor_id": "8086"}
_PF = {"pci_id": "0000:04:00.0", "device_id": "158b", "driver_name": "i40e"}
_PF_NAME = "Ethernet Controller XXV710 for 25GbE SFP28"
_VF_NAME = "Ethernet Virtual Function 700 Series"
_VF = {
    "device_id": "154c",
    "device_name": _VF_NAME,
    "subsystem_vendor_id": "8086",
    "subsystem_vendor_name": "Intel Corporation",
    "subsystem_device_id": "0001",
    "subsystem_device_name": "Device 0001",
}
_MEMORY = 16 << 30

# Objects that transcripts name but show no whole record of.
_OTHERS: Dict[str, Dict[str, Any]] = {
    "$internal_network": {"class": "network", "name_label": "Host internal management network"},
    "$message1": {"class": "message", "name": "VM_STARTED", "cls": "VM"},
    "$message2": {"class": "message", "name": "VM_SNAPSHOTTED", "cls": "VM"},
    "$vbd": {"class": "VBD", "VM": "$vm"},
}


@contextlib.contextmanager
def recorded_pool(steps: List[Step]) -> Iterator[VmPlayer]:
    """A player in front of the pool that these steps were recorded on."""
    with temporary.folder() as folder, Xapi() as xapi:
        plugins = os.path.join(folder, "xapi.d", "plugins")
        os.makedirs(plugins)
        socket = os.path.join(folder, "xapi")
        environment = dom0_environment(dom0_python(os.path.join(folder, "python")), socket)
        host = xapi.add_host(_HOST, Dom0(plugins, environment), socket)
        xapi.listen()
        known = _first_symbols(xapi.database, host)
        if steps[0].get("given") == "objects":
            _add_objects(xapi.database, known, steps)
        paths = {
            "/etc/xapi.d": os.path.dirname(plugins),
            "/var/log": os.path.join(folder, "log"),
            '"uid": 0': f'"uid": {os.getuid()}',  # xapi runs plugins as root; we as whoever we are
        }
        yield VmPlayer(Place(xapi, socket, paths), known)


def _first_symbols(database: Database, host: str) -> Dict[str, str]:
    """The host, its dom0, the pool, and the card that transcripts take for granted."""
    (pool,) = database.refs("pool")
    database.set("host_metrics", database.get("host", host, "metrics"), "memory_total", _MEMORY)
    known = {"$host": host, "$dom0": database.get("host", host, "control_domain"), "$pool": pool}
    database.set("pool", pool, "other_config", {"memory-ratio-hvm": "0.25", "memory-ratio-pv": "0.25"})
    _add_card(database, known)
    classes = {"$host": "host", "$dom0": "VM", "$pool": "pool"}
    for symbol in list(known):
        known[f"{symbol}.uuid"] = database.get(classes.get(symbol, "PCI"), known[symbol], "uuid")
    known["$hostname"] = _HOST.name
    return known


def _add_card(database: Database, known: Dict[str, str]) -> None:
    card = {**_INTEL, "vendor_name": "Intel Corporation", "host": known["$host"]}
    known["$pf"] = database.create("PCI", {**card, **_PF, "device_name": _PF_NAME})
    for number in range(4):
        known[f"$vf{number}"] = database.create("PCI", {**card, **_VF, "pci_id": f"0000:04:02.{number}"})


def _add_objects(database: Database, known: Dict[str, str], steps: List[Step]) -> None:
    """The objects whose records the transcript shows, and the others that it names."""
    records = {
        step["params"][0]: (step["call"].split(".")[0], step["result"])
        for step in steps
        if step.get("call", "").endswith(".get_record") and "result" in step
    }
    for symbol in [*records, *_OTHERS]:
        if symbol not in known:
            known[symbol] = new_ref()
            known[f"{symbol}.uuid"] = known[symbol].partition(":")[2]
    for symbol, (class_name, record) in records.items():
        values = _stored(class_name, record, known)
        if known[symbol] in database.refs(class_name):
            for field, value in values.items():
                database.set(class_name, known[symbol], field, value)
        else:
            database.create(class_name, values, known[symbol])
    for symbol, record in _OTHERS.items():
        values = {key: value for key, value in record.items() if key != "class"}
        database.create(record["class"], _stored(record["class"], values, known), known[symbol])
    database.set("VM", known["$running"], "domid", 1)  # any: it differs from run to run


def _stored(class_name: str, record: Dict[str, Any], known: Dict[str, str]) -> Dict[str, Any]:
    """A record as the database keeps it; what the transcript leaves open keeps its default."""

    symbols = Symbols(known)
    values = {}
    for name, value in record.items():
        field = CLASSES[class_name][name]
        if value != "*" and not field.inverse_of:
            values[name] = take(field.kind, symbols.given(value))
    known.update(symbols.known)
    return values
