"""The light `typing` of programs that end with one call, held to the real one."""

import copy
import glob
import json
import os
import pickle
import subprocess
import sys
import typing
from importlib import import_module
from typing import Any, Callable, Dict, List

import pytest
import sriovlib
from sriovlib import light_modules, light_typing

PLUGINS = os.path.dirname(os.path.dirname(os.path.abspath(sriovlib.__file__)))


def made_by(named_tuple: Any) -> Any:
    """A class, by one of the two."""

    class Port(named_tuple):  # type: ignore[misc] # either of two
        """A port."""

        number: int
        interface: str = "eth0"
        names: "typing.Tuple[str, ...]" = ()

        @property
        def text(self) -> str:
            return f"{self.number}: {self.interface}"

        @staticmethod
        def first() -> Any:
            return Port(0)

        def next(self) -> Any:
            return self._replace(number=self.number + 1)

    return Port


LIGHT, REAL = made_by(light_typing.NamedTuple), made_by(typing.NamedTuple)


def told(operation: Callable[[Any], Any], port: Any) -> Any:
    try:
        found = operation(port)
    except (TypeError, ValueError):  # of the two it is another one since Python 3.13
        return "refused"
    except AttributeError:
        return "no such attribute, or no other value for it"
    return (repr(found), found) if isinstance(found, tuple) else found


OPERATIONS: List[Callable[[Any], Any]] = [
    lambda port: port(1, "eth1", ("a",)),
    lambda port: port(1),
    lambda port: port(1, names=("b",)),
    lambda port: port(names=(), interface="x", number=2),
    lambda port: port(),
    lambda port: port(interface="x"),
    lambda port: port(1, "a", (), 4),
    lambda port: port(1, number=2),
    lambda port: port(1, nothing=2),
    lambda port: port(1, "a", (), names=()),
    lambda port: port(1).next(),
    lambda port: port.first(),
    lambda port: port(1)._replace(nothing=1),
    lambda port: port(1)._replace(interface="e", names=("x",)),
    lambda port: port(3).text,
    lambda port: (port(3).number, port(3).interface, port(3).names),
    lambda port: port(3)[1:],
    lambda port: json.dumps(port(3)._asdict()),
    lambda port: list(port(3)._asdict()),
    lambda port: port._make([1, "b", ()]),
    lambda port: port._make([1]),
    lambda port: port._fields,
    lambda port: dict(port._field_defaults),
    lambda port: port(1) == (1, "eth0", ()),
    lambda port: hash(port(1)) == hash((1, "eth0", ())),
    lambda port: port(1) < port(2, "a"),
    lambda port: [*port(1)],
    lambda port: copy.copy(port(1)),
    lambda port: copy.deepcopy(port(1, "x", ("y",))),
    lambda port: isinstance(port(1), tuple),
    lambda port: setattr(port(1), "number", 2),
    lambda port: setattr(port(1), "other", 2),
    lambda port: (port.__name__, port.__doc__, port.__module__, type(port)),
    lambda port: type("Below", (port,), {"more": property(lambda self: self.number)})(4).more,
    lambda port: type("Below", (port,), {})(4, names=("z",)),
]


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_a_named_tuple_is_as_the_real_one(number: int) -> None:
    """Asked twice: the first values that come by their names make the method anew."""
    for port in (made_by(light_typing.NamedTuple), LIGHT):
        for _ in range(2):
            assert told(OPERATIONS[number], port) == told(OPERATIONS[number], REAL)


class Pickled(light_typing.NamedTuple):
    number: int


def test_a_named_tuple_is_pickled() -> None:
    assert pickle.loads(pickle.dumps(Pickled(4))) == Pickled(4)  # type: ignore[call-arg] # by its fields


def modules() -> List[str]:
    paths = glob.glob(f"{PLUGINS}/sriovlib/**/*.py", recursive=True)
    dotted = [os.path.relpath(path, PLUGINS)[: -len(".py")].replace(os.sep, ".") for path in paths]
    return sorted(name for name in dotted if not name.endswith("__init__"))


TELL = """
import json, sys
sys.path.insert(0, {plugins!r})
import sriovlib
sriovlib.hold("")
from importlib import import_module
light = sys.modules["typing"]
found = {{}}
for name in {names!r}:
    for attribute, value in vars(import_module(name)).items():
        if hasattr(value, "_field_defaults") and value.__module__ == name:
            by_name = value._fields
            if isinstance(value, type):
                by_name = list(value(**{{field: field for field in by_name}}))
            found[name + "." + attribute] = [by_name, repr(dict(value._field_defaults))]
assert sys.modules["typing"] is light, "the real one was loaded"
print(json.dumps(found))
"""


def run(program: str) -> str:
    return subprocess.check_output([sys.executable, "-IS", "-c", program], universal_newlines=True)


@pytest.mark.skipif(sys.version_info[:2] > light_modules.NEWEST, reason="it is not used there")
def test_the_whole_library_loads_with_it_and_has_the_same_tuples() -> None:
    found: Dict[str, Any] = json.loads(run(TELL.format(plugins=PLUGINS, names=modules())))
    real = {}
    for name in modules():
        for attribute, value in vars(import_module(name)).items():
            if hasattr(value, "_field_defaults") and value.__module__ == name:
                real[f"{name}.{attribute}"] = [list(value._fields), repr(dict(value._field_defaults))]
    assert found == real
    assert len(found) > 80
