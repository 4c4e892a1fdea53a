"""Which VFs a VM may have by a lease of its own only, whoever wrote its entry. Pure.

Roles below pool-admin bring a VM with any `pci` into the pool: VM.create, VM.clone, VM.revert and an import
carry it, and before xapi 26.12 so did VM.set_other_config (XSA-489; xen-api: ocaml/idl/datamodel_vm.ml). All
else on a VM they can write. So whether an entry is a copy of another VM's cannot be seen on the VM; what
others have or had leases of can, in the ledger. And a VF without a VLAN of its own sends and takes tagged
frames, so in a network of which VMs have VFs in VLANs it opens them all.
"""

from typing import Dict, Iterable, List, Mapping, Sequence, Set

from .ledger import Entry
from .placement import Candidate


def lessees(entries: Mapping[str, Entry]) -> Dict[str, List[str]]:
    """Address -> the VMs with requests that have or had a lease of it on any host, the last one first."""
    found: Dict[str, List[str]] = {}
    ranked = [(entry.lease.serial if entry.lease else -1, uuid) for uuid, entry in entries.items()]
    for _, uuid in sorted(ranked, reverse=True):
        for address in entries[uuid].ever_leased if entries[uuid].requests else ():
            found.setdefault(address, []).append(uuid)
    return found


def leased_to_others(
    those: Mapping[str, Sequence[str]], vm_uuid: str, named: Iterable[str]
) -> Dict[str, str]:
    """Those of the addresses that another VM has or had a lease of, and which VM. `those`: lessees."""
    others = {address: [uuid for uuid in those.get(address, ()) if uuid != vm_uuid] for address in named}
    return {address: uuids[0] for address, uuids in others.items() if uuids}


def in_vlans(
    entries: Iterable[Entry],
    host: str,
    candidates: Sequence[Candidate],
    wires: Mapping[str, Set[str]],
    unread: bool,
) -> Dict[str, bool]:
    """Address -> whether it is certain, of the host's VFs that are in a network in which VMs have VFs in
    VLANs, or may be: a key of the ledger that is `unread` may be about any network. `wires`: network -> all
    that stand on its ports on some host (networks.wires)."""
    here = {candidate.address: candidate for candidate in candidates}
    pfs, networks = set(), set()
    elsewhere = False  # on another host, in a network that is not known
    for entry in entries:
        for request in (one for one in entry.requests if one.vlan):
            if request.choice.kind == "network":
                networks.add(request.choice.value)
            if entry.lease is None or request.number not in entry.lease.vfs:
                continue
            vf = here.get(entry.lease.vfs[request.number]) if entry.lease.host == host else None
            if vf is not None:
                pfs.add(vf.pf)
                networks.update(vf.networks)
            elif request.choice.kind != "network":
                known = entry.lease.networks.get(request.number)
                networks.update(known or ())
                elsewhere = elsewhere or known is None
    if not (pfs or networks or elsewhere or unread):
        return {}
    networks.update(*(wires.get(network, ()) for network in networks))

    def is_among(one: Candidate, anywhere: bool) -> bool:
        own = one.networks | one.no_network
        return one.pf in pfs or bool(own & networks) or (anywhere and bool(own))

    return {one.address: is_among(one, elsewhere) for one in candidates if is_among(one, elsewhere or unread)}


def remedy(vm: str, address: str, host: str, has_requests: bool) -> str:
    """The call that leases the VF of an entry by hand to its VM."""
    if has_requests:
        return f"`assign_vf` with vm_uuid={vm}, vf={address} and host_uuid={host}"
    return f"`adopt_vm` with vm_uuid={vm} and host_uuid={host} (dry_run=true shows what it gets)"
