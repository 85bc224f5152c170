"""The texts in a value, and the names in them that were meant as references."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lastgood.dsl.index import Node, mapping, step, text

# In these keys of a node the engine puts values into texts.
_FILLED: Final[Mapping[str, tuple[str, ...]]] = {
    "llm": ("prompt_template",),
    "answer": ("answer",),
    "question-classifier": ("instruction", "classes"),
    "parameter-extractor": ("instruction",),
    "http-request": ("url", "headers", "params", "body"),
    "tool": ("tool_parameters", "tool_configurations"),
    "agent": ("agent_parameters",),
}
_CACHES: Final = frozenset({"paramSchemas", "output_schema", "schemas"})
_BARE: Final = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


def strings(value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """The texts of `value` as (path, the key each stands under, text); without what Dify caches about tools."""
    waiting = [(path, "", value)]
    while waiting:
        at, key, part = waiting.pop()
        if isinstance(part, str):
            yield at, key, part
        elif isinstance(part, dict):
            inner = [(step(at, name), name, item) for name, item in part.items() if name not in _CACHES]
            # What stands under `value` is named by what is around it.
            waiting += [(a, key if name == "value" and key else name, item) for a, name, item in reversed(inner)]
        elif isinstance(part, list):
            waiting += [(step(at, i), key, item) for i, item in reversed(list(enumerate(part)))]


def prompts(node: Node) -> Iterator[tuple[str, str]]:
    """The prompts of a model node as (path from its data, text)."""
    template: Any = node.data.get("prompt_template")
    parts = (
        [(f".prompt_template[{i}]", part) for i, part in enumerate(template)] if isinstance(template, list) else []
    )
    if isinstance(template, dict):
        parts = [(".prompt_template", template)]
    for path, part in parts:
        key = "jinja2_text" if mapping(part).get("edition_type") == "jinja2" else "text"
        yield f"{path}.{key}", text(mapping(part).get(key))


def bare_names(node: Node) -> Iterator[tuple[str, list[str]]]:
    """The texts of `node` with names in double braces and nothing else (``{{name}}``), which are no references: the
    path of each text, and the names. Jinja templates are left out, there they are."""
    for part in _FILLED.get(node.type, ()):
        for path, key, said in strings(node.data.get(part), f"{node.path}.data.{part}"):
            jinja = key == "jinja2_text" or (path.endswith(".text") and _by_jinja(node, path))
            names = [] if jinja or "{{" not in said else list(dict.fromkeys(_BARE.findall(said)))
            if names:
                yield path, names


def _by_jinja(node: Node, path: str) -> bool:
    """Whether the engine takes another text than the one at `path`, a Jinja template."""
    around = path.removeprefix(f"{node.path}.data").removesuffix(".text")
    return any(prompt == f"{around}.jinja2_text" for prompt, _ in prompts(node))
