"""The three forms that a document comes in, and what of it stays."""

import json
from typing import Any

import pytest

from lastgood.dsl import Document, content_digest, parse, semantic_digest, to_json, to_yaml

from .documents import edge, graph, node, straight

ROW: dict[str, Any] = {
    "id": "5b34eb08",
    "graph": {"nodes": [node("a", "start"), node("b", "end")], "edges": [edge("a", "b")], "viewport": {"zoom": 1}},
    "features": {"opening_statement": ""},
    "hash": "5c41",
    "version": "2026-11-23 17:19:18.186644",
    "marked_name": "v2",
    "marked_comment": "",
    "created_by": {"name": "Ann"},
    "created_at": 1795454358,
    "updated_by": None,
    "updated_at": 1795454358,
    "tool_published": False,
    "environment_variables": [{"id": "1", "name": "TAG", "value": "t", "value_type": "string"}],
    "conversation_variables": [],
    "rag_pipeline_variables": [],
    "something_new": {"kept": True},
}


def test_a_console_row_gets_an_envelope() -> None:
    document = parse(json.dumps(ROW))
    assert set(document.data) == {"app", "kind", "version", "workflow"}
    assert document.data["workflow"] == {
        key: ROW[key]
        for key in [
            "graph",
            "features",
            "environment_variables",
            "conversation_variables",
            "rag_pipeline_variables",
            "something_new",
        ]
    }
    assert (document.mode, document.name, document.dsl_version) == ("workflow", "", "0.4.0")


@pytest.mark.parametrize(
    ("kinds", "mode", "version"),
    [
        (["start", "llm"], "workflow", "0.4.0"),
        (["start", "answer"], "advanced-chat", "0.4.0"),
        (["trigger-schedule", "end"], "workflow", "0.5.0"),
        (["trigger-webhook", "human-input"], "workflow", "0.6.0"),
        ([], "workflow", "0.4.0"),
    ],
)
def test_mode_and_format_of_a_row_follow_from_its_nodes(kinds: list[str], mode: str, version: str) -> None:
    row = {"graph": {"nodes": [node(str(i), kind) for i, kind in enumerate(kinds)], "edges": []}}
    document = parse(json.dumps(row))
    assert (document.mode, document.dsl_version) == (mode, version)
    assert document.data["app"]["mode"] == mode


def test_two_reads_of_one_row_have_one_digest() -> None:
    later = {**ROW, "hash": "77", "version": "draft", "updated_at": 1795459999, "id": "6c"}
    assert content_digest(parse(json.dumps(ROW))) == content_digest(parse(json.dumps(later)))


@pytest.mark.parametrize("write", [to_yaml, to_json])
def test_an_export_and_the_row_of_one_workflow_do_the_same(write: Any) -> None:
    exported = graph(
        *({**part, "position": {"x": 1.5}} for part in ROW["graph"]["nodes"]),
        *ROW["graph"]["edges"],
        environment_variables=[{**ROW["environment_variables"][0], "selector": ["env", "TAG"], "description": ""}],
    )
    assert semantic_digest(parse(write(exported))) == semantic_digest(parse(json.dumps(ROW)))


@pytest.mark.parametrize("document", [straight(), Document({"app": {"mode": "chat"}, "model_config": {"x": 1}})])
def test_our_own_answer_reproduces_the_digest(document: Document) -> None:
    answer = {
        "id": "wf-abc123",
        "slug": "prod-invoice",
        "version": {"id": "v-20240401-01", "state": "stable"},
        "workflow_config": {"nodes": ["a"], "edges": []},
        "document": document.data,
    }
    read = parse(json.dumps(answer), source="backup.json")
    assert read == document
    assert content_digest(read) == content_digest(document)


def test_unknown_keys_and_types_stay() -> None:
    text = """
app: {mode: workflow, name: x, new_in_app: 1}
kind: app
new_at_top: [1, {a: null}]
version: 9.9.9
workflow:
  new_in_workflow: {x: 2024-01-01}
  graph:
    new_in_graph: true
    nodes:
    - {id: a, data: {type: start}, new_in_node: 1}
    - {id: b, data: {type: from-the-future, new_in_data: {deep: [1.0]}}}
    edges:
    - {source: a, target: b, new_in_edge: 1}
"""
    data = parse(text).data
    assert data["new_at_top"] == [1, {"a": None}]
    assert data["app"]["new_in_app"] == 1
    assert data["workflow"]["new_in_workflow"] == {"x": "2024-01-01"}
    assert data["workflow"]["graph"]["nodes"][1]["data"]["new_in_data"] == {"deep": [1.0]}
    assert data["workflow"]["graph"]["edges"][0]["new_in_edge"] == 1
    assert data["workflow"]["graph"]["new_in_graph"] is True


@pytest.mark.parametrize(
    ("text", "mode", "has_graph"),
    [
        ("app: {mode: workflow}\nworkflow: {graph: {nodes: [], edges: []}}", "workflow", True),
        ("app: {mode: advanced-chat}\nworkflow: {graph: {}}", "advanced-chat", True),
        ("workflow: {graph: {nodes: [{id: a, data: {type: answer}}]}}", "advanced-chat", True),
        ("app: {}\nworkflow: {graph: {nodes: null, edges: null}}", "workflow", True),
        ("rag_pipeline: {name: p}\nkind: rag_pipeline\nworkflow: {graph: {nodes: []}}", "rag_pipeline", True),
        ("app: {mode: from-the-future}\nworkflow: {graph: {nodes: []}}", "from-the-future", True),
        ("app: {mode: chat}\nmodel_config: {}", "chat", False),
        ("app: {mode: agent-chat}\nmodel_config: {}\nworkflow: null", "agent-chat", False),
        ("app: {mode: completion}\nmodel_config: {}\nworkflow: {graph: {nodes: []}}", "completion", False),
        ("app: {mode: agent}\nagent: {}", "agent", False),
    ],
)
def test_modes(text: str, mode: str, has_graph: bool) -> None:
    document = parse(text)
    assert (document.mode, document.has_graph) == (mode, has_graph)


@pytest.mark.parametrize(("written", "read"), [("0.6.0", "0.6.0"), ("'0.6'", "0.6"), ("0.6", "0.6"), ("1", "1")])
def test_the_version_is_text(written: str, read: str) -> None:
    assert parse(f"version: {written}\napp: {{mode: chat}}").dsl_version == read


def test_a_document_answers_with_what_there_is() -> None:
    document = Document(
        {"app": None, "workflow": {"graph": {"nodes": ["x", {"id": 1}], "edges": None}, "features": 3}}
    )
    assert document.nodes == [{"id": 1}]
    assert (document.edges, document.features, document.environment_variables) == ([], {}, [])
    assert (document.name, document.dsl_version, document.mode) == ("", "", "workflow")
