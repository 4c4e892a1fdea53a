"""Small changes of a module of the library, each of which some test ought to notice.

What they are, and how one is made; running the tests is scripts/mutants'. Needs Python 3.8.
"""

import ast
import os
from typing import Any, Dict, List, NamedTuple, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = "plugins/sriovlib"
ONLY_TOLD = ("log",)  # calls that are not missed where they are missing

OTHER: Dict[type, Tuple[type, str, str]] = {
    ast.Eq: (ast.NotEq, "==", "!="),
    ast.NotEq: (ast.Eq, "!=", "=="),
    ast.Lt: (ast.LtE, "<", "<="),
    ast.LtE: (ast.Lt, "<=", "<"),
    ast.Gt: (ast.GtE, ">", ">="),
    ast.GtE: (ast.Gt, ">=", ">"),
    ast.In: (ast.NotIn, "in", "not in"),
    ast.NotIn: (ast.In, "not in", "in"),
    ast.Is: (ast.IsNot, "is", "is not"),
    ast.IsNot: (ast.Is, "is not", "is"),
    ast.And: (ast.Or, "and", "or"),
    ast.Or: (ast.And, "or", "and"),
}


class Mutant(NamedTuple):
    module: str
    number: int  # of its module's
    line: int
    function: str
    change: str
    source: str  # the line

    @property
    def key(self) -> str:
        """What scripts/accepted-mutants calls it: other lines may come and go."""
        return f"{self.module}.{self.function}: {self.change}: {self.source}"


class Mutator(ast.NodeTransformer):
    """Counts the changes that can be made, and makes the wanted one."""

    def __init__(self, wanted: int = -1) -> None:
        self.found: List[Tuple[int, str, str]] = []  # line, function, change
        self._wanted = wanted
        self._inside: List[str] = []

    def _is_wanted(self, node: Any, change: str) -> bool:
        self.found.append((node.lineno, ".".join(self._inside) or "module", change))
        return len(self.found) - 1 == self._wanted

    def visit_FunctionDef(self, node: Any) -> Any:
        self._inside.append(node.name)
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.body = [one for one in map(self.visit, node.body) if one is not None]
        self._inside.pop()
        return node

    def visit_ClassDef(self, node: Any) -> Any:
        self._inside.append(node.name)
        node.body = [one for one in map(self.visit, node.body) if one is not None]
        self._inside.pop()
        return node

    def visit_AnnAssign(self, node: Any) -> Any:
        node.value = node.value and self.visit(node.value)
        return node

    def visit_Assign(self, node: Any) -> Any:
        is_type = isinstance(node.value, ast.Subscript) and isinstance(node.targets[0], ast.Name)
        return node if is_type and not self._inside else self.generic_visit(node)

    def visit_Compare(self, node: Any) -> Any:
        self.generic_visit(node)
        for number, operator in enumerate(node.ops):
            other, before, after = OTHER[type(operator)]
            if self._is_wanted(node, f"`{before}` is `{after}`"):
                node.ops[number] = other()
        return node

    def visit_BoolOp(self, node: Any) -> Any:
        self.generic_visit(node)
        other, before, after = OTHER[type(node.op)]
        if self._is_wanted(node, f"`{before}` is `{after}`"):
            node.op = other()
        return node

    def visit_UnaryOp(self, node: Any) -> Any:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and self._is_wanted(node, "no `not`"):
            return node.operand
        return node

    def visit_Constant(self, node: Any) -> Any:
        if isinstance(node.value, bool):
            value: Any = not node.value
        elif isinstance(node.value, int):
            value = 0 if node.value == 1 else node.value + 1
        else:
            return node
        if self._is_wanted(node, f"`{node.value}` is `{value}`"):
            return ast.copy_location(ast.Constant(value), node)
        return node

    def visit_Return(self, node: Any) -> Any:
        self.generic_visit(node)
        is_none = node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
        if not is_none and self._is_wanted(node, "returns None"):
            node.value = None
        return node

    def visit_Raise(self, node: Any) -> Any:
        self.generic_visit(node)
        return _nothing(node) if self._is_wanted(node, "no raise") else node

    def visit_Expr(self, node: Any) -> Any:
        self.generic_visit(node)
        if isinstance(node.value, ast.Call):
            name = getattr(node.value.func, "attr", getattr(node.value.func, "id", ""))
            if name not in ONLY_TOLD and self._is_wanted(node, f"no call of {name}"):
                return _nothing(node)
        return node

    def visit_If(self, node: Any) -> Any:
        if getattr(node.test, "id", "") == "TYPE_CHECKING":
            return node
        self.generic_visit(node)
        for change, value in (("the `if` is never so", False), ("the `if` is always so", True)):
            if self._is_wanted(node, change):
                node.test = ast.copy_location(ast.Constant(value), node.test)
        return node

    def visit_IfExp(self, node: Any) -> Any:
        self.generic_visit(node)
        if not isinstance(node.test, ast.Compare) and self._is_wanted(node, "the arms of the `if` exchanged"):
            node.body, node.orelse = node.orelse, node.body
        return node


def _nothing(node: Any) -> Any:
    return ast.copy_location(ast.Pass(), node)


def path_of(module: str) -> str:
    return os.path.join(LIBRARY, *module.split(".")) + ".py"


def made(mutant: Mutant, text: str, path: str) -> Any:
    """The code of that mutant, from its module's text; `path` is what it is told to come from."""
    tree = Mutator(mutant.number).visit(ast.parse(text))
    return compile(ast.fix_missing_locations(tree), path, "exec")


def mutants_of(module: str) -> List[Mutant]:
    with open(os.path.join(ROOT, path_of(module)), encoding="utf-8") as file:
        text = file.read()
    mutator = Mutator()
    mutator.visit(ast.parse(text))
    lines = text.splitlines()
    return [
        Mutant(module, number, line, function, change, lines[line - 1].strip())
        for number, (line, function, change) in enumerate(mutator.found)
    ]
