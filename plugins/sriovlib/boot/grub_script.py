"""GRUB's script language as GRUB reads it: a text becomes commands, conditions, loops, functions and blocks.

The lexer and the grammar of GRUB 2 (grub-core/script/yylex.l, parser.y; normal/main.c: how a file is
read). Nothing is run and no variable is looked up. What GRUB would refuse is refused here too.
"""

import re
from typing import List, NamedTuple, NoReturn, Optional, Tuple, Union

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD_ENDS = "{}|&$;<> \t\n'\"\\"
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*|\d+|[?#*@])|\{([A-Za-z_]\w*|\d+|[?#*@])\})", re.ASCII)
_RESERVED = frozenset(
    "case do done elif else esac fi for if in select then until while function [[ ]]".split()
)
_LOOPS = ("while", "until")
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
    is_bare: bool  # nothing in it was quoted


class Command(NamedTuple):
    """A command with its words, the first its name, and the block in braces behind them, if any."""

    words: Tuple[Word, ...]
    block: Optional[Tuple["Node", ...]]
    line: int

    @property
    def name(self) -> str:
        return self.words[0].text


class Compound(NamedTuple):
    """`if`, `while`, `until`, `for` or `function`: its own words, then its lists of commands in their order
    (of an `if`: condition and commands by turns, and those of `else`)."""

    words: Tuple[str, ...]
    parts: Tuple[Tuple["Node", ...], ...]
    line: int


Node = Union[Command, Compound]
Nodes = Tuple[Node, ...]


class _Token(NamedTuple):
    kind: str  # `word`, or the sign itself
    word: Word
    line: int


def parse(text: str) -> Nodes:
    """The commands of the file, in their order; raises ScriptError."""
    if "\0" in text:  # which stands for something in `Word.text`
        raise ScriptError(text.count("\n", 0, text.index("\0")) + 1, "there is a NUL in it")
    return _Parser(_tokens(text)).script()


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


def _tokens(text: str) -> List[_Token]:
    source, places = _read(text)
    found: List[_Token] = []
    at = 0

    def line() -> int:
        return text.count("\n", 0, places[at]) + 1

    while at < len(source):
        letter = source[at]
        if letter in " \t":
            at += 1
        elif letter == "#":
            end = source.find("\n", at)
            at = end if end >= 0 else len(source)
        elif letter in "\n;{}":
            found.append(_Token(letter, Word(letter, places[at], places[at] + 1, True), line()))
            at += 1
        elif letter in "|&<>":
            raise ScriptError(line(), f"GRUB has no use for `{letter}` there")
        else:
            number, start = line(), at
            said, is_bare, at = _word(source, at, number)
            word = Word(said, places[start], places[at - 1] + 1, is_bare)
            found.append(_Token("word", word, number))
    return found


def _word(source: str, at: int, line: int) -> Tuple[str, bool, int]:
    """The word that begins at `at`, whether nothing in it is quoted, and the place behind it. A backslash
    and a newline alone are a word too, an empty one."""
    parts: List[str] = []
    is_bare = True
    while at < len(source):
        letter = source[at]
        if letter == "\\":
            is_bare = False
            following = source[at + 1 : at + 2] or "\n"
            if following != "\n":
                parts.append(_literal(following))
            at += 2
        elif letter == "'":
            end = source.find("'", at + 1)
            if end < 0:
                raise ScriptError(line, "a quote has no end")
            parts.append("".join(map(_literal, source[at + 1 : end])))
            is_bare, at = False, end + 1
        elif letter == '"' or source.startswith('$"', at):
            translated = letter == "$"
            quoted, at = _quoted(source, at + 1 + translated, line, translated)
            parts.append(quoted)
            is_bare = False
        elif letter == "$":
            said, at = _variable(source, at, line, "v")
            parts.append(said)
            is_bare = False
        elif letter in _WORD_ENDS:
            break
        else:
            parts.append(letter)
            at += 1
    return "".join(parts), is_bare, min(at, len(source))


def _variable(source: str, at: int, line: int, mark: str) -> Tuple[str, int]:
    match = _VARIABLE.match(source, at)
    if not match:
        raise ScriptError(line, "a `$` is not followed by a name")
    return f"\0{mark}{{{match.group(1) or match.group(2)}}}", match.end()


def _literal(letter: str) -> str:
    """A quoted character; wildcards are marked, for GRUB expands them only where they are not quoted."""
    return f"\0{letter}" if letter in "*?[" else letter


def _quoted(source: str, at: int, line: int, is_translated: bool) -> Tuple[str, int]:
    parts: List[str] = ["\0t"] if is_translated else []
    while at < len(source):
        letter = source[at]
        if letter == '"':
            return "".join(parts), at + 1
        if letter == "\\":
            following = source[at + 1 : at + 2]
            if following in ('"', "\\") or (following == "$" and not is_translated):
                parts.append(following)
            elif following != "\n":
                parts.append("\\" + _literal(following))
            at += 2
        elif letter == "$" and not is_translated:
            said, at = _variable(source, at, line, "q")
            parts.append(said)
        else:
            parts.append(_literal(letter))
            at += 1
    raise ScriptError(line, "a quote has no end")


# -- grammar -----------------------------------------------------------------------------------------


class _Parser:
    def __init__(self, tokens: List[_Token]) -> None:
        last = tokens[-1].line if tokens else 1
        end = Word("\n", 0, 0, True)
        self._tokens = [*tokens, _Token("\n", end, last), _Token("end", end, last)]
        self._at = 0
        self._depth = 0

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _is(self, *kinds: str) -> bool:
        return self._now.kind in kinds

    def _is_reserved(self, *words: str) -> bool:
        token = self._now
        return token.kind == "word" and token.word.is_bare and token.word.text in (words or _RESERVED)

    def _next(self) -> _Token:
        token = self._now
        self._at += 1
        return token

    def _fail(self, reason: str = "") -> NoReturn:
        seen = "the file ends" if self._is("end") else f"`{self._now.word.text}`".replace("\n", "end of line")
        raise ScriptError(self._now.line, reason or f"{seen} where GRUB does not expect it")

    def _newlines(self) -> None:
        while self._is("\n"):
            self._at += 1

    def _end_of_command(self) -> None:
        if not self._is("\n", ";"):
            self._fail()
        self._at += 1
        self._newlines()

    def script(self) -> Nodes:
        found: List[Node] = []
        self._newlines()
        while not self._is("end"):
            found.append(self._function() if self._is_reserved("function") else self._command())
            self._end_of_command()
        return tuple(found)

    def _commands(self, *ends: str, is_function: bool = False) -> Nodes:
        """At least one command, up to one of the reserved words `ends` or the brace `}`, which may follow the
        last command at once, but not in a function (parser.y: block, function)."""
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail("more blocks within blocks than a boot configuration has")
        found: List[Node] = []
        self._newlines()
        while True:
            found.append(self._command())
            if self._is("}") and "}" in ends and not is_function:
                break
            self._end_of_command()
            if (self._is("}") and "}" in ends) or self._is_reserved(*ends):
                break
        self._depth -= 1
        return tuple(found)

    def _take(self, word: str) -> None:
        if not self._is_reserved(word):
            self._fail()
        self._at += 1

    def _command(self) -> Node:
        if self._is_reserved("if"):
            return self._if()
        if self._is_reserved(*_LOOPS):
            return self._loop()
        if self._is_reserved("for"):
            return self._for()
        if not self._is("word") or self._is_reserved():
            self._fail()
        line = self._now.line
        words = self._words()
        block = self._block() if self._is("{") else None
        return Command(words, block, line)

    def _words(self) -> Tuple[Word, ...]:
        words: List[Word] = []
        while self._is("word") and not self._is_reserved("[[", "]]"):
            words.append(self._next().word)
        return tuple(words)

    def _block(self, is_function: bool = False) -> Nodes:
        opened = self._next()
        try:
            nodes = self._commands("}", is_function=is_function)
        except ScriptError as error:
            if self._is("end"):
                raise ScriptError(opened.line, "the block that begins there has no end") from error
            raise
        self._at += 1
        return nodes

    def _if(self) -> Compound:
        line = self._next().line
        words, parts = ["if"], []
        while True:
            parts.append(self._commands("then"))
            self._take("then")
            parts.append(self._commands("fi", "else", "elif"))
            if not self._is_reserved("elif"):
                break
            words.append(self._next().word.text)
        if self._is_reserved("else"):
            words.append(self._next().word.text)
            parts.append(self._commands("fi"))
        self._take("fi")
        return Compound(tuple(words), tuple(parts), line)

    def _loop(self) -> Compound:
        start = self._next()
        return Compound((start.word.text,), (self._commands("do"), self._body()), start.line)

    def _body(self) -> Nodes:
        self._take("do")
        body = self._commands("done")
        self._take("done")
        return body

    def _name(self) -> str:
        word = self._now.word
        is_name = re.fullmatch(r"[A-Za-z_]\w*", word.text, re.ASCII) and word.is_bare
        if not self._is("word") or not is_name or self._is_reserved():
            self._fail()
        return self._next().word.text

    def _for(self) -> Compound:
        line = self._next().line
        name = self._name()
        self._take("in")
        words = [word.text for word in self._words()]
        self._end_of_command()
        return Compound(("for", name, *words), (self._body(),), line)

    def _function(self) -> Compound:
        line = self._next().line
        name = self._name()
        self._newlines()
        if not self._is("{"):
            self._fail()
        return Compound(("function", name), (self._block(is_function=True),), line)
