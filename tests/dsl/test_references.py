"""Every place that names a value: found, resolved or told why not, and both ways round."""

from typing import Any

import pytest

from lastgood.dsl import Document, parse
from lastgood.dsl.index import Index
from lastgood.dsl.outputs import Value
from lastgood.dsl.references import Reference, References, references

from .documents import corpus, edge, graph, node

VARIABLES: dict[str, Any] = {
    "environment_variables": [
        {"name": "HOST", "value_type": "string", "value": "h"},
        {"name": "KEY", "value_type": "secret", "value": ""},
    ],
    "conversation_variables": [
        {"name": "memory", "value_type": "object"},
        {"name": "seen", "value_type": "array[string]"},
    ],
    "rag_pipeline_variables": [{"variable": "chunk", "belong_to_node_id": "shared"}],
}
FORM = [
    {"variable": "q", "type": "text-input"},
    {"variable": "n", "type": "number"},
    {"variable": "f", "type": "file"},
    {"variable": "fs", "type": "file-list"},
    {"variable": "o", "type": "json_object"},
]


def beside(*parts: dict[str, Any], mode: str = "workflow") -> Document:
    """A document with a start node `s` that asks for inputs, and these parts."""
    return graph(node("s", "start", variables=FORM), *parts, mode=mode, **VARIABLES)


def found_in(kind: str, **data: Any) -> list[Reference]:
    """The references of one node `x`."""
    return [found for found in references(beside(node("x", kind, **data))) if found.node == "x"]


PLACES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    (
        "llm",
        {"prompt_template": [{"text": "a {{#s.q#}} b {{#s.n#}}"}]},
        [(".prompt_template[0].text", "s.q"), (".prompt_template[0].text", "s.n")],
    ),
    ("llm", {"prompt_template": {"text": "{{#s.q#}}"}}, [(".prompt_template.text", "s.q")]),
    (
        "llm",
        {"memory": {"query_prompt_template": "{{#sys.files#}}"}},
        [(".memory.query_prompt_template", "sys.files")],
    ),
    ("llm", {"context": {"enabled": True, "variable_selector": ["s", "q"]}}, [(".context.variable_selector", "s.q")]),
    (
        "llm",
        {"vision": {"enabled": True, "configs": {"variable_selector": ["s", "fs"]}}},
        [(".vision.configs.variable_selector", "s.fs")],
    ),
    (
        "llm",
        {"prompt_config": {"jinja2_variables": [{"variable": "x", "value_selector": ["s", "q"]}]}},
        [(".prompt_config.jinja2_variables[0].value_selector", "s.q")],
    ),
    ("llm", {"model_selector": ["env", "HOST"]}, [(".model_selector", "env.HOST")]),
    ("llm", {"prompt_template": [{"text": "{{#context#}} {{#histories#}}"}]}, []),
    (
        "if-else",
        {"cases": [{"conditions": [{"variable_selector": ["s", "q"], "value": "{{#s.n#}}"}]}]},
        [(".cases[0].conditions[0].variable_selector", "s.q"), (".cases[0].conditions[0].value", "s.n")],
    ),
    ("if-else", {"conditions": [{"variable_selector": ["s", "q"]}]}, [(".conditions[0].variable_selector", "s.q")]),
    (
        "code",
        {"variables": [{"variable": "a", "value_selector": ["s", "q"]}]},
        [(".variables[0].value_selector", "s.q")],
    ),
    (
        "template-transform",
        {"template": "{{#s.q#}}", "variables": [{"variable": "a", "value_selector": ["s", "q"]}]},
        [(".variables[0].value_selector", "s.q")],
    ),
    (
        "http-request",
        {"url": "{{#env.HOST#}}/x", "body": {"type": "json", "data": [{"value": "{{#s.q#}}", "file": ["s", "f"]}]}},
        [(".body.data[0].file", "s.f"), (".url", "env.HOST"), (".body.data[0].value", "s.q")],
    ),
    (
        "http-request",
        {"authorization": {"type": "api-key", "config": {"api_key": "{{#env.KEY#}}"}}},
        [(".authorization.config.api_key", "env.KEY")],
    ),
    (
        "tool",
        {
            "tool_parameters": {
                "a": {"type": "mixed", "value": "{{#s.q#}}"},
                "b": {"type": "variable", "value": ["s", "n"]},
            }
        },
        [(".tool_parameters.a.value", "s.q"), (".tool_parameters.b.value", "s.n")],
    ),
    ("tool", {"tool_parameters": {"a": {"type": "constant", "value": ["s", "n"]}}}, []),
    ("tool", {"paramSchemas": [{"help": "{{#s.q#}}"}], "output_schema": {"x_selector": ["s", "q"]}}, []),
    (
        "agent",
        {"agent_parameters": {"query": {"type": "constant", "value": "{{#s.q#}}"}}},
        [(".agent_parameters.query.value", "s.q")],
    ),
    ("http-request", {"params": "q:{{#s.q#}}", "headers": "n:{{#s.n#}}"}, [(".params", "s.q"), (".headers", "s.n")]),
    ("end", {"outputs": [{"variable": "", "value_selector": []}]}, []),
    ("answer", {"answer": "{{#s.q#}}{{#s.q#}}"}, [(".answer", "s.q"), (".answer", "s.q")]),
    ("end", {"outputs": [{"variable": "a", "value_selector": ["s", "q"]}]}, [(".outputs[0].value_selector", "s.q")]),
    (
        "variable-aggregator",
        {"variables": [["s", "q"], ["s", "n"]]},
        [(".variables[0]", "s.q"), (".variables[1]", "s.n")],
    ),
    (
        "variable-aggregator",
        {"advanced_settings": {"group_enabled": True, "groups": [{"variables": [["s", "q"]]}]}},
        [(".advanced_settings.groups[0].variables[0]", "s.q")],
    ),
    (
        "assigner",
        {"items": [{"variable_selector": ["conversation", "seen"], "input_type": "variable", "value": ["s", "q"]}]},
        [(".items[0].value", "s.q"), (".items[0].variable_selector", "conversation.seen")],
    ),
    (
        "assigner",
        {"items": [{"variable_selector": ["conversation", "seen"], "input_type": "constant", "value": ["s", "q"]}]},
        [(".items[0].variable_selector", "conversation.seen")],
    ),
    (
        "parameter-extractor",
        {"query": ["s", "q"], "instruction": "{{#s.n#}}"},
        [(".query", "s.q"), (".instruction", "s.n")],
    ),
    ("list-operator", {"variable": ["s", "fs"]}, [(".variable", "s.fs")]),
    (
        "loop",
        {
            "loop_variables": [
                {"label": "v", "value_type": "variable", "value": ["s", "q"]},
                {"label": "w", "value_type": "constant", "value": ["s", "q"]},
            ]
        },
        [(".loop_variables[0].value", "s.q")],
    ),
    (
        "knowledge-retrieval",
        {"query_variable_selector": ["s", "q"], "query_attachment_selector": []},
        [(".query_variable_selector", "s.q")],
    ),
    (
        "human-input",
        {
            "form_content": "{{#s.q#}} {{#$output.name#}} {{#url#}}",
            "inputs": [{"default": {"type": "variable", "selector": ["s", "q"]}}],
        },
        [(".form_content", "s.q"), (".inputs[0].default.selector", "s.q")],
    ),
    (
        "from-the-future",
        {"deep": [{"some_selector": ["s", "q"]}, "{{#s.n#}}"]},
        [(".deep[0].some_selector", "s.q"), (".deep[1]", "s.n")],
    ),
    ("code", {"title": "{{#s.q#}}", "desc": "{{#s.q#}}", "code": "{{#s.q#}}", "_cached": "{{#s.q#}}"}, []),
    ("llm", {"prompt_template": [{"edition_type": "jinja2", "text": "{{#s.q#}}", "jinja2_text": "{{#s.q#}}"}]}, []),
]


