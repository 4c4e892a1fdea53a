"""Light forms of modules of the standard library, for a program that ends with one call.

To load `re`, `json`, `contextlib` and `typing` takes half of such a program's time, and most calls use little
of them: no pattern, for one. So an entry point has these in their places. Each does a part of what the
real one does, in the same way; all else that is asked of it is the real one's, which it is from then on.
"""

import sys

from . import light_typing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

NEWEST = (3, 13)  # from 3.14 on a class keeps its annotations in another way, see light_typing

_BLANKS = " \t\n\r"  # of JSON
# What the scanner raises; on Python 3.10 and 3.11, where it finds no json.decoder, a SystemError.
_NO_JSON = (StopIteration, ValueError, ImportError, SystemError)


class Light(type(sys)):  # type: ignore[misc] # mypy takes no call as a base
    """A module in the place of the real one of its name."""

    def __getattr__(self, name: str) -> "Any":
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> "Any":
        """The real one, which this one has become for those who hold it."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = __import__(self.__name__)
        self.__dict__.update((name, value) for name, value in vars(real).items() if not name.startswith("__"))
        return real


# -- re ----------------------------------------------------------------------------------------------


class Pattern:
    """A pattern, compiled when it is first used."""

    def __init__(self, module: Light, *words: "Any") -> None:
        self._module = module
        self._words = words

    def __getattr__(self, name: str) -> "Any":
        found = getattr(self._module.real().compile(*self._words), name)
        setattr(self, name, found)
        return found


class Re(Light):
    def compile(self, *words: "Any") -> "Any":
        return Pattern(self, *words)


# -- json --------------------------------------------------------------------------------------------


class Decoder:
    """As json.JSONDecoder; that one says what is wrong with a text that is no JSON."""

    strict, object_hook, parse_float, parse_int = True, None, float, int

    def __init__(self, module: "Json", object_pairs_hook: "Optional[Callable[[Any], Any]]" = None) -> None:
        from _json import make_scanner

        self._module = module
        self.object_pairs_hook = object_pairs_hook
        self.parse_constant = {
            "NaN": float("nan"),
            "Infinity": float("inf"),
            "-Infinity": -float("inf"),
        }.__getitem__
        context: Any = self
        self._scan: Any = make_scanner(context)

    def _real(self) -> "Any":
        return self._module.real().decoder.JSONDecoder(object_pairs_hook=self.object_pairs_hook)

    def raw_decode(self, text: str, at: int = 0) -> "Tuple[Any, int]":
        try:
            return self._scan(text, at)  # type: ignore[no-any-return] # of json
        except _NO_JSON:
            return self._real().raw_decode(text, at)  # type: ignore[no-any-return] # of json

    def decode(self, text: str) -> "Any":
        try:
            value, end = self._scan(text, len(text) - len(text.lstrip(_BLANKS)))
        except _NO_JSON:
            return self._real().decode(text)
        return self._real().decode(text) if text[end:].strip(_BLANKS) else value


class Json(Light):
    def JSONDecoder(self, object_pairs_hook: "Any" = None) -> "Any":  # noqa: N802 - its name in json
        return Decoder(self, object_pairs_hook)

    def loads(self, text: "Any", **options: "Any") -> "Any":
        if options or type(text) is not str or text.startswith("\ufeff"):
            return self.real().loads(text, **options)
        return Decoder(self).decode(text)

    def dumps(self, value: "Any", **options: "Any") -> str:
        from _json import encode_basestring_ascii, make_encoder

        def refuse(_value: object) -> None:
            raise TypeError

        if options.keys() <= {"separators"}:
            between, colon = options.get("separators") or (", ", ": ")
            encode = make_encoder(
                {}, refuse, encode_basestring_ascii, None, colon, between, False, False, True
            )
            try:
                return "".join(encode(value, 0))
            except (TypeError, ValueError):
                pass  # which the real one refuses in words
        return str(self.real().dumps(value, **options))


# -- contextlib --------------------------------------------------------------------------------------


class Manager:
    """What a function made by `contextmanager` returns."""

    def __init__(self, steps: "Iterator[Any]") -> None:
        self._steps: Any = steps

    def __enter__(self) -> "Any":
        for value in self._steps:
            return value
        raise RuntimeError("generator didn't yield")

    def __exit__(self, kind: "Any", error: "Optional[BaseException]", trace: "Any") -> bool:
        if error is None:
            for _ in self._steps:
                raise RuntimeError("generator didn't stop")
            return False
        try:
            self._steps.throw(error)
        except StopIteration as stop:
            return stop is not error
        except BaseException as raised:
            # A generator makes RuntimeError of a StopIteration that it does not catch.
            if raised is error or (isinstance(error, StopIteration) and raised.__cause__ is error):
                error.__traceback__ = trace
                return False
            raise
        raise RuntimeError("generator didn't stop after throw()")


class Stack:
    """As contextlib.ExitStack, of which this is what the library uses."""

    def __init__(self) -> None:
        self._ends: List[Callable[..., Any]] = []

    def enter_context(self, manager: "Any") -> "Any":
        value = manager.__enter__()
        self._ends.append(manager.__exit__)
        return value

    def callback(self, function: "Callable[..., Any]", *values: "Any", **named: "Any") -> None:
        def end(*_error: object) -> None:
            function(*values, **named)

        self._ends.append(end)

    def close(self) -> None:
        self.__exit__(None, None, None)

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, _kind: "Any", error: "Optional[BaseException]", _trace: "Any") -> bool:
        raised = error
        while self._ends:
            try:
                if self._ends.pop()(raised and type(raised), raised, raised and raised.__traceback__):
                    raised = None
            except BaseException as another:
                raised = another
        if raised is not None and raised is not error:
            raise raised
        return error is not None and raised is None


class Contextlib(Light):
    ExitStack = Stack

    def contextmanager(self, function: "Any") -> "Callable[..., Any]":
        def make(*values: "Any", **named: "Any") -> Manager:
            return Manager(function(*values, **named))

        make.__name__, make.__doc__ = function.__name__, function.__doc__
        return make


# ----------------------------------------------------------------------------------------------------


def install() -> None:
    """Before any module of the library is loaded. Those that are loaded already stay."""
    if sys.version_info[:2] > NEWEST:
        return
    typing = Light("typing")
    typing.__dict__.update(light_typing.NAMES)
    for module in (typing, Re("re"), Json("json"), Contextlib("contextlib")):
        sys.modules.setdefault(module.__name__, module)
