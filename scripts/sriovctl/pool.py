"""The pool: its hosts, calls of the plugin on one of them or on all at once, records of xapi."""

import json
import threading
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from sriovlib.safetext import safe

from .connection import Connection
from .errors import Failed, Unreachable, XapiFailed, of_xapi

PLUGIN = "sriov"


class Host(NamedTuple):
    """A host as xapi's database has it: `live` is the master's opinion."""

    ref: str
    uuid: str
    name: str
    address: str
    enabled: bool
    live: bool
    master: bool


class Answer(NamedTuple):
    """What a host answered, or why it did not."""

    host: Host
    value: Any
    error: Optional[Failed]


class Pool:
    """The pool behind a connection. Hosts and records are read once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._read: Dict[str, Dict[str, Dict[str, Any]]] = {}

    def call(self, method: str, *params: Any) -> Any:
        """A XenAPI call; raises Failed."""
        return self._call(f"pool {self._name_if_read}".strip(), method, *params)

    def _call(self, asked: str, method: str, *params: Any) -> Any:
        try:
            return self.connection.call(method, *params)
        except XapiFailed as failure:
            raise of_xapi(failure.details, asked) from failure
        except Unreachable as error:
            raise Failed(
                "NO_ANSWER",
                f"No answer to {method} of {asked}: {safe(str(error))}.",
                "Is its xapi up? Call again.",
            ) from error

    # -- xapi's database ---------------------------------------------------------------------------------

    def records(self, of: str) -> Dict[str, Dict[str, Any]]:
        """All records of a class (`host`, `network`, `VM` ...) by reference, as the first look found them."""
        if of not in self._read:
            self._read[of] = self.call(f"{of}.get_all_records")
        return self._read[of]

    def forget(self) -> None:
        """The next look is a new one."""
        self._read.clear()

    @property
    def ref(self) -> str:
        (ref,) = self.records("pool")
        return ref

    @property
    def record(self) -> Dict[str, Any]:
        return self.records("pool")[self.ref]

    @property
    def uuid(self) -> str:
        return str(self.record["uuid"])

    @property
    def name(self) -> str:
        """Its name-label; a pool of one host has often none, and goes by its master's."""
        return safe(self.record["name_label"]) or self.master_host.name

    @property
    def _name_if_read(self) -> str:
        return self.name if {"pool", "host", "host_metrics"} <= set(self._read) else ""

    @property
    def hosts(self) -> List[Host]:
        """By name."""
        metrics, master = self.records("host_metrics"), self.record["master"]
        hosts = [
            Host(
                ref,
                record["uuid"],
                safe(record["name_label"]),
                record["address"],
                record["enabled"],
                bool(metrics.get(record["metrics"], {}).get("live")),
                ref == master,
            )
            for ref, record in self.records("host").items()
        ]
        return sorted(hosts, key=lambda host: (host.name, host.uuid))

    @property
    def master_host(self) -> Host:
        return next(host for host in self.hosts if host.master)

    def other_config(self) -> Dict[str, str]:
        """The pool's, read now."""
        return dict(self.call("pool.get_other_config", self.ref))

    # -- the plugin ----------------------------------------------------------------------------------------

    def plugin(self, host: Host, function: str, **args: str) -> Any:
        """The JSON value that the plugin of the host answers; raises Failed."""
        asked = f"host {host.name}"
        answer = self._call(asked, "host.call_plugin", host.ref, PLUGIN, function, args)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise Failed(
                "BAD_ANSWER",
                f"The plugin of {asked} answered {function} with something that is no JSON.",
                "Is another plugin called `sriov` installed there?",
            ) from error

    def master(self, function: str, **args: str) -> Any:
        """The same of a pool function."""
        return self.plugin(self.master_host, function, **args)

    def ask(self, hosts: Iterable[Host], function: str, **args: str) -> List[Answer]:
        """What each host answers, all asked at once, in their order. A host that fails is an answer too."""
        hosts = list(hosts)
        answers: List[Optional[Answer]] = [None] * len(hosts)

        def ask_one(place: int, host: Host) -> None:
            try:
                answers[place] = Answer(host, self.plugin(host, function, **args), None)
            except Failed as failed:
                answers[place] = Answer(host, None, failed)
            except Exception as error:  # must not end a thread unseen
                said = f"{function} of host {host.name} failed unexpectedly: {error!r}."
                answers[place] = Answer(host, None, Failed("INTERNAL_ERROR", said, "Please report it."))

        threads = [
            threading.Thread(target=ask_one, args=one, name=one[1].name, daemon=True)
            for one in enumerate(hosts)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [answer for answer in answers if answer is not None]
