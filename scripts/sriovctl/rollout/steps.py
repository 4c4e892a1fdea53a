"""What is done to a host and to the pool, by calls of XenAPI and of the plugin. Each step looks first, so it
may be done again from its beginning wherever it was cut off.

Sources: xen-api, ocaml/xapi: xapi_host.ml, xapi_host_helpers.ml, dbsync_slave.ml, xapi_ha.ml.
"""

import time
from typing import Any, Callable, Dict, Iterable, List, Optional, TypeVar

from sriovlib.safetext import plural

from .. import shown, tasks
from ..errors import Failed
from ..pool import Host, Pool
from ..tasks import Tell
from . import plan as plans
from .plan import Act, Guest, Rehearsal, Seen, Wish

PATIENCE = 600.0  # that xapi may not answer before a step gives up: its master may be booting
# No xapi there, as while its host boots: no answer, no connection (tls.py, login.py), not ready yet.
_SILENT = (
    *("NO_ANSWER", "REFUSED", "UNREACHABLE", "TIMEOUT", "TLS_FAILED"),
    *("NO_MASTER", "SESSION_INVALID", "HOST_STILL_BOOTING"),
)
GONE = ("CANNOT_CONTACT_HOST", "HOST_OFFLINE", *_SILENT)
_CLOCK_SET_SECONDS = 300.0
_NULL = "OpaqueRef:NULL"

Found = TypeVar("Found")


