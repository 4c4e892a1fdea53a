"""`adopt_vm`: VFs that a VM was given by hand, by the old plugin `iovirt`, or by being a clone, become
requests and a lease."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

from . import arguments, copies, iovirt, pcientries, poolstate, poolwork, survey, topology, vfsettings
from .copies import origin_of as origin_of
from .errors import SriovError
from .host import Host
from .ledger import Choice, Entry, Request
from .macs import chosen_mac
from .poolstate import Vm
from .poolwork import Work
from .survey import Surveyed
from .xapi import Xapi

NONE = "none"


class Found(NamedTuple):
    """A VF that the VM's `pci` names, with what it had beside it."""

    address: str
    settings: Dict[str, str]


def adopt_vm(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `adopt_vm`, on the master.

    `{vm_uuid, host_uuid, changed, origin_uuid, vfs: [{request, vf, settings}], warnings}`;
    `origin_uuid` is the VM that a clone's entries are a copy of, else null; as an argument it settles what
    cannot be told, `none` says that it is no copy.
    """
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    wanted = arguments.uuid(args, "host_uuid")
    no_copy = args.get("origin_uuid", "").strip().lower() == NONE
    origin_uuid = NONE if no_copy else arguments.uuid(args, "origin_uuid")
    xapi = Xapi(host, session)
    pool = topology.read(host, xapi)
    _, record = poolstate.vm_record(xapi, vm_uuid)
    if wanted is not None:
        topology.member(pool, wanted)
    surveyed = survey.survey(host, session, pool, pool.live)
    doing = f"adopt_vm for {record['name_label']} ({vm_uuid})"
    with poolwork.work(host, session, pool, surveyed, doing) as at:
        vm = at.vm(vm_uuid)
        poolstate.must_be_halted(vm)
        entry = at.entry(vm_uuid)
        named = pcientries.plugging_order(vm.pci or "")
        if entry.requests:
            raise SriovError(
                "SRIOV_BAD_ARGUMENT",
                f"{vm.name} ({vm_uuid}) has requests already.",
                "Add others with `assign_vf`; `reinstate_vfs` writes its entries anew.",
            )
        origin = _origin(at, vm, named, origin_uuid)
        if origin is not None:
            return _adopt_clone(at, vm, entry, origin, wanted)
        return _adopt_entries(at, vm, entry, wanted)


def _origin(at: Work, vm: Vm, named: Sequence[str], wanted: Optional[str]) -> Optional[str]:
    """The VM that this one is a copy of, as the call says or as it looks."""
    if wanted == NONE:
        return None
    if wanted is not None:
        if wanted == vm.uuid or not at.entry(wanted).requests:
            raise arguments.bad(
                "origin_uuid", wanted, f"the UUID of another VM with requests, or {NONE} where it is no copy"
            )
        return wanted
    found = copies.origins(at.state, vm, named)
    unlike = [uuid for uuid in found if not copies.ask_for_the_same(at.entry(found[0]), at.entry(uuid))]
    if unlike:
        names = " or ".join(at.state.name(uuid) for uuid in (found[0], *unlike))
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"The entries of {vm.name} ({vm.uuid}) may be a copy of those of {names}, which have other "
            "requests.",
            f"Say of which by origin_uuid; or origin_uuid={NONE} where they were written for this VM.",
        )
    return found[0] if found else None


def _adopt_clone(at: Work, vm: Vm, entry: Entry, origin: str, wanted: Optional[str]) -> Dict[str, Any]:
    """Copies of the origin's requests, with MACs and VFs of the clone's own; its copied entries go."""
    model = at.entry(origin)
    requests = []
    for number, request in enumerate(model.requests, entry.next_number):
        settings = dict(request.settings)
        if "mac" in settings:
            settings["mac"] = chosen_mac(at, vm.uuid, number, None)
        requests.append(Request(number, request.choice, settings))
    past = tuple(sorted({*copies.lent(model), *entry.past}))
    entry = entry._replace(past=past, nomigrate=model.nomigrate)
    target = wanted or poolwork.best_host(at, vm, requests, vm.affinity)
    vfs = poolwork.place(at, vm, requests, target, {})
    return _write(at, vm, entry, requests, target, vfs, origin)


def _adopt_entries(at: Work, vm: Vm, entry: Entry, wanted: Optional[str]) -> Dict[str, Any]:
    """Each VF that an entry names becomes a request that it fits; other devices stay as they are."""
    entries = pcientries.entries(vm.pci or "")
    target = _host_of(at, vm, [one.address for one in entries if one.address], wanted)
    where = at.host(target)
    found = _found(where, vm, entries)
    if not found:
        raise SriovError(
            "SRIOV_NOT_FOUND",
            f"No entry of {vm.name}'s other_config:pci (`{vm.pci or ''}`) is a VF of {where.member.name}.",
            "Name the host that it ran on by host_uuid; list_vfs shows the VFs of a host.",
        )
    requests: List[Request] = []
    vfs: Dict[int, str] = {}
    for number, one in enumerate(found, entry.next_number):
        # Entries of others by hand do not count: they may mean another host's VF of that address.
        holder = at.held.on_host.get((target, one.address))
        if holder not in (None, vm.uuid):
            raise SriovError(
                "SRIOV_VF_IN_USE",
                f"{one.address} of {where.member.name} is held by {at.state.name(str(holder))}.",
                _not_the_same(at, vm, one.address, str(holder)),
            )
        settings = dict(one.settings)
        pf = where.pf((where.vf(one.address) or {})["pf"]) or {}
        if pf["interface"] is not None:
            settings["mac"] = chosen_mac(at, vm.uuid, number, settings.get("mac"))
        requests.append(Request(number, _choice(where, one.address), settings))
        vfs[number] = one.address
    by_hand = {address: uuid for address, uuid in at.held.everywhere.items() if address not in vfs.values()}
    alone = at._replace(held=at.held._replace(everywhere=by_hand))
    vfs = poolwork.place(alone, vm, requests, target, vfs)
    answer = _write(at, vm, entry, requests, target, vfs, None)
    answer["warnings"] += _also_named(at, vm, where, set(vfs.values()))
    return answer


def _not_the_same(at: Work, vm: Vm, address: str, holder: str) -> str:
    said = "If the entry means the VF of another host, call with host_uuid."
    if at.state.entries.get(holder, poolwork.NO_ENTRY).requests:
        said += f" If {vm.name} is a copy of that VM, call with origin_uuid={holder}."
    return f"{said} Else: {pcientries.without(vm.uuid, vm.pci or '', address)}"


def _also_named(at: Work, vm: Vm, where: Surveyed, taken: Set[str]) -> List[str]:
    found = []
    for other in sorted(at.state.vms.values(), key=lambda other: (other.name, other.uuid)):
        shared = sorted(taken.intersection(pcientries.plugging_order(other.pci or "")))
        if (
            shared
            and other.uuid != vm.uuid
            and not at.state.entries.get(other.uuid, poolwork.NO_ENTRY).requests
        ):
            found.append(
                f"The entries of {other.name} ({other.uuid}) name {', '.join(shared)} too: it does not start "
                f"on {where.member.name} any more."
            )
    return found


def _write(
    at: Work,
    vm: Vm,
    entry: Entry,
    requests: Sequence[Request],
    target: str,
    vfs: Mapping[int, str],
    origin: Optional[str],
) -> Dict[str, Any]:
    changed = at.transaction.write(poolwork.change(at, vm, entry, requests, target, vfs))
    at.transaction.collect_garbage()
    return {
        "vm_uuid": vm.uuid,
        "host_uuid": target,
        "changed": changed,
        "origin_uuid": origin,
        "vfs": [
            {"request": request.number, "vf": vfs[request.number], "settings": request.settings}
            for request in requests
        ],
        "warnings": [problem.message for problem in at.surveyed.problems],
    }


def _host_of(at: Work, vm: Vm, named: Sequence[str], wanted: Optional[str]) -> str:
    """The host whose VFs the addresses mean: the one given, the affinity, or the only one that has them."""
    if wanted is not None:
        return wanted
    having: Set[str] = {
        uuid
        for uuid, one in at.surveyed.hosts.items()
        if any(one.vf(address) is not None for address in named)
    }
    if vm.affinity in having:
        return str(vm.affinity)
    if len(having) == 1:
        return having.pop()
    names = ", ".join(sorted(at.surveyed.hosts[uuid].member.name for uuid in having))
    raise SriovError(
        "SRIOV_BAD_ARGUMENT" if having else "SRIOV_NOT_FOUND",
        f"Which host's VFs `{vm.pci or ''}` of {vm.name} means is not clear: {names} have such addresses."
        if having
        else f"No host that answers has a VF that other_config:pci of {vm.name} (`{vm.pci or ''}`) names.",
        "Name the host by host_uuid, or set the VM's affinity.",
    )


def _found(where: Surveyed, vm: Vm, entries: Sequence[pcientries.PciEntry]) -> List[Found]:
    macs, vlans = iovirt.macs(vm.other_config), iovirt.vlans(vm.other_config)
    found: Dict[str, Found] = {}
    for one in entries:
        vf = where.vf(one.address) if one.address else None
        if vf is None or one.address is None or one.address in found:
            continue
        settings: Dict[str, str] = {}
        mac = macs.get(one.number or 0) or vf["mac"]
        if mac and mac != vfsettings.NO_MAC:
            settings["mac"] = mac
        vlan = vlans.get(one.number or 0) or (str(vf["vlan"]) if vf["vlan"] else None)
        if vlan and vlan != "0":
            settings["vlan"] = vlan
            if one.number not in vlans and vf["qos"]:
                settings["qos"] = str(vf["qos"])
        found[one.address] = Found(one.address, {name: _value(vm, name, settings[name]) for name in settings})
    return list(found.values())


def _value(vm: Vm, name: str, text: str) -> str:
    try:
        return vfsettings.as_text(vfsettings.parse_value(name, text))
    except ValueError as accepted:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"{vm.name} has `{text}` as {name} of a VF, which takes {accepted}.",
            f"Put its other_config right ({iovirt.MACS}, {iovirt.VLANS}), or take that key out.",
        ) from None


def _choice(where: Surveyed, address: str) -> Choice:
    """By the network of the PF where there is just one, so that the VM can follow it to other hosts; a
    VLAN's network implies a tag. Else that VF."""
    candidate = next(one for one in where.candidates if one.address == address)
    own = [uuid for uuid in candidate.networks if uuid in where.untagged]
    if len(own) == 1:
        return Choice("network", own[0])
    return Choice("vf", address, candidate.device)
