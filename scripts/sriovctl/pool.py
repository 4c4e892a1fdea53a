"""The pool: its hosts, calls of the plugin on one of them or on all at once, records of xapi."""

import json
import re
import shlex
import threading
import time
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from sriovlib.safetext import safe

from . import answers, shown
from .connection import Connection
from .errors import NO_ANSWER, Failed, Unreachable, Usage, XapiFailed, of_xapi

PLUGIN = "sriov"
# What it may end with to read a key of the pool's: whoever may write it can have written anything.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
LOOK_SECONDS = 30.0  # that a host may take to answer a question


class Host(NamedTuple):
    """A host as xapi's database has it: `live` is the master's opinion."""

    ref: str
    uuid: str
    name: str
    address: str
    enabled: bool
    live: bool
    master: bool

    @property
    def row(self) -> Dict[str, str]:
        """What says in a record whose it is."""
        return {"host": self.name, "host_uuid": self.uuid}


def _natural(name: str) -> List[Tuple[int, str]]:
    """For sorting: host2 before host10."""
    parts = re.findall("[0-9]+|[^0-9]+", name)
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts]


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
        self._by_uuid: Dict[str, Dict[str, Dict[str, Any]]] = {}
        self._hosts: List[Host] = []
        self.answers: Dict[str, Dict[str, Any]] = {}  # by function and host, of calls without arguments

    def call(self, method: str, *params: Any) -> Any:
        """A XenAPI call; raises Failed."""
        return self._call(f"pool {self._name_if_read}".strip(), method, *params)

    def call_for(self, host: Host, method: str, *params: Any) -> Any:
        """The same of one that is about a host, which a failure then names."""
        return self._call(f"host {host.name}", method, *params)

    def _call(self, asked: str, method: str, *params: Any) -> Any:
        try:
            return self.connection.call(method, *params)
        except XapiFailed as failure:
            raise of_xapi(failure.details, asked) from failure
        except Unreachable as error:
            raise Failed(
                NO_ANSWER,
                f"No answer to {method} of {asked}: {safe(str(error))}.",
                "Is its xapi up? Call again.",
            ) from error

    # -- xapi's database ---------------------------------------------------------------------------------

    def records(self, of: str) -> Dict[str, Dict[str, Any]]:
        """All records of a class (`host`, `network`, `VM` ...) by reference, as the first look found them."""
        if of not in self._read:
            self._read[of] = self.call(f"{of}.get_all_records")
        return self._read[of]

    @property
    def read(self) -> Dict[str, Dict[str, Dict[str, Any]]]:
        """Records that were read until now, by class."""
        return dict(self._read)

    def by_uuid(self, of: str) -> Dict[str, Dict[str, Any]]:
        """The same records by UUID."""
        if of not in self._by_uuid:
            self._by_uuid[of] = {record["uuid"]: record for record in self.records(of).values()}
        return self._by_uuid[of]

    def forget(self) -> None:
        """The next look is a new one."""
        self._read.clear()
        self._by_uuid.clear()
        self._hosts = []

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
        return shown.sentence(self.record["name_label"]) or self.master_host.name

    @property
    def _name_if_read(self) -> str:
        return self.name if {"pool", "host", "host_metrics"} <= set(self._read) else ""

    @property
    def hosts(self) -> List[Host]:
        """By name."""
        if not self._hosts:
            self._hosts = sorted(self._read_hosts(), key=lambda host: (_natural(host.name), host.uuid))
        return self._hosts

    def _read_hosts(self) -> List[Host]:
        metrics, master = self.records("host_metrics"), self.record["master"]
        return [
            Host(
                ref,
                record["uuid"],
                shown.sentence(record["name_label"]),
                record["address"],
                record["enabled"],
                bool(metrics.get(record["metrics"], {}).get("live")),
                ref == master,
            )
            for ref, record in self.records("host").items()
        ]

    def host(self, key: str) -> Optional[Host]:
        """That with this UUID or reference."""
        return next((host for host in self.hosts if key in (host.uuid, host.ref)), None)

    def host_name(self, uuid: str) -> str:
        """The UUID where it is no host of the pool any more."""
        host = self.host(uuid)
        return host.name if host else uuid

    def called(self, by: Any, value: Any) -> Any:
        """What a request asks for, as a person calls it."""
        return self.network_name(value) if by == "network" else value

    def network_name(self, uuid: str) -> str:
        """The UUID where it is no network of the pool any more."""
        record = self.by_uuid("network").get(uuid)
        return shown.sentence(record["name_label"]) if record else uuid

    @property
    def master_host(self) -> Host:
        return next(host for host in self.hosts if host.master)

    def other_config(self) -> Dict[str, str]:
        """The pool's, read now."""
        return dict(self.call("pool.get_other_config", self.ref))

    # -- the plugin ----------------------------------------------------------------------------------------

    def plugin(self, host: Host, function: str, **args: str) -> Any:
        """The JSON value that the plugin of the host answers; raises Failed."""
        for text in args.values():
            if safe(text) != text:
                raise Usage(f"`{safe(text)}` has characters that xapi cannot carry.", "Type it anew.")
        try:
            answer = self._call(f"host {host.name}", "host.call_plugin", host.ref, PLUGIN, function, args)
        except Failed as failed:
            if not is_too_old(failed):
                raise
            update = f"Host {host.name} has an older xapi-sriov than this sriovctl: `sriovctl install RPM`."
            raise Failed(failed.code, failed.message, update) from failed
        value = self.answered(host, function, answer)
        if not args:
            self.answers.setdefault(function, {})[host.name] = value
        return value

    def answered(self, host: Host, function: str, answer: Any) -> Any:
        """The JSON value in what the plugin answered; Failed where it is not that function's."""
        value = _read(function, answer)
        if value is None:
            raise Failed(
                "BAD_ANSWER",
                f"The plugin of host {host.name} answered {function} with something else than xapi-sriov "
                "does.",
                "Is another plugin called `sriov` installed there?",
            )
        return value

    def master(self, function: str, **args: str) -> Any:
        """The same of a pool function."""
        return self.plugin(self.master_host, function, **args)

    def rehearsed(self, host: Host, function: str, **args: str) -> Dict[str, Any]:
        """What the plugin would answer, by its dry run, or Failed with what it would refuse; empty where it
        is too old to say."""
        try:
            return dict(self.plugin(host, function, dry_run="true", **args))
        except Failed as failed:
            if not is_too_old(failed, "dry_run"):
                raise
            return {}

    def ask(
        self, hosts: Iterable[Host], function: str, seconds: float = LOOK_SECONDS, **args: str
    ) -> List[Answer]:
        """What each host answers, all asked at once, in their order. One that fails, or takes longer than
        these seconds, is an answer too."""
        return self.at_once(hosts, lambda host: self.plugin(host, function, **args), seconds)

    def at_once(
        self, hosts: Iterable[Host], act: Callable[[Host], Any], seconds: float = LOOK_SECONDS
    ) -> List[Answer]:
        """The same of any call."""
        return self.together([(host, partial(act, host)) for host in hosts], seconds)

    def together(
        self, calls: Sequence[Tuple[Host, Callable[[], Any]]], seconds: float = LOOK_SECONDS
    ) -> List[Answer]:
        """The same of several calls to a host."""
        given: Dict[int, Answer] = {}

        def ask_one(place: int, host: Host, act: Callable[[], Any]) -> None:
            try:
                given[place] = Answer(host, act(), None)
            except Failed as failed:
                given[place] = Answer(host, None, failed)
            except Exception as error:  # must not end a thread unseen
                said = f"A call to host {host.name} failed unexpectedly: {error!r}."
                given[place] = Answer(host, None, Failed("INTERNAL_ERROR", said, "Please report it."))

        threads = [
            threading.Thread(target=ask_one, args=(place, host, act), name=host.name, daemon=True)
            for place, (host, act) in enumerate(calls)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        return [
            given.get(place) or Answer(host, None, _silent(host, seconds))
            for place, (host, _act) in enumerate(calls)
        ]


def is_too_old(failed: Failed, argument: Optional[str] = None) -> bool:
    """Whether the plugin refused a call since it does not know this argument; or, without one, some argument,
    or the function."""
    unknown = [f" has no argument `{argument}`"] if argument else [" has no argument `", " has no function `"]
    return failed.code == "SRIOV_BAD_ARGUMENT" and any(words in failed.message for words in unknown)


def key_removal(key: str) -> str:
    """The command that takes a key out of the pool's other_config."""
    uuid, quoted = "$(xe pool-list --minimal)", shlex.quote(key)
    return f"`xe pool-param-remove uuid={uuid} param-name=other-config param-key={quoted}`"


def _read(function: str, answer: Any) -> Any:
    """The value of an answer; None where it is not what the function answers."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return value if answers.are_of(function, value) else None


def _silent(host: Host, seconds: float) -> Failed:
    return Failed(
        NO_ANSWER,
        f"Host {host.name} has not answered in {seconds:.0f} s.",
        "Call again with a longer --timeout, or see what keeps it.",
    )
