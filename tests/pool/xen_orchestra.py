"""What Xen Orchestra does with a pool, call by call, as its source does it (vatesfr/xen-orchestra 9ef53890b8,
6.7.1); without its tasks, retries and progress."""

from contextlib import contextmanager
from typing import Dict, Iterator, List, Mapping, Optional

from box_host import BoxHost
from managed_pool import Pool
from values import Failure

# packages/xo-server/src/xapi/mixins/pool.mjs: what it shuts down by itself; any other reason ends the run
PINNED = {"VM_HAS_PCI_ATTACHED", "VM_HAS_VGPU", "VM_HAS_SRIOV_VIF"}


class Aborted(Exception):
    """The run ends before it has changed anything; the reasons of xapi."""


def rolling_pool_update(pool: Pool) -> None:
    """rollingPoolReboot of mixins/pool.mjs, with shutdownPinnedVms."""
    for host in pool.hosts:
        blocked = _blocked(pool, host)
        if any(reason[0] not in PINNED for reason in blocked.values()):
            raise Aborted(blocked)
    placed = {host.ref: _running_on(pool, host) for host in pool.hosts}
    for host in sorted(pool.hosts, key=lambda host: host is not pool.box.master):
        pinned = [vm for vm, reason in _blocked(pool, host).items() if reason[0] in PINNED]
        for vm in pinned:
            pool.api("VM.clean_shutdown", vm)
        pool.api("host.assert_can_evacuate", host.ref)
        maintain(pool, host)
        for vm in pinned:
            pool.api("VM.start_on", vm, host.ref, False, False)
    for host in pool.hosts:
        for vm in set(placed[host.ref]).difference(_running_on(pool, host)):
            pool.api("VM.pool_migrate", vm, host.ref, {"live": "true"})


def smart_reboot(pool: Pool, host: BoxHost, forced: bool = False) -> None:
    """smartReboot of @xen-orchestra/xapi/host.mjs; forced: with bypassBlockedSuspend."""
    pool.api("host.disable", host.ref)
    database = pool.box.xapi.database
    running = _running_on(pool, host)
    blocked = {vm: database.get("VM", vm, "blocked_operations").get("suspend") for vm in running}
    allowed = {vm: database.get("VM", vm, "allowed_operations") for vm in running}
    kept = [vm for vm in running if blocked[vm] or "suspend" not in allowed[vm]]  # VM.assert_operation_valid
    if kept and not forced:
        pool.api("host.enable", host.ref)
        raise Aborted(kept)
    for vm in kept:
        _block(pool, pool.uuid(vm), {"suspend": None})
    suspended = []
    for vm in running:
        try:
            pool.api("VM.suspend", vm)
            suspended.append(vm)
        except Failure:
            pool.api("VM.clean_shutdown", vm)
    _reboot(pool, host)
    pool.api("host.enable", host.ref)
    for vm in suspended:
        pool.api("VM.resume_on", vm, host.ref, False, False)  # for VM.resume, which chooses the host
    for vm in kept:
        _block(pool, pool.uuid(vm), {"suspend": blocked[vm]})


def maintain(pool: Pool, host: BoxHost) -> None:
    """clearHost of xapi/index.mjs, and a reboot; by hand it is `xe host-disable`, `host-evacuate`,
    `host-reboot`."""
    pool.api("host.disable", host.ref)
    try:
        pool.api("host.evacuate", host.ref)
    except Exception:
        pool.api("host.enable", host.ref)
        raise
    _reboot(pool, host)
    pool.api("host.enable", host.ref)


def _reboot(pool: Pool, host: BoxHost) -> None:
    with pool.lost(host):
        pass
    pool.box.xapi.restart_toolstack(host.ref)  # xapi starts after our boot service


def _blocked(pool: Pool, host: BoxHost) -> Dict[str, List[str]]:
    return dict(pool.api("host.get_vms_which_prevent_evacuation", host.ref))


def _running_on(pool: Pool, host: BoxHost) -> List[str]:
    database = pool.box.xapi.database
    return [
        vm
        for vm in database.get("host", host.ref, "resident_VMs")
        if not database.get("VM", vm, "is_control_domain")
    ]


# -- backups -----------------------------------------------------------------------------------------


def restored(pool: Pool, vm: str) -> str:
    """A VM made of the record of another one (@xen-orchestra/backups/_incrementalVm.mjs): all of other_config
    and platform, and its blocked operations, go along."""
    record = pool.record(pool.snapshot(vm))
    values = {name: record[name] for name in ("platform", "tags", "memory_static_max")}
    copy = pool.vm(f"{record['name_label']} restored", other_config=record["other_config"], **values)
    for operation, reason in pool.blocks(vm).items():
        if operation not in ("start", "start_on"):
            pool.api("VM.add_to_blocked_operations", pool.ref(copy), operation, reason)
    return copy


def health_check(pool: Pool, vm: str) -> None:
    """Restores a backup of the VM, starts that (HealthCheckVmBackup.mjs), and destroys it whatever came of
    it."""
    copy = restored(pool, vm)
    try:
        pool.api("VM.start", pool.ref(copy), False, False)
    finally:
        if pool.power_state(copy) != "Halted":
            pool.shut_down(copy)
        pool.destroy(copy)


# -- the PCI tab -------------------------------------------------------------------------------------


def attach(pool: Pool, vm: str, *addresses: str) -> None:
    """attachPcis of packages/xo-server/src/api/vm.mjs: all entries are written again, with the number 0."""
    _write(pool, vm, list(dict.fromkeys([*_attached(pool, vm), *addresses])))


def detach(pool: Pool, vm: str, *addresses: str) -> None:
    """detachPcis, there."""
    _write(pool, vm, [address for address in _attached(pool, vm) if address not in addresses])


def _attached(pool: Pool, vm: str) -> List[str]:
    """attachedPcis of xapi-object-to-xo.mjs: what stands behind the first slash of an entry."""
    return [f"{entry}/".split("/")[1] for entry in (pool.pci(vm) or "").split(",") if entry]


def _write(pool: Pool, vm: str, addresses: List[str]) -> None:
    pool.set_pci(vm, ",".join(f"0/{address}" for address in addresses) or None)


@contextmanager
def backup(pool: Pool, vm: str) -> Iterator[None]:
    """A backup's time (@xen-orchestra/backups, _AbstractXapi.mjs): it blocks the VM's migration, and writes
    back at its end what stood there at its beginning."""
    before = {name: pool.blocks(vm).get(name) for name in ("pool_migrate", "migrate_send")}
    _block(pool, vm, dict.fromkeys(before, "VM migration is blocked during backup"))
    yield
    _block(pool, vm, before)


def _block(pool: Pool, vm: str, reasons: Mapping[str, Optional[str]]) -> None:
    for operation, reason in reasons.items():
        pool.api("VM.remove_from_blocked_operations", pool.ref(vm), operation)
        if reason is not None:
            pool.api("VM.add_to_blocked_operations", pool.ref(vm), operation, reason)
