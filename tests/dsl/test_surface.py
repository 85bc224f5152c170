"""What of `dsl` is public: what is done to any document is in `lastgood.dsl` itself; all else in the module or
package right below it that is named for it (`lastgood.dsl.compare`, `lastgood.dsl.rules`, …), and nothing deeper."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import lastgood
from lastgood import dsl

HOUSE = Path(lastgood.__file__).parent
PACKAGES = ("compare", "drawing", "lint", "rules")


def test_the_public_names_are_exactly_these() -> None:
    assert dsl.__all__ == [
        "Document",
        "Finding",
        "InputField",
        "Limits",
        "canonical",
        "check",
        "check_inputs",
        "content_digest",
        "fill_inputs",
        "inputs",
        "node_types",
        "outline",
        "parameters",
        "parse",
        "put_secrets",
        "require_sound",
        "secret_names",
        "semantic_digest",
        "take_secrets",
        "to_json",
        "to_yaml",
    ]
    public = {name for name, value in vars(dsl).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public == set(dsl.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_names_what_is_public(name: str) -> None:
    package = importlib.import_module(f"lastgood.dsl.{name}")
    public = {name for name, value in vars(package).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public - {name} <= set(package.__all__) == {each for each in package.__all__ if hasattr(package, each)}


def test_there_are_no_other_packages() -> None:
    assert {path.parent.name for path in (HOUSE / "dsl").glob("*/__init__.py")} == set(PACKAGES)


def test_the_other_floors_use_public_names_only() -> None:
    wrong = [
        f"{file.relative_to(HOUSE)}: from {module} import {name}"
        for file in HOUSE.rglob("*.py")
        if not file.is_relative_to(HOUSE / "dsl")
        for module, name in imported(ast.parse(file.read_text(encoding="utf-8")))
        if not is_public(module, name)
    ]
    assert wrong == []


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What a module imports of `lastgood.dsl`: from where, and what."""
    for part in ast.walk(tree):
        if isinstance(part, ast.ImportFrom) and (part.module or "").split(".")[:2] == ["lastgood", "dsl"]:
            yield from ((part.module or "", alias.name) for alias in part.names)
        elif isinstance(part, ast.Import):
            yield from ((alias.name, "") for alias in part.names if alias.name.startswith("lastgood.dsl"))


def is_public(module: str, name: str) -> bool:
    """Whether another floor may import `name` from there."""
    if module == "lastgood.dsl":
        return (
            name in dsl.__all__
            or (HOUSE / "dsl" / name / "__init__.py").exists()
            or (HOUSE / "dsl" / f"{name}.py").exists()
        )
    return (
        module.count(".") == 2
        and name in getattr(importlib.import_module(module), "__all__", [name])
        and (name[:1] != "_")
    )
