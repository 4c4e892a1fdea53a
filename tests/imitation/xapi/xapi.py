"""An imitation of xapi: one pool's database, and its calls over XML-RPC and JSON-RPC.

What a call does is in the modules whose tables of calls are joined here. It needs the standard library alone,
so that it runs in a real dom0 too.
"""

import os
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import evacuation
import events
import ha
import host_life
import host_reboot
import mastership
import membership
import messages
import networks
import objects
import pci_objects
import pgpus
import pifs
import plugin_calls
import pool_ha
import resync
import sessions
import tasks
import vif_functions
import vm_blocks
import vm_copies
import vm_metadata
import vm_migrate
import vm_moves
import vm_start
from calls import Calls, Origin
from database import Database, new_ref
from dispatch import answer
from hosts import HostDescription, add_host
from hypervisor import hypervisor_of
from plugin_calls import Dom0
from reach import Reach
from server import Server
from values import Failure
from vm_operations import Life
from workers import Workers

TABLES = (
    *(objects.CALLS, sessions.CALLS, tasks.CALLS, plugin_calls.CALLS, messages.CALLS, networks.CALLS),
    *(host_life.CALLS, host_reboot.CALLS, membership.CALLS, evacuation.CALLS, ha.CALLS, pool_ha.CALLS),
    *(vm_start.CALLS, vm_moves.CALLS, vm_migrate.CALLS, vm_copies.CALLS, vm_blocks.CALLS),
    *(vif_functions.CALLS, events.CALLS),
)
INITIALISED = "/var/run/xapi_init_complete.cookie"


