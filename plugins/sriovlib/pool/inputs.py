"""All that is asked of the pool before something is said of it as a whole: of xapi and of all live hosts."""

import json
from typing import Any, List, NamedTuple, Optional

from .. import digest
from ..machine.host import Host
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi
from . import host_answers, hosts
from .host_answers import HostAnswers
from .hosts import Topology
from .records import LEDGER, VMS, Known, Records


class Besides(Xapi):
    """xapi, for what no other input tells. What it was asked for has no identity: nobody knows what it would
    answer the next time."""

    def __init__(self, host: Host, session: OwnSession) -> None:
        super().__init__(host, session)
        self._asked: List[str] = []  # also by those that are `renewed`

    @property
    def identity(self) -> Optional[str]:
        return None if self._asked else ""

    def call(self, method: str, *params: Any) -> Any:
        self._asked.append(method)
        return super().call(method, *params)

    def call_for_each(self, member: str, take: Any, method: str, *params: Any) -> Any:
        self._asked.append(method)
        return super().call_for_each(member, take, method, *params)


class Inputs(NamedTuple):
    """What look.look makes the pool of, and nothing else. Each has an `identity`, which is another one where
    it is not the same, and None where that cannot be said."""

    topology: Topology
    answers: HostAnswers  # of its live hosts
    ledger: Known
    vms: Known
    besides: Besides

    @property
    def key(self) -> Optional[str]:
        """Of all of these: what was made of inputs with this key is what would be made of these. None where
        one of them cannot be known again."""
        inputs: Any = self
        identities = [one.identity for one in inputs]
        return None if None in identities else digest.of(json.dumps(identities).encode())


def ask(records: Records, session: OwnSession) -> Inputs:
    """`session`: that of the records. Raises what `Xapi.call` raises."""
    host = records.host
    topology = hosts.read(host, records)
    answers = host_answers.ask(host, session, topology, topology.live)
    return Inputs(topology, answers, records.ask(LEDGER), records.ask(VMS), Besides(host, session))
