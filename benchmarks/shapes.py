"""The shape of the JSON that a piece of Python code reads, found by looking at the code: so that a stand-in can
answer with something that the code can use."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PLENTY = "a text of some length, as a real service would send it. " * 10


@dataclass(slots=True)
class _Part:
    keys: dict[str, "_Part"] = field(default_factory=dict)
    items: "_Part | None" = None

    def key(self, name: str) -> "_Part":
        return self.keys.setdefault(name, _Part())

    def item(self) -> "_Part":
        self.items = self.items or _Part()
        return self.items

    def value(self) -> Any:
        if self.items is not None:
            return [self.items.value()]
        return {name: part.value() for name, part in self.keys.items()} if self.keys else _PLENTY


class _Reader(ast.NodeVisitor):
    """Follows subscripts, ``.get`` and loops; whatever it does not know the origin of is taken for the JSON."""

    def __init__(self, root: _Part) -> None:
        self._root = root
        self._names: dict[str, _Part | None] = {}

    def visit_Assign(self, node: ast.Assign) -> None:
        self._bind(node.targets[0], self._part(node.value))
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._bind_item(node.target, node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._bind_item(node.target, node.iter)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        for generator in node.generators:  # before the element, which uses what they bind
            self.visit(generator)
        self.visit(node.elt)

    visit_SetComp = visit_GeneratorExp = visit_ListComp  # type: ignore[assignment]  # noqa: N815

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._part(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._part(node)
        self.generic_visit(node)

    def _bind(self, target: ast.expr, part: _Part | None) -> None:
        if isinstance(target, ast.Name):
            self._names[target.id] = part

    def _bind_item(self, target: ast.expr, source: ast.expr) -> None:
        part = self._part(source) if isinstance(source, ast.Subscript | ast.Call | ast.BoolOp) else None
        if isinstance(source, ast.Name):
            part = self._names.get(source.id)
        self._bind(target, part.item() if part is not None and part is not self._root else None)

    def _part(self, node: ast.expr) -> _Part | None:
        match node:
            case ast.Name(id=name):
                return self._names.get(name, self._root)
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key))):
                part = self._part(value)
                return part.key(key) if part is not None else None
            case ast.Subscript(value=value, slice=ast.Constant(value=int())):
                part = self._part(value)
                return part.item() if part is not None and part is not self._root else None
            case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value=str(key)), *_]):
                part = self._part(value) if not isinstance(value, ast.Attribute) else None
                return part.key(key) if part is not None else None
            case ast.Call(func=ast.Name(id=name)) if name not in {
                "len",
                "str",
                "int",
                "float",
                "list",
                "dict",
                "set",
            }:
                return self._root
            case ast.Call(func=ast.Attribute(value=ast.Name(id="json"), attr="loads")):
                return self._root
            case ast.BoolOp(values=[first, *_]):
                return self._part(first)
            case _:
                return None


def shape_of(codes: list[str]) -> Mapping[str, Any]:
    """A JSON object that every piece of `codes` finds its names in."""
    root = _Part()
    for code in codes:
        try:
            _Reader(root).visit(ast.parse(code))
        except SyntaxError:
            continue
    return {name: part.value() for name, part in root.keys.items()}
