"""What the pool's hosts answer to `inventory`, asked at the same time; this host looks without a call.

What a host told before is not read again, nor is it unpacked before somebody asks for it.
"""

import json
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Tuple, Union

from .. import digest
from ..errors import SriovError, unforeseen
from ..machine.host import Host
from ..vf.inventory_json import HostInventory
from ..xapi.at_once import Calls
from ..xapi.own_session import OwnSession
from ..xapi.session import XapiFailure
from . import kept_inventories
from .hosts import Member, Topology
from .kept_inventories import Inventories

if TYPE_CHECKING:
    from .told import Told

SECONDS = 10  # for one host's answer; a host that takes longer is left out
_LONGEST = 200  # bytes, of an answer that is a digest alone


_Own = Union[HostInventory, "Told", Exception]  # of this host: the latter is what its look failed with


class HostAnswers:
    """By UUID of the host."""

    def __init__(
        self, texts: Mapping[str, Union[str, Exception]], own: Mapping[str, _Own], kept: Inventories
    ) -> None:
        self._own = own  # of this host, if it was asked
        self._kept = kept
        self._texts = {uuid: text for uuid, text in texts.items() if not self._is_kept(uuid, text)}
        self._as_before = [uuid for uuid in texts if uuid not in self._texts]
        self._told: Optional[Dict[str, Union[Told, Exception]]] = None

    def _is_kept(self, uuid: str, text: Union[str, Exception]) -> bool:
        """Whether the host says that its inventory is the one that it told before."""
        if uuid not in self._kept.digests or not isinstance(text, str) or len(text) > _LONGEST:
            return False
        try:
            return bool(json.loads(text) == {"digest": self._kept.digests[uuid]})
        except ValueError:
            return False

    @property
    def is_as_before(self) -> bool:
        """Whether each host but this one told what it told before."""
        return not self._texts

    def of_others(self) -> Iterator[Tuple[str, Union["Told", Exception]]]:
        return ((uuid, one) for uuid, one in self.told.items() if uuid not in self._own)

    @property
    def identity(self) -> Optional[str]:
        """Other answers have another one; None where a host did not answer, or gives no digest."""
        found: Dict[str, Optional[str]] = {uuid: self._kept.digests[uuid] for uuid in self._as_before}
        found.update((uuid, _digest(self.told[uuid])) for uuid in self._texts)
        found.update((uuid, _digest_of_own(inventory)) for uuid, inventory in self._own.items())
        return None if None in found.values() else json.dumps(sorted(found.items()))

    @property
    def told(self) -> Dict[str, Union["Told", Exception]]:
        """What each host told, or what that failed with: what is wrong with one must not cost the pool its
        answer."""
        if self._told is None:
            from . import told

            found: Dict[str, Union[Told, Exception]] = {}
            found.update((uuid, self._kept.told[uuid]) for uuid in self._as_before)
            found.update((uuid, _made(told.of_text, text)) for uuid, text in self._texts.items())
            for uuid, one in self._own.items():
                found[uuid] = one if isinstance(one, told.Told) else _made(told.of_inventory, one)
            self._told = found
        return self._told


def ask(
    host: Host,
    session: OwnSession,
    topology: Topology,
    asked: Sequence[Member],
    meanwhile: Callable[[], object] = lambda: None,
    whole: bool = True,
) -> HostAnswers:
    """Of these hosts, each for at most `SECONDS`. `meanwhile` is done while other hosts look, where there are
    any. `whole`: this host is looked at for all that is in its inventory; else for the rest of it where
    somebody asks (told.of_own), and what it told has no identity."""
    others = {member.uuid: member.ref for member in asked if member.uuid != topology.own}
    kept = kept_inventories.load(host) if others else kept_inventories.NONE
    with Calls(host, session, SECONDS) as calls:
        for uuid, ref in others.items():
            args = {"known": kept.digests[uuid]} if uuid in kept.digests else {}
            calls.make(uuid, "host.call_plugin", ref, "sriov", "inventory", args)
        own = {topology.own: _looked(host, whole)} if len(others) < len(asked) else {}
        if others:
            meanwhile()
        texts = dict(calls.answers())
    refusing = [uuid for uuid in texts if uuid in kept.digests and _is_refused(texts[uuid])]
    with Calls(host, session, SECONDS) as calls:
        for uuid in refusing:  # its package is of a version without digests, since it was asked last
            calls.make(uuid, "host.call_plugin", others[uuid], "sriov", "inventory", {})
        texts.update(calls.answers())
    found = HostAnswers(texts, own, kept)
    _keep(host, topology, kept, found)
    return found


def _looked(host: Host, whole: bool) -> _Own:
    """At this host. Of a bug of ours the log has more than its pool is told."""
    try:
        if whole:
            from ..vf import host_inventory  # it loads much, as told.of_own says

            return host_inventory.read(host)
        from . import told

        return told.of_own(host)
    except (OSError, SriovError) as error:
        return error
    except Exception as error:
        return unforeseen("inventory", error, host.log)


def _is_refused(answer: Union[str, Exception]) -> bool:
    return isinstance(answer, XapiFailure) and answer.details[0] == "SRIOV_BAD_ARGUMENT"


def _made(make: Callable[[Any], Any], of: Any) -> Any:
    """Or what that failed with, which it may be of already."""
    try:
        return of if isinstance(of, Exception) else make(of)
    except Exception as error:
        return error


def _digest(told: Union["Told", Exception]) -> Optional[str]:
    return None if isinstance(told, Exception) else told.digest


def _digest_of_own(inventory: _Own) -> Optional[str]:
    """Of all that is in it; `to_json` may leave something out."""
    return digest.of(json.dumps(inventory).encode()) if isinstance(inventory, HostInventory) else None


def _keep(host: Host, topology: Topology, kept: Inventories, found: HostAnswers) -> None:
    """A host that did not answer now may do so the next time. One that gives no digest cannot confirm
    anything."""
    if found.is_as_before and kept.digests.keys() <= topology.members.keys():
        return
    now = {uuid: one for uuid, one in kept.told.items() if uuid in topology.members}
    for uuid, one in found.of_others():
        if not isinstance(one, Exception):
            now.pop(uuid, None)
            if one.digest is not None:
                now[uuid] = one
    if now != kept.told:
        kept_inventories.store(host, now)
