"""What a document needs from outside, and where."""

import json
from typing import Any

import pytest

from lastgood.dsl import Document, parse
from lastgood.dsl.dependencies import dependencies, identified, listed_plugins, plugin_of

from .documents import corpus, graph, node

KINDS = [
    *("models", "plugins", "tools", "knowledge_bases", "hosts", "environment_variables", "secrets"),
    *("conversation_variables", "triggers", "members", "credentials"),
]
UUID = "2516f4a8-9329-4845-a914-7965090ee2e2"
OPENAI = {"provider": "langgenius/openai/openai", "name": "gpt-4o", "mode": "chat"}


def needs(kind: str, *parts: dict[str, Any], **workflow: Any) -> list[dict[str, Any]]:
    return dependencies(graph(*parts, **workflow))[kind]


def test_every_kind_is_there() -> None:
    assert list(dependencies(Document({}))) == KINDS
    assert all(found == [] for found in dependencies(Document({})).values())


@pytest.mark.parametrize(
    ("provider", "kind", "plugin"),
    [
        ("langgenius/openai/openai", "model", "langgenius/openai"),
        ("acme/tools/search", "tool", "acme/tools"),
        ("openai", "model", "langgenius/openai"),
        ("google", "model", "langgenius/gemini"),
        ("google", "tool", "langgenius/google"),
        ("jina", "tool", "langgenius/jina_tool"),
        ("jina", "model", "langgenius/jina"),
        ("time", "tool", ""),
        ("time", "model", "langgenius/time"),
        (UUID, "tool", ""),
        ("half/a-name", "model", ""),
        ("", "model", ""),
    ],
)
def test_plugin_of(provider: str, kind: str, plugin: str) -> None:
    assert plugin_of(provider, kind) == plugin


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("langgenius/openai:0.0.5@abc", ("langgenius/openai", "0.0.5")),
        ("a/b:1.2.3-beta.1", ("a/b", "1.2.3-beta.1")),
        ("a/b", ("a/b", "")),
        ("a/b:1.2", ("", "")),
        ("a", ("", "")),
        ("", ("", "")),
    ],
)
def test_identified(identifier: str, expected: tuple[str, str]) -> None:
    assert identified(identifier) == expected


LIST = [
    {"type": "marketplace", "value": {"marketplace_plugin_unique_identifier": "a/b:1.0.0@x", "version": None}},
    {"type": "github", "value": {"github_plugin_unique_identifier": "c/d:2.0.0@x", "repo": "c/d", "version": "v2"}},
    {"type": "package", "value": {"plugin_unique_identifier": "e/f:3.0.0@x"}},
    {"type": "marketplace", "value": None},
    "odd",
]


def test_the_list_of_plugins() -> None:
    document = Document({"dependencies": LIST})
    assert list(listed_plugins(document)) == [
        ("a/b", "1.0.0", "marketplace"),
        ("c/d", "v2", "github"),
        ("e/f", "3.0.0", "package"),
    ]


def test_models() -> None:
    retrieval = {
        "multiple_retrieval_config": {
            "reranking_mode": "reranking_model",
            "reranking_model": {"provider": "cohere", "model": "rerank-3"},
        },
        "metadata_filtering_mode": "automatic",
        "metadata_model_config": OPENAI,
    }
    vectors = {"vector_setting": {"embedding_provider_name": "jina", "embedding_model_name": "v3"}}
    found = needs(
        "models",
        node("a", "llm", model=OPENAI),
        node("b", "question-classifier", model=OPENAI),
        node("c", "parameter-extractor", model={"provider": "google", "name": "gemini-2"}),
        node("d", "knowledge-retrieval", **retrieval),
        node(
            "e",
            "knowledge-retrieval",
            multiple_retrieval_config={"reranking_mode": "weighted_score", "weights": vectors},
        ),
        node("f", "knowledge-retrieval", retrieval_mode="single", single_retrieval_config={"model": OPENAI}),
        node("g", "agent", agent_parameters={"model": {"value": {"provider": "openai", "model": "gpt-4o"}}}),
        node("h", "knowledge-index", embedding_model_provider="openai", embedding_model="ada"),
        node(
            "i",
            "knowledge-retrieval",
            multiple_retrieval_config={"reranking_enable": False, "reranking_model": {"model": "x"}},
        ),
        node("j", "llm", model={}),
    )
    assert [(each["type"], each["provider"], each["name"], each["nodes"]) for each in found] == [
        ("rerank", "cohere", "rerank-3", ["d"]),
        ("llm", "google", "gemini-2", ["c"]),
        ("text-embedding", "jina", "v3", ["e"]),
        ("llm", "langgenius/openai/openai", "gpt-4o", ["a", "b", "d", "f"]),
        ("text-embedding", "openai", "ada", ["h"]),
        ("llm", "openai", "gpt-4o", ["g"]),
    ]
    assert found[1]["plugin"] == "langgenius/gemini"


