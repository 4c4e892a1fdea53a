"""A text of YAML or JSON as nodes that know their line, so that an error can name it.

YAML takes PyYAML, which a workstation has; JSON takes nothing, so dom0 reads it. Scalars are kept as they are
written: YAML 1.1 would read a MAC such as 12:34:56:10:20:30 as a number to the base 60, and `on` as true.
"""

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

from ..errors import Failed

_NEEDS_YAML = "Install PyYAML (`pip install PyYAML`), or write it as JSON."
_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"
_KINDS = "str int float bool null map seq timestamp merge value"
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in _KINDS.split()}
_DEEPEST = 12


class Node(NamedTuple):
    """`value`: by key, a list, a scalar's text, or None for nothing. `doubles`: keys that are there twice."""

    value: Union[Dict[str, Any], List[Any], str, None]
    line: Optional[int]
    doubles: Tuple[str, ...] = ()


class Unreadable(Failed):
    """The text is neither."""

    def __init__(self, what: str, line: Optional[int], hint: str = "") -> None:
        super().__init__("BAD_DOCUMENT", what, hint)
        self.line = line


def parse(text: str) -> Node:
    """Raises Unreadable. What begins with a brace is JSON, as every YAML that does is near enough."""
    return _json(text) if text.lstrip().startswith("{") else _yaml(text)


def _json(text: str) -> Node:
    try:
        return _of_json(json.loads(text, object_pairs_hook=_Pairs, parse_int=str))
    except json.JSONDecodeError as error:
        raise Unreadable(f"this is no JSON: {error.msg}", error.lineno) from error
    except RecursionError as error:
        raise Unreadable("it is nested too deeply", None) from error


class _Pairs(List[Any]):
    """A JSON object as it is written."""


def _of_json(value: Any) -> Node:
    if isinstance(value, _Pairs):
        names = [name for name, _ in value]
        doubles = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
        return Node({name: _of_json(one) for name, one in value}, None, doubles)
    if isinstance(value, list):
        return Node([_of_json(one) for one in value], None)
    return Node(value if value is None or isinstance(value, str) else json.dumps(value), None)


def _yaml(text: str) -> Node:
    try:
        import yaml
    except ImportError as error:
        raise Unreadable(
            "this is no JSON, and there is no PyYAML here to read YAML", None, _NEEDS_YAML
        ) from (error)
    try:
        loader = yaml.SafeLoader(text)
        try:
            whole = loader.get_single_node()
            return Node({}, 1) if whole is None else _of_yaml(loader, whole, {}, 0)
        finally:
            loader.dispose()  # type: ignore[no-untyped-call] # no types
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise Unreadable(f"this is no YAML: {problem}", mark.line + 1 if mark else None) from error
    except RecursionError as error:
        raise Unreadable("it is nested too deeply", None) from error


def _of_yaml(loader: Any, node: Any, known: Dict[int, Node], depth: int) -> Node:
    """`known`: nodes that are done, by id. What several aliases mean is read once, or a few lines of aliases
    of aliases would be millions of nodes."""
    if id(node) not in known:
        known[id(node)] = _read_yaml(loader, node, known, depth)
    return known[id(node)]


def _read_yaml(loader: Any, node: Any, known: Dict[int, Node], depth: int) -> Node:
    line = node.start_mark.line + 1
    if depth > _DEEPEST:
        raise Unreadable("it is nested too deeply", line)
    if node.tag not in _TAGS:
        raise Unreadable(f"the tag {node.tag} is not understood", line)
    if node.id == "scalar":
        return Node(None if node.tag == _NULL else node.value, line)
    if node.id == "sequence":
        return Node([_of_yaml(loader, one, known, depth + 1) for one in node.value], line)
    doubles, keys = [], set()
    for key, _ in node.value:
        if key.id != "scalar":
            raise Unreadable("a key must be a word", key.start_mark.line + 1)
        if key.value in keys and key.tag != _MERGE:
            doubles.append(key.value)
        keys.add(key.value)
    loader.flatten_mapping(node)  # `<<: *anchor`: what is merged comes first, so that the own keys count
    return Node(
        {key.value: _of_yaml(loader, one, known, depth + 1) for key, one in node.value}, line, tuple(doubles)
    )
