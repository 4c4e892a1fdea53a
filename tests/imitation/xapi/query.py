"""The expressions of get_all_records_where: from text to a question about one row.

Imitates records.json: `field "name__label" = "alpha"`, `and`, `or`, `not`, brackets, `true`, `false`.
"""

import re
from typing import Callable, Iterator, List, NamedTuple, Optional

from values import Failure

Row = Callable[[str], str]  # a field's database name -> its text
Value = Callable[[Row], str]
Condition = Callable[[Row], bool]

_TOKEN = re.compile(r'\s*(?:(true|false|field|and|or|not|[()=])|"([^"]*)"|(\Z))')


class _Token(NamedTuple):
    kind: str  # a keyword or sign, "string", or "end"
    text: str = ""


class _Parser:
    """One token ahead; each method reads one level of the grammar, `or` binding least."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = self._lex()
        self._next = next(self._tokens)

    def _lex(self) -> Iterator[_Token]:
        position = 0
        while True:
            match = _TOKEN.match(self._expression, position)
            if match is None:
                raise self._invalid('Failure("lexing: empty token")')
            sign, text, _end = match.groups()
            yield _Token(sign) if sign else _Token("end") if text is None else _Token("string", text)
            position = match.end()

    def _invalid(self, why: str) -> Failure:
        return Failure("INVALID_VALUE", self._expression, why)

    def _accept(self, kind: str) -> Optional[_Token]:
        token = self._next
        if token.kind != kind:
            return None
        if kind != "end":
            self._next = next(self._tokens)
        return token

    def _expect(self, kind: str) -> _Token:
        token = self._accept(kind)
        if token is None:
            raise self._invalid("Xapi_database.Db_filter_parse.MenhirBasics.Error")
        return token

    def whole(self) -> Condition:
        condition = self._alternatives()
        self._expect("end")
        return condition

    def _alternatives(self) -> Condition:
        parts = [self._conjunction()]
        while self._accept("or"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else _any_of(parts)

    def _conjunction(self) -> Condition:
        parts = [self._term()]
        while self._accept("and"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else _all_of(parts)

    def _term(self) -> Condition:
        if self._accept("not"):
            inner = self._term()
            return lambda row: not inner(row)
        if self._accept("("):
            inner = self._alternatives()
            self._expect(")")
            return inner
        if self._accept("true"):
            return lambda _row: True
        if self._accept("false"):
            return lambda _row: False
        left = self._value()
        self._expect("=")
        right = self._value()
        return lambda row: left(row) == right(row)

    def _value(self) -> Value:
        if self._accept("field"):
            name = self._expect("string").text
            return lambda row: row(name)
        text = self._expect("string").text
        return lambda _row: text


def _any_of(parts: List[Condition]) -> Condition:
    return lambda row: any(part(row) for part in parts)


def _all_of(parts: List[Condition]) -> Condition:
    return lambda row: all(part(row) for part in parts)


def parse(expression: str) -> Condition:
    """The condition that the text says; INVALID_VALUE where it is none."""
    return _Parser(expression).whole()
