"""Messages of xapi's for people, as stories look at them."""

import json
from typing import Dict, List, Optional

from box_host import BoxHost
from managed_pool import Pool
from sriovlib.pool.alerts import check, messages
from sriovlib.vf import restore

RESTORE_FAILED, WITHOUT_PLUGIN = "SRIOV_RESTORE_FAILED", "SRIOV_HOST_WITHOUT_PLUGIN"
VF_MISSING, REPLACED_TWICE = "SRIOV_VF_MISSING", "SRIOV_REPLACED_TWICE"
MEANT = (RESTORE_FAILED, WITHOUT_PLUGIN, VF_MISSING, REPLACED_TWICE)
CONF, VF = "/etc/sriov.conf", "0000:07:10.0"


def told(pool: Pool, host: Optional[BoxHost] = None) -> Dict[str, str]:
    """Object -> name of its only message; after a check by that host, if one is named."""
    if host is not None:
        check.check(host.machine)
    records = [one for one in pool.api("message.get_all_records").values() if one["name"] in MEANT]
    found = {one["obj_uuid"]: one["name"] for one in records}
    assert len(found) == len(records)
    return found


def checked(pool: Pool) -> Dict[str, str]:
    return told(pool, pool.box.master)


def text(pool: Pool) -> str:
    """Of the only message."""
    (record,) = [one for one in pool.api("message.get_all_records").values() if one["name"] in MEANT]
    return str(record["body"])


def keys(pool: Pool) -> List[str]:
    return [key for key in pool.pool_keys() if key.startswith(messages.PREFIX)]


def moved_long_ago(pool: Pool, vm: str) -> None:
    """Its move, which is not over, began long ago."""
    entry = pool.ledger(vm)
    pool.set_ledger(vm, json.dumps({**entry, "move": {**entry["move"], "since": 1000}}))


def dismiss(pool: Pool) -> None:
    """A person does, of all messages."""
    pool.api("message.destroy_many", pool.api("message.get_all"))


def cannot_be_restored(host: BoxHost) -> None:
    before = host.machine.read(CONF)
    host.machine.replace_file(CONF, f"{before}\n[pf 0000:0e:00.0]\nvfs = 2\n".encode())
    restore.restore(host.machine)


def put_right(host: BoxHost) -> None:
    before = host.machine.read(CONF)
    host.machine.replace_file(CONF, before.partition("\n[pf 0000:0e")[0].encode())
    restore.restore(host.machine)


def again(pool: Pool, vm: str) -> None:
    """After it was given VFs of the host somebody writes other entries, and starts it there."""
    pool.xenopsd_has_heard(vm)
    pool.set_pci(vm, f"0/{VF}")
    pool.start_refused(vm, pool.other).says("SRIOV_NOT_PLACED", " ago, and its entries have changed again")
