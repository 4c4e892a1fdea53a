"""The names of `typing` that the library uses, in a light form (see light_modules.py).

To load `typing` and to make named tuples by it takes a third of a short program's time (Python 3.6 compiles a
text for each of them), and nothing reads the hints while it runs. So here are hints that mean nothing, and a
NamedTuple that is quick to make.
"""

from _operator import itemgetter  # operator itself, which nothing else here needs, is a hundred functions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Tuple

HINTS = (
    "Any Callable Collection Container Dict FrozenSet IO Iterable Iterator List Mapping Match NoReturn "
    "Optional Pattern Sequence Set Tuple Union"
).split()


class _Hint:
    def __getitem__(self, _parameters: "Any") -> "_Hint":
        return self


HINT = _Hint()


class _Tuple(tuple):  # type: ignore[type-arg] # of anything
    """What named tuples have in common, as collections.namedtuple makes it."""

    __slots__ = ()
    _fields: "Tuple[str, ...]" = ()

    @classmethod
    def _make(cls, values: "Iterable[Any]") -> "Any":
        made = tuple.__new__(cls, values)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self, **values: "Any") -> "Any":
        made = tuple.__new__(type(self), map(values.pop, self._fields, self))
        if values:
            raise ValueError(f"Got unexpected field names: {list(values)!r}")
        return made

    def _asdict(self) -> "Dict[str, Any]":
        return dict(zip(self._fields, self))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"{type(self).__name__}({values})"

    def __getnewargs__(self) -> "Tuple[Any, ...]":
        return tuple(self)


class _NamedTupleMeta(type):
    """Makes a subclass of NamedTuple a tuple with names."""

    def __new__(cls, name: str, bases: "Tuple[Any, ...]", body: "Dict[str, Any]") -> "Any":
        if not bases:
            return type.__new__(cls, name, bases, body)
        fields = tuple(body.get("__annotations__", ()))
        defaults = {field: body[field] for field in fields if field in body}
        for place, field in enumerate(fields):
            body[field] = property(itemgetter(place))
        body.update(__slots__=(), _fields=fields, _field_defaults=defaults, __new__=_maker(fields, defaults))
        return type.__new__(type, name, (_Tuple,), body)


class NamedTuple(metaclass=_NamedTupleMeta):
    pass


def _maker(fields: "Tuple[str, ...]", defaults: "Dict[str, Any]") -> "Any":
    """A `__new__`. Of many classes none is made, and most are made with all values in their order; to take
    them by name is left to Python, for which the method is compiled when the first one comes so."""
    count = len(fields)

    def make(cls: "Any", *values: "Any", **named: "Any") -> "Any":
        if len(values) == count and not named:
            return tuple.__new__(cls, values)
        listed = ", ".join(fields)  # no field begins with an underscore
        compiled = eval(f"lambda _cls, {listed}: _new(_cls, ({listed},))", {"_new": tuple.__new__})
        compiled.__name__ = "__new__"
        compiled.__defaults__ = tuple(defaults.values())
        owner = next(one for one in cls.__mro__ if "_field_defaults" in vars(one))
        owner.__new__ = staticmethod(compiled)
        return compiled(cls, *values, **named)

    return make


NAMES: "Dict[str, Any]" = dict(
    dict.fromkeys(HINTS, HINT),
    TYPE_CHECKING=False,
    NamedTuple=NamedTuple,
    TypeVar=lambda *_words, **_bounds: HINT,
)
