"""JSON that is read as it arrives: what json.loads makes of the whole text, in whatever pieces it comes."""

import json
import re
from typing import Any, Iterator, List, Tuple

import pytest
from answering_socket import Answering, with_body
from hypothesis import given
from hypothesis import strategies as st
from sriovlib.machine.host import Host
from sriovlib.xapi import session
from sriovlib.xapi.arriving import Arriving
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import Xapi, XapiFailure, XapiSilent

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9))
VALUES = st.recursive(
    PLAIN, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=9), inner)), max_leaves=6
)
RESULTS = st.fixed_dictionaries(
    {"events": st.lists(VALUES, max_size=4), "token": st.text(), "valid_ref_counts": VALUES}
)


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(text), size):
        yield text[at : at + size]


def taken(text: str, size: int) -> Tuple[Any, List[Any]]:
    """What is left of the answer, and the elements of result.events."""
    elements: List[Any] = []
    answer = Arriving(pieces(text.encode(), size)).struct("result", "events", elements.append)
    return answer, elements


@given(
    st.one_of(RESULTS, VALUES.filter(lambda value: not isinstance(value, dict))),
    st.integers(min_value=1, max_value=50),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.booleans(),
)
def test_any_answer_in_any_pieces(result: Any, size: int, indent: Any, ascii_only: bool, last: bool) -> None:
    answer = {"jsonrpc": "2.0", "result": result, "id": 1} if last else {"result": result, "id": 1.25}
    text = json.dumps(answer, indent=indent, ensure_ascii=ascii_only)
    if not isinstance(result, dict):
        with pytest.raises(ValueError, match="in the place of"):
            taken(text, size)
        return
    expected = {name: value for name, value in result.items() if name != "events"}
    assert taken(text, size) == ({**answer, "result": expected}, result["events"])


def test_a_failure_has_no_elements() -> None:
    answer = {"error": {"code": 1, "message": "SESSION_INVALID", "data": ["x"]}, "id": 1}
    assert taken(json.dumps(answer), 3) == (answer, [])


WHOLE = '{"id":1,"result":{"events":[{"a":"\\u00e9\u00e9"},12,[]],"token":"1,2"}}'


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_text_that_breaks_off_anywhere(size: int) -> None:
    for length in range(len(WHOLE.encode())):
        with pytest.raises(ValueError):  # noqa: PT011 - JSON's and UTF-8's
            Arriving(pieces(WHOLE.encode()[:length], size)).struct("result", "events", str)
    assert taken(WHOLE, size) == ({"id": 1, "result": {"token": "1,2"}}, [{"a": "éé"}, 12, []])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "7",
        "[]",
        '"x"',
        WHOLE + "x",
        WHOLE + WHOLE,
        '{"result":[]}',
        '{"result":{"events":{}}}',
        "{,}",
    ],
)
def test_a_text_that_is_something_else(text: str) -> None:
    with pytest.raises(ValueError, match=re.compile("place of|more than one|Expecting")):
        taken(text, 4)


# -- of xapi's ------------------------------------------------------------------------------------


@pytest.fixture
def xapi(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Answering:
    monkeypatch.setattr(session, "PIECE", 10)
    return Answering(str(tmp_path) + session.SOCKET)


def events(xapi: Answering) -> Tuple[Any, List[Any]]:
    elements: List[Any] = []
    machine = Host(xapi.path[: -len(session.SOCKET)])
    asked = Xapi(machine, OwnSession("OpaqueRef:s"))
    return asked.call_for_each("events", elements.append, "event.from", ["vm"], "", 0.0), elements


def test_elements_are_given_as_they_arrive(xapi: Answering) -> None:
    xapi.answer = with_body('{"id":1,"result":{"events":[{"a":"e"},12,[]],"token":"1,2"}}')
    assert events(xapi) == ({"token": "1,2"}, [{"a": "e"}, 12, []])
    assert json.loads(xapi.sent[-1].decode())["params"] == ["OpaqueRef:s", ["vm"], "", 0.0]


def test_a_refusal(xapi: Answering) -> None:
    xapi.answer = with_body('{"error":{"code":1,"message":"SESSION_INVALID","data":["x"]},"id":1}')
    with pytest.raises(XapiFailure) as failed:
        events(xapi)
    assert failed.value.details == ["SESSION_INVALID", "x"]


@pytest.mark.parametrize("length", [0, 30, 60, 90, -1])
def test_an_answer_that_breaks_off_or_is_none(xapi: Answering, length: int) -> None:
    xapi.answer = with_body('{"id":1,"result":{"events":[{"a":"e"},12,[]],"token":"1,2"}}')[:length]
    with pytest.raises(XapiSilent):
        events(xapi)
    xapi.answer = with_body('{"id":1}')
    with pytest.raises(XapiSilent):
        events(xapi)
