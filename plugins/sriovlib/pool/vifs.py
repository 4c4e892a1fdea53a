"""The VIFs of a VM, and which of them stands in the network of a VF: its guest can bond the two."""

from typing import Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set

from ..xapi.session import Xapi
from .ledger import Request
from .networks import Record

Tags = Mapping[str, Collection[Optional[int]]]  # UUID of a network -> tags of its PIFs, None for one without


class Vif(NamedTuple):
    device: str  # its number in the VM
    mac: str
    network: str  # UUID
    attached: bool


def read(xapi: Xapi, vm_ref: str, networks: Mapping[str, Record]) -> List[Vif]:
    """One call. `networks`: xapi's records by reference."""
    records = xapi.call("VIF.get_all_records_where", f'field "VM" = "{vm_ref}"').values()
    return [
        Vif(
            record["device"], record["MAC"], networks[record["network"]]["uuid"], record["currently_attached"]
        )
        for record in records
        if record["network"] in networks
    ]


def networks(request: Request, serves: Collection[str], tags: Tags) -> Set[str]:
    """Those in which a VIF reaches what the request's VF reaches: on its port, with its tag. `serves`: what
    the VF can serve; of a request by network that is this one, where its host does not answer."""
    tag = request.vlan or None
    named = {request.choice.value} if request.choice.kind == "network" else set()
    found = {network for network in {*serves, *named} if set(tags.get(network, ())) == {tag}}
    return found & named or found


def beside(wanted: Mapping[int, Set[str]], vifs: Iterable[Vif]) -> Dict[int, Vif]:
    """Request -> the VIF to bond its VF with, each VIF for one. `wanted`: request -> what `networks` says."""
    found: Dict[int, Vif] = {}
    left = sorted(vifs, key=lambda vif: (len(vif.device), vif.device))
    for number in sorted(wanted):
        for vif in left:
            if vif.network in wanted[number]:
                found[number] = vif
                left.remove(vif)
                break
    return found
