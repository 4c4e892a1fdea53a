"""What answers on xapi's Unix socket, byte for byte as a test says."""

import os
import socket
import threading
from typing import List


class Answering:
    """Gives the same answer to each connection, and keeps what it was sent: head, body, head, body ..."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.answer = b""
        self.sent: List[bytes] = []
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen(5)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rb") as stream:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += stream.readline()
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                self.sent += [head, stream.read(length)]
                connection.sendall(self.answer)


def with_body(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
