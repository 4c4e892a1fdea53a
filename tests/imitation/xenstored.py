"""xenstored's socket, as far as one client watches a key: Xen, docs/misc/xenstore.txt (WATCH, and its event
at once), xen/include/public/io/xs_wire.h (struct xsd_sockmsg)."""

import os
import socket
import struct
import threading
from typing import List, Optional

WATCH, WATCH_EVENT, ERROR = 4, 15, 16


class Xenstored:
    """`refuses`: what it answers a WATCH with, in place of OK."""

    def __init__(self, root: str, refuses: str = "") -> None:
        self.path = root + "/var/run/xenstored/socket"
        self.watched: List[str] = []
        self._refuses = refuses
        self._clients: List[socket.socket] = []
        self._token = b""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self._socket: Optional[socket.socket] = None
        self.start()

    def start(self) -> None:
        if os.path.lexists(self.path):
            os.unlink(self.path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(self.path)
        listening.listen(5)
        self._socket = listening
        threading.Thread(target=self._serve, args=(listening,), daemon=True).start()

    def stop(self) -> None:
        """As when it is killed."""
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        self._socket = None
        for client in self._clients:
            client.close()
        self._clients = []

    def tell(self, key: str) -> None:
        """That a key was written or removed."""
        for client in list(self._clients):
            try:
                client.sendall(self._message(WATCH_EVENT, 0, key.encode() + b"\0" + self._token + b"\0"))
            except OSError:  # it has gone
                client.close()
                self._clients.remove(client)

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            try:
                self._answer(client)
            except ConnectionError:  # it has gone
                client.close()

    def _answer(self, client: socket.socket) -> None:
        with client.makefile("rb") as stream:
            head = stream.read(16)
            if not head:
                raise ConnectionResetError("nothing was asked")
            kind, request, _transaction, length = struct.unpack("=IIII", head)
            key, token, _rest = stream.read(length).split(b"\0")
        assert kind == WATCH
        self.watched.append(key.decode())
        self._token = token
        if self._refuses:
            client.sendall(self._message(ERROR, request, self._refuses.encode() + b"\0"))
            return
        self._clients.append(client)
        client.sendall(self._message(WATCH, request, b"OK\0"))
        client.sendall(self._message(WATCH_EVENT, 0, key + b"\0" + token + b"\0"))

    @staticmethod
    def _message(kind: int, request: int, body: bytes) -> bytes:
        return struct.pack("=IIII", kind, request, 0, len(body)) + body
