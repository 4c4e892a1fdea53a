"""Whether a running VM with VFs can be moved to another host with them: all that can be known before anything
is done to it."""

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

from ..errors import SriovError
from ..safetext import listed
from ..xapi.session import XapiFailure
from . import pinning, state, vifs
from .locked import Work
from .networks import NULL

CANNOT = "SRIOV_CANNOT_MOVE"
# What xapi answers for reasons that are looked at here, or go with the VFs.
_WITH_VFS = ("VM_HAS_PCI_ATTACHED", "VM_NON_SUSPENDABLE", "OPERATION_BLOCKED", "VM_IS_IMMOBILE")
CONFIRMED: Dict[str, List[str]] = {}  # product -> versions on which somebody has moved a VM so


class Wish(NamedTuple):
    """What migrate_vm was asked for."""

    vm_uuid: str
    host_uuid: str
    timeout: int  # seconds for the guest to let a VF go
    gap_allowed: bool  # the guest may be without a network
    unconfirmed: bool  # on a product version on which nobody has tried it
    force: bool  # it was started with platform:nomigrate


def source(at: Work) -> str:
    """The host where the VM runs; refuses one that does not."""
    if not at.entry.requests:
        hint = f"Without VFs it moves as any VM does: `xe vm-migrate uuid={at.vm.uuid} host=HOST`."
        if at.vm.named:
            adopt = f"`adopt_vm` with vm_uuid={at.vm.uuid} makes requests of them"
            hint = f"Its entries were written by hand: {adopt}."
        raise SriovError("SRIOV_NOT_FOUND", f"VM {_name(at)} has no request for a VF.", hint)
    if at.vm.power_state != "Running" or at.vm.resident_on is None:
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} is {at.vm.power_state.lower()}.",
            "A halted VM starts on any host that has VFs for it; a suspended one is resumed first, and one "
            "that is paused is unpaused.",
        )
    if at.vm.operations:
        doing = ", ".join(at.vm.operations)
        raise SriovError(
            "SRIOV_BUSY", f"VM {_name(at)}: in progress: {doing}.", "Call again when that has ended."
        )
    return at.vm.resident_on


def has_its_vfs(at: Work) -> None:
    """Refuses a VM that has a device for which no request is, and one that is without its VFs, unless a move
    has taken them. One that started without has a domain that takes no device (Xen makes it with or without
    an IOMMU: CDF_iommu)."""
    vm, lease = at.vm, at.entry.lease
    there = at.host(source(at))
    attached = (at.xapi.call("PCI.get_pci_id", one) for one in at.xapi.call("VM.get_attached_PCIs", vm.ref))
    running = at.surveyed.running()
    leased = set(lease.vfs.values()) if lease and lease.host == vm.resident_on else set()
    has = {address for (host, address), uuid in running.items() if (host, uuid) == (vm.resident_on, vm.uuid)}
    others = sorted(has.union(vm.named, attached) - leased)
    if not there.told.owners_known:
        raise SriovError(
            "SRIOV_XAPI_SILENT",
            f"xenstore of host {there.member.name} does not tell which devices VM {_name(at)} has.",
            "See that its toolstack runs; then call again.",
        )
    if others:
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} has {listed(others)}, which no request of it is for: that cannot be unplugged.",
            f"Shut it down; `adopt_vm` with vm_uuid={vm.uuid} makes requests of entries for VFs. A GPU, or a "
            "VF of xapi's own SR-IOV, keeps it on its host.",
        )
    if at.entry.move is None and (not leased or leased - has):
        missing = listed(sorted(leased - has)) or "any VF"
        hint = "Shut it down, and start it where you want it: it gets its VFs there."
        if not vm.named:  # as after a revert to what it was without them: such a start gives it none
            hint = (
                f"Shut it down, call `reinstate_vfs` with vm_uuid={vm.uuid}, and start it: it has VFs then."
            )
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} runs on host {there.member.name} without {missing}, so it may have been started "
            "as one that takes no device.",
            hint,
        )


def check(at: Work, wish: Wish) -> None:
    """Refuses with the first thing that is in the way."""
    has_its_vfs(at)
    record = at.xapi.call("VM.get_record", at.vm.ref)
    target = at.host(wish.host_uuid).member
    for host in (at.host(source(at)).member.uuid, wish.host_uuid):
        _must_be_confirmed(at, host, wish.unconfirmed)
    if record.get("domain_type", "hvm") != "hvm":
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} is a {record['domain_type']} guest; only VFs of HVM guests can be unplugged.",
            "Shut it down, and start it on the other host.",
        )
    _must_be_mobile(at, record, wish.force)
    blocked = record["blocked_operations"].get("pool_migrate")
    if blocked is not None and "pool_migrate" not in pinning.ours(record):
        raise SriovError(
            CANNOT,
            f"VM {_name(at)}: its moves are blocked: {blocked}",
            "Whoever blocked them knows why; remove pool_migrate from its blocked_operations.",
        )
    _must_have_drivers(at, record["guest_metrics"])
    _must_be_allowed(at, record)
    if not wish.gap_allowed:
        _must_have_vifs(at)
    if not target.enabled:
        raise SriovError(
            CANNOT,
            f"Host {target.name} is disabled.",
            f"Enable it (`xe host-enable uuid={target.uuid}`), or use another.",
        )
    try:
        at.xapi.call("VM.assert_can_boot_here", at.vm.ref, target.ref)
    except XapiFailure as failure:
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} cannot run on host {target.name}: xapi answered {failure}.",
            "Put that right, or use another host.",
        ) from failure


