"""`adopt_vm`: makes requests and a lease of a VM's entries by hand, of the old plugin `iovirt`, or of another
VM's that it is a copy of."""

from typing import Any, Dict, List, Mapping, Optional

from ..errors import SriovError, bad_argument
from ..machine.host import Host
from ..pool import adopted, copies, locked, own_lease
from ..pool.adopted import Taken
from ..pool.change import change_of
from ..pool.conflicts import by_hand
from ..pool.ledger import Request
from ..pool.locked import Work
from ..pool.macs import chosen_mac
from ..safetext import listed
from ..xapi.own_session import OwnSession
from . import arguments

NONE = "none"


def adopt_vm(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. `{vm_uuid, host_uuid, changed, origin_uuid, vfs: [{request, vf, settings}], warnings}`;
    `origin_uuid` is the VM that this one is a copy of, else null. A dry run has `would_change` too.

    The argument `origin_uuid` overrides the VM's mark; `none`: it is no copy. `trust_keys`: the VM gets the
    MACs and VLANs of iovirt's keys, which its owner can write; without it a call that would go by them is
    refused, and says what they say. A call for a VM whose adoption was cut off completes it.
    """
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    wanted = arguments.uuid(args, "host_uuid")
    no_copy = args.get("origin_uuid", "").strip().lower() == NONE
    origin_uuid = NONE if no_copy else arguments.uuid(args, "origin_uuid")
    dry_run = arguments.boolean(args, "dry_run", False)
    trust_keys = arguments.boolean(args, "trust_keys", False)
    call = locked.call(host, session, "adopt_vm", vm_uuid, wanted)
    origin = None
    with locked.work(call, call.topology.live) as at:
        vm = at.vm
        if at.entry.requests:
            taken = _begun(at)
        else:
            if not vm.named:
                raise SriovError(
                    "SRIOV_NOT_FOUND",
                    f"VM {vm.name} ({vm.uuid}) has no entry in other_config:pci that xapi would plug.",
                    "`assign_vf` gives it a VF; an entry is N/DDDD:BB:DD.F, without blanks.",
                )
            origin = _origin(at, origin_uuid)
            if origin is not None:
                at = _without_copied_entries(at, origin)
                taken = _of_origin(at, origin, wanted)
            else:
                taken = adopted.taken(at, wanted, trust_keys)
                if origin_uuid is None and wanted is None:
                    _must_be_no_copy(at, trust_keys)
        change = change_of(at, taken.requests, taken.host, taken.vfs)
        stopped = by_hand.newly_refused(at.seen, change)
        written = at.transaction.carry_out(change, dry_run)
    return {
        "vm_uuid": vm_uuid,
        "host_uuid": taken.host,
        **written,
        "origin_uuid": origin,
        "vfs": [
            {"request": request.number, "vf": taken.vfs[request.number], "settings": request.settings}
            for request in taken.requests
        ],
        "warnings": [
            *(problem.message for problem in at.surveyed.problems.values()),
            *taken.warnings,
            *stopped,
        ],
    }


def _begun(at: Work) -> Taken:
    """What a call that was cut off has written to the ledger."""
    vm, entry = at.vm, at.entry
    if entry.lease is None or not at.state.was_cut_off(vm.uuid):
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"VM {vm.name} ({vm.uuid}) has requests already.",
            "`assign_vf` adds another; `reinstate_vfs` writes the VM's entries again.",
        )
    return Taken(entry.lease.host, list(entry.requests), dict(entry.lease.vfs), [])


def _origin(at: Work, wanted: Optional[str]) -> Optional[str]:
    """The VM with requests that this one is a copy of, by the argument, else by its mark."""
    vm = at.vm
    if wanted == NONE:
        return None
    if wanted is not None:
        if wanted == vm.uuid or not at.state.entry(wanted).requests:
            accepted = f"the UUID of another VM with requests, or {NONE} where it is no copy"
            raise bad_argument("origin_uuid", wanted, accepted)
        return wanted
    elsewhere = copies.unknown_origin(at.state, vm)
    if elsewhere is not None:
        if at.seen.unknown_origin(vm) is None:  # VMs of this pool were leased the same addresses
            _must_be_no_copy(at, trust_keys=False)
        why = copies.from_elsewhere(elsewhere, vm.uuid)
        said = f"The entries of VM {vm.name} ({vm.uuid}) came with it, {why}."
        raise SriovError("SRIOV_BAD_ARGUMENT", said, copies.without_elsewhere(vm.uuid))
    marked = copies.origin(at.state, vm)
    if marked is None or not at.state.entry(marked).requests:
        return None
    rivals = copies.rivals(at.state, vm, marked)
    if rivals:
        names = " and ".join(at.state.name(uuid) for uuid in rivals)
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"VM {vm.name} ({vm.uuid}) is marked as a copy of {at.state.name(marked)}, but {names} with "
            "other requests has or had VFs of these addresses too.",
            f"Confirm it with origin_uuid={marked}, or name another; origin_uuid={NONE} if the entries were "
            "written for this VM.",
        )
    return marked


def _must_be_no_copy(at: Work, trust_keys: bool) -> None:
    """Refuses to guess where the entries name VFs that are leased to another VM and the VM has no mark, which
    its owner could have removed. Trusted keys of its own are an answer."""
    vm, ours = at.vm, at.entry.ever_leased
    those = own_lease.lessees(at.state.entries)
    others = own_lease.leased_to_others(those, vm.uuid, [one for one in vm.named if one not in ours])
    lessees = sorted(set(others.values()))
    theirs = [at.state.vms[one].other_config if one in at.state.vms else {} for one in lessees]
    if not lessees or (trust_keys and all(adopted.are_own(vm.other_config, one) for one in theirs)):
        return
    names = " or ".join(at.state.name(uuid) for uuid in lessees)
    raise SriovError(
        "SRIOV_BAD_ARGUMENT",
        f"The entries of VM {vm.name} ({vm.uuid}) name {listed(sorted(others))}, and {names} has or "
        "had VFs with these addresses: the entries may be copied from it, or mean VFs of another "
        "host.",
        f"If the VM is a copy, call with origin_uuid={lessees[0]}. If they were written for it: with "
        f"origin_uuid={NONE}, or with the host_uuid of the host that they mean.",
    )


def _without_copied_entries(at: Work, origin: str) -> Work:
    """The pool in which the copied entries are known for that, and keep no VF from their VM."""
    uuid, entry = at.vm.uuid, copies.of_copy(at.entry, at.state.entries[origin])
    by_hand = {
        address: [one for one in those if one != uuid or address not in entry.ever_leased]
        for address, those in at.held.by_hand.items()
    }
    return at._replace(entry=entry, held=at.held._replace(by_hand=by_hand))


def _of_origin(at: Work, origin: str, wanted: Optional[str]) -> Taken:
    """The origin's requests with MACs and VFs of the copy's own."""
    requests: List[Request] = []
    for number, request in enumerate(at.state.entries[origin].requests, at.entry.next_number):
        settings = dict(request.settings)
        if "mac" in settings:
            settings["mac"] = chosen_mac(at, number, None, requests)
        requests.append(Request(number, request.choice, settings))
    anywhere = dict.fromkeys(at.surveyed.hosts, requests)
    target = wanted or locked.best_host(at, anywhere, at.vm.affinity)
    return Taken(target, requests, locked.place(at, requests, target, {}), [])
