"""What xapi answers over its socket, also where it breaks off or is no answer: a result, or an error with a
name."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from answering_socket import Answering, with_body
from sriovlib.xapi import session
from sriovlib.xapi.session import XapiFailure, XapiSilent


class Xapi(Answering):
    def call(self) -> Any:
        return session.call_json(self.path, "VM.get_uuid", ["session"], time.monotonic() + 10)


@pytest.fixture(scope="module")
def xapi(tmp_path_factory: Any) -> Xapi:
    folder: Path = tmp_path_factory.mktemp("xapi")
    return Xapi(str(folder / "xapi"))


def test_a_result_and_a_failure(xapi: Xapi) -> None:
    xapi.answer = with_body('{"jsonrpc":"2.0","result":"a","id":1}')
    assert xapi.call() == "a"
    error = {"code": 1, "message": "HANDLE_INVALID", "data": ["VM", "OpaqueRef:no"]}
    xapi.answer = with_body(json.dumps({"error": error, "id": 1}))
    with pytest.raises(XapiFailure) as failed:
        xapi.call()
    assert failed.value.details == ["HANDLE_INVALID", "VM", "OpaqueRef:no"]


def test_xapi_socket_without_a_listener(tmp_path: Path) -> None:
    with pytest.raises(XapiSilent):
        session.call_json(str(tmp_path / "none"), "VM.get_uuid", ["session"], time.monotonic() + 10)


WHOLE = with_body('{"jsonrpc":"2.0","result":{"name":"VM"},"id":1}')


def test_an_answer_that_breaks_off_anywhere(xapi: Xapi) -> None:
    for length in range(len(WHOLE)):
        xapi.answer = WHOLE[:length]
        with pytest.raises(XapiSilent):
            xapi.call()


@pytest.mark.parametrize(
    "answer",
    [
        with_body('{"error":"gone","id":1}'),
        with_body('{"error":["SESSION_INVALID"],"id":1}'),
        with_body('{"error":{"code":1},"id":1}'),
        with_body('{"error":{"message":"X","data":7},"id":1}'),
        with_body("[1]"),
        with_body("null"),
        with_body('"result"'),
        with_body("[" * 100_000),
        with_body('{"result":' * 100_000),
        with_body("no such page").replace(b"200 OK", b"404 Not Found"),
        WHOLE.replace(b"200", "²00".encode()),
        WHOLE.replace(b"200", b"9" * 5000),
        WHOLE.replace(b"length: ", b"length: -"),
        WHOLE.replace(b"length: ", "length: ²".encode()),
        WHOLE.replace(b"length: ", b"length: " + b"9" * 5000),
        WHOLE.replace(b"result", b"\xff\xfe"),
    ],
)
def test_an_answer_that_is_none(xapi: Xapi, answer: bytes) -> None:
    xapi.answer = answer
    with pytest.raises(XapiSilent):
        xapi.call()
