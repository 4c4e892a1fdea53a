"""Tells a person by a message of xapi's, once, and destroys the message when that is over.

xapi makes a message as often as it is asked to (xen-api: ocaml/xapi/xapi_message.ml). So what was told is
kept in a key of the pool, `sriov-alert-NAME.UUID`: the message's UUID, and that of the master that told it.
Where a person has destroyed the message, the key is there still, and nothing is told again. A new master has
the messages of the last daily copy only (ocaml/xapi/xapi_sync.ml): it tells once more what it has none of, as
it cannot know that a person has destroyed one.

A message without a key is one all the same: of a check that was cut off, or one that was taken back after the
copy that a new master has. So all messages of our names are looked at, and not those alone that keys name.

Whatever fails here is logged and tried again at the next check; nothing else fails for it.
"""

from functools import partial
from typing import Callable, Dict, List, Mapping, Set

from ...errors import SriovError
from ...machine.host import Host
from ...safetext import safe
from ...xapi.session import Xapi, XapiError, XapiFailure
from .. import hosts
from ..networks import NULL
from . import KINDS, Alert

PREFIX = "sriov-alert-"
LOCK_SECONDS = 5  # a start may wait for us
_OURS = " or ".join(f'field "name" = "{code}"' for code in KINDS)


def read(other_config: Mapping[str, str]) -> Dict[Alert, str]:
    """What was told, of the kinds that this version knows, with the values of the keys."""
    found = {}
    for key, value in other_config.items():
        if key.startswith(PREFIX):
            code, dot, uuid = key[len(PREFIX) :].partition(".")
            if dot and code in KINDS:
                found[Alert(code, uuid)] = value
    return found


def tell(host: Host, xapi: Xapi, alert: Alert, text: str) -> None:
    """On the master."""
    settle(host, xapi, {alert: text}, lambda _alert: False)


def settle(host: Host, xapi: Xapi, found: Mapping[Alert, str], is_over: Callable[[Alert], bool]) -> None:
    """Tells what was found and is not told yet, and takes back what was told, was not found and is over. On
    the master."""
    try:
        with host.lock("alerts", "telling a person", LOCK_SECONDS):
            messages = _Messages(xapi, hosts.own_uuid(host))
            for alert in messages.known() - found.keys():
                if is_over(alert):
                    _logged(host, alert, messages.take_back)
            for alert, text in found.items():
                if not messages.is_told(alert):
                    _logged(host, alert, partial(messages.tell, text=text))
    except (SriovError, XapiError) as error:
        host.log(f"messages for people were not looked at: {error}")


def _logged(host: Host, alert: Alert, act: Callable[[Alert], None]) -> None:
    try:
        act(alert)
    except XapiError as error:
        host.log(f"message {alert.code} of {alert.uuid}: {error}")


class _Messages:
    def __init__(self, xapi: Xapi, own: str) -> None:
        self._xapi = xapi
        self._own = own  # UUID of the master, this host
        (self._pool,) = xapi.call("pool.get_all")
        self._told = read(xapi.call("pool.get_other_config", self._pool))
        self._records = xapi.call("message.get_all_records_where", _OURS)
        self._there: Dict[Alert, List[str]] = {}  # references
        for ref, record in self._records.items():
            self._there.setdefault(Alert(record["name"], record["obj_uuid"]), []).append(ref)

    def known(self) -> Set[Alert]:
        """Those that have a key or a message."""
        return self._told.keys() | self._there.keys()

    def is_told(self, alert: Alert) -> bool:
        return self._told.get(alert, "").partition(" ")[2] == self._own

    def tell(self, alert: Alert, text: str) -> None:
        """By the message that is there already, where a key of it was not written or is another master's."""
        uuid = (
            self._records[self._there[alert][0]]["uuid"]
            if alert in self._there
            else self._create(alert, text)
        )
        if alert in self._told:
            self._remove_key(alert)
        self._xapi.call("pool.add_to_other_config", self._pool, _key(alert), f"{uuid} {self._own}")

    def _create(self, alert: Alert, text: str) -> str:
        """Its UUID."""
        class_name, priority = KINDS[alert.code]
        ref = self._xapi.call("message.create", alert.code, priority, class_name, alert.uuid, safe(text))
        if ref == NULL:
            raise XapiFailure(["xapi could not write it (is its disk full?)"])
        return str(self._xapi.call("message.get_record", ref)["uuid"])

    def take_back(self, alert: Alert) -> None:
        for ref in self._there.get(alert, ()):
            try:
                self._xapi.call("message.destroy", ref)
            except XapiFailure as failure:
                if failure.details[0] != "HANDLE_INVALID":  # a person was faster
                    raise
        if alert in self._told:
            self._remove_key(alert)

    def _remove_key(self, alert: Alert) -> None:
        self._xapi.call("pool.remove_from_other_config", self._pool, _key(alert))


def _key(alert: Alert) -> str:
    return f"{PREFIX}{alert.code}.{alert.uuid}"
