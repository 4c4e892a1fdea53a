"""Hosts that leave a pool, and what goes with their records.

Facts from xen-api: ocaml/xapi/xapi_pool.ml (eject, and create_or_get_host_on_master for what a joining host
brings), db_gc_util.ml (what nothing refers to any more is collected). References to a host that is gone, as
VM.affinity, stay as they are.
"""

from typing import TYPE_CHECKING

import vm_placement
from calls import Call, Calls, Context
from database import Database
from values import NULL, Failure, internal_error

if TYPE_CHECKING:
    from xapi import Xapi

_OF_A_HOST = ("PIF", "PCI")
# Objects that end with the PIF that stands for them.
_OF_A_PIF = (
    ("Bond", "master"),
    ("VLAN", "untagged_PIF"),
    ("tunnel", "access_PIF"),
    ("network_sriov", "logical_PIF"),
)


def eject(context: Context, host: str) -> None:
    """The host leaves, reboots, and is a pool of its own. Its halted VMs stay in this pool."""
    xapi, database = context.xapi, context.xapi.database
    xapi.forward(host)
    if database.get("pool", xapi.pool, "ha_enabled"):
        raise Failure("HA_IS_ENABLED")
    if host == xapi.master:
        raise internal_error("Xapi_pool.Cannot_eject_master")
    if vm_placement.guests(xapi, host):
        raise Failure("OPERATION_NOT_ALLOWED", "VM resident on host")
    forget(xapi, host)


def forget(xapi: "Xapi", host: str) -> None:
    """The host's record and all that was the host's own are gone; nothing answers for it any more."""
    database = xapi.database
    with database.lock:
        control_domain, metrics = (
            database.get("host", host, field) for field in ("control_domain", "metrics")
        )
        database.destroy("host", host)
        for class_name, ref in (("VM", control_domain), ("host_metrics", metrics)):
            if database.exists(class_name, ref):
                database.destroy(class_name, ref)
        _collect(database, host)
    xapi.forget_host(host)


def _collect(database: Database, host: str) -> None:
    for class_name in _OF_A_HOST:
        for ref in database.refs(class_name):
            if database.get(class_name, ref, "host") == host:
                database.destroy(class_name, ref)
    for class_name, field in _OF_A_PIF:
        for ref in database.refs(class_name):
            if not database.exists("PIF", database.get(class_name, ref, field)):
                database.destroy(class_name, ref)
    kept = {database.get("PIF", pif, "metrics") for pif in database.refs("PIF")} - {NULL}
    for ref in database.refs("PIF_metrics"):
        if ref not in kept:
            database.destroy("PIF_metrics", ref)


CALLS: Calls = {"pool.eject": Call(eject, ["ref"], may_be_async=True)}
