"""What changes between two documents: a table of (old, new, all that is found)."""

import copy
import json
from typing import Any

import pytest

from dsl.documents import edge, graph, node
from lastgood.dsl import Document, semantic_digest
from lastgood.dsl.compare import apply, compare

from .seen import seen

START = node("s", "start")
ASK = node(
    "17000001", "llm", title="Ask", prompt_template=[{"role": "user", "text": "Sum up {{#s.text#}} in one line."}]
)
CHECK = node("17000002", "code", title="Check", code="def main(x):\n    return {}", variables=[["17000001", "text"]])
END = node("e", "end", outputs=[{"variable": "r", "value_selector": ["17000002", "result"]}])
CHAIN = (START, ASK, CHECK, END, edge("s", "17000001"), edge("17000001", "17000002"), edge("17000002", "e"))
SECRET = {"name": "KEY", "value": "abc", "value_type": "secret"}
PLAIN = {"name": "TAG", "value": "a", "value_type": "string"}


def rewritten(parts: tuple[dict[str, Any], ...], words: dict[str, str]) -> list[dict[str, Any]]:
    """The parts with other words, everywhere."""
    text = json.dumps(parts)
    for old, new in words.items():
        text = text.replace(old, new)
    rewritten: list[dict[str, Any]] = json.loads(text)
    return rewritten


def without(*gone: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in CHAIN if part not in gone]


def numbered(*titles: str) -> list[dict[str, Any]]:
    """Nodes with these titles, their ids 0, 1, …"""
    return [node(str(n), "llm", title=title, text=f"{title} it") for n, title in enumerate(titles)]


def plugin(name: str, version: str, sha: str = "0") -> dict[str, Any]:
    unique = f"{name}:{version}@{sha}"
    return {
        "type": "marketplace",
        "current_identifier": None,
        "value": {"marketplace_plugin_unique_identifier": unique, "version": None},
    }


def export(*parts: dict[str, Any], app: dict[str, Any] | None = None, **envelope: Any) -> Document:
    document = graph(*parts)
    said = {"mode": "workflow", "name": "x"} | (app or {})
    return Document({**document.data, "app": said, **envelope})


def chat(mode: str = "chat", **config: Any) -> Document:
    return Document({"app": {"mode": mode, "name": "x"}, "kind": "app", "version": "0.6.0", "model_config": config})


def field(name: str, kind: str = "text-input", **more: Any) -> dict[str, Any]:
    return {kind: {"variable": name, "label": name, **more}}


NEW_IDS = {"17000001": "18000001", "17000002": "18000002"}

