"""Rules on code nodes: what does not parse, and a `main` that does not go with what the node declares."""

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Final

from lastgood.dsl.document import mappings
from lastgood.dsl.index import Node, mapping, text
from lastgood.dsl.lint.rules import Problem, Rule, Subject, listed, quoted

SYNTAX: Final = Rule(
    "python-syntax",
    "error",
    "Python code does not parse.",
    "The node fails on every run. The code is only parsed, never run.",
    "`def main(x) return {}`",
)
NO_MAIN: Final = Rule(
    "code-without-main",
    "error",
    "Code has no function `main`.",
    "Dify calls `main`; without it the node fails on every run.",
    "`def run(x): ...`",
)
PARAMETERS: Final = Rule(
    "main-parameters",
    "error",
    "The parameters of `main` are not the variables that the node gives it.",
    "The call fails: each variable is passed by name.",
    "`def main(a, b)` on a node with the one variable `a`",
)
NOT_RETURNED: Final = Rule(
    "output-not-returned",
    "error",
    "Code returns without an output that the node declares.",
    "The node fails: every declared output must be there. Only returns of a dictionary that is written out are "
    "looked at, and code that never returns a value.",
    'the outputs `a` and `b`, and `return {"a": 1}`',
)
NOT_DECLARED: Final = Rule(
    "output-not-declared",
    "error",
    "Code returns something that the node does not declare as an output.",
    "The node fails: Dify takes declared outputs only. Seen in dictionaries that are written out.",
    'the output `a`, and `return {"a": 1, "b": 2}`',
)
RULES: Final = (SYNTAX, NO_MAIN, PARAMETERS, NOT_RETURNED, NOT_DECLARED)

type _Main = ast.FunctionDef | ast.AsyncFunctionDef

_MAIN_IN_SCRIPT: Final = re.compile(r"\bmain\b")


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    for node in subject.index.of_type("code"):
        code = text(node.data.get("code"))
        if node.data.get("code_language") == "javascript":
            if not _MAIN_IN_SCRIPT.search(code):
                yield NO_MAIN.at(node, ".code", "The code has no function `main`.")
        elif node.data.get("code_language") in (None, "python3"):
            yield from _python(node, code)


def parsed(code: str) -> ast.Module | str:
    """The code parsed, or why it cannot be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "it is nested too deeply"


def _python(node: Node, code: str) -> Iterator[Problem]:
    tree = parsed(code)
    if isinstance(tree, str):
        yield SYNTAX.at(node, ".code", f"The code does not parse ({tree}).")
        return
    mains = [item for item in tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    mains = [item for item in mains if item.name == "main"]
    if mains:
        yield from _parameters(node, mains[-1])
        yield from _returns(node, mains[-1])
    elif not _binds_main(tree):
        yield NO_MAIN.at(node, ".code", "The code has no function `main`.")


def _binds_main(tree: ast.Module) -> bool:
    """Whether `main` may come from an assignment, an import or a nested block."""
    return any(
        (isinstance(part, ast.Name) and part.id == "main" and isinstance(part.ctx, ast.Store))
        or (isinstance(part, ast.alias) and "main" in (part.asname, part.name))
        or (isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and part.name == "main")
        for part in ast.walk(tree)
    )


def _parameters(node: Node, main: _Main) -> Iterator[Problem]:
    given = {text(item.get("variable")) for item in mappings(node.data.get("variables"))} - {""}
    taken = main.args
    names = [argument.arg for argument in (*taken.args, *taken.kwonlyargs)]
    optional = {argument.arg for argument in taken.args[len(taken.args) - len(taken.defaults) :] if taken.defaults}
    optional |= {a.arg for a, value in zip(taken.kwonlyargs, taken.kw_defaults, strict=True) if value is not None}
    positional = [argument.arg for argument in taken.posonlyargs]
    needed = [name for name in names if name not in optional | given] + positional[
        : len(positional) + len(taken.args) - len(taken.defaults)
    ]
    unknown = [] if taken.kwarg else sorted(given - set(names))
    if needed:
        told = listed([quoted(name) for name in needed])
        yield PARAMETERS.at(node, ".variables", f"`main` needs {told}, and the node has no such variable.")
    if unknown:
        told = listed([quoted(name) for name in unknown])
        yield PARAMETERS.at(node, ".code", f"The node passes {told}, and `main` does not take it.")


def _returns(node: Node, main: _Main) -> Iterator[Problem]:
    outputs = node.data.get("outputs")
    if not isinstance(outputs, dict):
        return
    declared = set(mapping(outputs))
    found = list(_own(main))
    if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in found):
        return
    returns = [part for part in found if isinstance(part, ast.Return)]
    if not any(part.value for part in returns) and declared and not _always_raises(main):
        yield NOT_RETURNED.at(node, ".code", "`main` returns nothing, and the node declares outputs.")
    for part in returns:
        keys = _keys(part.value)
        if keys is None:
            continue
        missing, extra = sorted(declared - keys), sorted(keys - declared)
        if missing:
            told = listed([quoted(name) for name in missing])
            yield NOT_RETURNED.at(
                node, ".code", f"The return on line {part.lineno} lacks what the node declares: {told}."
            )
        if extra:
            told = listed([quoted(name) for name in extra])
            yield NOT_DECLARED.at(
                node, ".code", f"The return on line {part.lineno} has {told}, which the node does not declare."
            )


def _keys(value: ast.expr | None) -> set[str] | None:
    """The keys of a dictionary that is written out, None for anything else."""
    if not isinstance(value, ast.Dict):
        return None
    keys = [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return set(keys) if len(keys) == len(value.keys) else None


def _own(main: _Main) -> Iterator[ast.AST]:
    """The parts of a function without those of functions and classes inside it."""
    waiting: list[ast.AST] = list(reversed(main.body))
    while waiting:
        part = waiting.pop()
        yield part
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += reversed(list(ast.iter_child_nodes(part)))


def _always_raises(main: _Main) -> bool:
    return isinstance(main.body[-1], ast.Raise)
