"""Which words the code says: every call of say(), saying() and .format(), read from the syntax trees of src/pghaul.

The catalogue of errors is made of them, and tests hold the rules that a translation needs: a template is a literal, its
placeholders have names, and each name has a value.
"""

from __future__ import annotations

import ast
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "pghaul"
MAKERS = ("say", "saying")
# What takes words by these names takes them said.
READ = frozenset({"advice", "what", "why", "message", "title"})
# What takes them by position: a warning, a notice (kind, name, why), a step of a cutover.
READ_AT = {"add_note": 0, "warn": 0, "_warn": 0, "notice": 2, "_tell": 1}
DEEPEST = 8  # a constant of a constant; a function may call itself
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One call. `template` is None where it is no literal; `values` are None where they cannot be read (**named)."""

    place: str  # file:line
    template: str | None
    values: frozenset[str] | None
    waits: bool  # a constant, to be filled later

    @property
    def complaint(self) -> str | None:
        """What a translator would stumble over."""
        if self.template is None:
            return f"{self.place}: the template is no literal"
        try:
            fields = placeholders(self.template)
        except ValueError as exc:
            return f"{self.place}: {exc}: {self.template}"
        if not all(name.isidentifier() for name in fields):
            return f"{self.place}: a placeholder without a name: {self.template}"
        if not self.waits and self.values is not None and fields != self.values:
            return f"{self.place}: {sorted(fields ^ self.values)} only in the template or only among the values"
        return None


def placeholders(template: str) -> frozenset[str]:
    """Their names; '' for one without. ValueError for what str.format cannot read."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


@dataclass(frozen=True)
class Module:
    """One file: its tree, and what its names stand for."""

    path: Path
    root: Path

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax."""
        return ast.parse(self.path.read_text(encoding="utf-8"))

    def place(self, node: ast.expr) -> str:
        """file:line."""
        return f"{self.path.relative_to(self.root).as_posix()}:{node.lineno}"

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """What module and class names are set to."""
        return dict(_assigned(self.tree.body))

    @cached_property
    def functions(self) -> dict[str, Function]:
        """The functions of the module, by name."""
        return {n.name: n for n in ast.walk(self.tree) if isinstance(n, Function)}

    @cached_property
    def homes(self) -> dict[int, Function]:
        """By the id of a node, the innermost function around it."""
        return {
            id(n): f for f in sorted(self.functions.values(), key=lambda f: f.lineno) for n in ast.walk(f) if n is not f
        }

    def home(self, node: ast.AST) -> str:
        """The name of the function around a node."""
        function = self.homes.get(id(node))
        return function.name if function else ""

    def said(self) -> Iterator[Said]:
        """Every call of say(), saying(), and of .format() on a constant."""
        for node in (n for n in ast.walk(self.tree) if isinstance(n, ast.Call)):
            if isinstance(node.func, ast.Name) and node.func.id in MAKERS and node.args:
                yield Said(
                    place=self.place(node),
                    template=_literal(node.args[0]) if len(node.args) == 1 else None,
                    values=_names(node),
                    waits=node.func.id == "saying",
                )
            elif isinstance(node.func, ast.Attribute) and node.func.attr == "format":
                yield from self._filled(node, node.func.value)

    def unsaid(self) -> Iterator[str]:
        """Where words for a person are a plain literal, or put together by hand."""
        for node in (n for n in ast.walk(self.tree) if isinstance(n, ast.Call)):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            words = [k.value for k in node.keywords if k.arg in READ] if name not in {*MAKERS, "format"} else []
            words += node.args[READ_AT[name] :][:1] if name in READ_AT else []
            yield from (f"{self.place(w)}: {ast.unparse(w)}" for w in words if _is_raw(self._meant(w)))

    def _meant(self, node: ast.expr) -> ast.expr:
        """Of a constant, what it stands for."""
        return self.constants.get(node.id, node) if isinstance(node, ast.Name) else node

    def _filled(self, node: ast.Call, constant: ast.expr) -> Iterator[Said]:
        """One of several constants need not take all values."""
        found, values = self.templates(constant), _names(node)
        if values is None:
            return
        given = frozenset(["positions"]) if node.args else values
        for template in found:
            taken = given & placeholders(template) if len(found) > 1 else given
            yield Said(place=self.place(node), template=template, values=taken, waits=False)

    def templates(self, node: ast.expr | None) -> tuple[str, ...]:
        """Every template that an expression may have; none where it is made of data."""
        return tuple(dict.fromkeys(self._templates(node, DEEPEST)))

    def _templates(self, node: ast.expr | None, depth: int) -> Iterator[str]:
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(template))]) if name in MAKERS:
                yield template
            case _:
                for part in self._parts(node) if depth else ():
                    yield from self._templates(part, depth - 1)

    def _parts(self, node: ast.expr | None) -> Iterable[ast.expr | None]:
        """What an expression may become."""
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr="format")):
                return [value]
            case ast.Call(func=ast.Name(id=name)) if name in self.functions:
                return [n.value for n in ast.walk(self.functions[name]) if isinstance(n, ast.Return)]
            case ast.Name(id=name):
                return self._values(name, node)
            case ast.IfExp(body=one, orelse=other):
                return [one, other]
            case ast.BoolOp(values=values):
                return values
            case _:  # one of a dictionary
                name = node.value.id if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) else ""
                return getattr(self.constants.get(name), "values", ())

    def _values(self, name: str, at: ast.expr) -> Iterator[ast.expr]:
        """What a name was set to: in the function around, else in the module."""
        function = self.homes.get(id(at))
        local = [value for n, value in _assigned(function.body) if n == name] if function else []
        if local or name in self.constants:
            yield from local or [self.constants[name]]


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    yield name, value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    yield name, value
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    yield from ((n.id, v) for n, v in zip(names, values, strict=False) if isinstance(n, ast.Name))
                case _:
                    pass


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_raw(node: ast.expr) -> bool:
    match node:
        case ast.JoinedStr():
            return True
        case ast.BinOp(left=left, right=right):
            return _is_raw(left) or _is_raw(right)
        case ast.IfExp(body=one, orelse=other):
            return _is_raw(one) or _is_raw(other)
        case ast.BoolOp(values=values):
            return any(_is_raw(v) for v in values)
        case _:
            return " " in (_literal(node) or "")


def _names(call: ast.Call) -> frozenset[str] | None:
    names = [k.arg for k in call.keywords]
    return None if None in names else frozenset(n for n in names if n is not None)


@lru_cache(maxsize=8)
def modules(root: Path = SOURCE) -> tuple[Module, ...]:
    """All of the program."""
    return tuple(Module(path, root) for path in sorted(root.rglob("*.py")))
