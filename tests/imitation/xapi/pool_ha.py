"""pool.enable_ha and pool.disable_ha: whether HA is on. What it then does is ha.py's.

Facts from xen-api: ocaml/xapi/xapi_ha.ml (enable: not where it is on, nor where a host is dead; the first SR
gets a state file, and the configuration is kept as it was given; disable: not where it is off; it leaves
state files and configuration in the pool's record).
"""

from typing import Dict, List

from calls import Call, Calls, Context
from values import Failure


def enable(context: Context, heartbeat_srs: List[str], configuration: Dict[str, str]) -> None:
    xapi, database = context.xapi, context.xapi.database
    if database.get("pool", xapi.pool, "ha_enabled"):
        raise Failure("HA_IS_ENABLED")
    for host in database.refs("host"):
        if not xapi.is_live(host):
            raise Failure("HOST_OFFLINE", host)
    if not heartbeat_srs:
        raise Failure("CANNOT_CREATE_STATE_FILE")
    there = database.find("VDI", SR=heartbeat_srs[0], type="ha_statefile")
    vdi = there[0] if there else database.create("VDI", {"SR": heartbeat_srs[0], "type": "ha_statefile"})
    database.set("pool", xapi.pool, "ha_statefiles", [vdi])
    database.set("pool", xapi.pool, "ha_configuration", configuration)
    database.set("pool", xapi.pool, "ha_enabled", True)


def disable(context: Context) -> None:
    xapi, database = context.xapi, context.xapi.database
    if not database.get("pool", xapi.pool, "ha_enabled"):
        raise Failure("HA_NOT_ENABLED")
    database.set("pool", xapi.pool, "ha_enabled", False)


CALLS: Calls = {
    "pool.enable_ha": Call(enable, ["ref set", "string map"], may_be_async=True),
    "pool.disable_ha": Call(disable, may_be_async=True),
}
