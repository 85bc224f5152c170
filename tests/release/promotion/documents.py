"""A document that names everything that only its own workspace knows, and two workspaces to carry it between."""

from itertools import pairwise
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from lastgood.dsl import Document
from lastgood.dsl.identities import Kind
from lastgood.release.promotion.deciding import Place
from lastgood.targets.dify.roster import Thing, Things

HERE, THERE = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
GITHUB, GITHUB_NEW = "langgenius/github:1.0.0@aa11", "langgenius/github:1.2.0@bb22"


def uid(name: str) -> str:
    """An id that looks like Dify's, always the same for a name."""
    return str(uuid5(NAMESPACE_DNS, name))


def node(node_id: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "custom", "data": {"type": kind, "title": f"The {node_id}", **data}}


MODEL = {"provider": "langgenius/openai/openai", "name": "gpt-4o", "mode": "chat", "completion_params": {}}
TOOLS = [
    {"type": "api", "provider_name": uid("api tool"), "tool_name": "rates", "enabled": True, "settings": {}},
    {
        "type": "builtin",
        "provider_name": "langgenius/github/github",
        "tool_name": "issues",
        "enabled": True,
        "credential_id": uid("agent credential"),
        "plugin_unique_identifier": GITHUB,
    },
]
DELIVERY = [
    {
        "id": uid("method"),
        "type": "email",
        "enabled": True,
        "config": {
            "recipients": {
                "whole_workspace": False,
                "items": [
                    {"type": "member", "user_id": uid("alice")},
                    {"type": "external", "email": "x@example.com"},
                    {"type": "member", "user_id": uid("bob")},
                ],
            }
        },
    }
]


def whole(datasets: list[str] | None = None, environment: list[dict[str, Any]] | None = None) -> Document:
    """The document; `datasets` are the ids in its retrieval, plain unless given otherwise."""
    nodes = [
        node("begin", "start", variables=[]),
        node(
            "find",
            "knowledge-retrieval",
            dataset_ids=datasets or [uid("prices"), uid("rules")],
            multiple_retrieval_config={
                "reranking_model": {"provider": "langgenius/cohere/cohere", "model": "rerank-3"}
            },
        ),
        node("write", "llm", model=MODEL),
        node(
            "open",
            "tool",
            provider_type="builtin",
            provider_id="langgenius/github/github",
            provider_name="github",
            tool_name="create_issue",
            plugin_unique_identifier=GITHUB,
            credential_id=uid("credential"),
        ),
        node(
            "sub", "tool", provider_type="workflow", provider_id=uid("sub tool"), provider_name="sub", tool_name="s"
        ),
        node("act", "agent", agent_parameters={"model": {"value": MODEL}, "tools": {"value": TOOLS}}),
        node("ask", "human-input", delivery_methods=DELIVERY),
        node("odd", "from-a-newer-dify", brain_id=uid("brain"), x={"case_id": uid("case")}),
        node("done", "end", outputs=[]),
    ]
    names = [one["id"] for one in nodes]
    edges = [{"id": f"{a}-{b}", "source": a, "target": b, "sourceHandle": "source"} for a, b in pairwise(names)]
    dependency = {"marketplace_plugin_unique_identifier": GITHUB, "version": "1.0.0"}
    return Document(
        {
            "app": {"mode": "workflow", "name": "Whole"},
            "kind": "app",
            "version": "0.6.0",
            "dependencies": [{"type": "marketplace", "current_identifier": None, "value": dependency}],
            "workflow": {
                "graph": {"nodes": nodes, "edges": edges},
                "features": {
                    "sensitive_word_avoidance": {
                        "enabled": True,
                        "type": "api",
                        "config": {"api_based_extension_id": uid("extension")},
                    }
                },
                "environment_variables": environment or [],
                "conversation_variables": [],
            },
        }
    )


NAMED = {
    "knowledge_bases": {"prices": "prices", "rules": "rules"},
    "members": {"alice": "alice@example.com", "bob": "bob@example.com"},
    "extensions": {"extension": "moderation"},
}


class Workspace:
    """The things of a workspace: `suffix` tells its ids from the other's."""

    def __init__(self, suffix: str = "", **more: dict[str, str] | None) -> None:
        self.suffix = suffix
        self.more = more

    def __call__(self, kind: str, provider: str = "") -> Things:
        things = {**NAMED, **self.more}.get(kind)
        if kind == "tools":
            things = {"workflow": {"sub tool": "Sub"}, "api": {"api tool": "Rates"}}.get(provider)
        if kind == "credentials":
            things = {"credential": "work", "agent credential": "robot"}
        if things is None:
            return None
        return tuple(Thing(uid(name + self.suffix), called) for name, called in things.items())


def places(**more: dict[str, str] | None) -> tuple[Place, Place]:
    """Two servers whose workspaces call the same things by the same names."""
    return Place("dev", HERE, Workspace()), Place("prod", THERE, Workspace(" there", **more))


MAPPED: dict[Kind, dict[str, str]] = {
    "knowledge_bases": {uid("prices"): uid("prices there"), uid("rules"): uid("rules there")},
    "tools": {uid("sub tool"): uid("sub tool there"), uid("api tool"): uid("api tool there")},
    "credentials": {
        uid("credential"): uid("credential there"),
        uid("agent credential"): uid("agent credential there"),
    },
    "members": {uid("alice"): uid("alice there"), uid("bob"): uid("bob there")},
    "extensions": {uid("extension"): uid("extension there")},
}
