"""How the plugin reads a call and writes its response, held to XenAPIPlugin: the reference is
dom0/XenAPIPlugin.py, which does it by xmlrpc.client."""

import contextlib
import io
import os
import subprocess
import sys
import xmlrpc.client
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, cast
from xml.parsers.expat import ExpatError

import pytest
from box import PoolInABox, dom0_python
from box_host import PLUGIN
from hypothesis import given
from hypothesis import strategies as some
from python_path import FOLDERS
from sriovlib.calls import dispatch
from sriovlib.errors import SriovError
from sriovlib.safetext import safe
from sriovlib.xapi.own_session import OwnSession
from wire import xml_call

DOM0 = next(f"{folder}/dom0" for folder in FOLDERS if os.path.isdir(f"{folder}/dom0"))


@pytest.fixture(scope="module")
def reference() -> Iterator[Any]:
    """XenAPIPlugin."""
    sys.path.insert(0, DOM0)
    try:
        import XenAPIPlugin

        yield XenAPIPlugin
    finally:
        sys.path.remove(DOM0)


class Told(Exception):
    """What a function was given."""


class Every(Dict[str, Any]):
    """A table that has every function."""

    def __init__(self, function: Callable[[Any, Any], str]) -> None:
        super().__init__()
        self._function = function

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Callable[[Any, Any], str]:
        return self._function


def by_reference(reference: Any, argument: str, function: Callable[[str, str, Dict[str, str]], str]) -> bytes:
    """What XenAPIPlugin prints; its exceptions are those of a text that is no call."""
    names: List[str] = []

    def answer(session: Any, args: Dict[str, str]) -> str:
        try:
            return function(names[0], session._session, args)
        except SriovError as error:
            raise reference.Failure(error.code, [error.message, error.hint]) from None

    printed, argv = io.StringIO(), sys.argv
    sys.argv = ["sriov", argument]
    try:
        names.append(str(xmlrpc.client.loads(argument)[1]))
        with contextlib.redirect_stdout(printed):
            reference.dispatch(Every(answer))
    finally:
        sys.argv = argv
    return printed.getvalue().encode("utf-8", "surrogateescape")


def by_us(argument: str, function: Callable[[str, str, Dict[str, str]], str]) -> bytes:
    def answer(name: str, session: OwnSession, args: Dict[str, str]) -> str:
        return function(name, session.reference, args)

    return (dispatch.response(argument.encode(), answer) + "\n").encode()


def repeated(name: str, session: str, args: Dict[str, str]) -> str:
    return repr((name, session, sorted(args.items())))


# What XML 1.0 allows, and among it all that has a meaning in XML or looks like an end of a line.
CHARACTERS = some.one_of(
    some.sampled_from("<>&'\"\t\n\r ]]>[%;#\x7f\x80\x85\x9f\u2028\ud7ff\ue000\ufffd\U0001f600\U0010fffd"),
    some.characters(min_codepoint=0x20, max_codepoint=0x10FFFD, blacklist_categories=("Cs",)).filter(
        lambda character: ord(character) & 0xFFFE != 0xFFFE
    ),
)
TEXTS = some.text(CHARACTERS, max_size=12)
PARTS = ["]]>", "<![CDATA[x]]>", "&amp;", "&lt;b&gt;", "&#13;", "%PDF;", "<!-- no -->", "\r\n", " ", ""]
WORDS = some.one_of(TEXTS, some.lists(some.sampled_from(PARTS), max_size=4).map("".join))


@given(method=WORDS, session=WORDS, args=some.dictionaries(WORDS, WORDS, max_size=5))
def test_a_call_is_read_as_the_reference_reads_it(
    reference: Any, method: str, session: str, args: Dict[str, str]
) -> None:
    """As xapi writes it, and as xmlrpc.client does."""
    for argument in (
        xml_call(method, [session, args]),
        xmlrpc.client.dumps((session, args), "status"),
    ):
        assert by_us(argument, repeated) == by_reference(reference, argument, repeated)


@given(value=WORDS)
def test_a_result_is_written_as_the_reference_writes_it(reference: Any, value: str) -> None:
    argument = xml_call("status", ["OpaqueRef:s", {}])
    assert by_us(argument, lambda *_: value) == by_reference(reference, argument, lambda *_: value)


# Without what our errors may not carry: the reference would print a response that xapi cannot read.
SAFE = WORDS.filter(lambda text: safe(text) == text)


@given(code=SAFE, message=SAFE, hint=SAFE, ours=some.booleans())
def test_an_error_is_written_as_the_reference_writes_it(
    reference: Any, code: str, message: str, hint: str, ours: bool
) -> None:
    def fails(*_: Any) -> str:
        raise SriovError(code, message, hint) if ours else LookupError(message)

    argument = xml_call("status", ["OpaqueRef:s", {}])
    assert by_us(argument, fails) == by_reference(reference, argument, fails)


def test_a_large_call_and_a_large_result(reference: Any) -> None:
    args = {f"name{number}": "<&>\u20ac" * 400 for number in range(30)}
    argument = xml_call("status", ["OpaqueRef:s", args])

    def much(_name: str, _session: str, given_args: Dict[str, str]) -> str:
        return "".join(given_args.values()) * 40

    assert by_us(argument, much) == by_reference(reference, argument, much)