def _name(at: Work) -> str:
    return state.named(at.vm.name, at.vm.uuid)


def _must_be_confirmed(at: Work, host: str, unconfirmed: bool) -> None:
    member = at.topology.members[host]
    product = f"{member.brand} {member.version}".strip() or "an unknown product"
    if unconfirmed or member.version in CONFIRMED.get(member.brand, ()):
        return
    raise SriovError(
        CANNOT,
        f"Host {member.name} runs {product}, on which nobody has confirmed that VMs with VFs can be moved.",
        "Try it with a VM that may fail, and unconfirmed=true; docs/live-migration.md says how, and what to "
        "look at.",
    )


def _must_be_mobile(at: Work, record: Mapping[str, Any], force: bool) -> None:
    """xapi goes by what the VM was started with (xen-api: ocaml/xapi/xapi_vm_lifecycle.ml, is_mobile). Its
    `force` leaves out this, what the guest has (see _must_have_drivers) and the CPUs, which
    VM.assert_can_boot_here compares (message_forwarding.ml, pool_migrate; xapi_vm.ml, assert_can_boot_here);
    xenopsd only notes the flag (xc/xenops_server_xen.ml)."""
    metrics, platform = record["metrics"], record["platform"]
    kept = at.xapi.call("VM_metrics.get_record", metrics) if metrics != NULL else None
    is_nested, stays = (
        kept[field] if kept else platform.get(key) in ("true", "1")
        for field, key in (("nested_virt", "nested-virt"), ("nomigrate", "nomigrate"))
    )
    if is_nested:
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} was started with nested virtualisation, with which xapi moves it to no host.",
            "Shut it down, and start it on the other host.",
        )
    if stays and not force:
        key = f"`xe vm-param-remove uuid={at.vm.uuid} param-name=platform param-key=nomigrate`"
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} was started with platform:nomigrate=true, with which xapi moves it to no host.",
            "Earlier versions of xapi-sriov set that. If nobody else has: force=true moves it all the same, "
            f"once the CPUs are found to be alike; or {key}, a shutdown and a start.",
        )


def _must_be_allowed(at: Work, record: Mapping[str, Any]) -> None:
    """By xapi, but for what is so while it has its VFs: xapi checks these after most of the rest (ocaml/xapi/
    xapi_vm_lifecycle.ml, check_operation_error), and QEMU's word that it cannot be suspended is of them."""
    kept = [name for name in ("VGPUs", "VUSBs") if record.get(name)]
    if kept:
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} has {' and '.join(kept)} of its host, which cannot be unplugged.",
            "Take them out, or shut it down and start it on the other host.",
        )
    try:
        at.xapi.call("VM.assert_operation_valid", at.vm.ref, "pool_migrate")
    except XapiFailure as failure:
        if failure.details[0] not in _WITH_VFS:
            raise SriovError(
                CANNOT, f"VM {_name(at)} cannot be moved: xapi answered {failure}.", "Put that right first."
            ) from failure


def _must_have_drivers(at: Work, metrics: str) -> None:
    detected = metrics != NULL and at.xapi.call("VM_guest_metrics.get_PV_drivers_detected", metrics)
    if not detected:
        raise SriovError(
            CANNOT,
            f"xapi has not seen PV drivers in VM {_name(at)}, which a VM needs to be moved.",
            "Install the guest tools in it, or shut it down and start it on the other host.",
        )


def _must_have_vifs(at: Work) -> None:
    for vf, network in _without_vif(at):
        raise SriovError(
            CANNOT,
            f"VM {_name(at)} has no attached VIF in {network}, the network of its VF {vf}: its guest would "
            "be without that network while it moves.",
            "Give it a VIF there and bond both in the guest (docs/live-migration.md); or allow the gap: "
            "network_gap=allowed.",
        )


def cut_off(at: Work) -> List[str]:
    """Sentences: the networks that the guest is without while the VM is without its VFs."""
    there = at.host(source(at))
    others = {pf.address for pf, _ in there.told.devices.pfs if not pf.is_network}
    return [
        f"VM {_name(at)} has no attached VIF in {network}, the network of its VF {vf}: its guest is without "
        "that network until the VM has its VFs again."
        for vf, network in _without_vif(at)
        if not any(one.address == vf and one.pf in others for one in there.candidates)
    ]


def _without_vif(at: Work) -> Iterator[Tuple[str, str]]:
    """VFs, each with the names of its networks, beside which no VIF stands, so that a bond in the guest has
    nowhere to go."""
    there = at.host(source(at))
    attached = {
        vif.network for vif in vifs.read(at.xapi, at.vm.ref, at.topology.network_records) if vif.attached
    }
    candidates, tags = {one.address: one for one in there.candidates}, at.topology.vlans()
    leased = at.entry.lease.vfs if at.entry.lease else {}
    for request in at.entry.requests:
        vf = candidates.get(leased.get(request.number, ""))
        serves = vifs.networks(request, vf.networks if vf else (), tags)
        if not serves & attached:
            names = listed(sorted(at.topology.network_names.get(uuid, uuid) for uuid in serves))
            yield leased.get(request.number, "-"), names or "its network"