@pytest.mark.parametrize(("kind", "data", "expected"), PLACES)
def test_places(kind: str, data: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = found_in(kind, **data)
    assert [(at.path.removeprefix("workflow.graph.nodes[1].data"), at.name) for at in found] == expected
    assert all(at.active for at in found)
    assert all(not at.problem for at in found if at.name != "conversation.seen" or at.form == "written")


OFF: list[tuple[str, dict[str, Any]]] = [
    ("llm", {"context": {"enabled": False, "variable_selector": ["s", "q"]}}),
    ("llm", {"vision": {"enabled": False, "configs": {"variable_selector": ["s", "q"]}}}),
    ("llm", {"variables": [{"value_selector": ["s", "q"]}]}),
    ("answer", {"variables": [{"value_selector": ["s", "q"]}]}),
    ("if-else", {"cases": [], "conditions": [{"variable_selector": ["s", "q"]}]}),
    ("assigner", {"items": [], "input_variable_selector": ["s", "q"]}),
    ("assigner", {"write_mode": "clear", "input_variable_selector": ["s", "q"]}),
    ("variable-aggregator", {"variables": [["s", "q"]], "advanced_settings": {"group_enabled": True}}),
    (
        "variable-aggregator",
        {"advanced_settings": {"group_enabled": False, "groups": [{"variables": [["s", "q"]]}]}},
    ),
    ("http-request", {"authorization": {"type": "no-auth", "config": {"api_key": "{{#s.q#}}"}}}),
    ("http-request", {"body": {"type": "none", "data": [{"value": "{{#s.q#}}"}]}}),
    ("list-operator", {"filter_by": {"enabled": False, "conditions": [{"value": "{{#s.q#}}"}]}}),
    ("human-input", {"delivery_methods": [{"enabled": False, "config": {"body": "{{#s.q#}}"}}]}),
    ("agent", {"agent_parameters": {"tools": {"value": [{"enabled": False, "settings": {"a": "{{#s.q#}}"}}]}}}),
]


@pytest.mark.parametrize(("kind", "data"), OFF)
def test_what_is_switched_off_is_kept_apart(kind: str, data: dict[str, Any]) -> None:
    assert [(found.name, found.active) for found in found_in(kind, **data)] == [("s.q", False)]


@pytest.mark.parametrize("data", [{"context": {"enabled": False, "variable_selector": []}}, {"vision": {}}])
def test_nothing_is_named_where_nothing_is_asked(data: dict[str, Any]) -> None:
    assert found_in("llm", **data) == []


RESOLVED: list[tuple[str, str]] = [
    ("s.q", "string"),
    ("s.n", "number"),
    ("s.f", "file"),
    ("s.f.url", "string"),
    ("s.f.size", "number"),
    ("s.fs", "array[file]"),
    ("s.o", "object"),
    ("s.o.any.thing", ""),
    ("sys.user_id", "string"),
    ("sys.files", "array[file]"),
    ("env.HOST", "string"),
    ("env.KEY", "string"),
    ("conversation.memory.name", ""),
    ("conversation.seen", "array[string]"),
    ("m.text", "string"),
    ("m.usage.total_tokens", ""),
    ("m.structured_output.name", "string"),
    ("m.structured_output.tags", "array[string]"),
    ("c.made", "array[object]"),
    ("c.whole.part", "number"),
    ("c.error_type", "string"),
    ("h.status_code", "number"),
    ("h.error_message", "string"),
    ("t.whatever", ""),
    ("u.price", "number"),
    ("u.json", "array[object]"),
    ("e.city", "string"),
    ("e.__is_success", "number"),
    ("g.first.output", "string"),
    ("r.result", "array[object]"),
    ("w.loop_round", "number"),
    ("w.v", "array[string]"),
    ("i.output", "array[string]"),
    ("p.comment", ""),
    ("p.__action_id", "string"),
    ("k.result", "array[file]"),
    ("k.first_record", "file"),
    ("k.first_record.name", "string"),
    ("z.new", ""),
    ("b.selected_case_id", "string"),
    ("q.class_name", "string"),
]
PROBLEMS: list[tuple[str, str]] = [
    ("gone.text", "unknown-node"),
    ("s.gone", "unknown-output"),
    ("s.q.key", "unknown-key"),
    ("s.fs.url", "unknown-key"),
    ("s.f.gone", "unknown-key"),
    ("sys.gone", "unknown-variable"),
    ("sys.query", "unknown-variable"),
    ("env.GONE", "unknown-variable"),
    ("conversation.gone", "unknown-variable"),
    ("m.output", "unknown-output"),
    ("m.error_message", "unknown-output"),
    ("m.structured_output.gone", "unknown-key"),
    ("c.whole.gone", "unknown-key"),
    ("u.gone", "unknown-output"),
    ("g.output", "unknown-output"),
    ("i.item", "unknown-output"),
    ("my-node.text", "malformed"),
    ("s.2nd", "malformed"),
    (" s.q ", "malformed"),
    ("s", "malformed"),
    ("s." + "x" * 31, "malformed"),
]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
}
GIVERS = (
    node("m", "llm", structured_output_enabled=True, structured_output={"schema": SCHEMA}),
    node(
        "c",
        "code",
        error_strategy="fail-branch",
        outputs={
            "made": {"type": "array[object]"},
            "whole": {"type": "object", "children": {"part": {"type": "number"}}},
        },
    ),
    node("h", "http-request", error_strategy="default-value"),
    node("t", "tool"),
    node("u", "tool", output_schema={"properties": {"price": {"type": "integer"}}}),
    node("e", "parameter-extractor", parameters=[{"name": "city", "type": "select"}]),
    node(
        "g",
        "variable-aggregator",
        advanced_settings={"group_enabled": True, "groups": [{"group_name": "first", "output_type": "string"}]},
    ),
    node("r", "knowledge-retrieval"),
    node("w", "loop", loop_variables=[{"label": "v", "var_type": "array[string]"}]),
    node("i", "iteration", iterator_selector=["s", "fs"], output_selector=["inner", "text"]),
    {**node("inner", "llm"), "parentId": "i"},
    node("p", "human-input", inputs=[{"output_variable_name": "comment"}]),
    node("k", "list-operator", variable=["s", "fs"]),
    node("z", "from-the-future"),
    node("b", "if-else"),
    node("q", "question-classifier"),
)