def patiently(act: Callable[[], Found], tell: Tell = lambda _text: None) -> Found:
    """Again while xapi does not answer at all."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except Failed as failed:
            if failed.code not in _SILENT or time.monotonic() > deadline:
                raise
            tell("waiting for the pool master's xapi")
        time.sleep(tasks.POLL_SECONDS)


def until(what: str, look: Callable[[], Optional[Found]], seconds: float, tell: Tell) -> Found:
    """Looks until there is something; what does not answer is asked again."""
    deadline = time.monotonic() + seconds
    why = ""
    while True:
        tell(what)
        try:
            found = look()
            if found is not None:
                return found
        except Failed as failed:
            if failed.code not in GONE:
                raise
            why = f" ({failed.message.rstrip('.')})"
        if time.monotonic() > deadline:
            raise Failed(
                "TIMED_OUT",
                f"Waited {plural(round(seconds / 60), 'minute')} in vain: {what}{why}.",
                "See what keeps it, then `sriovctl setup resume`.",
            )
        time.sleep(tasks.POLL_SECONDS)


# -- looking -------------------------------------------------------------------------------------------


def look(pool: Pool, host: Host, wish: Wish) -> Seen:
    """What a plan is made of; raises Failed."""
    if not host.live:
        raise Failed("HOST_OFFLINE", f"Host {host.name} is offline.", "Check its power and network.")
    seen = Seen(
        host,
        pool.plugin(host, "status"),
        pool.plugin(host, "list_pfs"),
        pool.plugin(host, "enable_iommu", dry_run="true"),
        guests(pool, host),
        pool.call("host.get_current_operations", host.ref),
        {},
    )
    acts, _wrong = plans.changes(seen, wish)
    return seen._replace(rehearsed={act.args["pf"]: _rehearsed(pool, host, act) for act in acts})


def _rehearsed(pool: Pool, host: Host, act: Act) -> Rehearsal:
    """What the plugin says of it before it is done: a refusal shows while nothing is touched."""
    try:
        return pool.rehearsed(host, act.function, **act.args)
    except Failed as failed:
        return failed


def refreshed(pool: Pool, host: Host) -> Host:
    """The host as it is now."""
    record = pool.call("host.get_record", host.ref)
    live = bool(pool.call("host_metrics.get_live", record["metrics"]))
    return host._replace(enabled=record["enabled"], live=live)


def guests(pool: Pool, host: Host) -> List[Guest]:
    """VMs on the host, and why each cannot be moved."""
    records = _records_where(pool, "resident_on", host)
    blocked = pool.call("host.get_vms_which_prevent_evacuation", host.ref)
    found = [
        Guest(
            record["uuid"],
            shown.sentence(record["name_label"]),
            tuple(blocked.get(ref, ())),
            "clean_shutdown" in record["allowed_operations"],
            bool(record["ha_always_run"]) and record["ha_restart_priority"] == "restart",
        )
        for ref, record in records.items()
        if not record["is_control_domain"]
    ]
    return sorted(found, key=lambda guest: (guest.name, guest.uuid))


def coming(pool: Pool, host: Host) -> List[str]:
    """Names of VMs that are being started, resumed or moved there: xapi holds them for resident only when
    they have come (xen-api: ocaml/xapi/message_forwarding.ml, reserve_memory_for_vm)."""
    records = _records_where(pool, "scheduled_to_be_resident_on", host)
    return sorted(
        shown.sentence(record["name_label"])
        for record in records.values()
        if record["current_operations"] and record["resident_on"] != host.ref
    )


def targets(
    hosts: Iterable[Host], home: Host, first: Callable[[Host], bool] = lambda _host: False
) -> List[Host]:
    """Where VMs can go that leave their host: those of the hosts that take VMs, in their order, but those
    that are to be `first` before the others."""
    others = [one for one in hosts if one.uuid != home.uuid and one.enabled and one.live]
    return sorted(others, key=lambda one: not first(one))


def _records_where(pool: Pool, field: str, host: Host) -> Dict[str, Any]:
    return dict(pool.call("VM.get_all_records_where", f'field "{field}" = "{host.ref}"'))


# -- what is turned off in the pool meanwhile ------------------------------------------------------------


def ha_of(pool: Pool) -> Optional[Dict[str, Any]]:
    """The SRs (UUIDs) and the configuration that HA is on with, as Xen Orchestra keeps them to turn it on
    again (packages/xo-server/src/xapi/mixins/pool.mjs, rollingPoolReboot); None: it is off."""
    if not pool.call("pool.get_ha_enabled", pool.ref):
        return None
    srs = [pool.call("VDI.get_SR", vdi) for vdi in pool.call("pool.get_ha_statefiles", pool.ref)]
    return {
        "srs": [pool.call("SR.get_uuid", sr) for sr in srs],
        "configuration": pool.call("pool.get_ha_configuration", pool.ref),
    }


def ha_off(pool: Pool, tell: Tell) -> None:
    if pool.call("pool.get_ha_enabled", pool.ref):
        tasks.done(pool, "pool", "HA is being turned off", tell, "pool.disable_ha")


def ha_on(pool: Pool, noted: Dict[str, Any], tell: Tell) -> None:
    if not pool.call("pool.get_ha_enabled", pool.ref):
        srs = [pool.call("SR.get_by_uuid", uuid) for uuid in noted["srs"]]
        what = "HA is being turned on again"
        tasks.done(pool, "pool", what, tell, "pool.enable_ha", srs, noted["configuration"])


AUTO_POWERON = "auto_poweron"  # a pool that has it starts halted VMs at each boot of a host


def auto_poweron(pool: Pool, value: str) -> None:
    if pool.other_config().get(AUTO_POWERON) != value:
        pool.call("pool.remove_from_other_config", pool.ref, AUTO_POWERON)
        pool.call("pool.add_to_other_config", pool.ref, AUTO_POWERON, value)


# -- a host out of service, and back ---------------------------------------------------------------------


def disable(pool: Pool, host: Host) -> None:
    """Without the parameter auto_enable (25.31), whose default every older xapi does: xapi enables the host
    by itself after its next boot, or a restart of the toolstack. With auto_enable=false it would stay out of
    service for good where this program ends before it has enabled it."""
    if pool.call("host.get_enabled", host.ref):
        pool.call_for(host, "host.disable", host.ref)


def enable(pool: Pool, host: Host, seconds: float, tell: Tell) -> None:
    """xapi refuses while the host is booting, and until a reboot that was begun is over."""

    def look() -> Optional[bool]:
        if pool.call("host.get_enabled", host.ref):
            return True
        try:
            pool.call_for(host, "host.enable", host.ref)
        except Failed as failed:
            if failed.code not in ("HOST_STILL_BOOTING", "HOST_DISABLED_UNTIL_REBOOT"):
                raise
        return None

    until(f"host {host.name} is being enabled", look, seconds, lambda _what: tell("being enabled"))


def busy(pool: Pool, host: Host) -> List[str]:
    """Names of VMs of the host, or on their way to it, that xapi does something with."""
    arriving = coming(pool, host)  # first: one that comes meanwhile is seen as resident
    records = _records_where(pool, "resident_on", host)
    names = [shown.sentence(one["name_label"]) for one in records.values() if one["current_operations"]]
    if not names and "evacuate" in pool.call("host.get_current_operations", host.ref).values():
        names = ["its VMs"]
    return [*names, *arriving]


def wait_for_operations(pool: Pool, host: Host, seconds: float, tell: Tell) -> None:
    """Until xapi does nothing with the host's VMs any more: what a program that was killed had begun, or
    somebody's backup. A VM that it is at counts as one that cannot be moved, and one that is on its way to
    the host is not there yet."""

    def look() -> Optional[bool]:
        names = busy(pool, host)
        if not names:
            return True
        tell(f"waiting for what xapi does with {', '.join(names)}")
        return None

    what = f"xapi is at other operations with VMs of host {host.name}"
    until(what, look, seconds, lambda _what: None)


def evacuate(pool: Pool, host: Host, batch: int, tell: Tell) -> None:
    """All guests away. `batch`: how many at a time, with xapi 23.27 and newer."""
    if guests(pool, host):
        what = "VMs are being moved away"
        params: List[Any] = [host.ref, *([_NULL, str(batch)] if batch else [])]
        tasks.done(pool, f"host {host.name}", what, tell, "host.evacuate", *params)


# -- the reboot --------------------------------------------------------------------------------------


def boot_time(pool: Pool, host: Host) -> float:
    """When it was booted, as its xapi noted when it started (`1732867200.`); 0: it did not."""
    return float(pool.call("host.get_other_config", host.ref).get("boot_time", "0"))


def is_going_down(pool: Pool, host: Host) -> bool:
    operations = pool.call("host.get_current_operations", host.ref).values()
    return bool({"shutdown", "reboot"} & set(operations))


def reboot(pool: Pool, host: Host) -> None:
    """Tells it to. xapi answers before the host goes down; if it has gone already, that is no failure."""
    if host.master:
        pool.call("pool.sync_database")
    try:
        pool.call_for(host, "host.reboot", host.ref)
    except Failed as failed:
        if failed.code not in GONE and not is_going_down(pool, host):
            raise


def has_booted(pool: Pool, host: Host, before: float, down: float) -> bool:
    """Since its clock was at `down`, when it had been booted at `before`. A clock that was set anew, as with
    a flat battery, may show a boot earlier than `down`; a restart of the toolstack moves it by little."""
    now = boot_time(pool, host)
    return now > down or abs(now - before) > _CLOCK_SET_SECONDS


def wait_for_boot(pool: Pool, host: Host, before: float, down: float, seconds: float, tell: Tell) -> None:
    """Until its xapi says that it was booted since, it counts as live, and the plugin answers. (For ten
    minutes xapi holds a host that is down for live: `live` alone means nothing.)"""

    def look() -> Optional[bool]:
        if not has_booted(pool, host, before, down) or not refreshed(pool, host).live:
            return None
        pool.plugin(host, "status")
        return True

    until(f"host {host.name} reboots", look, seconds, lambda _what: tell("waiting until it is back"))


# -- the plugin's own --------------------------------------------------------------------------------


def apply(pool: Pool, host: Host, acts: Iterable[Act], tell: Tell) -> List[str]:
    """The calls of a plan; their warnings."""
    warnings: List[str] = []
    for act in acts:
        tell(f"{act.function} {act.object}: {act.after}")
        answer = pool.plugin(host, act.function, **act.args)
        warnings += answer.get("warnings") or []
    return warnings
