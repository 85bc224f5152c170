"""What a person reads of a difference: lines, Markdown, counts, JSON."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from dsl.documents import edge, graph, node
from lastgood.dsl import Document
from lastgood.dsl.compare import Difference, as_data, compare, lines, markdown, stat, stat_lines, summary

from .test_properties import pairs

START = node("s", "start", title="Start", variables=[{"variable": "q", "type": "text-input", "required": True}])
ASK = node(
    "17000001",
    "llm",
    title="Ask",
    model={"name": "m", "completion_params": {"temperature": 0.2}},
    prompt_template=[{"role": "system", "text": "You are kind.\nAnswer in German.\nBe brief."}],
)
ROUTE = node("17000002", "if-else", title="Route", cases=[{"case_id": "k1"}, {"case_id": "k2"}])
END = node("e", "end", title="End", outputs=[{"variable": "r", "value_selector": ["17000001", "text"]}])
OLD = graph(
    START,
    ASK,
    ROUTE,
    END,
    node("17000003", "code", title="Old", code="def main():\n    return {}"),
    edge("s", "17000001"),
    edge("17000001", "17000002"),
    edge("17000002", "e", sourceHandle="k2"),
    environment_variables=[{"name": "TAG", "value": "a", "value_type": "string"}],
    features={"opening_statement": "Hello"},
)
NEW = graph(
    {
        **START,
        "data": {
            **START["data"],
            "variables": [{"variable": "q", "type": "text-input", "required": False, "hint": ""}],
        },
    },
    {
        **ASK,
        "data": {
            **ASK["data"],
            "model": {"name": "m", "completion_params": {"temperature": 0.7}},
            "prompt_template": [{"role": "system", "text": "You are kind.\nAnswer in French.\nBe brief."}],
        },
    },
    ROUTE,
    node("17000009", "tool", title="Send", tool_name="mail", tool_parameters={"to": {"value": ["17000001", "text"]}}),
    END,
    edge("s", "17000001"),
    edge("17000001", "17000002"),
    edge("17000002", "17000009", sourceHandle="k2"),
    edge("17000002", "e", sourceHandle="false"),
    environment_variables=[{"name": "TAG", "value": "b", "value_type": "string"}],
    features={"retriever_resource": {"enabled": True}},
)


def shown(found: Difference) -> list[str]:
    told = []
    for line in lines(found):
        text = line.text
        for start, end in reversed(line.marks):
            text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
        told.append("  " * line.indent + f"{line.sign}{'| ' if line.block else ' '}{text} {line.detail}".rstrip())
    return told


def test_a_whole_difference() -> None:
    assert shown(compare(OLD, NEW)) == [
        "  Inputs and outputs",
        "~ Start [s] start",
        "  ~ variables[q].required: true → false",
        "    empty or off, before and after: variables[q].hint",
        "  Nodes",
        "~ Ask [17000001] llm",
        "  ~ model.completion_params.temperature: 0.2 → 0.7",
        "  ~ prompt_template[system].text:",
        "     | You are kind.",
        "    -| Answer in [German].",
        "    +| Answer in [French].",
        "     | Be brief.",
        "+ Send [17000009] tool",
        "  + tool_name: mail",
        "  + tool_parameters: {to: {value: Ask.text}}",
        "- Old [17000003] code",
        "  Edges",
        "+ Route (else) → End",
        "- Route (case 2) → End",
        "+ Route (case 2) → Send",
        "  Environment variables",
        "~ TAG string",
        "  ~ value: a → b",
        "  Features",
        "+ retriever_resource: switched on, {enabled: true}",
        "- opening_statement: Hello",
    ]


def test_nothing_to_tell() -> None:
    assert lines(compare(OLD, OLD)) == ()
    assert stat_lines(compare(OLD, OLD)) == ()
    assert markdown(compare(OLD, OLD)) == "Nothing has changed.\n"
    assert summary(compare(OLD, OLD)) == "nothing has changed"


def told(old: dict[str, Any], new: dict[str, Any], kind: str = "llm") -> list[str]:
    """The lines below the heading of one node that was changed."""
    others = (node("17000001", "llm", title="Ask"), node("other", "code", title="  Count words "))
    return shown(compare(graph(node("n", kind, **old), *others), graph(node("n", kind, **new), *others)))[2:]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"x": "0.7"}, {"x": 0.7}, ['  ~ x: "0.7" → 0.7']),
        ({"x": "true"}, {"x": "yes"}, ['  ~ x: "true" → yes']),
        ({"x": " a"}, {"x": "a"}, ['  ~ x: " a" → a']),
        ({"x": "0.1.3"}, {"x": "0.5.0"}, ["  ~ x: 0.1.3 → 0.5.0"]),
        ({"x": ["17000001", "text"]}, {"x": ["sys", "query"]}, ["  ~ x: Ask.text → sys.query"]),
        ({"x": ["17000001", "a"]}, {"x": ["other", "a", "b"]}, ["  ~ x: Ask.a → Count words.a.b"]),
        ({"x": ["gone", "text"]}, {"x": []}, ["  - x[#1]: gone", "  - x[#2]: text"]),
        ({}, {"x": {"a": [1, {"b": None, "c": "d"}]}}, ["  + x: {a: [1, {c: d}]}"]),
        ({"x": [1, 2, 3]}, {"x": [3, 1, 2]}, ["  ↕ x[#1] moved from place 3 to 1"]),
        ({}, {"a": "", "b": [], "c": None, "d": False}, ["    empty or off, before and after: a, b, c, d"]),
        ({"x": "y"}, {"x": {"a": "b" * 200}}, [f"  ~ x: y → {{a: {'b' * 76}… (205 characters)"]),
        ({"a": None}, {"a": ""}, ["    empty or off, before and after: a"]),
        ({}, {"r": {"enabled": False, "max": 3}}, ["    empty or off, before and after: r"]),
        ({}, {"r": {"enabled": True, "max": 3}}, ["  + r: {enabled: true, max: 3}"]),
        ({"a": 0}, {}, ["  - a: 0"]),
        (
            {"prompt_template": [{"id": "u1", "role": "user", "text": "a"}]},
            {"prompt_template": [{"id": "u2", "role": "user", "text": "b"}]},
            ["  ~ prompt_template[user].text: a → b", "    1 internal id differs"],
        ),
        ({"title": "A", "a": 1}, {"title": "B", "a": 2}, ["  ~ title: A → B", "  ~ a: 1 → 2"]),
        ({"desc": "A", "z": 1}, {"desc": "B", "z": 2}, ["  ~ z: 1 → 2", "  ~ desc: A → B"]),
        ({"x": "a\nb"}, {}, ["  - x:", "    -| a", "    -| b"]),
        ({}, {"x": "a\n\nb\n"}, ["  + x:", "    +| a", "    +|", "    +| b"]),
        ({"x": "a\nb"}, {"x": "a\r\nb"}, ["  ~ x:", "      only the line ends differ"]),
        (
            {"x": "if a:\n  b"},
            {"x": "if a:\n    b"},
            ["  ~ x:", "      only white space differs", "     | if a:", "    -| [  ]b", "    +| [    ]b"],
        ),
        (
            {"x": "one\ntwo\nthree\nfour"},
            {"x": "two\nthree\nfour\none"},
            ["  ~ x:", "    -| one", "     | two", "     | three", "     | four", "    +| one"],
        ),
        (
            {},
            {"x": [{"dataset": {"enabled": True, "id": "0e5b"}}]},
            ["  + x: [{dataset: {enabled: true, id: 0e5b}}]"],
        ),
        ({"x": "a\x1b[31mb"}, {"x": "a\u202eb"}, ["  ~ x: a␛[31mb → a\ufffdb"]),
        (
            {},
            {"x": "\n".join(f"line {n}" for n in range(1, 20))},
            ["  + x:", *(f"    +| line {n}" for n in range(1, 13)), "      … 7 more lines"],
        ),
        ({}, {"x": "word " * 60}, ["  + x:", f"    +| {('word ' * 36).rstrip()}… (300 characters)"]),
        (
            {"x": "a" * 300 + " one " + "b" * 300},
            {"x": "a" * 300 + " two " + "b" * 300},
            ["  ~ x:", f"    -| …{'a' * 49} [one] {'b' * 49}…", f"    +| …{'a' * 49} [two] {'b' * 49}…"],
        ),
        (
            {"x": "\n".join("abcdefghijklm")},
            {"x": "\n".join("Abcdefghijklm") + "n"},
            [
                "  ~ x:",
                *("    -| [a]", "    +| [A]", "     | b", "     | c", "     | … line 11"),
                *("     | k", "     | l", "    -| [m]", "    +| [mn]"),
            ],
        ),
    ],
)
def test_the_lines_of_a_change(old: dict[str, Any], new: dict[str, Any], expected: list[str]) -> None:
    assert told(old, new) == expected


def test_a_long_setting_is_told_part_by_part() -> None:
    text = "word " * 39 + "end"
    prompts = [{"role": "system", "text": text}, {"role": "user", "text": text}]
    assert told({}, {"prompt_template": prompts}) == [
        "  + prompt_template[system].role: system",
        "  + prompt_template[system].text:",
        f"    +| {text}",
        "  + prompt_template[user].role: user",
        "  + prompt_template[user].text:",
        f"    +| {text}",
    ]


def test_a_node_of_many_settings_is_cut() -> None:
    found = compare(graph(), graph(node("n", "code", code="x", **{f"a{n:02}": n for n in range(1, 100)})))
    assert len(lines(found)) == 2 + 40 + 1
    assert lines(found)[-1].text == "… 60 more lines"


def test_what_the_editor_keeps_of_tools_is_a_note() -> None:
    def tools(description: str, enabled: bool = True) -> dict[str, Any]:
        tool = {"tool_name": "t", "enabled": enabled, "schemas": [{"name": "q", "label": description}]}
        return {"agent_parameters": {"tools": {"value": [tool]}}}

    assert told(tools("a"), tools("b", False), "agent") == [
        "  ~ agent_parameters.tools.value[t].enabled: true → false",
        "    1 change in what the editor keeps of the tools' descriptions",
    ]


def test_nodes_with_new_ids_alone_are_one_note() -> None:
    old = graph(START, ASK, node("x", "code", title="Sum"))
    new = graph(START, {**ASK, "id": "18"}, node("y", "code", title="Sum"))
    assert shown(compare(old, new)) == [
        "  Nodes",
        "  2 nodes have other ids and are otherwise the same: Ask, Sum",
    ]


def test_nodes_that_changed_alike_are_told_at_once() -> None:
    def requests(*urls: str, **more: Any) -> Document:
        nodes = (node(str(n), "http-request", title=f"Call {n}", url=url, **more) for n, url in enumerate(urls))
        return graph(START, *nodes, node("c", "code", **more))

    retry = {"retry_config": {"retry_enabled": True}}
    assert shown(compare(requests("a", "b", "c"), requests("a", "x", "c", **retry))) == [
        "  Nodes",
        "~ 2 nodes changed alike: Call 0 [0], Call 2 [2]",
        "  + retry_config: {retry_enabled: true}",
        "~ Call 1 [1] http-request",
        "  + retry_config: {retry_enabled: true}",
        "  ~ url: b → x",
        "~ Code [c] code",
        "  + retry_config: {retry_enabled: true}",
    ]


def test_a_node_inside_another_says_so() -> None:
    loop = node("l", "loop", title="Each")
    found = compare(graph(loop), graph(loop, {**node("n", "code", title="Do"), "parentId": "l"}))
    assert shown(found)[1] == "+ Do [n] code, inside Each"


def test_titles_in_old_values_are_the_old_ones() -> None:
    """An id may have gone to another node."""
    old = graph(node("1", "llm", title="Ask"), node("e", "end", outputs=[{"variable": "r", "s": ["1", "text"]}]))
    new = graph(node("1", "code", title="Count"), node("e", "end", outputs=[{"variable": "r", "s": ["1", "n"]}]))
    assert "  ~ outputs[r].s: Ask.text → Count.n" in shown(compare(old, new))


def test_edges_are_named_by_the_titles_of_their_time() -> None:
    """An id may have gone to another node; a node that stayed is called what it is called now."""
    other = node("b", "end", title="Finish")
    old = graph(node("1", "llm", title="Ask"), node("b", "end", title="End"), edge("1", "b"))
    new = graph(node("1", "code", title="Count"), other, node("2", "llm", title="Sum"), edge("2", "1"))
    assert shown(compare(old, new))[-3:] == ["  Edges", "+ Sum → Count", "- Ask → Finish"]


def test_dependencies_are_told_by_plugin_and_version() -> None:
    def export(*identifiers: str) -> Document:
        listed = [
            {
                "type": "marketplace",
                "current_identifier": None,
                "value": {"marketplace_plugin_unique_identifier": name},
            }
            for name in identifiers
        ]
        return Document({**graph().data, "dependencies": listed})

    old, new = (
        export("a/b:1.0.0@x", "c/d:1.0.0@x", "e/f:2.0.0@x"),
        export("e/f:2.1.0@y", "g/h:0.1.0@x", "a/b:1.0.0@z"),
    )
    assert shown(compare(old, new)) == [
        "  Dependencies",
        "~ a/b: another build of it",
        "- c/d 1.0.0",
        "~ e/f: 2.0.0 → 2.1.0",
        "+ g/h 0.1.0",
    ]


def test_markdown() -> None:
    text = markdown(compare(OLD, NEW))
    assert text.startswith(
        "### Inputs and outputs\n\n- changed `Start [s]` `start`\n  - changed `variables[q].required`: `true"
    )
    assert (
        "  - changed `prompt_template[system].text`\n"
        "    ```diff\n"
        "      You are kind.\n"
        "    - Answer in [-German-].\n"
        "    + Answer in {+French+}.\n"
        "      Be brief.\n"
        "    ```\n"
    ) in text
    assert "- removed `Old [17000003]` `code`\n" in text
    assert "\n## Nodes\n" in markdown(compare(OLD, NEW), 2)


@pytest.mark.parametrize("hostile", ["```\n# x\n```", "`a`", "``", "<b>\n|a|\n", "* x\n[a](b)", "~~~~\n````\nx"])
def test_markdown_of_markdown(hostile: str) -> None:
    """What a document says never leaves its span or fence."""
    old, new = graph(node("n", "llm", title=hostile, x=hostile)), graph(node("n", "llm", title="a", x=f"{hostile}!"))
    for first, second in ((old, new), (new, old), (graph(), old)):
        text = markdown(compare(first, second))
        fence = ""
        for line in text.split("\n"):
            bare = line.strip()
            if fence:
                fence = "" if bare == fence else fence
            elif bare.endswith("diff"):
                fence = bare.removesuffix("diff")
                assert set(fence) == {"`"}
            elif bare:
                outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", bare)
                assert re.fullmatch(r"### [A-Z][a-z ]+|- (added|removed|changed)? ?:? ?|- [a-z ,:]*", outside), line
        assert not fence


def test_stat() -> None:
    assert stat_lines(compare(OLD, NEW)) == (
        " Start [s]             | 3 ++-",
        " Ask [17000001]        | 4 ++--",
        " Send [17000009]       | 5 +++++",
        " Old [17000003]        | 4 ----",
        " edges                 | 3 ++-",
        " environment variables | 2 +-",
        " features              | 2 +-",
        " 2 nodes changed, 1 added, 1 removed; 3 edges; 1 variable; 2 features",
    )


def test_the_bars_of_stat_fit_in() -> None:
    old = graph(node("a", "code", code="x\n" * 500), node("b", "code", code="x"))
    told = stat_lines(compare(old, graph(node("a", "code", code="y\n" * 500), node("b", "code", code="y"))), 60)
    assert all(len(line) <= 60 for line in told)
    assert told[0].count("+") == told[0].count("-") > 10
    assert told[1].endswith("+-") or told[1].endswith("+")


def test_json_form() -> None:
    found = compare(OLD, NEW)
    data = as_data(found)
    assert list(data) == [
        *("same", "summary", "nodes", "edges", "environment_variables", "conversation_variables", "features"),
        *("settings", "secrets", "app", "dependencies"),
    ]
    start, ask, send, old = data["nodes"]
    assert start["changes"][0] == {
        "path": ["data", "variables", {"key": "q", "old": 0, "new": 0}, "hint"],
        "where": "variables[q].hint",
        "kind": "added",
        "old": None,
        "new": "",
        "hidden": False,
    }
    assert ask["changes"][1]["lines"][1] == {"role": "removed", "text": "Answer in German.", "marks": [[10, 16]]}
    assert (send["kind"], send["node"]["data"]["tool_name"], send["old_id"]) == ("added", "mail", None)
    assert (old["kind"], old["type"], old["parent"], old["changes"]) == ("removed", "code", None, [])
    assert data["edges"][0] == {
        **{"kind": "added", "source": "17000002", "handle": "false", "target": "e", "branch": "else"},
        **{"source_title": "Route", "target_title": "End"},
    }
    assert data["environment_variables"] == [
        {
            "kind": "changed",
            "name": "TAG",
            "secret": False,
            "changes": [
                {"path": ["value"], "where": "value", "kind": "changed", "old": "a", "new": "b", "hidden": False}
            ],
        }
    ]


@given(pairs())
@settings(max_examples=150, deadline=None)
def test_every_difference_can_be_shown(pair: tuple[Document, Document]) -> None:
    found = compare(*pair)
    assert bool(lines(found)) == bool(found) == bool(stat(found))
    assert (markdown(found) == "Nothing has changed.\n") == (not found)
    assert orjson.loads(orjson.dumps(as_data(found))) == as_data(found)
    for line in lines(found):
        assert not {c for c in line.text + line.detail if c < " " and c not in "\t\n"}
        assert all(0 <= start <= end <= len(line.text) for start, end in line.marks)
        assert "\n" not in line.text or not line.block
