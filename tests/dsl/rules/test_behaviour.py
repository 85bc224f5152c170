"""What the workspace, a run and the editor notice, as a table."""

from typing import Any

import pytest

from dsl.documents import edge, graph, node
from lastgood.dsl import Document
from lastgood.dsl.compare import compare
from lastgood.dsl.rules import judge

from .small import Case, case, chat, config, environment, gives, hooked, listing, takes, with_node

MODEL = {"provider": "langgenius/openai/openai", "name": "small", "mode": "chat", "completion_params": {}}
SECRET = "sk-ant-0123456789abcdefghijkl"  # a made-up key, which no sentence may show


def asked(**params: Any) -> dict[str, Any]:
    return {"model": {**MODEL, "completion_params": params}}


def changed(name: str, kind: str, old: dict[str, Any], new: dict[str, Any], rules: str, bump: str = "patch") -> Case:
    """A node of this kind with other data."""
    return case(f"{kind}: {name}", with_node(kind, old), with_node(kind, new), rules, bump)


def said(text: str, role: str = "system", **more: Any) -> dict[str, Any]:
    return {"role": role, "text": text, **more}


def plugged(version: str) -> dict[str, Any]:
    return {"provider_type": "builtin", "provider_id": "a/b/c", "plugin_unique_identifier": f"a/b:{version}@0f"}


KEY = {"authorization": {"type": "api-key", "config": {"api_key": "x"}}}
OTHER_KEY = {"authorization": {"type": "api-key", "config": {"api_key": SECRET}}}
ON = {"retry_config": {"retry_enabled": True, "max_retries": 3}}
CASES = [{"case_id": "true", "conditions": [{"id": "1", "comparison_operator": "is", "value": "a"}]}]
OTHER = [{"case_id": "true", "conditions": [{"id": "1", "comparison_operator": "is", "value": "b"}]}]
TWO = [*CASES, {"case_id": "c2", "conditions": [{"id": "2", "comparison_operator": "is", "value": "z"}]}]
SWAPPED = [TWO[1], TWO[0]]
AGENT = {"agent_strategy_name": "react", "agent_strategy_provider_name": "a/b/c"}
TOOL = {"enabled": True, "type": "builtin", "provider_name": "time", "tool_name": "now"}
OTHER_TOOL = {"enabled": True, "type": "builtin", "provider_name": "time", "tool_name": "then"}


