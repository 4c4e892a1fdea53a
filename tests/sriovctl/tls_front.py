"""TLS before the plain HTTP of a box, as stunnel stands before xapi; it keeps all that clients have sent."""

import socket
import ssl
import threading
from contextlib import contextmanager
from typing import Any, Iterator, List

from certificate_maker import Made


class Front:
    """Listens on 127.0.0.1; `show` is the certificate from the next connection on, `behind` the port that
    what clients send goes to."""

    def __init__(self, behind: int, show: Made) -> None:
        self.behind = behind
        self.received = b""  # after the handshake, of all connections
        self.answers = threading.Event()  # while it is not set, no answer comes through
        self.answers.set()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(32)
        self._open: List[socket.socket] = []
        self._threads: List[threading.Thread] = []
        self.show(show)
        self._start(self._accept)

    def show(self, made: Made) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(made.certificate, made.key)

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._listener.getsockname())

    def _start(self, act: Any, *args: Any) -> None:
        thread = threading.Thread(target=act, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._open.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            secured = self._context.wrap_socket(client, server_side=True)
        except OSError:  # it did not like the certificate
            client.close()
            return
        server = socket.create_connection(("127.0.0.1", self.behind))
        self._open += [secured, server]
        self._start(self._pass_on, server, secured)
        self._pass_on(secured, server, record=True)

    def _pass_on(self, source: socket.socket, sink: socket.socket, record: bool = False) -> None:
        try:
            while True:
                data = source.recv(65536)
                if record:
                    self.received += data
                else:
                    self.answers.wait()
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def hang_up(self) -> None:
        """On all clients; new ones are welcome."""
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.answers.set()
        self.hang_up()
        for thread in self._threads:
            thread.join(30)
        for one in self._open:
            one.close()


@contextmanager
def front(url: str, show: Made) -> Iterator[Front]:
    """Before the http:// address of a host of a box."""
    made = Front(int(url.rpartition(":")[2]), show)
    try:
        yield made
    finally:
        made.close()
