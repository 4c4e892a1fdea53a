"""JSON-RPC with this host's xapi over its Unix socket, by a plain socket: http.client takes longer to import
than most calls take."""

import json
import re
import socket
import time
from typing import Any, List, Optional, Sequence, Tuple

_HEAD = (
    "POST /jsonrpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n"
)


class XapiFailure(Exception):
    """What xapi answered instead of a result: a code and its details, `details[0]` the code."""

    def __init__(self, details: List[str]) -> None:
        super().__init__(*details)
        self.details = details

    def __str__(self) -> str:
        return " ".join(str(detail) for detail in self.details)


class NoJson(OSError):
    """xapi answers, and knows no JSON-RPC."""


class TornAnswer(OSError):
    """The connection ended before the answer did, or the answer is none."""


def call(path: str, method: str, params: Sequence[Any], deadline: float) -> Any:
    """The result of an API call, at `deadline` (of time.monotonic) at the latest; XapiFailure, NoJson, or
    another OSError where the socket fails."""
    body = json.dumps({"jsonrpc": "2.0", "method": method, "id": 1, "params": params}).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(deadline - time.monotonic(), 0.1))
        connection.connect(path)
        connection.sendall(_HEAD.format(len(body)).encode() + body)
        status, content = _answer(connection)
    if status == 404:
        raise NoJson(f"xapi has no JSON-RPC ({method})")
    try:
        answer = json.loads(content.decode())
        error = answer.get("error")
        if not error:
            return answer["result"]
        details = [str(detail) for detail in (error["message"], *error.get("data", []))]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as wrong:
        raise TornAnswer(f"xapi answered {method} with HTTP status {status} and no result") from wrong
    raise XapiFailure(details)


def _answer(connection: socket.socket) -> Tuple[int, bytes]:
    """Status and body of a response; xapi names the length of each (xen-api: ocaml/libs/http-lib)."""
    with connection.makefile("rb") as stream:
        status = stream.readline().split()
        length: Optional[int] = 0
        line = stream.readline()
        while line.strip():
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = _number(value)
            line = stream.readline()
        content = stream.read(length or 0)
    code = _number(status[1]) if len(status) > 1 else None
    if code is None or length is None or len(content) < length:
        raise TornAnswer("xapi's answer was cut off")
    return code, content


def _number(digits: bytes) -> Optional[int]:
    """A number of HTTP's, of a size that there is; None for anything else."""
    return int(digits) if re.fullmatch(rb"\s*[0-9]{1,15}\s*", digits) else None