def test_a_model_by_an_environment_variable() -> None:
    chosen = {"name": "MODEL", "value_type": "llm", "value": {"provider": "anthropic", "name": "claude"}}
    (found,) = needs(
        "models",
        node("a", "llm", model=OPENAI, model_selector=["env", "MODEL"]),
        environment_variables=[chosen],
    )
    assert (found["provider"], found["name"]) == ("anthropic", "claude")
    (found,) = needs("models", node("a", "llm", model=OPENAI, model_selector=["env", "GONE"]))
    assert found["name"] == "gpt-4o"


def test_plugins_and_what_the_list_misses() -> None:
    document = graph(
        node("a", "llm", model={"provider": "a/b/b", "name": "m"}),
        node(
            "g",
            "agent",
            agent_strategy_provider_name="langgenius/agent/agent",
            plugin_unique_identifier="langgenius/agent:0.0.3@x",
            agent_parameters={
                "tools": {
                    "value": [
                        {"type": "builtin", "provider_name": "tavily", "tool_name": "search", "enabled": True},
                        {"type": "builtin", "provider_name": "off", "tool_name": "off", "enabled": False},
                    ]
                }
            },
        ),
        node("t", "trigger-plugin", plugin_id="p/q", plugin_unique_identifier="p/q:1.0.0@x", event_name="made"),
        node("d", "datasource", plugin_id="r/s"),
    )
    document = Document({**document.data, "dependencies": LIST})
    found = {
        each["id"]: (each["versions"], each["listed"], each["nodes"]) for each in dependencies(document)["plugins"]
    }
    assert found == {
        "a/b": (["1.0.0"], True, ["a"]),
        "c/d": (["v2"], True, []),
        "e/f": (["3.0.0"], True, []),
        "langgenius/agent": (["0.0.3"], False, ["g"]),
        "langgenius/tavily": ([], False, ["g"]),
        "p/q": (["1.0.0"], False, ["t"]),
        "r/s": ([], False, ["d"]),
    }


def test_two_versions_of_a_plugin() -> None:
    parts = [
        node(i, "tool", provider_type="builtin", provider_id="o/n/p", plugin_unique_identifier=f"o/n:{version}@x")
        for i, version in [("a", "1.0.0"), ("b", "1.1.0")]
    ]
    (found,) = needs("plugins", *parts)
    assert (found["versions"], found["nodes"]) == (["1.0.0", "1.1.0"], ["a", "b"])


def test_tools() -> None:
    found = needs(
        "tools",
        node("a", "tool", provider_type="builtin", provider_id="time", provider_name="time", tool_name="now"),
        node("b", "tool", provider_type="workflow", provider_id=UUID, provider_name="Mine", tool_name="mine"),
        node("c", "tool", provider_type="workflow", provider_id=UUID, provider_name="Mine", tool_name="mine"),
        node("d", "tool", provider_type="mcp", provider_id="server", tool_name="ask"),
        node("e", "tool", provider_type="plugin", provider_id="o/n/p", tool_name="go", credential_id="cred-1"),
    )
    assert [(each["provider_type"], each["tool"], each["plugin"], each["nodes"]) for each in found] == [
        ("builtin", "now", "", ["a"]),
        ("mcp", "ask", "", ["d"]),
        ("plugin", "go", "o/n", ["e"]),
        ("workflow", "mine", "", ["b", "c"]),
    ]
    assert needs("credentials", node("e", "tool", provider_id="x", credential_id="cred-1")) == [
        {"id": "cred-1", "nodes": ["e"]}
    ]


def test_knowledge_bases() -> None:
    hidden = "X" * 63 + "="
    found = needs(
        "knowledge_bases", node("a", "knowledge-retrieval", dataset_ids=[UUID, "X" * 64, hidden, "mine", None])
    )
    assert {each["id"]: each["encrypted"] for each in found} == {
        UUID: False,
        "X" * 64: True,
        hidden: False,
        "mine": False,
    }


