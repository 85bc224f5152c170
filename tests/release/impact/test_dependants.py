"""Which workflows use a workflow as a tool: how a tool is recognised, and who comes to it over whom."""

from itertools import pairwise
from typing import Any

import pytest

from dsl.documents import corpus, graph, node
from lastgood import dsl
from lastgood.dsl import Document
from lastgood.dsl.dependencies import dependencies, tools
from lastgood.history.workflows import Workflow
from lastgood.release.impact.dependants import Names, Tool, dependants, tools_of

UUID = "0c1f5d9e-0000-4000-8000-000000000001"


def workflow(slug: str, name: str = "", id: str = "") -> Workflow:
    return Workflow(1, id or f"wf-{slug.replace('-', '')[:12]}", slug, name or slug, "workflow", "", "", "engine")


def tool(name: str = "check_vat", provider: str = UUID, kind: str = "workflow", **more: Any) -> dict[str, Any]:
    return {"provider_type": kind, "provider_id": provider, "provider_name": name, "tool_name": name, **more}


def agent(*tools: dict[str, Any]) -> Document:
    listed = [{"type": one["provider_type"], **one, "enabled": one.get("enabled", True)} for one in tools]
    return graph(node("a", "start"), node("b", "agent", agent_parameters={"tools": {"value": listed}}))


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (graph(node("a", "start"), node("b", "llm")), []),
        (graph(node("b", "tool", **tool())), [(UUID, "check_vat")]),
        (graph(node("b", "tool", **tool()), node("c", "tool", **tool())), [(UUID, "check_vat")]),
        (graph(node("b", "tool", **tool(kind="api"))), []),
        (graph(node("b", "tool", **tool(kind="builtin"))), []),
        (agent(tool("lookup")), [("lookup", "lookup")]),
        (agent(tool("lookup", enabled=False)), []),
        (graph(node("b", "tool", provider_type="workflow")), [("", "")]),
    ],
)
def test_the_workflow_tools_of_a_document(document: Document, found: list[tuple[str, str]]) -> None:
    assert [(one.provider, one.name) for one in tools_of(document)] == found


def test_an_app_without_a_graph_may_use_some_too() -> None:
    tools = [{"provider_type": "workflow", "provider_id": UUID, "tool_name": "check_vat", "enabled": True}]
    data = {"app": {"mode": "agent-chat"}, "kind": "app", "model_config": {"agent_mode": {"tools": tools}}}
    assert [one.name for one in tools_of(Document(data))] == ["check_vat"]


def test_the_tools_alone_are_those_of_all_dependencies() -> None:
    seen = 0
    for file in corpus():
        document = dsl.parse(file.read_bytes(), source=file.name)
        if {"tool", "agent"}.isdisjoint(dsl.node_types(document)) and document.has_graph:
            continue
        alone, whole = (sorted(map(repr, found)) for found in (tools(document), dependencies(document)["tools"]))
        assert alone == whole, file.name
        seen += len(whole)
    assert seen


KEPT = [
    workflow("check-vat", "Check VAT", "wf-vat001"),
    workflow("imagesearch", "imageSearch"),
    workflow("crawler", "本地爬虫"),
    workflow("tax-de", "Tax"),
    workflow("tax-at", "Tax"),
    workflow("decoy", "wf-vat001"),
]


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (Tool("wf-vat001", "Tax", "tax"), ["check-vat"]),  # an id goes before all names
        (Tool(UUID, "", "check_vat"), ["check-vat"]),
        (Tool(UUID, "Check VAT", "anything"), ["check-vat"]),
        (Tool(UUID, "CHECK vat ", ""), ["check-vat"]),
        (Tool(UUID, "imageSearch", "imageSearch"), ["imagesearch"]),
        (Tool(UUID, "本地爬虫", "localScrape"), ["crawler"]),
        (Tool(UUID, "Tax", "Tax"), ["tax-at", "tax-de"]),  # nobody knows which, so both
        (Tool(UUID, "bee", "get_assets"), []),
        (Tool(UUID, "爬虫", ""), []),
        (Tool("", "", ""), []),
    ],
)
def test_a_tool_is_known_by_id_else_by_name(named: Tool, found: list[str]) -> None:
    assert sorted(one.slug for one in Names(KEPT).find(named)) == found


A, B, C, D = (workflow(slug) for slug in "abcd")


@pytest.mark.parametrize(
    ("users", "found"),
    [
        ({}, []),
        ({"a": [B]}, [("b", 1, ("b",))]),
        ({"a": [B], "b": [C]}, [("b", 1, ("b",)), ("c", 2, ("b", "c"))]),
        ({"a": [B, C], "b": [C]}, [("b", 1, ("b",)), ("c", 1, ("c",))]),  # the shortest way
        ({"a": [A]}, []),  # it uses itself
        ({"a": [B], "b": [A]}, [("b", 1, ("b",))]),
        ({"a": [B], "b": [C], "c": [B, A]}, [("b", 1, ("b",)), ("c", 2, ("b", "c"))]),
        ({"b": [C]}, []),
        ({"a": [D, B], "b": [C], "d": [C]}, [("b", 1, ("b",)), ("d", 1, ("d",)), ("c", 2, ("b", "c"))]),
    ],
)
def test_who_comes_to_it_over_whom(users: dict[str, list[Workflow]], found: list[tuple[str, int, Any]]) -> None:
    of = {f"wf-{name}": using for name, using in users.items()}
    assert [(one.slug, one.steps, one.through) for one in dependants("wf-a", of)] == found


def test_a_long_chain_is_followed_to_its_end() -> None:
    chain = [workflow(f"w{number}") for number in range(3000)]
    users = {below.id: [above] for below, above in pairwise(chain)}
    users[chain[-1].id] = [chain[0]]
    found = dependants(chain[0].id, users)
    assert len(found) == 2999 and found[-1].steps == 2999
