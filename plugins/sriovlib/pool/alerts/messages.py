"""Tells a person by a message of xapi's, once, and destroys the message when that is over.

xapi makes a message as often as it is asked to (xen-api: ocaml/xapi/xapi_message.ml). So what was told is
kept in a key of the pool, `sriov-alert-NAME.UUID`: the message's UUID, and that of the master that told it.
Where a person has destroyed the message, the key is there still, and nothing is told again. A new master has
the messages of the last daily copy only (ocaml/xapi/xapi_sync.ml): it tells once more what it has none of, as
it cannot know that a person has destroyed one.

Whatever fails here is logged and tried again at the next check; nothing else fails for it.
"""

from functools import partial
from typing import Callable, Dict, Mapping, Tuple

from ...errors import SriovError
from ...machine.host import Host
from ...safetext import safe
from ...xapi.session import Xapi, XapiError, XapiFailure
from .. import hosts
from ..networks import NULL
from . import KINDS, Alert

PREFIX = "sriov-alert-"
LOCK_SECONDS = 5  # a start may wait for us
EPOCH = "19700101T00:00:00Z"


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
            for alert in messages.told.keys() - found.keys():
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
        self.told = read(xapi.call("pool.get_other_config", self._pool))

    def is_told(self, alert: Alert) -> bool:
        return _parts(self.told.get(alert, ""))[1] == self._own

    def tell(self, alert: Alert, text: str) -> None:
        """By the message that is there already, where a key of it was not written or is another master's."""
        class_name, priority = KINDS[alert.code]
        there = self._xapi.call("message.get", class_name, alert.uuid, EPOCH)
        uuids = [record["uuid"] for record in there.values() if record["name"] == alert.code]
        if not uuids:
            ref = self._xapi.call("message.create", alert.code, priority, class_name, alert.uuid, safe(text))
            if ref == NULL:
                raise XapiFailure(["xapi could not write it (is its disk full?)"])
            uuids = [self._xapi.call("message.get_record", ref)["uuid"]]
        if alert in self.told:
            self._remove_key(alert)
        self._xapi.call("pool.add_to_other_config", self._pool, _key(alert), f"{uuids[0]} {self._own}")

    def take_back(self, alert: Alert) -> None:
        """By the message's own UUID: its object may be gone."""
        try:
            ref = self._xapi.call("message.get_by_uuid", _parts(self.told[alert])[0])
            self._xapi.call("message.destroy", ref)
        except XapiFailure as failure:
            if failure.details[0] not in ("UUID_INVALID", "HANDLE_INVALID"):
                raise
        self._remove_key(alert)

    def _remove_key(self, alert: Alert) -> None:
        self._xapi.call("pool.remove_from_other_config", self._pool, _key(alert))


def _key(alert: Alert) -> str:
    return f"{PREFIX}{alert.code}.{alert.uuid}"


def _parts(value: str) -> Tuple[str, str]:
    """Of the message and of the master."""
    message, _, master = value.partition(" ")
    return message, master