CASES: dict[str, tuple[Document, Document, list[str]]] = {
    # nodes
    "the same": (graph(*CHAIN), graph(*CHAIN), []),
    "nodes and edges in another order": (graph(*CHAIN), graph(*reversed(CHAIN)), []),
    "a node moves, another is selected": (
        graph(*CHAIN),
        graph(
            *without(ASK, CHECK),
            {**ASK, "position": {"x": 7, "y": 8}, "width": 10, "zIndex": 3},
            {**CHECK, "selected": True, "data": {**CHECK["data"], "selected": True}},
        ),
        [],
    ),
    "a sticky note": (graph(*CHAIN), graph(*CHAIN, {"id": "n", "type": "custom-note", "data": {"type": ""}}), []),
    "a node more": (
        graph(*without(CHAIN[6])),
        graph(*without(CHAIN[6]), node("t", "template-transform"), edge("17000002", "t"), edge("t", "e")),
        ["+ t", "edge + 17000002.source > t", "edge + t.source > e"],
    ),
    "a node less": (
        graph(*CHAIN),
        graph(*without(CHECK, CHAIN[5], CHAIN[6]), edge("17000001", "e")),
        [
            "- 17000002",
            "edge - 17000001.source > 17000002",
            "edge + 17000001.source > e",
            "edge - 17000002.source > e",
        ],
    ),
    "ends are told before what leads to them": (
        graph(START, ASK, END),
        graph(START, node("17000001", "llm", title="Ask", x=1), node("e", "end", outputs=[])),
        [
            "~ e",
            '  - outputs[r]: {"value_selector":["17000002","result"],"variable":"r"}',
            "~ 17000001",
            "  + x: 1",
            '  - prompt_template: [{"role":"user","text":"Sum up {{#s.text#}} in one line."}]',
        ],
    ),
    "another type under the same id is another node": (
        graph(START, node("n", "llm", title="Ask")),
        graph(START, node("n", "code", title="Ask")),
        ["- n", "+ n"],
    ),
    "into a container": (
        graph(START, node("n", "llm"), node("l", "loop")),
        graph(START, {**node("n", "llm"), "parentId": "l"}, node("l", "loop")),
        ["~ n", '  + parentId: "l"'],
    ),
    "a node without an id": (
        graph(START, {"data": {"type": "llm", "x": 1}}),
        graph(START, {"data": {"type": "llm", "x": 2}}),
        ["~ ", "  ~ x: 1 → 2"],
    ),
    "two nodes of one id": (
        graph(node("a", "llm", x=1), node("a", "llm", x=2)),
        graph(node("a", "llm", x=2), node("a", "llm", x=3)),
        ["~ a", "  ~ x: 1 → 3"],
    ),
    "one more of an id": (graph(node("a", "llm")), graph(node("a", "llm"), node("a", "llm")), ["+ a"]),
    "the id as a number": (graph(node(7, "llm")), graph(node("7", "llm")), ["~ 7 (was 7)"]),
    # ids made anew
    "a copied graph": (
        graph(*CHAIN),
        graph(*rewritten(CHAIN, NEW_IDS)),
        ["~ 18000001 (was 17000001)", "~ 18000002 (was 17000002)"],
    ),
    "a copied graph in which a prompt changed": (
        graph(*CHAIN),
        graph(*rewritten(CHAIN, NEW_IDS | {"one line": "no time"})),
        [
            "~ 18000001 (was 17000001)",
            '  ~ prompt_template[user].text: "Sum up {{#s.text#}} in one line." → "Sum up {{#s.text#}} in no time."',
            "~ 18000002 (was 17000002)",
        ],
    ),
    "a copy all of whose ids are new": (
        graph(START, ASK, edge("s", "17000001")),
        graph(*rewritten((START, ASK, edge("s", "17000001")), {"17000001": "9", '"s"': '"b"', "#s.": "#b."})),
        ["~ b (was s)", "~ 9 (was 17000001)"],
    ),
    "a copy in which a node of the same name says another thing": (
        graph(START, node("a", "answer", title="Tell", answer="{{#s.x#}}"), node("b", "answer", answer="no")),
        graph(
            {**START, "id": "t"},
            node("c", "answer", title="Tell", answer="whatever it is"),
            node("d", "answer", title="Z"),
        ),
        ["~ t (was s)", '~ c (was a)', '  ~ answer: "{{#t.x#}}" → "whatever it is"', "- b", "+ d"],
    ),
    "ids swapped with the titles": (
        graph(START, node("1", "llm", title="A", x="first"), node("2", "llm", title="B", x="second")),
        graph(START, node("2", "llm", title="A", x="first"), node("1", "llm", title="B", x="second")),
        ["~ 2 (was 1)", "~ 1 (was 2)"],
    ),
    "nodes numbered anew, as one came between": (
        graph(*numbered("Read", "Write", "Send"), edge("0", "1"), edge("1", "2")),
        graph(*numbered("Read", "Check", "Write", "Send"), edge("0", "1"), edge("1", "2"), edge("2", "3")),
        ["+ 1", "~ 2 (was 1)", "~ 3 (was 2)", "edge - 0.source > 2", "edge + 0.source > 1", "edge + 1.source > 2"],
    ),
    "titles exchanged, content not": (
        graph(START, node("1", "llm", title="A", x="the first words"), node("2", "llm", title="B", x="other ones")),
        graph(START, node("1", "llm", title="B", x="the first words"), node("2", "llm", title="A", x="other ones")),
        ["~ 1", '  ~ title: "A" → "B"', "~ 2", '  ~ title: "B" → "A"'],
    ),
    "one deleted, its title given to the next": (
        graph(START, node("17000001", "llm", title="LLM", x="yes"), node("17000002", "llm", title="LLM 2", x="no")),
        graph(START, node("17000002", "llm", title="LLM", x="no")),
        ["- 17000001", "~ 17000002", '  ~ title: "LLM 2" → "LLM"'],
    ),
    "the only end made anew": (
        graph(*CHAIN),
        graph(*without(END, CHAIN[6]), node("f", "end", title="Done", outputs=[]), edge("17000002", "f")),
        [
            "~ f (was e)",
            '  - outputs[r]: {"value_selector":["17000002","result"],"variable":"r"}',
            '  ~ title: "End" → "Done"',
        ],
    ),
    "one of two ends made anew": (
        graph(*CHAIN, node("e2", "end")),
        graph(*without(END, CHAIN[6]), node("e2", "end"), node("f", "end", title="Done"), edge("17000002", "f")),
        ["- e", "+ f", "edge - 17000002.source > e", "edge + 17000002.source > f"],
    ),
    "a new node like another is a new one": (
        graph(*CHAIN),
        graph(*without(CHECK), node("19", "code", title="Check all", code="def main(y):\n    return {'a': y}")),
        ["- 17000002", "+ 19"],
    ),
    "a node duplicated and the first deleted": (
        graph(*CHAIN),
        graph(*without(CHECK, CHAIN[5], CHAIN[6]), {**CHECK, "id": "19"}, edge("17000001", "19"), edge("19", "e")),
        [
            "~ e",
            '  ~ outputs[r].value_selector: ["19","result"] → ["17000002","result"]',
            "~ 19 (was 17000002)",
        ],
    ),
    "a reference to a node with a new id": (
        graph(ASK, CHECK, node("l", "llm", text="see {{#17000002.result#}} and {{#17000001.text#}}")),
        graph(ASK, {**CHECK, "id": "19"}, node("l", "llm", text="see {{#19.result#}} and {{#17000001.text#}}")),
        ["~ 19 (was 17000002)"],
    ),
    "a reference left to the old id": (
        graph(ASK, CHECK, node("l", "llm", text="{{#17000002.result#}}")),
        graph(ASK, {**CHECK, "id": "19"}, node("l", "llm", text="{{#17000002.result#}}")),
        ["~ 19 (was 17000002)", "~ l", '  ~ text: "{{#19.result#}}" → "{{#17000002.result#}}"'],
    ),
    "a container and what is in it, under new ids": (
        graph(
            START,
            node("10", "iteration", title="Each", start_node_id="10start"),
            {**node("10start", "iteration-start"), "parentId": "10"},
            {**node("11", "llm", title="Ask", iteration_id="10"), "parentId": "10"},
            edge("10start", "11"),
        ),
        graph(
            START,
            node("20", "iteration", title="Each", start_node_id="20start"),
            {**node("20start", "iteration-start"), "parentId": "20"},
            {**node("21", "llm", title="Ask", iteration_id="20"), "parentId": "20"},
            edge("20start", "21"),
        ),
        ["~ 20 (was 10)", "~ 20start (was 10start)", "~ 21 (was 11)"],
    ),
    # edges
    "another branch": (
        graph(START, node("i", "if-else"), END, edge("i", "e", sourceHandle="true")),
        graph(START, node("i", "if-else"), END, edge("i", "e", sourceHandle="false")),
        ["edge + i.false > e", "edge - i.true > e"],
    ),
    "the usual handle left out": (
        graph(START, END, edge("s", "e")),
        graph(START, END, {"source": "s", "target": "e", "id": "z", "data": {}}),
        [],
    ),
    "an edge twice": (
        graph(START, END, edge("s", "e")),
        graph(START, END, edge("s", "e"), edge("s", "e", id=2)),
        ["edge + s.source > e"],
    ),
    "an unknown key of an edge": (
        graph(START, END, edge("s", "e")),
        graph(START, END, edge("s", "e", label="x")),
        ["edge ~ s.source > e"],
    ),
    "an edge to nowhere": (graph(START), graph(START, edge("s", "gone")), ["edge + s.source > gone"]),
    # variables
    "a variable's value": (
        graph(START, environment_variables=[PLAIN]),
        graph(START, environment_variables=[{**PLAIN, "value": "b"}]),
        ["environment ~ TAG", '  ~ value: "a" → "b"'],
    ),
    "a secret's value": (
        graph(START, environment_variables=[SECRET]),
        graph(START, environment_variables=[{**SECRET, "value": "xyz"}]),
        [],
    ),
    "a secret more": (graph(START), graph(START, environment_variables=[SECRET]), ["environment + KEY"]),
    "a secret becomes a text": (
        graph(START, environment_variables=[SECRET]),
        graph(START, environment_variables=[{**SECRET, "value_type": "string", "value": "new"}]),
        ["environment ~ KEY", '  ~ value: "" → "new"', '  ~ value_type: "secret" → "string"'],
    ),
    "variables in another order, with other ids": (
        graph(START, environment_variables=[PLAIN, SECRET]),
        graph(START, environment_variables=[{**SECRET, "id": "9"}, {**PLAIN, "selector": ["env", "TAG"]}]),
        [],
    ),
    "integer for number": (
        graph(START, environment_variables=[{"name": "N", "value": 3, "value_type": "number"}]),
        graph(START, environment_variables=[{"name": "N", "value": 3.0, "value_type": "integer"}]),
        [],
    ),
    "a conversation variable's name": (
        graph(START, conversation_variables=[{"name": "a", "value": []}]),
        graph(START, conversation_variables=[{"name": "b", "value": []}]),
        ["conversation + b", "conversation - a"],
    ),
    "two variables of one name": (
        graph(START, environment_variables=[PLAIN, {**PLAIN, "value": "z"}]),
        graph(START, environment_variables=[{**PLAIN, "value": "z"}]),
        ["environment ~ TAG", '  ~ value: "a" → "z"', "environment - TAG"],
    ),
    # features and the rest of a graph
    "a feature on": (
        graph(START, features={"speech_to_text": {"enabled": False}}),
        graph(START, features={"speech_to_text": {"enabled": True}}),
        ['features + speech_to_text: {"enabled":true}'],
    ),
    "a feature off, in other words": (
        graph(START, features={"speech_to_text": {"enabled": False}}),
        graph(START, features={"speech_to_text": {}, "text_to_speech": {"enabled": False, "voice": "x"}}),
        [],
    ),
    "inside a feature": (
        graph(START, features={"file_upload": {"enabled": True, "allowed_file_types": ["image"]}}),
        graph(START, features={"file_upload": {"enabled": True, "allowed_file_types": ["image", "audio"]}}),
        ['features + file_upload.allowed_file_types[#2]: "audio"'],
    ),
    "an unknown key of the graph": (
        graph(START),
        Document({"workflow": {"graph": {"nodes": [START], "edges": [], "later": 1}}}),
        ['settings + graph: {"later":1}'],
    ),
    "the viewport": (
        graph(START),
        Document({"workflow": {"graph": {"nodes": [START], "edges": [], "viewport": {"x": 1}}}}),
        [],
    ),
    # what only an export says
    "name and icon": (
        export(START, app={"icon": "a", "description": ""}),
        export(START, app={"icon": "b", "name": "y"}),
        ['app ~ icon: "a" → "b"', 'app ~ name: "x" → "y"'],
    ),
    "facts that say nothing": (
        export(START, app={"icon": "a"}),
        export(START, app={"icon": "a", "description": "", "use_icon_as_answer_icon": False, "icon_type": None}),
        [],
    ),
    "a fact that goes": (
        export(START, app={"description": "a"}),
        export(START, app={"description": ""}),
        ['app - description: "a"'],
    ),
    "the mode": (
        export(START),
        export(START, app={"mode": "advanced-chat"}),
        ['app ~ mode: "workflow" → "advanced-chat"'],
    ),
    "the format": (export(START), export(START, version="0.7.0"), ['app ~ format version: "0.6.0" → "0.7.0"']),
    "an answer of the API says nothing of the app": (
        export(START, app={"icon": "a"}, dependencies=[plugin("a/b", "1.0.0")]),
        Document({"workflow": {"graph": {"nodes": [START], "edges": []}, "features": {}}}),
        [],
    ),
    "a plugin's version": (
        export(START, dependencies=[plugin("a/b", "1.0.0"), plugin("c/d", "1.0.0")]),
        export(START, dependencies=[plugin("c/d", "1.0.0"), plugin("a/b", "1.1.0")]),
        [
            "dependencies ~ [a/b].value.marketplace_plugin_unique_identifier: "
            '"a/b:1.0.0@0" → "a/b:1.1.0@0"'
        ],
    ),
    "a plugin less": (
        export(START, dependencies=[plugin("a/b", "1.0.0")]),
        export(START, dependencies=[]),
        [
            'dependencies - [a/b]: {"current_identifier":null,"type":"marketplace","value":'
            '{"marketplace_plugin_unique_identifier":"a/b:1.0.0@0","version":null}}'
        ],
    ),
    # apps without a graph
    "a chat app's prompt": (
        chat(pre_prompt="Be kind."),
        chat(pre_prompt="Be brief."),
        ['settings ~ model_config.pre_prompt: "Be kind." → "Be brief."'],
    ),
    "a completion app's model": (
        chat("completion", model={"name": "a", "completion_params": {"temperature": 1}}),
        chat("completion", model={"name": "b", "completion_params": {"temperature": 1.0}}),
        ['settings ~ model_config.model.name: "a" → "b"'],
    ),
    "a form's field": (
        chat(user_input_form=[field("q"), field("r")]),
        chat(user_input_form=[field("q", required=True), field("t")]),
        [
            "settings + model_config.user_input_form[q].text-input.required: true",
            'settings - model_config.user_input_form[r]: {"text-input":{"label":"r","variable":"r"}}',
            'settings + model_config.user_input_form[t]: {"text-input":{"label":"t","variable":"t"}}',
        ],
    ),
    "a field's type": (
        chat(user_input_form=[field("q")]),
        chat(user_input_form=[field("q", "paragraph")]),
        [
            'settings + model_config.user_input_form[q].paragraph: {"label":"q","variable":"q"}',
            'settings - model_config.user_input_form[q].text-input: {"label":"q","variable":"q"}',
        ],
    ),
    "an agent's tools": (
        chat("agent-chat", agent_mode={"tools": [{"tool_name": "a", "enabled": True}]}),
        chat("agent-chat", agent_mode={"tools": [{"tool_name": "a", "enabled": False}]}),
        ["settings ~ model_config.agent_mode.tools[a].enabled: true → false"],
    ),
    "from chat to agent": (
        chat(pre_prompt="x"),
        chat("agent-chat", pre_prompt="x"),
        ['settings ~ mode: "chat" → "agent-chat"', 'app ~ mode: "chat" → "agent-chat"'],
    ),
    "from chat to a graph": (
        chat(pre_prompt="x"),
        export(START, app={"mode": "advanced-chat"}),
        [
            "+ s",
            'settings - mode: "chat"',
            'settings - model_config: {"pre_prompt":"x"}',
            'app ~ mode: "chat" → "advanced-chat"',
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CASES.values(), ids=CASES.keys())
def test_what_changes_between_two_documents(old: Document, new: Document, expected: list[str]) -> None:
    before = copy.deepcopy((old.data, new.data))
    found = compare(old, new)
    assert seen(found) == expected
    assert found.same == (semantic_digest(old) == semantic_digest(new))
    assert bool(found) == bool(expected)
    assert not compare(apply(found, old), new)
    assert (old.data, new.data) == before


def test_secrets_are_told_by_name() -> None:
    document = graph(START, environment_variables=[SECRET])
    found = compare(document, document, secrets_changed=frozenset({"KEY", "ANY"}))
    assert seen(found) == ["secret ANY", "secret KEY"]
    assert found.same
    assert found


def test_applying_keeps_what_the_digest_does_not_see() -> None:
    old = export(
        {**START, "position": {"x": 1}},
        {**ASK, "position": {"x": 2}, "data": {**ASK["data"], "selected": True}},
        {"id": "n", "type": "custom-note", "data": {"type": "", "text": "remember"}},
        edge("s", "17000001", id="e1"),
    )
    old.workflow["environment_variables"] = [{**SECRET, "id": "v1", "description": ""}]
    changed = copy.deepcopy(ASK)
    changed["data"]["prompt_template"][0]["text"] = "No."
    new = export(START, changed, edge("s", "17000001"))
    new.workflow["environment_variables"] = [{**SECRET, "value": "", "description": "mine"}]
    result = apply(compare(old, new), old)
    assert result.nodes[0] == {**START, "position": {"x": 1}}
    assert result.nodes[1] == {**changed, "position": {"x": 2}, "data": {**changed["data"], "selected": True}}
    assert result.nodes[2]["data"]["text"] == "remember"
    assert result.edges == [edge("s", "17000001", id="e1")]
    assert result.environment_variables == [{**SECRET, "id": "v1", "description": "mine"}]


def test_values_are_not_in_a_representation() -> None:
    """A difference may end up in a log or a traceback."""
    old = graph(node("h", "http-request", headers="Authorization: sesame"), environment_variables=[PLAIN])
    new = graph(node("h", "http-request", headers="Authorization: changed"), environment_variables=[])
    told = repr(compare(old, new))
    assert "headers" in told
    assert "sesame" not in told
    assert "changed'" not in told.replace("kind='changed'", "")