HOSTS = [
    ("https://api.example.com/v1?x=1", "api.example.com", True, []),
    ("HTTP://API.Example.com:8080", "api.example.com:8080", True, []),
    ("https://user:secret@api.example.com/", "api.example.com", True, []),
    ("{{#env.BASE#}}/v1", "base.example.com", True, ["env.BASE"]),
    ("https://{{#env.TENANT#}}.example.com/", "acme.example.com", True, ["env.TENANT"]),
    ("https://{{#s.host#}}/x", "{{#s.host#}}", False, ["s.host"]),
    ("https://{{#env.KEY#}}@api.example.com/{{#s.path#}}", "api.example.com", True, ["env.KEY"]),
    ("https://{{#env.KEY#}}/x", "{{#env.KEY#}}", False, ["env.KEY"]),
    ("{{#s.url#}}", "{{#s.url#}}", False, ["s.url"]),
    ("https://api.example.com/{{#s.path#}}", "api.example.com", True, []),
    ("api.example.com/x", "api.example.com", True, []),
    ("https://[::1", None, None, None),
    ("", None, None, None),
]


@pytest.mark.parametrize(("url", "host", "resolved", "through"), HOSTS)
def test_hosts(url: str, host: str | None, resolved: bool | None, through: list[str] | None) -> None:
    variables = [
        {"name": "BASE", "value_type": "string", "value": "https://base.example.com"},
        {"name": "TENANT", "value_type": "string", "value": "acme"},
        {"name": "KEY", "value_type": "secret", "value": "never-shown"},
    ]
    found = needs("hosts", node("h", "http-request", url=url), environment_variables=variables)
    expected = [{"host": host, "resolved": resolved, "nodes": ["h"], "through": through}] if host else []
    assert found == expected
    assert "never-shown" not in json.dumps(found)


def test_variables_and_secrets() -> None:
    document = graph(
        node("a", "http-request", url="{{#env.HOST#}}", headers="X: {{#env.KEY#}}"),
        node("b", "answer", answer="{{#conversation.seen#}}"),
        node("c", "assigner", items=[{"variable_selector": ["conversation", "seen"]}]),
        environment_variables=[
            {"name": "HOST", "value_type": "string", "value": "h"},
            {"name": "KEY", "value_type": "secret", "value": "never-shown"},
            {"name": "IDLE", "value_type": "number", "value": 1},
            {"value_type": "string"},
        ],
        conversation_variables=[{"name": "seen", "value_type": "array[string]"}],
    )
    found = dependencies(document)
    assert found["environment_variables"] == [
        {"name": "HOST", "type": "string", "nodes": ["a"]},
        {"name": "IDLE", "type": "number", "nodes": []},
    ]
    assert found["secrets"] == [{"name": "KEY", "nodes": ["a"]}]
    assert found["conversation_variables"] == [
        {"name": "seen", "type": "array[string]", "nodes": ["b"], "written_by": ["c"]}
    ]
    assert "never-shown" not in json.dumps(found)


def test_triggers_and_people() -> None:
    recipients = {"items": [{"type": "member", "user_id": UUID}, {"type": "external", "email": "a@example.com"}]}
    document = graph(
        node("a", "trigger-schedule", title="Every day"),
        node("b", "trigger-plugin", plugin_id="p/q", event_name="made"),
        node("c", "human-input", delivery_methods=[{"type": "email", "config": {"recipients": recipients}}]),
    )
    found = dependencies(document)
    assert [(each["type"], each["plugin"], each["event"], each["nodes"]) for each in found["triggers"]] == [
        ("trigger-plugin", "p/q", "made", ["b"]),
        ("trigger-schedule", "", "", ["a"]),
    ]
    assert found["members"] == [{"id": UUID, "nodes": ["c"]}]


def test_an_app_without_a_graph() -> None:
    tools = [
        {"provider_type": "builtin", "provider_id": "time", "tool_name": "now", "enabled": True},
        {"provider_type": "builtin", "provider_id": "off", "tool_name": "off", "enabled": False},
    ]
    config = {
        "model": OPENAI,
        "agent_mode": {"tools": tools},
        "dataset_configs": {"datasets": {"datasets": [{"dataset": {"id": UUID}}]}},
    }
    found = dependencies(Document({"app": {"mode": "agent-chat"}, "model_config": config}))
    assert [each["name"] for each in found["models"]] == ["gpt-4o"]
    assert [each["tool"] for each in found["tools"]] == ["now"]
    assert [each["id"] for each in found["knowledge_bases"]] == [UUID]


def test_real_documents() -> None:
    for path in corpus():
        document = parse(path.read_bytes(), source=path.name)
        found = dependencies(document)
        assert json.loads(json.dumps(found)) == found
        ids = {str(each.get("id")) for each in document.nodes}
        for entries in found.values():
            assert all(set(entry["nodes"]) <= ids for entry in entries)