class Xapi:
    """A pool. Its hosts are added one by one, the master first; then it can be listened for."""

    def __init__(self, password: str = "password") -> None:
        self.password = password  # root's, asked for over TCP
        self.database = Database()
        self.dom0s: Dict[str, Dom0] = {}
        self.calls: Calls = {}
        for table in TABLES:
            self.calls.update(table)
        self.url = ""
        self.users: Dict[str, str] = {}  # beside root: names, and the role of each
        self.roles_of_sessions: Dict[str, str] = {}  # of sessions that are not root's
        self.checks_whole_maps = True  # False: as before 26.12, see roles.py
        self.reach = Reach()
        self.workers = Workers()
        self.life = Life(self.database)
        self.database.watch = self._written
        self.boot: Callable[[str], bool] = lambda _host: (
            True
        )  # of a host's machine; False: it does not come up
        self._server = Server(self)
        self._sockets: Dict[str, str] = {}
        self._urls: Dict[str, str] = {}
        self._to_be_again: Dict[str, str] = {}  # of hosts that are down

    def _written(self, class_name: str, ref: str) -> None:
        if class_name == "VM":
            vm_metadata.noticed(self, ref)

    def add_host(self, description: HostDescription, dom0: Dom0, socket: Optional[str] = None) -> str:
        """A host more, with the Unix socket that its dom0 reaches xapi by; its reference."""
        ref = new_ref()
        self.dom0s[ref] = dom0
        add_host(self.database, description, ref)
        mastership.write_pool_conf(self, ref)
        mastership.note_start(self, ref)
        self._look_at_devices(ref)
        if socket is not None:
            self._sockets[ref] = socket
            self._server.listen_unix(socket, ref)
        self._note_initialised(ref, True)
        return ref

    def _note_initialised(self, host: str, is_so: bool) -> None:
        """The file by which dom0 knows that xapi has started (xen-api: scripts/xapi-init)."""
        machine = self.dom0s[host].machine if host in self.dom0s else None
        if machine is not None and is_so:
            machine.make_folder(os.path.dirname(INITIALISED))
            machine.replace_file(INITIALISED, b"")
        elif machine is not None:
            machine.remove_file(INITIALISED)

    def _look_at_devices(self, host: str) -> None:
        pci_objects.look(self, host)
        pgpus.look(self, host)
        pifs.refresh(self, host)

    @property
    def pool(self) -> str:
        (pool,) = self.database.refs("pool")
        return pool

    @property
    def master(self) -> str:
        return str(self.database.get("pool", self.pool, "master"))

    def is_live(self, host: str) -> bool:
        """Whether the master holds the host for alive; it may not know yet that it is gone."""
        if host not in self.dom0s:
            return False
        metrics = self.database.get("host", host, "metrics")
        return bool(self.database.get("host_metrics", metrics, "live"))

    def forward(self, host: str) -> None:
        """The way of a call from the master to the host that carries it out: fails, or waits, where the
        host does. A wrong reference fails like a dead host."""
        if not self.is_live(host):
            raise Failure("HOST_OFFLINE", host)
        self.reach.contact(host)

    def call(self, method: str, *params: Any) -> Any:
        """A call of the API from inside, in root's name; raises Failure."""
        origin = Origin(self.master, local=True)
        session = answer(self, origin, "session.login_with_password", ["root", ""])
        try:
            return answer(self, origin, method, [session, *params])
        finally:
            if self.database.exists("session", session):  # a new master knows no sessions
                answer(self, origin, "session.logout", [session])

    def listen(self, address: Tuple[str, int] = ("127.0.0.1", 0)) -> str:
        """Serves the master's clients over TCP; the url."""
        self.url = self._urls[self.master] = self._server.listen_tcp(address, self.master)
        return self.url

    def url_of(self, host: str) -> str:
        """Where clients reach this host over TCP, be it the master or not."""
        if host not in self._urls:
            self._urls[host] = self._server.listen_tcp(("127.0.0.1", 0), host)
        return self._urls[host]

    def restart_toolstack(self, host: str) -> None:
        """What `xe-toolstack-restart` on the host changes; on the master sessions and tasks end."""
        if host == self.master:
            mastership.forget_callers(self)
        self._look_at_devices(host)
        resync.resync(self, host)

    @contextmanager
    def silent(self, host: str) -> Iterator[None]:
        """The host's xapi refuses connections, as while it restarts; calls under way are answered."""
        self._server.close_host(host)
        self._note_initialised(host, False)
        try:
            yield
        finally:
            self._note_initialised(host, True)
            if host in self._sockets:
                self._server.listen_unix(self._sockets[host], host)
            if host in self._urls:
                self._listen_again(host, self._urls[host])

    def lose_host(self, host: str) -> None:
        """Power cut: its programs end, nobody answers for it. The master has yet to notice that."""
        self._server.close_host(host)
        self._note_initialised(host, False)
        self._urls.pop(host, None)
        self.reach.lose(host)
        self.life.forget_xenopsd(host)

    def notice_dead(self, host: str) -> None:
        """The master has missed its heartbeats (or HA's) for long enough."""
        self._set_live(host, False)

    def find_host_again(self, host: str) -> None:
        """Its xapi has started: it answers, and the master knows."""
        self.reach.find_again(host)
        self._set_live(host, True)
        mastership.write_pool_conf(self, host)
        self._look_at_devices(host)
        resync.resync(self, host)
        if host in self._sockets:
            self._server.listen_unix(self._sockets[host], host)
        self._note_initialised(host, True)

    def power_cycle(self, host: str) -> None:
        """The host goes down by itself, which its master does not notice, and boots. Sessions and tasks end
        with the master's xapi."""
        self._to_be_again[host] = self._urls.get(host, "")
        self.lose_host(host)
        if host == self.master:
            mastership.forget_callers(self)
        self.power_on(host)

    def power_on(self, host: str) -> None:
        """Its xapi starts, if its machine comes up."""
        if not self.boot(host) or self.reach.over:
            return
        host_reboot.note_boot(self, host)
        self.find_host_again(host)
        url = self._to_be_again.pop(host, "")
        if url:
            self._listen_again(host, url)

    def _listen_again(self, host: str, url: str) -> None:
        address, _, port = url.rpartition("/")[2].partition(":")
        self._urls[host] = self._server.listen_tcp((address, int(port)), host)

    def replace_host(self, host: str, dom0: Dom0, socket: str) -> None:
        """A lost host comes back with another disk."""
        self.dom0s[host], self._sockets[host] = dom0, socket
        self.life.set_hypervisor(host, hypervisor_of(dom0.machine))
        self.find_host_again(host)

    def forget_host(self, host: str) -> None:
        """It is no host of this pool any more."""
        self._server.close_host(host)
        self.dom0s.pop(host, None)
        for known in (self._sockets, self._urls):
            known.pop(host, None)

    def _set_live(self, host: str, live: bool) -> None:
        self.database.set("host_metrics", self.database.get("host", host, "metrics"), "live", live)

    def close(self) -> None:
        """Ends what it has begun: calls, tasks, programs and what these have started. When it returns nothing
        of that is at work, in no folder of a host."""
        self.reach.end()
        self.life.end()
        self._server.close()
        self.workers.wait()
        self.reach.wait_for_the_rest()

    def __enter__(self) -> "Xapi":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()
