"""No document is too odd: real ones, damaged ones, and junk."""

import copy
import json
import random
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.documents import corpus
from lastgood.dsl import Document, parse
from lastgood.dsl.dependencies import dependencies
from lastgood.dsl.lint import RULES, as_github, as_json, as_lines, lint
from lastgood.dsl.lint.linter import THEMES
from lastgood.dsl.outputs import RESERVED
from lastgood.dsl.references import _SWITCHED_OFF
from lastgood.dsl.schema import input_schema, output_schema
from lastgood.errors import InvalidDocument

from .cases import CASES

JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "{{#a.b#}}",
    "{{#",
    [],
    [[]],
    [None],
    ["a", "b"],
    {},
    {"a": {}},
]


def look(document: Document) -> None:
    """Everything that reads a document, and a check of what comes out."""
    report = lint(document)
    json.dumps(as_json(report, "x"))
    assert len(as_lines(report, "x").splitlines()) == len(report.problems) + len(report.notes) + 1
    assert as_github(report, "x").count("::") >= 2 * len(report.problems)
    for problem in report.problems:
        assert problem.rule in RULES
        assert problem.path
    json.dumps([dependencies(document), input_schema(document), output_schema(document)])


def read_and_look(data: Any) -> None:
    """Look at `data` as a document, unless even the reader refuses it."""
    with suppress(InvalidDocument):
        look(parse(json.dumps(data)))


def damaged(value: Any, chance: random.Random) -> Any:
    """`value` with something in it replaced by junk."""
    path: list[tuple[Any, Any]] = []
    at = value
    while isinstance(at, dict | list) and at and (not path or chance.random() < 0.9):
        key = chance.choice(list(at)) if isinstance(at, dict) else chance.randrange(len(at))
        path.append((at, key))
        at = at[key]
    inner, key = chance.choice(path)
    inner[key] = copy.deepcopy(chance.choice(JUNK))
    return value


def test_real_documents_whole_and_damaged() -> None:
    chance = random.Random(8)
    for path in corpus():
        document = parse(path.read_bytes(), source=path.name)
        look(document)
        for _ in range(2):
            data = copy.deepcopy(document.data)
            for _ in range(4):
                damaged(data, chance)
            read_and_look(data)


def test_damaged_cases() -> None:
    chance = random.Random(9)
    for case in CASES:
        for _ in range(8):
            read_and_look(damaged(copy.deepcopy(case.bad.data), chance))


values = st.recursive(
    st.sampled_from(JUNK) | st.text(max_size=8) | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = [
    *(
        "variables",
        "prompt_template",
        "model",
        "cases",
        "conditions",
        "outputs",
        "code",
        "code_language",
        "template",
        "context",
        "vision",
        "memory",
    ),
    *(
        "error_strategy",
        "default_value",
        "loop_variables",
        "items",
        "groups",
        "advanced_settings",
        "iterator_selector",
        "output_selector",
    ),
    *(
        "start_node_id",
        "answer",
        "url",
        "authorization",
        "headers",
        "params",
        "body",
        "timeout",
        "classes",
        "user_actions",
        "dataset_ids",
    ),
    *(
        "tool_parameters",
        "tool_configurations",
        "agent_parameters",
        "iteration_id",
        "loop_id",
        "title",
        "desc",
        "delivery_methods",
    ),
    *(
        "multiple_retrieval_config",
        "output_schema",
        "structured_output",
        "structured_output_enabled",
        "parameters",
        "query",
        "variable",
    ),
]
_TYPES = [
    *_SWITCHED_OFF,
    "start",
    "end",
    "iteration",
    "loop",
    "tool",
    "trigger-webhook",
    "knowledge-retrieval",
    "new",
]
ids = st.sampled_from(["a", "b", "c", 7, None, "", "env"])
datas = st.dictionaries(st.sampled_from(_KEYS), values, max_size=6)
nodes = st.builds(
    lambda node_id, kind, data, parent: {"id": node_id, "data": {"type": kind, **data}, "parentId": parent},
    ids,
    st.sampled_from(_TYPES) | values,
    datas,
    ids,
)
edges = st.builds(lambda a, b, handle: {"source": a, "target": b, "sourceHandle": handle}, ids, ids, values)
variables = st.lists(
    st.fixed_dictionaries({"name": values, "value_type": values, "value": values}) | values, max_size=3
)
documents = st.builds(
    lambda mode, listed, joined, first, second, features, more: {
        "app": {"mode": mode},
        "dependencies": more,
        "model_config": more,
        "workflow": {
            "graph": {"nodes": listed, "edges": joined},
            "environment_variables": first,
            "conversation_variables": second,
            "features": features,
        },
    },
    st.sampled_from(["workflow", "advanced-chat", "chat", "rag_pipeline", "x"]),
    st.lists(nodes | values, max_size=5),
    st.lists(edges | values, max_size=6),
    variables,
    variables,
    values,
    values,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents)
def test_junk(data: dict[str, Any]) -> None:
    read_and_look(data)


def test_a_deep_document() -> None:
    deep: Any = "{{#a.b#}}"
    for _ in range(95):
        deep = {"x": [deep]}
    nodes_ = [{"id": "a", "data": {"type": kind, "deep": deep, "output_schema": deep}} for kind in _TYPES[:3]]
    read_and_look({"workflow": {"graph": {"nodes": nodes_}}})


def test_themes_are_told_apart() -> None:
    ids_ = [rule.id for theme in THEMES for rule in theme.RULES]
    assert len(ids_) == len(set(ids_)) == len(RULES)
    assert not set(ids_) & RESERVED