def agent(*tools: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return {**AGENT, "agent_parameters": {"tools": {"value": list(tools)}, **parameters}}


INTEGRATION = [
    changed("model", "llm", {"model": MODEL}, {"model": {**MODEL, "name": "large"}}, "model-changed", "minor"),
    changed(
        "provider",
        "llm",
        {"model": MODEL},
        {"model": {**MODEL, "provider": "a/b/c", "name": "large"}},
        "model-changed plugin-added plugin-removed",
        "minor",
    ),
    changed(
        "the same provider at length",
        "llm",
        {"model": {**MODEL, "provider": "openai"}},
        {"model": MODEL},
        "no-effect",
    ),
    changed(
        "model of a classifier",
        "question-classifier",
        {"model": MODEL},
        {"model": {**MODEL, "name": "large"}},
        "model-changed",
        "minor",
    ),
    changed(
        "model of an agent",
        "agent",
        agent(model={"value": MODEL}),
        agent(model={"value": {**MODEL, "name": "large"}}),
        "model-changed",
        "minor",
    ),
    changed(
        "rerank model",
        "knowledge-retrieval",
        {"multiple_retrieval_config": {"reranking_model": {"provider": "a/b/c", "model": "x"}}},
        {"multiple_retrieval_config": {"reranking_model": {"provider": "a/b/c", "model": "y"}}},
        "model-changed",
        "minor",
    ),
    changed("another", "tool", {"tool_name": "now"}, {"tool_name": "then"}, "tool-changed", "minor"),
    changed("plugin newer", "tool", plugged("1.9.0"), plugged("1.10.0"), "plugin-upgraded", "minor"),
    changed("plugin older", "tool", plugged("1.10.0"), plugged("1.9.0"), "plugin-downgraded", "minor"),
    changed(
        "plugin rebuilt",
        "tool",
        plugged("1.0.0"),
        {**plugged("1.0.0"), "plugin_unique_identifier": "a/b:1.0.0@ff"},
        "plugin-changed",
        "minor",
    ),
    changed(
        "format", "tool", {"tool_node_version": "1"}, {"tool_node_version": "2"}, "tool-version-changed", "minor"
    ),
    changed(
        "credential", "datasource", {"credential_id": "1"}, {"credential_id": "2"}, "credential-changed", "minor"
    ),
    changed("credential, which exports drop", "tool", {"credential_id": "1"}, {}, "", "none"),
    changed(
        "another source",
        "datasource",
        {"datasource_name": "a"},
        {"datasource_name": "b"},
        "datasource-changed",
        "minor",
    ),
    changed("strategy", "agent", AGENT, {**AGENT, "agent_strategy_name": "plan"}, "agent-strategy-changed", "minor"),
    changed("one more tool", "agent", agent(TOOL), agent(TOOL, OTHER_TOOL), "agent-tools-changed", "minor"),
    changed("a tool less", "agent", agent(TOOL, OTHER_TOOL), agent(TOOL), "agent-tools-changed", "minor"),
    changed(
        "a tool switched off", "agent", agent(TOOL), agent({**TOOL, "enabled": False}), "agent-tools-changed", "minor"
    ),
    changed(
        "knowledge new",
        "knowledge-retrieval",
        {"dataset_ids": ["a"]},
        {"dataset_ids": ["a", "b"]},
        "knowledge-added",
        "minor",
    ),
    changed(
        "knowledge gone",
        "knowledge-retrieval",
        {"dataset_ids": ["a", "b"]},
        {"dataset_ids": ["a"]},
        "knowledge-removed",
        "minor",
    ),
    changed(
        "knowledge encrypted otherwise",
        "knowledge-retrieval",
        {"dataset_ids": ["A" * 64]},
        {"dataset_ids": ["B" * 64]},
        "knowledge-unclear",
        "minor",
    ),
    changed(
        "host",
        "http-request",
        {"url": "https://a.example/x"},
        {"url": "https://b.example/x"},
        "host-changed",
        "minor",
    ),
    changed(
        "port",
        "http-request",
        {"url": "https://a.example/x"},
        {"url": "https://a.example:8443/x"},
        "host-changed",
        "minor",
    ),
    changed(
        "path",
        "http-request",
        {"url": "https://a.example/x"},
        {"url": "https://a.example/y"},
        "request-address-changed",
        "minor",
    ),
    changed("method", "http-request", {"method": "get"}, {"method": "post"}, "request-method-changed", "minor"),
    changed("method in capitals", "http-request", {"method": "get"}, {"method": "GET"}, "no-effect"),
    changed("key", "http-request", KEY, OTHER_KEY, "request-authorization-changed", "minor"),
    changed("certificate", "http-request", {}, {"ssl_verify": False}, "certificate-check-changed", "minor"),
    changed("certificate as by default", "http-request", {}, {"ssl_verify": True}, "no-effect"),
    changed(
        "people",
        "human-input",
        {"delivery_methods": [{"id": "1", "enabled": True}]},
        {"delivery_methods": []},
        "recipients-changed",
        "minor",
    ),
    case(
        "schedule other",
        graph(node("t", "trigger-schedule", cron_expression="0 1 * * *")),
        graph(node("t", "trigger-schedule", cron_expression="0 2 * * *")),
        "schedule-changed",
        "minor",
    ),
    case(
        "schedule config",
        graph(node("t", "trigger-schedule", config={"a": 1})),
        graph(node("t", "trigger-schedule")),
        "",
        "none",
    ),
    case(
        "plugin trigger new",
        graph(node("e", "end")),
        graph(node("e", "end"), node("t", "trigger-plugin", event_name="x")),
        "plugin-trigger-added",
        "minor",
    ),
    case(
        "plugin trigger other",
        graph(node("t", "trigger-plugin", event_name="x")),
        graph(node("t", "trigger-plugin", event_name="y")),
        "plugin-trigger-changed",
        "minor",
    ),
    case(
        "plugin trigger gone",
        graph(node("t", "trigger-plugin", event_name="x")),
        graph(),
        "plugin-trigger-removed",
        "minor",
    ),
    case("plugin listed", listing(), listing("a/b:1.0.0@0f"), "plugin-added", "minor"),
    case("plugin unlisted", listing("a/b:1.0.0@0f"), listing(), "plugin-removed", "minor"),
    case("plugin listed newer", listing("a/b:1.0.0@0f"), listing("a/b:1.0.1@0f"), "plugin-upgraded", "minor"),
    case(
        "plugins ordered",
        listing("a/b:1.0.0@0f", "c/d:1.0.0@0f"),
        listing("c/d:1.0.0@0f", "a/b:1.0.0@0f"),
        "",
        "none",
    ),
    case("an answer of the API has no list", listing("a/b:1.0.0@0f"), takes(), "", "none"),
    case("variable new", environment(), environment(("A", "string", "x")), "variable-added", "minor"),
    case("variable gone", environment(("A", "string", "x")), environment(), "variable-removed", "minor"),
    case(
        "variable other",
        environment(("A", "string", "x")),
        environment(("A", "string", "y")),
        "variable-value-changed",
        "minor",
    ),
    case(
        "variable to secret",
        environment(("A", "string", "x")),
        environment(("A", "secret", "")),
        "variable-type-changed",
        "minor",
    ),
    case(
        "variable to number",
        environment(("A", "string", "1")),
        environment(("A", "number", 1)),
        "variable-type-changed",
        "minor",
    ),
    case("secret new", environment(), environment(("A", "secret", "x")), "secret-added", "minor"),
    case("secret gone", environment(("A", "secret", "x")), environment(), "secret-removed", "minor"),
    case("format newer", takes(), Document({**takes().data, "version": "0.10.0"}), "format-version-raised", "minor"),
    case("format older", takes(), Document({**takes().data, "version": "0.5.0"}), "format-version-lowered", "minor"),
    case(
        "tools of a chat app",
        config(agent_mode={"tools": [TOOL]}),
        config(agent_mode={"tools": []}),
        "agent-tools-changed",
        "minor",
    ),
    case(
        "model of a chat app", config(model=MODEL), config(model={**MODEL, "name": "large"}), "model-changed", "minor"
    ),
]
BEHAVIOUR = [
    changed(
        "prompt",
        "llm",
        {"prompt_template": [said("Be kind")]},
        {"prompt_template": [said("Be brief")]},
        "prompt-changed",
    ),
    changed(
        "prompt new",
        "llm",
        {"prompt_template": [said("Be")]},
        {"prompt_template": [said("Be"), said("Q", "user")]},
        "prompt-added",
    ),
    changed(
        "prompt gone",
        "llm",
        {"prompt_template": [said("Be"), said("Q", "user")]},
        {"prompt_template": [said("Be")]},
        "prompt-removed",
    ),
    changed(
        "prompts ordered",
        "llm",
        {"prompt_template": [said("Be"), said("Q", "user")]},
        {"prompt_template": [said("Q", "user"), said("Be")]},
        "prompt-order-changed",
    ),
    changed(
        "ids of prompts",
        "llm",
        {"prompt_template": [said("Be")]},
        {"prompt_template": [said("Be", id="7")]},
        "no-effect",
    ),
    changed(
        "editor of prompts",
        "llm",
        {"prompt_template": [said("Be")]},
        {"prompt_template": [said("Be", edition_type="basic")]},
        "no-effect",
    ),
    changed(
        "Jinja in prompts",
        "llm",
        {"prompt_template": [said("Be", edition_type="basic")]},
        {"prompt_template": [said("Be", edition_type="jinja2")]},
        "prompt-changed",
    ),
    changed("temperature", "llm", asked(temperature=0.7), asked(temperature=0.2), "temperature-changed"),
    changed("temperature zero", "llm", asked(), asked(temperature=0), "temperature-changed"),
    changed("tokens", "llm", asked(max_tokens=1), asked(max_tokens=2), "completion-params-changed"),
    changed("thinking off said", "llm", asked(), asked(enable_thinking=False), "completion-params-changed"),
    changed("mode", "llm", {"model": MODEL}, {"model": {**MODEL, "mode": "completion"}}, "model-mode-changed"),
    changed(
        "context",
        "llm",
        {"context": {"enabled": True, "variable_selector": ["s", "a"]}},
        {"context": {"enabled": True, "variable_selector": ["s", "b"]}},
        "context-changed",
    ),
    changed(
        "context off",
        "llm",
        {"context": {"enabled": False, "variable_selector": ["s", "a"]}},
        {"context": {"enabled": False, "variable_selector": []}},
        "no-effect",
    ),
    changed("vision", "llm", {"vision": {"enabled": False}}, {"vision": {"enabled": True}}, "vision-changed"),
    changed("memory of a workflow", "llm", {}, {"memory": {"window": {"enabled": True, "size": 5}}}, "no-effect"),
    changed(
        "structure",
        "llm",
        {"structured_output_enabled": True, "structured_output": {"schema": {"type": "object"}}},
        {"structured_output_enabled": True, "structured_output": {"schema": {"type": "array"}}},
        "structured-output-changed",
    ),
    changed(
        "structure off",
        "llm",
        {"structured_output": {"schema": {"type": "object"}}},
        {"structured_output_enabled": False},
        "no-effect",
    ),
    changed("instruction", "question-classifier", {"instruction": "a"}, {"instruction": "b"}, "prompt-changed"),
    changed(
        "classes",
        "question-classifier",
        {"classes": [{"id": "1", "name": "a"}]},
        {"classes": [{"id": "1", "name": "b"}]},
        "classes-changed",
    ),
    changed(
        "parameters",
        "parameter-extractor",
        {"parameters": [{"name": "a"}]},
        {"parameters": [{"name": "b"}]},
        "extraction-changed",
    ),
    changed("code", "code", {"code": "a"}, {"code": "b"}, "code-changed"),
    changed(
        "language", "code", {"code_language": "python3"}, {"code_language": "javascript"}, "code-language-changed"
    ),
    changed(
        "outputs",
        "code",
        {"outputs": {"out": {"type": "string"}}},
        {"outputs": {"out": {"type": "string"}, "b": {"type": "string"}}},
        "code-outputs-changed",
    ),
    changed(
        "inputs",
        "code",
        {"variables": [{"variable": "a", "value_selector": ["s", "a"]}]},
        {"variables": [{"variable": "a", "value_selector": ["s", "b"]}]},
        "reading-changed",
    ),
    changed("empty inputs", "code", {}, {"variables": []}, "no-effect"),
    changed("template", "template-transform", {"template": "a"}, {"template": "b"}, "template-changed"),
    changed("condition", "if-else", {"cases": CASES}, {"cases": OTHER}, "condition-changed"),
    changed("branch new", "if-else", {"cases": CASES}, {"cases": TWO}, "branch-added"),
    changed("branch gone", "if-else", {"cases": TWO}, {"cases": CASES}, "branch-removed"),
    changed("branches ordered", "if-else", {"cases": TWO}, {"cases": SWAPPED}, "branch-order-changed"),
    changed("ELSE written out", "if-else", {"cases": CASES}, {"cases": [*CASES, {"case_id": "false"}]}, "no-effect"),
    changed(
        "top k",
        "knowledge-retrieval",
        {"multiple_retrieval_config": {"top_k": 4}},
        {"multiple_retrieval_config": {"top_k": 8}},
        "retrieval-changed",
    ),
    changed(
        "settings",
        "tool",
        {"tool_parameters": {"q": {"type": "mixed", "value": "a"}}},
        {"tool_parameters": {"q": {"type": "mixed", "value": "b"}}},
        "tool-settings-changed",
    ),
    changed(
        "steps",
        "agent",
        agent(maximum_iterations={"value": 3}),
        agent(maximum_iterations={"value": 5}),
        "agent-settings-changed",
    ),
    changed(
        "instruction", "agent", agent(instruction={"value": "a"}), agent(instruction={"value": "b"}), "prompt-changed"
    ),
    changed("headers", "http-request", {"headers": "A:1"}, {"headers": "A:2"}, "request-content-changed"),
    changed("timeout", "http-request", {"timeout": {"read": 60}}, {"timeout": {"read": 20}}, "timeouts-changed"),
    changed(
        "limits of the editor",
        "http-request",
        {"timeout": {"read": 60}},
        {"timeout": {"read": 60, "max_read_timeout": 9}},
        "no-effect",
    ),
    changed("retries on", "http-request", {}, ON, "retries-changed"),
    changed(
        "retries off said",
        "http-request",
        {},
        {"retry_config": {"retry_enabled": False, "max_retries": 3}},
        "no-effect",
    ),
    changed("retries", "llm", ON, {"retry_config": {"retry_enabled": True, "max_retries": 1}}, "retries-changed"),
    changed(
        "failure",
        "code",
        {},
        {"error_strategy": "fail-branch"},
        "error-strategy-changed",
    ),
    changed("failure as by default", "code", {}, {"error_strategy": "none"}, "no-effect"),
    changed(
        "default value",
        "code",
        {"default_value": [{"key": "out", "value": "a"}]},
        {"default_value": [{"key": "out", "value": "b"}]},
        "default-value-changed",
    ),
    changed("parallel", "iteration", {"parallel_nums": 1}, {"parallel_nums": 9}, "iteration-changed"),
    changed("rounds", "loop", {"loop_count": 5}, {"loop_count": 9}, "loop-changed"),
    changed(
        "writing",
        "assigner",
        {"items": [{"operation": "clear"}]},
        {"items": [{"operation": "set"}]},
        "assignment-changed",
    ),
    changed(
        "joining",
        "variable-aggregator",
        {"variables": [["s", "a"]]},
        {"variables": [["s", "b"]]},
        "aggregation-changed",
    ),
    changed(
        "cutting",
        "list-operator",
        {"limit": {"enabled": True, "size": 1}},
        {"limit": {"enabled": True, "size": 2}},
        "list-changed",
    ),
    changed(
        "document",
        "document-extractor",
        {"variable_selector": ["s", "a"]},
        {"variable_selector": ["s", "b"]},
        "reading-changed",
    ),
    changed("form", "human-input", {"form_content": "a"}, {"form_content": "b"}, "form-changed"),
    changed("storing", "knowledge-index", {"chunk_structure": "a"}, {"chunk_structure": "b"}, "indexing-changed"),
    changed("a key nobody knows", "code", {}, {"shiny": False}, "setting-changed"),
    changed("a node nobody knows", "hologram", {"a": 1}, {"a": 2}, "setting-changed"),
    case(
        "answer",
        chat(),
        graph(
            *chat().nodes[:2], node("a", "answer", answer="Well: {{#k.output#}}"), *chat().edges, mode="advanced-chat"
        ),
        "answer-changed",
        "patch",
    ),
    case(
        "conversation variable new",
        takes(),
        takes(conversation_variables=[{"name": "t", "value_type": "string"}]),
        "conversation-variable-added",
        "patch",
    ),
    case(
        "conversation variable gone",
        takes(conversation_variables=[{"name": "t", "value_type": "string"}]),
        takes(),
        "conversation-variable-removed",
        "patch",
    ),
    case(
        "conversation variable other",
        takes(conversation_variables=[{"name": "t", "value_type": "string"}]),
        takes(conversation_variables=[{"name": "t", "value_type": "number"}]),
        "conversation-variable-changed",
        "patch",
    ),
    case(
        "connection new",
        graph(node("a", "start"), node("b", "code")),
        graph(node("a", "start"), node("b", "code"), edge("a", "b")),
        "connection-added",
        "patch",
    ),
    case(
        "connection gone",
        graph(node("a", "start"), node("b", "code"), edge("a", "b")),
        graph(node("a", "start"), node("b", "code")),
        "connection-removed",
        "patch",
    ),
    case(
        "node new",
        graph(node("a", "start")),
        graph(node("a", "start"), node("b", "code"), edge("a", "b")),
        "node-added",
        "patch",
    ),
    case(
        "node with needs",
        graph(node("a", "start")),
        graph(node("a", "start"), node("b", "llm", model=MODEL)),
        "node-added model-added plugin-added",
        "minor",
    ),
    case(
        "node gone with its host",
        graph(node("b", "http-request", url="https://a.example")),
        graph(),
        "node-removed host-removed",
        "minor",
    ),
    case("prompt of a chat app", config(pre_prompt="a"), config(pre_prompt="b"), "prompt-changed", "patch"),
    case(
        "strategy of a chat app",
        config(agent_mode={"strategy": "react"}),
        config(agent_mode={"strategy": "router"}),
        "agent-mode-changed",
        "patch",
    ),
    case(
        "retrieval of a chat app",
        config(dataset_configs={"top_k": 2}),
        config(dataset_configs={"top_k": 4}),
        "retrieval-changed",
        "patch",
    ),
    case(
        "way of retrieval of a chat app",
        config(dataset_configs={"datasets": {"strategy": "router", "datasets": []}}),
        config(dataset_configs={"datasets": {"datasets": []}}),
        "retrieval-changed",
        "patch",
    ),
    case(
        "knowledge of a chat app",
        config(dataset_configs={"datasets": {"datasets": []}}),
        config(dataset_configs={"datasets": {"datasets": [{"dataset": {"id": "d1"}}]}}),
        "knowledge-added",
        "minor",
    ),
]


def inside(parent: str, **chosen: Any) -> Document:
    """An iteration, and a code node in what `parent` names."""
    inner = {**node("b", "code"), "parentId": parent} if parent else node("b", "code")
    return graph(node("s", "start"), node("i", "iteration"), inner, edge("s", "i"), **chosen)


OTHERS = [
    case(
        "a mark of the editor on a tool of a chat app",
        config(agent_mode={"tools": [TOOL]}),
        config(agent_mode={"tools": [{**TOOL, "isDeleted": False}]}),
        "no-effect",
        "patch",
    ),
    case(
        "an empty default in a form",
        config(user_input_form=[{"paragraph": {"variable": "a", "default": ""}}]),
        config(user_input_form=[{"paragraph": {"variable": "a"}}]),
        "no-effect",
        "patch",
    ),
    case("into an iteration", inside(""), inside("i"), "node-moved-inside", "patch"),
    case("out of an iteration", inside("i"), inside(""), "node-moved-inside", "patch"),
    case(
        "host new",
        graph(),
        graph(node("b", "http-request", url="https://a.example")),
        "node-added host-added",
        "minor",
    ),
    case(
        "tool new",
        graph(),
        graph(node("b", "tool", provider_type="api", provider_id="1", tool_name="t")),
        "node-added tool-added",
        "minor",
    ),
    case(
        "tool gone",
        graph(node("b", "tool", provider_type="api", provider_id="1", tool_name="t")),
        graph(),
        "node-removed tool-removed",
        "minor",
    ),
    case(
        "model gone",
        graph(node("b", "llm", model=MODEL)),
        graph(),
        "node-removed model-removed plugin-removed",
        "minor",
    ),
    case(
        "the same model in a new node",
        graph(node("a", "llm", model=MODEL)),
        graph(node("a", "llm", model=MODEL), node("b", "llm", model=MODEL)),
        "node-added",
        "patch",
    ),
    case(
        "nobody in between",
        with_node("human-input", {}),
        with_node("code", {}),
        "node-added node-removed human-step-removed",
        "minor",
    ),
    case(
        "memory of a conversation",
        graph(node("b", "llm"), node("a", "answer"), mode="advanced-chat"),
        graph(
            node("b", "llm", memory={"window": {"enabled": True, "size": 5}}),
            node("a", "answer"),
            mode="advanced-chat",
        ),
        "memory-changed",
        "patch",
    ),
    case(
        "form of a pipeline",
        graph(mode="rag_pipeline", rag_pipeline_variables=[]),
        graph(mode="rag_pipeline", rag_pipeline_variables=[{"variable": "a"}]),
        "pipeline-variable-changed",
        "patch",
    ),
    case(
        "a dependency that names no plugin",
        Document({**takes().data, "dependencies": []}),
        Document({**takes().data, "dependencies": [{"type": "other"}]}),
        "dependency-changed",
        "minor",
    ),
    case(
        "a fact nobody knows",
        takes(),
        Document({**takes().data, "app": {"mode": "workflow", "name": "x", "shiny": 1}}),
        "app-fact-changed",
        "patch",
    ),
]


def at(x: int) -> Document:
    note = {"id": "z", "type": "custom-note", "data": {"type": "", "text": "n"}}
    return graph({**node("a", "start"), "position": {"x": x, "y": 0}}, note)


LAYOUT = [
    *OTHERS,
    changed("title", "code", {"title": "Work"}, {"title": "Toil"}, "title-changed"),
    changed("description", "code", {"desc": "a"}, {"desc": "b"}, "description-changed"),
    changed("empty description", "code", {"desc": ""}, {}, "no-effect"),
    case("moved", at(1), at(2), "canvas-changed", "patch"),
    case("note", at(1), graph(*at(1).nodes[:1]), "note-changed", "patch"),
    case(
        "renumbered",
        graph(node("1", "code", code="some code")),
        graph(node("2", "code", code="some code")),
        "node-renumbered",
        "patch",
    ),
    case(
        "name",
        takes(),
        Document({**takes().data, "app": {"mode": "workflow", "name": "y"}}),
        "app-name-changed",
        "patch",
    ),
    case(
        "icon",
        takes(),
        Document({**takes().data, "app": {"mode": "workflow", "name": "x", "icon": "i"}}),
        "app-icon-changed",
        "patch",
    ),
    case(
        "description of the app",
        takes(),
        Document({**takes().data, "app": {"mode": "workflow", "name": "x", "description": "d"}}),
        "app-description-changed",
        "patch",
    ),
]


@pytest.mark.parametrize("each", INTEGRATION + BEHAVIOUR + LAYOUT, ids=lambda each: each.name)
def test_table(each: Case) -> None:
    each.check()


def test_secrets_are_told_by_name() -> None:
    old, new = environment(("A", "secret", "x")), environment(("A", "secret", "y"))
    (change,) = judge(old, new, compare(old, new, secrets_changed=frozenset({"A"})))
    assert (change.rule.id, change.sentence) == ("secret-value-changed", "Secret “A” has another value.")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (with_node("http-request", KEY), with_node("http-request", OTHER_KEY)),
        (with_node("http-request", {"headers": "A:1"}), with_node("http-request", {"headers": f"A:{SECRET}"})),
        (with_node("tool", {"tool_configurations": {}}), with_node("tool", {"tool_configurations": {"k": SECRET}})),
        (with_node("llm", asked()), with_node("llm", asked(key=SECRET))),
        (with_node("code", {}), with_node("code", {"title": SECRET})),
        (environment(("A", "string", "x")), environment(("A", "string", SECRET))),
        (environment(("A", "string", SECRET)), environment(("A", "secret", ""))),
        (with_node("http-request", {"url": "https://a.example"}),
         with_node("http-request", {"url": f"https://u:{SECRET}@b.example/{SECRET}"})),
        (hooked(), hooked(response_body=SECRET)),
        (gives(), gives((SECRET, "c", "text"))),
    ],
)  # fmt: skip
def test_no_sentence_shows_a_key(old: Document, new: Document) -> None:
    changes = judge(old, new)
    assert changes
    assert not any(SECRET in f"{change.sentence} {change.title}" for change in changes if change.title != SECRET)
