"""The expressions of get_all_records_where: from text to a question about one row.

Imitates records.json: `field "name__label" = "alpha"`, `and`, `or`, `not`, brackets, `true`, `false`. They
bind as in Python, so Python reads them, with each text by its number.
"""

import re
from typing import Callable, List

from values import Failure

Row = Callable[[str], str]  # a field's database name -> its text
Condition = Callable[[Row], bool]

_TOKEN = re.compile(r'\s*(?:(true|false|field|and|or|not|[()=])|"([^"]*)"|\Z)')
_COMPARISON = re.compile(r"(field )?(\d+) = (field )?(\d+)")


def parse(expression: str) -> Condition:
    """The condition that the text says; INVALID_VALUE where it is none."""
    words: List[str] = []
    texts: List[str] = []
    position = 0
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise Failure("INVALID_VALUE", expression, 'Failure("lexing: empty token")')
        sign, text = match.groups()
        if text is not None:
            sign = str(len(texts))
            texts.append(text)
        words.append({"true": "True", "false": "False"}.get(sign, sign or ""))
        position = match.end()
    said = " ".join(words)
    try:
        if re.search(r"field|\d|=", _COMPARISON.sub("", said)):
            raise SyntaxError
        condition = compile("lambda row: " + _COMPARISON.sub(_in_python, said), expression, "eval")
    except SyntaxError:
        why = "Xapi_database.Db_filter_parse.MenhirBasics.Error"
        raise Failure("INVALID_VALUE", expression, why) from None
    asked: Condition = eval(condition, {"texts": texts})
    return asked


def _in_python(comparison: "re.Match[str]") -> str:
    left, left_text, right, right_text = comparison.groups()
    row_left, row_right = "row" if left else "", "row" if right else ""
    return f"{row_left}(texts[{left_text}]) == {row_right}(texts[{right_text}])"