STRANGE = ["\x01 \x0b", "\x1b[0m", "\ud800", "a\udce9b", "\ufffe", "\r", "\x00", "\x85"]


@pytest.mark.parametrize("text", STRANGE)
def test_an_error_with_characters_that_xapi_cannot_read(text: str) -> None:
    """The reference prints them, and the caller gets INTERNAL_ERROR (transcripts/plugin.json)."""

    def fails(*_: Any) -> str:
        raise SriovError("SRIOV_BUSY", f"VM `{text}` is busy.", text)

    (answer,), _method = xmlrpc.client.loads(by_us(xml_call("x", ["s", {}]), fails).decode())
    shown = safe(text)
    assert answer == {
        "Status": "Failure",
        "ErrorDescription": ["SRIOV_BUSY", f"VM `{shown}` is busy.", shown],
    }
    assert "\ufffd" in shown


# -- what is no call of xapi's ------------------------------------------------------------------------

SESSION = "<param><value>s</value></param>"
ARGS = "<param><value><struct/></value></param>"


def call(params: str, method: str = "status", before: str = "") -> str:
    return f"{before}<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"


def typed(value: str) -> str:
    member = f"<member><name>a</name><value>{value}</value></member>"
    return call(f"{SESSION}<param><value><struct>{member}</struct></value></param>")


ENTITY = '<!DOCTYPE methodCall [<!ENTITY a "b">]>'
NO_CALLS = {
    "nothing": "",
    "no XML": "status",
    "cut off": call(SESSION + ARGS)[:-1],
    "more behind it": call(SESSION + ARGS) + "x",
    "a response": xmlrpc.client.dumps(("x",), methodresponse=True),
    "a fault": xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x")),
    "no parameter": call(""),
    "no arguments": call(SESSION),
    "three parameters": call(SESSION + ARGS + SESSION),
    "a session that is a struct": call(ARGS + ARGS),
    "arguments that are a text": call(SESSION + SESSION),
    "an empty parameter": call(SESSION + "<param/>"),
    "no method": f"<methodCall><params>{SESSION}{ARGS}</params></methodCall>",
    "a method with more in it": call(SESSION + ARGS, "<b>status</b>"),
    "a member without a name": typed("x").replace("<name>a</name>", ""),
    "a member without a value": typed("x").replace("<value>x</value>", ""),
    "a text between": call(SESSION + "x" + ARGS),
    "a text beside a type": typed("x<string>y</string>"),
    "two types": typed("<string>x</string><string>y</string>"),
    "an unknown type": typed("<b>x</b>"),
    "another namespace": typed("<ex:nil xmlns:ex='e'/>"),
    "an unknown entity": typed("&a;"),
    "an entity of its own": ENTITY + typed("&a;"),
    "a character that XML does not have": typed("\x01"),
    "a character by its number that XML does not have": typed("&#1;"),
    "a half of a character": typed("\ufffe"),
    "deep": typed("<value>" * 20_000),
    **{
        kind: typed(value)
        for kind, value in {
            "int": "<int>1</int>",
            "i4": "<i4>1</i4>",
            "boolean": "<boolean>1</boolean>",
            "double": "<double>1.5</double>",
            "nil": "<nil/>",
            "base64": "<base64>eA==</base64>",
            "dateTime": "<dateTime.iso8601>20261129T14:00:00Z</dateTime.iso8601>",
            "array": "<array><data><value>x</value></data></array>",
            "struct": "<struct><member><name>x</name><value>y</value></member></struct>",
        }.items()
    },
}


@pytest.mark.parametrize("kind", NO_CALLS)
def test_what_is_no_call_of_xapis_is_answered_with_a_fault(kind: str) -> None:
    def never(*_: Any) -> str:
        raise AssertionError

    with pytest.raises(xmlrpc.client.Fault) as fault:
        xmlrpc.client.loads(by_us(NO_CALLS[kind], never).decode())
    assert fault.value.faultString.startswith("The plugin sriov was not called as xapi calls it: ")
    assert len(fault.value.faultString.splitlines()) == 1


def test_what_the_reference_cannot_read_we_do_not_read_either(reference: Any) -> None:
    unread = (ExpatError, xmlrpc.client.Error, IndexError, TypeError, ValueError, KeyError)
    for text in ("", "status", NO_CALLS["cut off"], NO_CALLS["an unknown entity"], typed("\x01")):
        with pytest.raises(unread):
            by_reference(reference, text, repeated)


BLANK = ["\n", " ", "\t", "<!-- a comment -->", "<?a b?>"]


@given(some.lists(some.sampled_from(BLANK), min_size=9, max_size=9))
def test_blanks_between_elements_mean_nothing(reference: Any, between: List[str]) -> None:
    words = ["<methodCall>", "<methodName>status</methodName>", "<params>", SESSION, "<param>", "<value>"]
    words += ["<struct/>", "</value>", "</param>", "</params></methodCall>"]
    argument = "".join(word + blank for word, blank in zip(words, [*between, ""]))
    assert by_us(argument, repeated) == by_reference(reference, argument, repeated)


