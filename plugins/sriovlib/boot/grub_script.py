"""GRUB's script language as GRUB reads it: a text becomes commands, conditions, loops, functions and blocks.

The lexer and the grammar of GRUB 2 (grub-core/script/yylex.l, parser.y; normal/main.c: how a file is
read). Nothing is run and no variable is looked up. What GRUB would refuse is refused here too.
"""

import re
from typing import List, Match, NamedTuple, NoReturn, Optional, Tuple, Union

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_NAME = r"[A-Za-z_]\w*"
_VARIABLE = rf"\$(?:(?P<name>{_NAME}|\d+|[?#*@])|\{{(?P<braced>{_NAME}|\d+|[?#*@])\}})"
_PART_OF_WORD = re.compile(
    r"\\(?P<escaped>.|\Z)|'(?P<single>[^']*)'|(?P<translated>\$?)\"(?P<double>(?:\\.|[^\"\\])*)\"|"
    + _VARIABLE
    + r"|(?P<plain>[^{}|&$;<> \t\n'\"\\]+)",
    re.ASCII | re.DOTALL,
)
_PART_OF_QUOTED = re.compile(rf"\\(?P<escaped>.)|{_VARIABLE}|.", re.ASCII | re.DOTALL)
_RESERVED = frozenset(
    "case do done elif else esac fi for if in select then until while function [[ ]]".split()
)
_DEEPEST = 50  # blocks within blocks; a boot configuration has three


