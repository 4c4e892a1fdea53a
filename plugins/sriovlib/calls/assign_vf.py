"""`assign_vf`: a VM gets a VF of what an administrator asks for, and a request for it in the ledger,
one more or in the place of one that it has."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..config import vf_settings
from ..errors import SriovError, bad_argument
from ..machine.host import Host
from ..pool import arrivals, copies, hosts, locked, networks, placement
from ..pool.change import change_of
from ..pool.conflicts import by_hand
from ..pool.hosts import Topology
from ..pool.inventories import Surveyed
from ..pool.ledger import Choice, Entry, Request
from ..pool.locked import Work
from ..pool.macs import chosen_mac
from ..pool.transaction import Change
from ..vf import profiles
from ..vf.inventory_json import PortState, VfState
from ..xapi.own_session import OwnSession
from . import arguments, request_numbers

KINDS = ("vf", "pf", "network", "device")


class Wish(NamedTuple):
    """What the call asked for. `value` as it was given, but for the UUID of a network."""

    kind: str
    value: str
    settings: Dict[str, str]  # in the words of the ledger
    host: Optional[str]  # UUID
    profile: Optional[str] = None  # which its settings are of, see profiles
    number: Optional[int] = None  # of the request that becomes this; None: it is one more
    expected: Optional[List[int]] = None  # the numbers of the VM's requests; None: whatever it has


def assign_vf(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """On the master. The same call again completes one that was cut off."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    dry_run = arguments.boolean(args, "dry_run", False)
    wish = _wish(args)
    call = locked.call(host, session, "assign_vf", vm_uuid, wish.host)
    if wish.kind == "network":
        wish = _of_network(call.topology, wish)
    _check_settings(wish.settings, None)
    entry = locked.entry_now(call)
    concerned = locked.concerned(call, entry, wish.host, Choice(wish.kind, wish.value))
    if not concerned:
        raise SriovError(
            "SRIOV_NO_FREE_VF",
            f"No live host of the pool has a port in network {wish.value}.",
            "See `xe pif-list` for the ports and their networks.",
        )
    arrivals.check(call, entry)
    with locked.work(call, concerned) as at:
        at = at._replace(entry=copies.without_the_copy(at.state, at.vm, at.entry))
        answer, change = _decided(at, wish)
        written = at.transaction.carry_out(change, dry_run)
    left = _left(at.entry, change.entry)
    if left and not dry_run:
        locked.release(call, answer["host_uuid"], left)
    return {**answer, **written}


def _decided(at: Work, wish: Wish) -> Tuple[Dict[str, Any], Change]:
    """The answer, and the VM with the request."""
    vm, entry = at.vm, at.entry
    before = entry.lease.vfs if entry.lease else {}
    begun = _begun(at, wish)
    if begun is not None and entry.lease is not None:
        number, target, requests = begun.number, entry.lease.host, list(entry.requests)
    else:
        number = _number(at, wish)
        target, choice = _target(at, wish, number)
        # Placed before it has a MAC: whether it needs one depends on the device.
        requests = _with(entry, Request(number, choice, {}))
    vfs = locked.place(at, requests, target, before)
    where = at.host(target)
    vf = where.inventory.vfs[vfs[number]]
    port = where.inventory.port_of(vf)
    opened = _opened(wish, where, vf)
    if begun is None:
        settings = _settings(at, number, wish, vf, port)
        requests = [one._replace(settings=settings) if one.number == number else one for one in requests]
    change = change_of(at, requests, target, vfs)
    stopped = by_hand.newly_refused(at.seen, change)
    now = {one.number: one.choice for one in requests}
    same = [one.number for one in entry.requests if one.choice == now[one.number]]
    warnings = _warnings(at, vf, port, {one: before[one] for one in same if one in before}, vfs)
    if entry.is_parked:
        warnings.append(f"VM {vm.name} is not parked any more: its other requests have VFs again too.")
    if copies.unknown_origin(at.state, vm) is not None:
        warnings.append(
            f"The VM's entries `{vm.pci}`, of another pool or of a VM that is gone, were taken out."
        )
    serving = {one.number: placement.serving(one.choice, at.surveyed.candidates) for one in requests}
    portable = all(placement.portable(serving[number], vfs[number], vm.uuid, at.held) for number in serving)
    if not portable:
        warnings.append(
            "On other hosts these addresses do not fit or are not free: the VM gets other VFs when it starts "
            "there."
        )
    bonded = networks.bonded(at.topology.members[target].pifs)
    answer = {
        "vm_uuid": vm.uuid,
        "request": number,
        "vf": vfs[number],
        "host_uuid": target,
        "portable": portable,
        "redundant": False if vf.function.port.interface in bonded else None,  # it fails with that one port
        "warnings": [*opened, *warnings, *stopped],
    }
    return answer, change


def _number(at: Work, wish: Wish) -> int:
    """Of the request that the call is for; refuses a VM that has not what the call was told that it has."""
    vm, entry = at.vm, at.entry
    if wish.number is not None and wish.number not in [one.number for one in entry.requests]:
        raise request_numbers.missing(vm, entry, str(wish.number))
    request_numbers.check(vm, entry, wish.expected)
    return entry.next_number if wish.number is None else wish.number


