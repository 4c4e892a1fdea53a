"""Conflicts of leases: with each other, and with what their hosts have. Pure."""

from typing import Dict, Iterator, List, Tuple

from .seen import Conflict, Seen


def twice(seen: Seen) -> Iterator[Conflict]:
    """One VF of one host in two leases; or in a lease and in another VM's domain."""
    owners: Dict[Tuple[str, str], List[str]] = {}
    for uuid, entry in seen.state.entries.items():
        if entry.lease is not None and uuid in seen.state.vms:
            for address in entry.lease.vfs.values():
                owners.setdefault((entry.lease.host, address), []).append(uuid)
    for where, holder in seen.surveyed.running().items():
        if holder not in owners.setdefault(where, []):
            owners[where].append(holder)
    for (host, address), uuids in sorted(owners.items()):
        if len(uuids) > 1:
            yield Conflict(
                "VF_TWICE",
                f"{address} of {seen.host_name(host)} belongs to {seen.names(uuids)}.",
                "The running one keeps it, else the one that was given it last; the others are given other "
                "VFs as they start (or now: `reinstate_vfs`).",
                sorted(uuids),
                host,
                address,
            )


def not_there(seen: Seen) -> Iterator[Conflict]:
    """VFs that are lent and are not there: their host left the pool, was installed anew, has fewer now."""
    for uuid, entry in sorted(seen.state.entries.items()):
        if entry.lease is None or uuid not in seen.state.vms:
            continue
        name, host = seen.state.name(uuid), entry.lease.host
        if host not in seen.topology.members:
            yield Conflict(
                "LEASE_WITHOUT_HOST",
                f"The VFs of {name} are of the host {host}, which left the pool.",
                "Give it VFs of another host: `reinstate_vfs`, or `assign_vf` where it is to have one more.",
                [uuid],
                host,
            )
            continue
        surveyed = seen.surveyed.hosts.get(host)
        for address in sorted(entry.lease.vfs.values()) if surveyed else ():
            if surveyed and surveyed.vf(address) is None:
                yield Conflict(
                    "LEASE_WITHOUT_VF",
                    f"{name} has {address} of {surveyed.member.name}, which has no such VF now.",
                    "Make the VFs again (`set_vf_count`; for a host that was installed anew `sriov-restore "
                    "--from-pool` on it), or give the VM others: `reinstate_vfs`.",
                    [uuid],
                    host,
                    address,
                )