class ScriptError(Exception):
    """GRUB would not understand the text: the line, and why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


class Word(NamedTuple):
    """A word of a command. `text` is what GRUB makes of it: quotes and backslashes taken away, a variable as
    NUL, `v` (`q` within quotes) and its name in braces. `start` and `end` are its places in the file."""

    text: str
    start: int
    end: int
    line: int
    is_bare: bool = True  # nothing in it was quoted
    kind: str = "word"  # or the sign itself: the end of a line, `;`, a brace


class Command(NamedTuple):
    """A command with its words, the first its name, and the block in braces behind them, if any."""

    words: Tuple[Word, ...]
    block: Optional[Tuple["Node", ...]]

    @property
    def name(self) -> str:
        return self.words[0].text

    @property
    def line(self) -> int:
        return self.words[0].line


class Compound(NamedTuple):
    """`if`, `while`, `until`, `for` or `function`: its own words, then its lists of commands in their order
    (of an `if`: condition and commands by turns, and those of `else`)."""

    words: Tuple[str, ...]
    parts: Tuple[Tuple["Node", ...], ...]
    line: int


Node = Union[Command, Compound]
Nodes = Tuple[Node, ...]


def parse(text: str) -> Nodes:
    """The commands of the file, in their order; raises ScriptError."""
    if "\0" in text:  # which stands for something in `Word.text`
        raise ScriptError(text.count("\n", 0, text.index("\0")) + 1, "there is a NUL in it")
    return _Parser(_words_and_signs(text)).script()


# -- words -----------------------------------------------------------------------------------------


def _read(text: str) -> Tuple[str, List[int]]:
    """What GRUB takes from the file, and where each character of it stood: carriage returns are left out,
    and lines that begin with `#`, wherever they are (normal/main.c: read_config_file_getline)."""
    kept: List[int] = []
    place = 0
    for line in _LINE.findall(text):
        if not line.replace("\r", "").startswith("#"):
            kept += [place + number for number, letter in enumerate(line) if letter != "\r"]
        place += len(line)
    return "".join([text[number] for number in kept]), [*kept, len(text)]


def _words_and_signs(text: str) -> List[Word]:
    source, places = _read(text)
    found: List[Word] = []
    at = 0
    while True:
        while source[at : at + 1] in (" ", "\t"):
            at += 1
        if source[at : at + 1] == "#":
            at = (source + "\n").index("\n", at)
        if at >= len(source):
            return found
        line, start, kind = text.count("\n", 0, places[at]) + 1, at, source[at]
        if kind in "|&<>":
            raise ScriptError(line, f"GRUB has no use for `{kind}` there")
        said, is_bare, at = (kind, True, at + 1) if kind in "\n;{}" else _word(source, at, line)
        found.append(
            Word(said, places[start], places[at - 1] + 1, line, is_bare, kind if kind in "\n;{}" else "word")
        )


def _word(source: str, at: int, line: int) -> Tuple[str, bool, int]:
    """The word that begins at `at`, whether nothing in it is quoted, and the place behind it. A backslash
    and a newline alone are a word too, an empty one."""
    parts: List[str] = []
    is_bare = True
    while True:
        part = _PART_OF_WORD.match(source, at)
        if part is None:
            break
        at = part.end()
        kind, text = str(part.lastgroup), part.group(str(part.lastgroup))
        is_bare = is_bare and kind == "plain"
        if kind == "double":
            parts.append(_quoted(text, line, bool(part.group("translated"))))
        elif kind in ("name", "braced"):
            parts.append(f"\0v{{{text}}}")
        elif kind == "plain":
            parts.append(text)
        else:
            parts.append(_literal(text.replace("\n", "") if kind == "escaped" else text))
    if source.startswith(("'", '"', '$"'), at):
        raise ScriptError(line, "a quote has no end")
    if source.startswith("$", at):
        raise ScriptError(line, "a `$` is not followed by a name")
    return "".join(parts), is_bare, at


def _literal(text: str) -> str:
    """A quoted text; wildcards are marked, for GRUB expands them only where they are not quoted."""
    return re.sub(r"([*?[])", "\0\\1", text)


def _quoted(text: str, line: int, is_translated: bool) -> str:
    """What a text in double quotes is, `$"..."` too, in which no variable is one."""

    def said(part: Match[str]) -> str:
        escaped, name = part.group("escaped"), part.group("name") or part.group("braced")
        if escaped in ('"', "\\") or (escaped == "$" and not is_translated):
            return str(escaped)
        if escaped == "\n":
            return ""
        if escaped or is_translated or part.group() != "$":
            return f"\0q{{{name}}}" if name and not is_translated else _literal(part.group())
        raise ScriptError(line, "a `$` is not followed by a name")

    return ("\0t" if is_translated else "") + _PART_OF_QUOTED.sub(said, text)


# -- grammar -----------------------------------------------------------------------------------------


class _Parser:
    def __init__(self, words: List[Word]) -> None:
        end = Word("\n", 0, 0, words[-1].line if words else 1, kind="\n")
        self._words = [*words, end, end._replace(kind="end")]
        self._at = 0
        self._depth = 0

    @property
    def _now(self) -> Word:
        return self._words[self._at]

    def _is_reserved(self, *words: str) -> bool:
        now = self._now
        return now.kind == "word" and now.is_bare and now.text in (words or _RESERVED)

    def _next(self, is_right: bool = True) -> Word:
        if not is_right:
            self._fail()
        self._at += 1
        return self._words[self._at - 1]

    def _fail(self, reason: str = "") -> NoReturn:
        now = self._now
        seen = "the file ends" if now.kind == "end" else f"`{now.text}`".replace("\n", "end of line")
        raise ScriptError(now.line, reason or f"{seen} where GRUB does not expect it")

    def _newlines(self) -> None:
        while self._now.kind == "\n":
            self._at += 1

    def _end_of_command(self) -> None:
        self._next(self._now.kind in "\n;")
        self._newlines()

    def script(self) -> Nodes:
        found: List[Node] = []
        self._newlines()
        while self._now.kind != "end":
            found.append(self._function() if self._is_reserved("function") else self._command())
            self._end_of_command()
        return tuple(found)

    def _commands(self, *ends: str, is_function: bool = False) -> Tuple[Nodes, str]:
        """At least one command, and which of the reserved words `ends` follows, or the brace `}`, which may
        follow the last command at once, but not in a function (parser.y: block, function)."""
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail("more blocks within blocks than a boot configuration has")
        found: List[Node] = []
        self._newlines()
        while True:
            found.append(self._command())
            if self._now.kind not in ends or is_function:
                self._end_of_command()
            if self._now.kind in ends or self._is_reserved(*ends):
                break
        self._depth -= 1
        return tuple(found), self._next().text

    def _command(self) -> Node:
        if self._is_reserved("if"):
            return self._if()
        if self._is_reserved("for", "while", "until"):
            return self._loop()
        if self._is_reserved() or self._now.kind != "word":
            self._fail()
        words = self._arguments()
        return Command(words, self._block() if self._now.kind == "{" else None)

    def _arguments(self) -> Tuple[Word, ...]:
        words: List[Word] = []
        while self._now.kind == "word" and not self._is_reserved("[[", "]]"):
            words.append(self._next())
        return tuple(words)

    def _block(self, is_function: bool = False) -> Nodes:
        opened = self._next(self._now.kind == "{")
        try:
            return self._commands("}", is_function=is_function)[0]
        except ScriptError as error:
            if self._now.kind == "end":
                raise ScriptError(opened.line, "the block that begins there has no end") from error
            raise

    def _if(self) -> Compound:
        line, words, parts = self._next().line, ["if"], []
        end = "elif"
        while end == "elif":
            parts.append(self._commands("then")[0])
            commands, end = self._commands("fi", "else", "elif")
            parts.append(commands)
            words += [end] if end != "fi" else []
        if end == "else":
            parts.append(self._commands("fi")[0])
        return Compound(tuple(words), tuple(parts), line)

    def _loop(self) -> Compound:
        start, parts = self._next(), []
        words = [start.text]
        if start.text == "for":
            words.append(self._name())
            self._next(self._is_reserved("in"))
            words += [word.text for word in self._arguments()]
            self._end_of_command()
            self._next(self._is_reserved("do"))
        else:
            parts.append(self._commands("do")[0])
        parts.append(self._commands("done")[0])
        return Compound(tuple(words), tuple(parts), start.line)

    def _name(self) -> str:
        now = self._now
        is_name = now.kind == "word" and now.is_bare and re.fullmatch(_NAME, now.text, re.ASCII)
        return self._next(bool(is_name) and not self._is_reserved()).text

    def _function(self) -> Compound:
        line, name = self._next().line, self._name()
        self._newlines()
        return Compound(("function", name), (self._block(is_function=True),), line)
