"""The light forms of modules of the standard library, held to the real ones."""

import contextlib
import json
import os
import re
import subprocess
import sys
import typing
from random import Random
from typing import Any, Callable, Iterator, List

import pytest
import sriovlib
from sriovlib import light_modules
from sriovlib.light_modules import Contextlib, Json, Re

PLUGINS = os.path.dirname(os.path.dirname(os.path.abspath(sriovlib.__file__)))
used_here = pytest.mark.skipif(sys.version_info[:2] > light_modules.NEWEST, reason="it is not used there")


def outcome(act: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """What it returns, with the type, or raises."""
    try:
        found = act(*values, **named)
    except Exception as error:
        return type(error), str(error)
    return type(found), repr(found)


# -- json --------------------------------------------------------------------------------------------

TEXTS = (
    '{"a": [1, -2.5, 1e9, true, false, null], "b": {"c": "\\u00e9\\n\\ud83d\\ude00"}, "a": "again"}',
    "",
    " ",
    "[",
    "[1,]",
    "{'a': 1}",
    '{"a" 1}',
    "[1] 2",
    " \t\n\r[1]\r\n ",
    "\u00a0[1]",
    "[1]\u00a0",
    "nul",
    '"a',
    '"\n"',
    '"\\x"',
    "NaN",
    "-Infinity",
    "[Infinity]",
    "01",
    "-",
    "1" * 5000,
    "\ufeff[1]",
    '{"a": {"a": 1, "a": 2}}',
    "[" * 100_000,
    '"' + "\u2028" + '"',
    "[1, 2",
    '{"a": 1,}',
    "0",
    '"text"',
    "5.0",
)


def random_value(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(9 if depth < 4 else 7)
    if kind == 7:
        return [random_value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 8:
        return {random_text(random): random_value(random, depth + 1) for _ in range(random.randrange(4))}
    values: List[Any] = [None, True, False, random.randrange(-(10**20), 10**20), random.uniform(-1e9, 1e9)]
    return random_text(random) if kind > 4 else values[kind]


def random_text(random: Random) -> str:
    some = '"\\/\b\f\n\r\t\x00\x1f\x7f\x85\u2028\ud800\uffff\U0001f600 <>&abc{}[],:'
    return "".join(random.choice(some) for _ in range(random.randrange(6)))


@pytest.mark.parametrize("text", TEXTS)
def test_json_is_read_and_refused_alike(text: str) -> None:
    assert outcome(Json("json").loads, text) == outcome(json.loads, text)
    assert outcome(Json("json").loads, text.encode()) == outcome(json.loads, text.encode())
    for at in (0, 1):
        light, real = Json("json").JSONDecoder(), json.JSONDecoder()
        assert outcome(light.raw_decode, text, at) == outcome(real.raw_decode, text, at)
    pairs = outcome(Json("json").JSONDecoder(object_pairs_hook=list).decode, text)
    assert pairs == outcome(json.JSONDecoder(object_pairs_hook=list).decode, text)


def test_json_of_random_values_is_written_and_read_alike() -> None:
    random = Random(14)
    for _ in range(500):
        value = random_value(random)
        text = Json("json").dumps(value)
        assert text == json.dumps(value)
        assert Json("json").dumps(value, separators=(",", ":")) == json.dumps(value, separators=(",", ":"))
        assert Json("json").dumps(value, indent=1) == json.dumps(value, indent=1)
        assert Json("json").loads(text) == json.loads(text)
        cut = text[: random.randrange(len(text))] + random.choice(["", "x", "]", '"', " "])
        assert outcome(Json("json").loads, cut) == outcome(json.loads, cut)


def test_what_is_no_json_value_is_refused_alike() -> None:
    round_trip: List[Any] = []
    round_trip.append(round_trip)
    values: List[Any] = [
        {1, 2},
        [object],
        {(1, 2): 3},
        {1: 2, None: 3, False: 4, 1.5: 5},
        round_trip,
        b"x",
        float("nan"),
    ]
    for value in values:
        assert outcome(Json("json").dumps, value) == outcome(json.dumps, value)


# -- contextlib --------------------------------------------------------------------------------------


def steps(trace: List[str], kind: str) -> Iterator[str]:
    trace.append("begins")
    if kind == "yields nothing":
        return
    try:
        yield "value"
    except KeyError as error:
        trace.append(f"caught {error}")
        if kind == "another":
            raise ValueError("other") from error
        if kind == "again":
            raise
        if kind == "stops":
            raise StopIteration(1) from error
    finally:
        trace.append("ends")
    if kind == "goes on":
        yield "more"


@pytest.mark.parametrize("kind", ["plain", "another", "again", "stops", "goes on", "yields nothing"])
@pytest.mark.parametrize(
    "error", [None, KeyError("k"), IndexError("i"), StopIteration(3), KeyboardInterrupt()]
)
def test_a_context_manager_is_as_the_real_one(kind: str, error: Any) -> None:
    told = []
    for made in (Contextlib("contextlib").contextmanager(steps), contextlib.contextmanager(steps)):
        trace: List[str] = []
        try:
            with made(trace, kind=kind) as value:
                trace.append(value)
                if error is not None:
                    raise error
            trace.append("after")
        except BaseException as raised:
            trace.append(f"{type(raised).__name__} {raised} {raised is error} {raised.__cause__!r}")
        told.append(trace)
    assert told[0] == told[1]


def enter(stack: Any, trace: List[str], kinds: str, error: Any) -> None:
    """What the stack holds, the last one first to end: quiet ones, one that raises, one that swallows."""

    class Held:
        def __init__(self, kind: str) -> None:
            self.kind = kind

        def __enter__(self) -> str:
            return f"entered {self.kind}"

        def __exit__(self, kind: Any, raised: Any, _trace: Any) -> bool:
            trace.append(f"{self.kind} ends with {kind and kind.__name__} {raised!r}")
            if self.kind == "r":
                raise LookupError("at its end")
            return self.kind == "s"

    with stack as same:
        trace.append(str(same is stack))
        for kind in kinds:
            if kind == "c":
                stack.callback(lambda *values, **named: trace.append(f"called {values} {named}"), 1, two=2)
            elif kind == "x":
                stack.close()
            else:
                trace.append(stack.enter_context(Held(kind)))
        if error is not None:
            raise error
    trace.append("after")


@pytest.mark.parametrize("error", [None, KeyError("k"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "kinds", ["", "q", "qc", "rq", "qr", "sq", "qs", "sr", "rs", "srqsc", "rr", "qxc", "rx"]
)
def test_a_stack_of_them_is_as_the_real_one(kinds: str, error: Any) -> None:
    told = []
    for stack in (Contextlib.ExitStack(), contextlib.ExitStack()):
        trace: List[str] = []
        try:
            enter(stack, trace, kinds, error)
        except BaseException as raised:
            trace.append(f"{raised!r} {raised is error}")
        told.append(trace)
    assert told[0] == told[1]


# -- re ----------------------------------------------------------------------------------------------


def test_a_pattern_is_as_the_real_one() -> None:
    for words in ((r"(?P<a>\d+)x",), ("b.", re.DOTALL)):
        light, real = Re("re").compile(*words), re.compile(*words)
        for _ in range(2):  # the second time by what it has found the first time
            assert [str(one) for one in light.finditer("12x b\n 3x")] == [
                str(one) for one in real.finditer("12x b\n 3x")
            ]
        assert light.pattern == real.pattern
    assert outcome(getattr, Re("re").compile("["), "search")[0] is re.error


# -- in a program ------------------------------------------------------------------------------------

ASK = """
import sys
sys.path.insert(0, {plugins!r})
from sriovlib import light_modules
light_modules.install()
import contextlib, json, re, typing
from typing import Any, Dict, NamedTuple
{what}
"""


def run(what: str) -> str:
    program = ASK.format(plugins=PLUGINS, what=what)
    return subprocess.check_output([sys.executable, "-IS", "-c", program], universal_newlines=True).strip()


@used_here
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("from typing import get_type_hints; print(get_type_hints.__module__)", "typing"),
        ("print(typing.Generic.__module__)", "typing"),
        ("typing.SupportsInt; print(sys.modules['typing'].Any.__class__.__module__)", "typing"),
        ("typing.SupportsInt; import typing; from typing import Optional; print('typing')", "typing"),
        ("print(re.sub('a', 'b', 'ab'), re.IGNORECASE | re.DOTALL == re.S | re.I)", "bb True"),
        ("p = re.compile('a+'); import tokenize, textwrap; print(p.findall('aab'))", "['aa']"),
        ("from json import JSONDecodeError; print(issubclass(JSONDecodeError, ValueError))", "True"),
        ("from contextlib import ExitStack, suppress\nwith suppress(KeyError): {}['a']\nprint('on')", "on"),
        ("import xmlrpc.client, http.client, subprocess; print(xmlrpc.client.dumps((1,))[:8])", "<params>"),
        (
            "print('enum' in sys.modules, json.loads('[1]'), json.dumps([1]), 'enum' in sys.modules)",
            "False [1] [1] False",
        ),
    ],
)
def test_what_a_light_module_does_not_have_is_the_real_ones(what: str, told: str) -> None:
    assert run(what) == told


@used_here
def test_several_threads_may_need_the_real_one_at_once() -> None:
    what = """
from _thread import start_new_thread, allocate_lock
import time
found = []
def search():
    try:
        found.append(re.search("a", "a").group())
    except BaseException as error:
        found.append(repr(error))
for _ in range(20):
    start_new_thread(search, ())
end = time.monotonic() + 60
while len(found) < 20 and time.monotonic() < end:
    time.sleep(0.001)
print(set(found))"""
    assert run(what) == "{'a'}"


def test_light_ones_stay_out_where_the_real_ones_are_loaded() -> None:
    light_modules.install()
    assert [sys.modules[one.__name__] for one in (typing, json, re, contextlib)] == [
        typing,
        json,
        re,
        contextlib,
    ]


NO_JSON = ('{"a": [1, 2', '"abc', '{"a" 1}', "[1,", "nul", "", '{"a": "\x01"}')
BROKEN = """
import sys
from sriovlib import light_modules
light_modules.install()
for at in ("loads", "raw_decode"):
    for name in [name for name in sys.modules if name.partition(".")[0] == "json"]:
        del sys.modules[name]
    light_modules.install()
    import json
    try:
        json.loads({text!r}) if at == "loads" else json.JSONDecoder().raw_decode({text!r})
        print("read")
    except ValueError as error:
        print(type(error).__name__, error)
"""


@used_here
@pytest.mark.parametrize("text", NO_JSON)
def test_a_text_that_is_no_json_where_nothing_of_json_is_loaded(text: str) -> None:
    """As in a program that begins; here the real json is loaded long since."""
    program = BROKEN.format(text=text)
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {PLUGINS!r})\n{program}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with pytest.raises(json.JSONDecodeError) as error:
        json.loads(text)
    assert done.stdout.decode().splitlines() == [f"JSONDecodeError {error.value}"] * 2