@pytest.mark.parametrize(("name", "kind"), RESOLVED)
def test_resolved(name: str, kind: str) -> None:
    *_, found = references(beside(*GIVERS, node("x", "answer", answer=f"{{{{#{name}#}}}}")))
    assert (found.problem, found.value and found.value.type) == ("", kind)


@pytest.mark.parametrize(("name", "problem"), PROBLEMS)
def test_unresolved(name: str, problem: str) -> None:
    *_, found = references(beside(*GIVERS, node("x", "answer", answer=f"{{{{#{name}#}}}}")))
    assert (found.problem, found.value) == (problem, None)


@pytest.mark.parametrize("selector", [[], [""], ["s"], ["", ""], [["s", "q"]], ["s", {}]])
def test_a_selector_that_names_nothing(selector: list[Any]) -> None:
    (found,) = found_in("end", outputs=[{"variable": "a", "value_selector": selector}])
    assert found.problem == "empty"


def test_a_selector_may_hold_what_a_text_may_not() -> None:
    (found,) = found_in("end", outputs=[{"variable": "a", "value_selector": ["s", "2nd"]}])
    assert found.problem == "unknown-output"


def test_system_variables_by_mode() -> None:
    for mode, problem in [("workflow", "unknown-variable"), ("advanced-chat", "")]:
        (found,) = references(beside(node("x", "answer", answer="{{#sys.query#}}"), mode=mode))
        assert found.problem == problem


