"""The HTTP face of xapi: XML-RPC on every path, JSON-RPC on /jsonrpc, xenopsd at /services/xenops, over TCP
and Unix sockets.

Imitates session.json: status codes and content types.
"""

import html
import os
import selectors
import socket
import socketserver
import sys
import threading
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Set, Tuple, cast

import services
import wire
from calls import Origin
from dispatch import answer
from values import Failure, internal_error

if TYPE_CHECKING:
    from xapi import Xapi


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open for further requests
    wbufsize = 65536  # head and body in one packet, not two that wait for each other

    @property
    def listener(self) -> "_Listener":
        return cast("_Listener", self.server)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.listener.xapi.reach.answers(self.listener.origin.host):
            self.close_connection = True  # a connection from before the host was gone
            return
        try:
            if services.is_asked_for(self.path):
                self._reply(*services.answer(self.listener.xapi, self.listener.origin, self.path, body))
            elif self.path == "/jsonrpc":
                self._reply(200, "application/json", self._json_rpc(body))
            else:
                self._reply(200, "text/xml", self._xml_rpc(body))
        except wire.NotRpc as error:
            self._reply(500, "text/html", f"<html><body>{html.escape(str(error))}</body></html>")

    def _xml_rpc(self, body: bytes) -> str:
        method, params = wire.read_request(body)
        try:
            return wire.xml_success(self._answer(method, params))
        except Failure as failure:
            return wire.xml_failure(failure)

    def _json_rpc(self, body: bytes) -> str:
        request = wire.read_json_request(body)
        try:
            return wire.json_success(request, self._answer(request.method, request.params))
        except Failure as failure:
            return wire.json_failure(request, failure)

    def _answer(self, method: str, params: List[Any]) -> Any:
        try:
            return answer(self.listener.xapi, self.listener.origin, method, params)
        except Failure:
            raise
        except Exception as error:  # a mistake of the imitation: say so, where xapi would say its own
            traceback.print_exc()
            raise internal_error(repr(error)) from error

    def _reply(self, status: int, content_type: str, text: str) -> None:
        body = text.encode("utf-8", "surrogateescape")
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: tests read what the programs under test print."""


class _TcpHandler(_Handler):
    disable_nagle_algorithm = True


class _Listener(socketserver.ThreadingMixIn):
    """What both kinds of listener know."""

    daemon_threads = True  # an idle connection keeps no program alive
    request_queue_size = 128
    xapi: "Xapi"
    origin: Origin
    connections: Set[socket.socket]  # that are open, of all listeners

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, which the connection ends with."""
        self.connections.add(request)
        self.xapi.workers.start("call", self.process_request_thread, request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)  # type: ignore[misc] # a mixin: its base is the other one

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """A client that went away before its answer is no mistake of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            traceback.print_exc()


class _TcpListener(_Listener, socketserver.TCPServer):
    allow_reuse_address = True


class _UnixListener(_Listener, socketserver.UnixStreamServer):
    def server_close(self) -> None:
        super().server_close()
        os.unlink(cast(str, self.server_address))


class Server:
    """The sockets that a Xapi listens on. One thread waits for all of them: a pool may have many hosts."""

    def __init__(self, xapi: "Xapi") -> None:
        self._xapi = xapi
        self._lock = threading.Lock()
        self._listeners: Dict[_Listener, str] = {}  # and the host of each
        self._connections: Set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._thread: Optional[threading.Thread] = None
        self._waker, self._wakes = socket.socketpair()
        self._selector.register(self._wakes, selectors.EVENT_READ)

    def listen_tcp(self, address: Tuple[str, int], host: str) -> str:
        """Listens for the clients of this host's xapi; the url, with the port that was chosen for 0."""
        listener = _TcpListener(address, _TcpHandler)
        self._add(listener, Origin(host, local=False))
        return "http://{}:{}".format(*listener.socket.getsockname())

    def listen_unix(self, path: str, host: str) -> None:
        """Listens for the programs of this host's dom0."""
        if os.path.exists(path):
            os.unlink(path)  # one that was left over
        self._add(_UnixListener(path, _Handler), Origin(host, local=True))

    def _add(self, listener: Any, origin: Origin) -> None:
        listener.xapi = self._xapi
        listener.origin = origin
        listener.connections = self._connections
        listener.socket.setblocking(False)  # nobody waits for a client that went away again
        with self._lock:
            self._listeners[listener] = origin.host
            self._selector.register(listener, selectors.EVENT_READ)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="xapi", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            ready: List[Any] = [key.fileobj for key, _ in self._selector.select()]
            if self._wakes in ready:
                return
            for listener in ready:
                with self._lock:
                    if listener in self._listeners:  # nobody has closed it meanwhile
                        listener._handle_request_noblock()

    def close_host(self, host: str) -> None:
        """Nobody listens for this host any more; calls that it has taken are answered."""
        with self._lock:
            for listener in [one for one, its_host in self._listeners.items() if its_host == host]:
                self._close(listener)

    def _close(self, listener: Any) -> None:
        del self._listeners[listener]
        self._selector.unregister(listener)
        listener.server_close()

    def close(self) -> None:
        """Nobody listens any more, and callers are hung up on. Who answers one may still be at work."""
        if self._thread is not None:
            self._waker.send(b".")
            self._thread.join()
            self._thread = None
        with self._lock:
            for listener in list(self._listeners):
                self._close(listener)
        for connection in list(self._connections):
            with suppress(OSError):  # the other end has just gone
                connection.shutdown(socket.SHUT_RDWR)
        self._selector.close()
        self._waker.close()
        self._wakes.close()
