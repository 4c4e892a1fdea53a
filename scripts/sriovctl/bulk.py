"""A VF for each VM with a tag. Whoever has it already is passed over, so the same command again goes on."""

import argparse
from typing import Dict, List, Optional

from sriovlib.safetext import plural, safe
from sriovlib.vf import profiles

from . import names
from .client import Client
from .desired import act, diff, found
from .errors import Failed, Usage
from .output import Record, by_key

DONE_NOW, ALREADY, WOULD, FAILED = "assigned", "already", "would", "failed"
_STYLES = {DONE_NOW: "good", ALREADY: "dim", FAILED: "bad"}
ROWS = (
    by_key("NAME", "vm_name"),
    by_key("RESULT", "result", style=lambda row: _STYLES.get(row["result"], "")),
    by_key("REQUEST", "request"),
    by_key("HOST", "host"),
    by_key("VF", "vf"),
    by_key("PORTABLE", "portable"),
    by_key("UUID", "vm_uuid", wide=True),
)


def tagged(client: Client, tag: str) -> List[names.Vm]:
    """By name."""
    vms = names.vms(client.pool)
    those = [vm for vm in vms if tag in vm.record["tags"]]
    if not those:
        tags = sorted({one for vm in vms for one in vm.record["tags"]})
        hint = f"There are {', '.join(map(safe, tags[:10]))}." if tags else "No VM has a tag."
        raise Failed("NOT_FOUND", f"No VM has the tag `{safe(tag)}`.", hint)
    return sorted(those, key=lambda vm: (vm.name, vm.uuid))


def assign(client: Client, args: argparse.Namespace, asked: Dict[str, str]) -> int:
    """`asked`: the arguments of assign_vf, but for the VM."""
    for name in ("mac", "vf"):
        if name in asked:
            raise Usage(f"--{name} is for one VM, and --all-of names several.", f"Leave --{name} out.")
    vms, wish = tagged(client, args.all_of), _wish(client, asked)
    listed = {row["vm_uuid"]: row for row in client.pool.master("list_assignments")["vms"]}
    left = [vm for vm in vms if not _has(wish, listed.get(vm.uuid))]
    rows: Dict[str, Record] = {
        vm.uuid: {"vm_name": vm.name, "vm_uuid": vm.uuid, "result": ALREADY} for vm in vms
    }
    if (
        left
        and not args.dry_run
        and not client.confirm(f"Give a VF to {plural(len(left), 'VM')} with the tag {args.all_of}?")
    ):
        raise Failed("NOT_CONFIRMED", "Nothing was changed.")

    def assigned(vm: names.Vm) -> None:
        rows[vm.uuid]["result"] = FAILED
        progress.say(vm.name)
        answer = _given(client, vm, wish, listed.get(vm.uuid), asked)
        if answer is None:
            rows[vm.uuid]["result"] = ALREADY
            return
        if args.dry_run:  # which VF is not said: the next VM would be shown the same
            rows[vm.uuid]["result"] = WOULD
            return
        host = client.pool.host_name(answer["host_uuid"])
        rows[vm.uuid].update(answer, host=host, result=DONE_NOW)
        client.warnings(answer, vm.name)

    with client.progress("Assigning") as progress:
        outcome = client.each(left, lambda vm: f"VM {vm.name}", assigned)
    client.show([rows[vm.uuid] for vm in vms], ROWS)
    had = sum(row["result"] == ALREADY for row in rows.values())
    given = len(outcome.results) - had + len(vms) - len(left)
    of = f"of {plural(len(left), 'VM')}"
    if args.dry_run:
        client.say(
            f"{given} {of} would be given a VF; {plural(had, 'has', 'have')} it. Each was looked at by "
            "itself: whether there are VFs for all is seen when they are given. Nothing was "
            "changed (--dry-run)."
        )
    else:
        client.say(f"{given} {of} {'was' if given == 1 else 'were'} given a VF; {had} had it.")
    return outcome.status


def _given(
    client: Client, vm: names.Vm, wish: diff.Wish, row: Optional[Record], asked: Dict[str, str]
) -> Optional[Record]:
    """What assign_vf answers; None: somebody else has given it to the VM since `row` was read."""
    numbers = _numbers(row)
    while not _has(wish, row):
        seen = act.if_requests(numbers)
        try:
            answer = client.pool.master("assign_vf", vm_uuid=vm.uuid, if_requests=seen, **asked, **client.dry)
            return dict(answer)
        except Failed as failed:
            if failed.code != act.OTHER_REQUESTS:
                raise
            rows = client.pool.master("list_assignments", vm_uuid=vm.uuid)["vms"]
            row, before = next(iter(rows), None), numbers
            numbers = _numbers(row)
            if numbers == before:
                raise
    return None


def _numbers(row: Optional[Record]) -> List[int]:
    """Of the VM's requests."""
    return [one["request"] for one in (row or {}).get("requests", [])]


def _wish(client: Client, asked: Dict[str, str]) -> diff.Wish:
    """What a request for it looks like in the ledger."""
    pool, kind = client.pool, next(kind for kind in ("network", "pf", "device") if kind in asked)
    value = asked[kind].lower()
    settings = {**profiles.SETTINGS.get(asked.get("profile", ""), {}), **found.ledger_settings(asked)}
    if kind == "network":
        tag = found.implied_vlan(pool, next(one.ref for one in names.networks(pool) if one.uuid == value))
        if tag is not None:
            settings.setdefault("vlan", tag)
    elif kind == "pf":
        host = next(one for one in pool.hosts if one.uuid == asked["host_uuid"])
        pf = found.port_of(pool.plugin(host, "list_pfs"), asked["pf"])
        value = pf["address"] if pf else value
    return diff.Wish(kind, value, value, settings, {})


def _has(wish: diff.Wish, row: Optional[Record]) -> bool:
    requests = [found.request(one, one["value"]) for one in (row or {}).get("requests", [])]
    return any(diff.is_same(wish, one) and diff.fits(wish, one) for one in requests)