@pytest.mark.parametrize(
    "value", ["a<!-- x -->b", "<![CDATA[<&>]]>", "a<?x y?>b", "&#xe9;&#128512;", "a\r\nb"]
)
def test_ways_to_write_a_text(reference: Any, value: str) -> None:
    for argument in (typed(value), typed(f"<string>{value}</string>")):
        assert by_us(argument, repeated) == by_reference(reference, argument, repeated)


# -- the whole program --------------------------------------------------------------------------------

# A plugin with our functions, by XenAPIPlugin.
BY_REFERENCE = """
import io, os, sys
sys.path.insert(0, {plugins!r})
import XenAPIPlugin
from sriovlib.calls import table
from sriovlib.errors import SriovError
from sriovlib.machine.host import this_machine
from sriovlib.safetext import safe
from sriovlib.xapi.own_session import OwnSession
sys.argv = [os.fsencode(argument).decode("utf-8", "replace") for argument in sys.argv]
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
class Functions(dict):
    def __contains__(self, name):
        return True
    def __getitem__(self, name):
        def answer(session, args):
            try:
                return table.call(this_machine(), name, OwnSession(session._session), args)
            except SriovError as error:
                raise XenAPIPlugin.Failure(error.code, [safe(error.message), safe(error.hint)]) from None
        return answer
XenAPIPlugin.dispatch(Functions())
"""


@pytest.fixture(scope="module")
def box() -> Iterator[PoolInABox]:
    with PoolInABox() as made:
        yield made


Outcome = Tuple[int, bytes, bytes]


def outcome(
    program: str, arguments: Sequence[bytes], environment: Dict[str, str], stdout: Optional[str] = None
) -> Outcome:
    with contextlib.ExitStack() as stack:
        output: Any = stack.enter_context(open(stdout, "wb")) if stdout else subprocess.PIPE
        ended = subprocess.run(
            [os.fsencode(sys.executable), os.fsencode(program), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            cwd="/",
            check=False,
        )
    return ended.returncode, ended.stdout or b"", ended.stderr


def test_the_program_prints_what_one_by_the_reference_prints(box: PoolInABox, tmp_path: Any) -> None:
    """Its status and both outputs, without a locale."""
    written = tmp_path / "reference"
    written.write_text(BY_REFERENCE.format(plugins=os.path.dirname(PLUGIN)))
    environment = dict(box.hosts[0].environment)
    with box.session() as session:
        own = session._session
        for name, args in (
            ("inventory", {}),
            ("list_vfs", {"pf": "eth1"}),
            ("list_vfs", {"state": "<\u00e9\u20ac\U0001f600&>"}),
            ("status", {"no": "such\nargument"}),
            ("no_such_function", {}),
            ("", {}),
            ("list_assignments", {}),
        ):
            argument = xml_call(name, [own, args]).encode()
            ours = outcome(PLUGIN, [argument], environment)
            assert ours == outcome(str(written), [argument], environment)
            assert (ours[0], ours[2]) == (0, b"")
    latin = xml_call("list_vfs", ["s", {"state": "@"}]).encode().replace(b"@", b"\xe9\xff")
    assert outcome(PLUGIN, [latin], environment) == outcome(str(written), [latin], environment)


def test_the_program_takes_nothing_from_the_environment(tmp_path: Any) -> None:
    """Nor of any package, by the words of its first line."""
    with open(PLUGIN) as file:
        interpreter, flags = file.readline().split()
    assert interpreter == "#!/usr/bin/python3"
    (tmp_path / "json.py").write_text("raise SystemExit('from the environment')")
    argument = xml_call("no_such_function", ["s", {}])
    python = [sys.executable, flags, PLUGIN, argument]
    told = subprocess.check_output(python, env={"PYTHONPATH": str(tmp_path)}, cwd=str(tmp_path))
    ((answer,), _method) = cast(Any, xmlrpc.client.loads(told.decode()))
    assert answer["ErrorDescription"][0] == "SRIOV_BAD_ARGUMENT"


@pytest.mark.parametrize("arguments", [[], [b"a", b"b"]], ids=["none", "two"])
def test_the_program_started_by_hand_says_who_calls_it(arguments: List[bytes], tmp_path: Any) -> None:
    environment = {"PYTHONPATH": dom0_python(str(tmp_path / "python"))}
    status, stdout, stderr = outcome(PLUGIN, arguments, environment)
    assert (status, stdout) == (2, b"")
    assert b"xe host-call-plugin" in stderr
    assert len(stderr.splitlines()) == 1


def test_an_answer_that_cannot_be_written_is_a_status() -> None:
    """xapi then says that the plugin failed; half an answer with status 0 it would take for the plugin's."""
    argument = xml_call("no_such_function", ["s", {}]).encode()
    status, _stdout, stderr = outcome(PLUGIN, [argument], {}, stdout="/dev/full")
    assert (status, stderr) == (1, b"The answer could not be written: No space left on device.\n")
