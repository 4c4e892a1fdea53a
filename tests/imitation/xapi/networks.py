"""Networks of the pool. Facts from xen-api: ocaml/xapi/xapi_network.ml."""

from typing import Any, Dict

from calls import Call, Calls, Context
from schema import CLASSES
from values import Failure, internal_error, take

_REQUIRED = ("name_label", "name_description", "MTU", "other_config", "tags")


def create(context: Context, given: Dict[str, Any]) -> str:
    """A network without a bridge gets the next free name. Name-labels need not be unique."""
    for name in _REQUIRED:
        if name not in given:
            raise internal_error(f'Server_helpers.Dispatcher_FieldNotFound("{name}")')
    fields = CLASSES["network"]
    values = {
        name: take(fields[name].kind, given[name])
        for name in (*_REQUIRED, "bridge", "managed")
        if name in given
    }
    database = context.xapi.database
    with database.lock:
        bridges = {database.get("network", ref, "bridge") for ref in database.refs("network")}
        if not values.get("bridge"):
            values["bridge"] = next(
                name for name in map("xapi{}".format, range(len(bridges) + 1)) if name not in bridges
            )
        values["MTU"] = values["MTU"] if values["MTU"] > 0 else 1500
        return database.create("network", values)


def destroy(context: Context, network: str) -> None:
    database = context.xapi.database
    pifs = database.get("network", network, "PIFs")
    if pifs:
        raise Failure("NETWORK_CONTAINS_PIF", *pifs)
    database.destroy("network", network)


CALLS: Calls = {
    "network.create": Call(create, ["record"], may_be_async=True),
    "network.destroy": Call(destroy, ["ref"], may_be_async=True),
}