def _with(entry: Entry, request: Request) -> List[Request]:
    """The VM's requests with this one, by number."""
    return sorted([*(one for one in entry.requests if one.number != request.number), request])


def _left(before: Entry, after: Entry) -> Set[str]:
    """The VFs of the lease's host that the VM has no more."""
    if before.lease is None or after.lease is None or before.lease.host != after.lease.host:
        return set()
    return {*before.lease.vfs.values()} - {*after.lease.vfs.values()}


def _begun(at: Work, wish: Wish) -> Optional[Request]:
    """The last request, if it is the same and of a call that was cut off before the VM's entries named its
    VF: that call is completed, or the VM would have two. What is in the place of another is one anyway, and
    who has seen that request wants one more."""
    vm, entry = at.vm, at.entry
    if wish.number is not None or not at.state.was_cut_off(vm.uuid):
        return None
    if not entry.requests or entry.lease is None:
        return None
    last, where = entry.requests[-1], at.surveyed.hosts.get(entry.lease.host)
    if where is None or entry.lease.vfs.get(last.number) in vm.named:
        return None
    settings = {name: text for name, text in last.settings.items() if name != "mac" or name in wish.settings}
    is_same = (
        last.number == entry.next_number - 1
        and wish.expected in (None, [one.number for one in entry.requests[:-1]])
        and wish.host in (None, entry.lease.host)
        and _choice(where, wish) == last.choice
        and settings == wish.settings
    )
    return last if is_same else None


def _settings(at: Work, number: int, wish: Wish, vf: VfState, port: Optional[PortState]) -> Dict[str, str]:
    """What the request gets beside its VF. A MAC that it has stays, unless the call has another."""
    settings = dict(wish.settings)
    if vf.no_settings is None:
        _check_settings(settings, port.speed if port else None)
        own = next((one.settings.get("mac") for one in at.entry.requests if one.number == number), None)
        given = settings.get("mac", own)
        settings["mac"] = given if given and given == own else chosen_mac(at, number, given)
    elif settings:
        name = min(settings)
        raise bad_argument(name, settings[name], f"nothing here: {vf.no_settings}")
    return settings


def _opened(wish: Wish, where: Surveyed, vf: VfState) -> List[str]:
    """Warnings of what a profile opens; refuses a VF whose driver cannot do what the profile needs."""
    if wish.profile is None:
        return []
    pf = where.inventory.pf_of(vf)
    doubt = profiles.doubt(wish.profile, pf.function.driver, vf.settings)
    if doubt is not None and doubt.certain:
        named = f"{vf.address} of {pf.function.name} ({where.member.name})"
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"{named} cannot have profile={wish.profile}: {doubt.why}.",
            "Use a port of another card (`list_pfs` shows their drivers), or a VIF in promiscuous mode.",
        )
    opened = f"The guest may send from any MAC, and join every VLAN of {pf.function.name}."
    return [
        opened,
        *([f"{vf.address}: {doubt.why}; where it cannot, the start is refused."] if doubt else []),
    ]


def _wish(args: Mapping[str, str]) -> Wish:
    kind = arguments.exactly_one("assign_vf", args, KINDS, "They say which VF the VM gets.")
    value: Optional[str]
    if kind == "vf":
        value = arguments.address(args, "vf")
    elif kind == "pf":
        value = arguments.pf(args)
    elif kind == "device":
        value = arguments.device(args, "device")
    else:
        value = arguments.text(args, "network", "a network's UUID, name-label or bridge")
    settings = {}
    profile = args.get("profile", "").strip().lower() or None
    if profile is not None:
        if profile not in profiles.SETTINGS:
            raise bad_argument("profile", args["profile"], f"one of: {', '.join(profiles.SETTINGS)}")
        beside = [name for name in (*profiles.SETTINGS[profile], "qos", "vlan_protocol") if name in args]
        if beside:
            raise bad_argument(beside[0], args[beside[0]], f"nothing beside profile={profile}, which sets it")
        settings.update(profiles.SETTINGS[profile])
    for name in vf_settings.NAMES:
        if name not in args or args[name].strip() == "default":
            continue  # then /etc/sriov.conf says it, or the driver
        try:
            settings[name] = vf_settings.as_text(vf_settings.parse_value(name, args[name]))
        except ValueError as accepted:
            raise bad_argument(name, args[name], f"{accepted}, or default") from None
    number = arguments.number(args, "request") if "request" in args else None
    expected = request_numbers.expected(args)
    return Wish(kind, value or "", settings, arguments.uuid(args, "host_uuid"), profile, number, expected)


def _check_settings(settings: Mapping[str, str], speed: Optional[int]) -> None:
    """Refuses settings that contradict each other, or the speed of the link in Mbit/s."""
    values = {name: vf_settings.parse_value(name, text) for name, text in settings.items()}
    wrong = vf_settings.contradiction(values, speed)
    if wrong:
        name, accepted = wrong
        raise bad_argument(name, settings.get(name, ""), accepted)