def test_the_first_format_reaches_system_variables_through_the_start_node() -> None:
    asks = node("x", "knowledge-retrieval", query_variable_selector=["s", "sys.query"])
    (found,) = references(beside(asks, mode="advanced-chat"))
    assert found.value == Value("string")
    assert references(beside(asks))[0].problem == "unknown-variable"


def test_inside_a_container() -> None:
    inner = {**node("x", "answer", answer="{{#i.item.url#}}{{#i.index#}}{{#i.item.gone#}}"), "parentId": "i"}
    document = beside(node("i", "iteration", iterator_selector=["s", "fs"], output_selector=["x", "answer"]), inner)
    found = {at.name: (at.value and at.value.type, at.problem) for at in references(document) if at.node == "x"}
    assert found == {"i.item.url": ("string", ""), "i.index": ("number", ""), "i.item.gone": (None, "unknown-key")}
    loop = beside(
        node("l", "loop", loop_variables=[{"label": "v", "var_type": "number"}]),
        {**node("x", "answer", answer="{{#l.v#}}{{#l.item#}}"), "parentId": "l"},
    )
    assert [at.problem for at in references(loop)] == ["", "unknown-output"]


def test_a_node_id_as_a_number_is_found() -> None:
    text = "{id: x, data: {type: end, outputs: [{variable: a, value_selector: [17, text]}]}}"
    document = parse(f"workflow: {{graph: {{nodes: [{{id: 17, data: {{type: llm}}}}, {text}]}}}}")
    (found,) = references(document)
    assert (found.name, found.problem) == ("17.text", "")


def test_types_that_lead_back_to_themselves_are_endured() -> None:
    document = graph(
        node("k", "list-operator", variable=["k", "result"]),
        node("i", "iteration", iterator_selector=["i", "output"], output_selector=["i", "output"]),
        node("j", "iteration", iterator_selector=["k", "first_record"], output_selector=["i", "item"]),
    )
    assert {found.problem for found in references(document)} == {"", "unknown-output"}


def test_both_ways() -> None:
    document = beside(
        node("m", "llm", prompt_template=[{"text": "{{#s.q#}} {{#env.KEY#}}"}]),
        node("x", "answer", answer="{{#m.text#}} {{#s.q#}} {{#s.f.url#}}"),
        node("w", "assigner", items=[{"variable_selector": ["conversation", "seen"], "input_type": "constant"}]),
        edge("s", "m"),
    )
    known = References(Index(document))
    assert [found.node for found in known.users("s", "q")] == ["m", "x"]
    assert [found.name for found in known.users("s")] == ["s.q", "s.q", "s.f.url"]
    assert [found.node for found in known.users("env", "KEY")] == ["m"]
    assert [(found.node, found.form) for found in known.users("conversation", "seen")] == [("w", "written")]
    assert [found.name for found in known.used_by("x")] == ["m.text", "s.q", "s.f.url"]
    assert known.users("m", "tex") == ()


def test_real_documents_resolve() -> None:
    """What real documents name is there, but for a few dozen mistakes of their own."""
    count = broken = 0
    for path in corpus():
        for found in references(parse(path.read_bytes(), source=path.name)):
            count += found.active
            broken += bool(found.active and found.problem)
            assert found.path.startswith("workflow.graph.nodes[")
            assert (found.value is None) == bool(found.problem)
    assert count > 2_000
    assert broken < count / 50
