"""Mutants of Python: comparisons, arithmetic, numbers, conditions turned round, statements dropped."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from tests.mutants import Mutant, numbered, replaced

COMPARISONS = {
    "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"), "==": ("!=",), "!=": ("==",),
    "is": ("is not",), "is not": ("is",), "in": ("not in",), "not in": ("in",),
}  # fmt: skip
OPERATORS = {
    "+": ("-",), "-": ("+",), "*": ("//",), "//": ("*",), "/": ("*",), "%": ("//",), "**": ("*",), "<<": (">>",),
    ">>": ("<<",), "&": ("|",), "|": ("&",),
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
SYMBOLS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*",
    ast.FloorDiv: "//", ast.Div: "/", ast.Mod: "%", ast.Pow: "**", ast.LShift: "<<", ast.RShift: ">>",
    ast.BitAnd: "&", ast.BitOr: "|",
}  # fmt: skip
Edit = tuple[ast.AST, int, int, str]  # at what, from where to where, and what stands there then


def mutants_of(file: str, source: str) -> list[Mutant]:
    made = []
    tree = ast.parse(source)
    for where, start, end, by in sorted(Edits(source).of(tree), key=lambda edit: edit[1:3]):
        text, was, becomes = replaced(source, start, end, by)
        try:
            compile(text, file, "exec", dont_inherit=True)
        except SyntaxError:
            continue
        made.append(Mutant(file, source.count("\n", 0, start) + 1, where, was, becomes, text))
    return numbered(made)


class Edits:
    """Of one source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: set[str] = set()  # names of the function that have a value already
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def of(self, node: ast.AST, where: str = "") -> Iterator[tuple[str, int, int, str]]:
        """All edits in a part of the tree: the function that each is in, from where to where, and what stands there."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".strip(".")
            self._known = {argument.arg for argument in node.args.args} if not isinstance(node, ast.ClassDef) else set()
        for edit in self._at(node):
            yield (where, *edit)
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_params", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _passed_over(child):
                    yield from self.of(child, where)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self._known.add(node.id)

    def _at(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        yield from self._of_an_operator(node)
        yield from self._of_a_value(node)
        yield from self._of_a_condition(node)
        yield from self._of_a_statement(node)

    def _of_an_operator(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.Compare(left=left, ops=ops, comparators=others):
                for (one, other), op in zip(pairwise([left, *others]), ops, strict=True):
                    for by in COMPARISONS[SYMBOLS[type(op)]]:
                        yield self._between(one, other, SYMBOLS[type(op)], by)
            case ast.BoolOp(op=op, values=values):
                words = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                for one, other in pairwise(values):
                    yield self._between(one, other, *words)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in SYMBOLS and not _of_types(node):
                symbol = SYMBOLS[type(op)]
                for by in OPERATORS[symbol]:
                    yield self._between(left, right, symbol, by)
                if symbol == "-":
                    yield *self._span(node), f"({self._text(right)}) - ({self._text(left)})"
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield *self._span(node), f"({self._text(operand)})"
            case _:
                pass

    def _of_a_value(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.Constant(value=bool(value)):
                yield *self._span(node), str(not value)
            case ast.Constant(value=int() | float()):
                yield *self._span(node), f"({self._text(node)} + 1)"
            case ast.Constant(value=str(value)) if value and len(value) < 16 and " " not in value:
                if self._text(node)[0] in "\"'":
                    yield *self._span(node), repr(f"XX{value}")
            case ast.Call(func=ast.Name(id=name) as func) if name in NAMES:
                yield *self._span(func), NAMES[name]
            case _:
                pass

    def _of_a_condition(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) if _is_plain(test):
                yield *self._span(test), f"(not {self._text(test)})"
            case ast.comprehension(ifs=ifs):
                for test in ifs:
                    yield *self._span(test), "True"
            case _:
                pass

    def _of_a_statement(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
                yield *self._span(value), "None"
            case (
                ast.Expr(value=ast.Call() | ast.Await() | ast.Yield() | ast.YieldFrom()) | ast.AugAssign() | ast.Raise()
            ):
                yield *self._span(node), "pass"
            case ast.Delete() | ast.Continue():
                yield *self._span(node), "pass"
            case ast.Break():
                yield *self._span(node), "continue"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield *self._span(node), "pass"
            case ast.Assign(targets=[ast.Name(id=name)]) if name in self._known:  # of a new one, its first use fails
                yield *self._span(node), "pass"
            case ast.AnnAssign(value=ast.expr(), target=ast.Attribute() | ast.Subscript()):
                yield *self._span(node), "pass"
            case _:
                pass

    def _between(self, one: ast.AST, other: ast.AST, symbol: str, by: str) -> tuple[int, int, str]:
        """An operator between two operands; parentheses may stand there as well, and comments do not."""
        start = self._source.index(symbol, self._span(one)[1], self._span(other)[0])
        return start, start + len(symbol), by

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        start = self._lines[line - 1]
        if self._source.isascii():
            return start + column
        return start + len(self._source[start : self._lines[line]].encode()[:column].decode())

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._source[start:end]


def _passed_over(node: ast.AST) -> bool:
    """What is there for readers: docstrings, imports, types, assertions, the log, messages of errors."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name.startswith("__") or _of_types(node.value)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="logger" | "_log" | "log")))):
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name.endswith(("Error", "TypeVar", "cast"))
        case _:
            return False


def _of_types(node: ast.AST) -> bool:
    """Literal["a"], Callable[[int], str], int | None, as an alias."""
    match node:
        case ast.Subscript(value=ast.Name(id=name)):
            return name[0].isupper()
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return any(isinstance(side, ast.Constant) and side.value is None for side in (left, right)) or any(
                isinstance(side, ast.Name) and (side.id[0].isupper() or side.id in ("str", "int", "bytes"))
                for side in (left, right)
            )
        case _:
            return False


def _is_plain(test: ast.expr) -> bool:
    """A condition that no other mutant turns round."""
    return not isinstance(test, ast.Compare | ast.UnaryOp | ast.Constant)