def _of_network(pool: Topology, wish: Wish) -> Wish:
    """The wish with the network's UUID, and the tag that the network implies."""
    network = hosts.request_network(pool, wish.value)
    settings = dict(wish.settings)
    if network["vlan"] is not None and wish.profile is not None:
        untagged = " or ".join(hosts.untagged_networks(pool, network["uuid"]))
        raise bad_argument(
            "network",
            network["name"],
            f"with profile={wish.profile} the network of the port itself ({untagged or 'none here'}), "
            f"since the guest tags: {network['name']} has VLAN {network['vlan']}",
        )
    if network["vlan"] is not None:
        tag = str(network["vlan"])
        if settings.setdefault("vlan", tag) != tag:
            raise bad_argument(
                "vlan", settings["vlan"], f"{tag} or nothing: network {network['name']} has that tag"
            )
        protocol = settings.get("vlan_protocol", "802.1q")
        if protocol != "802.1q":  # the tag of xapi's VLANs, on the kernel's bridges and on Open vSwitch
            accepted = f"802.1q or nothing: network {network['name']} is an 802.1q VLAN"
            raise bad_argument("vlan_protocol", protocol, accepted)
    return wish._replace(value=network["uuid"], settings=settings)


def _target(at: Work, wish: Wish, number: int) -> Tuple[str, Choice]:
    """The host of the VM's VFs, and the choice as the ledger keeps it, of the request of this number. The
    host: the lease's if it is live, else the one asked for, else the VM's affinity, else the best."""
    vm, entry = at.vm, at.entry
    leased = at.topology.live_host(entry.lease.host) if entry.lease else None
    if entry.is_parked:
        leased = wish.host or leased
    if leased and wish.host and leased != wish.host:
        raise SriovError(
            "SRIOV_BAD_ARGUMENT",
            f"The VFs of VM {vm.name} are on host {at.topology.members[leased].name}, not on host "
            f"{at.topology.members[wish.host].name}.",
            "Leave host_uuid out, or move them all first (`reinstate_vfs` with host_uuid).",
        )
    fixed = leased or wish.host
    asked = {fixed: at.host(fixed)} if fixed else at.surveyed.hosts
    options = {uuid: choice for uuid, one in asked.items() for choice in [_choice(one, wish)] if choice}
    if not options:
        raise _nothing(at, wish, asked)
    if vm.affinity in options and not fixed:
        fixed = vm.affinity
    if fixed is not None:
        return fixed, options[fixed]
    asks = {uuid: _with(entry, Request(number, choice, {})) for uuid, choice in options.items()}
    best = locked.best_host(at, asks, None)
    return best, options[best]


def _choice(where: Surveyed, wish: Wish) -> Optional[Choice]:
    """The wish in the terms of one host; None where it has no such thing."""
    if wish.kind == "pf":
        pf = where.inventory.pf(wish.value)
        if pf is None or pf.management is not False:
            return None
        if wish.value != pf.address and len(pf.ports) > 1:
            accepted = (
                f"a PF with one port, or an address; {pf.address} has several ports: use network, vf or that"
            )
            raise bad_argument("pf", wish.value, accepted)
        return Choice("pf", pf.address, pf.function.device)
    if wish.kind == "vf":
        vf = where.inventory.vfs.get(wish.value)
        return Choice("vf", vf.address, vf.device) if vf else None
    return Choice(wish.kind, wish.value)


def _nothing(at: Work, wish: Wish, asked: Mapping[str, Surveyed]) -> SriovError:
    for one in asked.values():
        pf = one.inventory.pf(wish.value) if wish.kind == "pf" else None
        if pf is not None:  # _choice has passed it over
            closed = one.closed[pf.address]
            return SriovError(closed.code, f"{closed.message}.", closed.hint)
    names = ", ".join(sorted(one.member.name for one in asked.values())) or "no host"
    silent = " ".join(problem.message for problem in at.surveyed.problems.values())
    what = {"pf": "SR-IOV capable device", "vf": "VF"}.get(wish.kind, "VF of")
    return SriovError(
        "SRIOV_NOT_FOUND",
        f"No {what} `{wish.value}` was found (asked: {names}). {silent}".strip(),
        "`list_pfs` and `list_vfs` show what a host has.",
    )


def _warnings(
    at: Work,
    vf: VfState,
    port: Optional[PortState],
    before: Mapping[int, str],
    vfs: Mapping[int, str],
) -> List[str]:
    """`before`: the VFs of the requests that ask for what they asked for before."""
    found = [problem.message for problem in at.surveyed.problems.values()]
    if port is not None and port.link_up is False:
        found.append(f"The link of {port.port.interface} is down.")
    if vf.function.port.why is not None:
        found.append(f"{vf.address} is {vf.function.port.why}, so its network is not known.")
    return found + [
        f"Request {number} had {before[number]}, which the VM can no longer have; it has {vfs[number]} now."
        for number in sorted(before)
        if vfs[number] != before[number]
    ]
