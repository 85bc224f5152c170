"""Which rule a value falls under, by the type of its node and its place in it."""

from collections.abc import Mapping
from typing import Final

OWNED: Final = ""
"""In place of a rule: judged as a whole elsewhere (inputs, outputs, webhooks)."""

# Rules that say all of a node in one sentence, however many values it is made of.
ONCE: Final = frozenset(
    {"model-changed", "host-changed", "knowledge-unclear", "knowledge-added", "knowledge-removed"}
)

# Places are keys joined by points, `[]` for an item of a list; the longest that a path begins with counts.
_MODEL: Final = {
    "model": "model-changed",
    "model.mode": "model-mode-changed",
    "model.completion_params": "completion-params-changed",
    "model.completion_params.temperature": "temperature-changed",
    "model_selector": "model-changed",
}
_ASKING: Final = {
    **_MODEL,
    "memory": "memory-changed",
    "vision": "vision-changed",
    "instruction": "prompt-changed",
    "instructions": "prompt-changed",
    "query_variable_selector": "reading-changed",
}
_PLUGIN: Final = {"plugin_unique_identifier": "plugin-changed", "credential_id": "credential-changed"}
_COMMON: Final = {
    "title": "title-changed",
    "desc": "description-changed",
    "width": "canvas-changed",
    "height": "canvas-changed",
    "error_strategy": "error-strategy-changed",
    "default_value": "default-value-changed",
    "retry_config": "retries-changed",
    "isInIteration": "node-moved-inside",
    "isInLoop": "node-moved-inside",
    "iteration_id": "node-moved-inside",
    "loop_id": "node-moved-inside",
    "parentId": "node-moved-inside",
}
_BY_TYPE: Final[Mapping[str, Mapping[str, str]]] = {
    "start": {"variables": OWNED},
    "end": {"outputs": OWNED},
    "answer": {"answer": "answer-changed", "variables": "reading-changed"},
    "llm": {
        **_ASKING,
        "prompt_template": "prompt-changed",
        "prompt_template.[]": "prompt-changed",
        "prompt_config": "reading-changed",
        "variables": "reading-changed",
        "context": "context-changed",
        "structured_output": "structured-output-changed",
        "structured_output_enabled": "structured-output-changed",
        "structured_output_switch_on": "structured-output-changed",
        "reasoning_format": "structured-output-changed",
    },
    "question-classifier": {**_ASKING, "classes": "classes-changed", "topics": "classes-changed"},
    "parameter-extractor": {
        **_ASKING,
        "query": "reading-changed",
        "parameters": "extraction-changed",
        "reasoning_mode": "extraction-changed",
    },
    "knowledge-retrieval": {
        "": "retrieval-changed",
        "dataset_ids": "knowledge-added",
        "query_variable_selector": "reading-changed",
        "query_attachment_selector": "reading-changed",
        "multiple_retrieval_config.reranking_model": "model-changed",
        "multiple_retrieval_config.weights.vector_setting.embedding_provider_name": "model-changed",
        "multiple_retrieval_config.weights.vector_setting.embedding_model_name": "model-changed",
        **{f"single_retrieval_config.{place}": rule for place, rule in _MODEL.items()},
        "metadata_model_config": "model-changed",
        "metadata_model_config.completion_params": "completion-params-changed",
    },
    "knowledge-index": {
        "": "indexing-changed",
        "embedding_model": "model-changed",
        "embedding_model_provider": "model-changed",
    },
    "code": {
        "code": "code-changed",
        "dependencies": "code-changed",
        "code_language": "code-language-changed",
        "outputs": "code-outputs-changed",
        "variables": "reading-changed",
    },
    "template-transform": {"template": "template-changed", "variables": "reading-changed"},
    "if-else": {
        "cases": "condition-changed",
        "conditions": "condition-changed",
        "logical_operator": "condition-changed",
    },
    "http-request": {
        "url": "request-address-changed",
        "method": "request-method-changed",
        "authorization": "request-authorization-changed",
        "headers": "request-content-changed",
        "params": "request-content-changed",
        "body": "request-content-changed",
        "variables": "reading-changed",
        "timeout": "timeouts-changed",
        "ssl_verify": "certificate-check-changed",
    },
    "tool": {
        **_PLUGIN,
        "provider_id": "tool-changed",
        "provider_name": "tool-changed",
        "provider_type": "tool-changed",
        "plugin_id": "tool-changed",
        "tool_name": "tool-changed",
        "tool_node_version": "tool-version-changed",
        "tool_parameters": "tool-settings-changed",
        "tool_configurations": "tool-settings-changed",
    },
    "agent": {
        **_PLUGIN,
        "agent_strategy_provider_name": "agent-strategy-changed",
        "agent_strategy_name": "agent-strategy-changed",
        "agent_node_kind": "agent-strategy-changed",
        "agent_parameters": "agent-settings-changed",
        "agent_parameters.model": "model-changed",
        "agent_parameters.model.value.mode": "model-mode-changed",
        "agent_parameters.model.value.completion_params": "completion-params-changed",
        "agent_parameters.model.value.completion_params.temperature": "temperature-changed",
        "agent_parameters.instruction": "prompt-changed",
        "agent_parameters.query": "prompt-changed",
        "agent_parameters.tools": "tool-settings-changed",
        "agent_parameters.tools.value": "agent-tools-changed",
        "agent_parameters.tools.value.[].parameters": "tool-settings-changed",
        "agent_parameters.tools.value.[].settings": "tool-settings-changed",
        "agent_parameters.tools.value.[].extra": "tool-settings-changed",
        "agent_parameters.tools.value.[].plugin_unique_identifier": "plugin-changed",
        "memory": "memory-changed",
    },
    "datasource": {"": "datasource-changed", **_PLUGIN},
    "iteration": {"": "iteration-changed", "iterator_selector": "reading-changed"},
    "loop": {"": "loop-changed"},
    "assigner": {"": "assignment-changed"},
    "variable-aggregator": {"": "aggregation-changed"},
    "variable-assigner": {"": "aggregation-changed"},
    "list-operator": {"": "list-changed", "variable": "reading-changed"},
    "document-extractor": {"variable_selector": "reading-changed"},
    "human-input": {
        "": "form-changed",
        "delivery_methods": "recipients-changed",
        "timeout": "timeouts-changed",
        "timeout_unit": "timeouts-changed",
    },
    "trigger-webhook": {"": OWNED},
    "trigger-schedule": {"": "schedule-changed"},
    "trigger-plugin": {"": "plugin-trigger-changed", "plugin_unique_identifier": "plugin-changed"},
}
_CONFIG: Final = {
    **_MODEL,
    "model.parameters": "completion-params-changed",
    "pre_prompt": "prompt-changed",
    "prompt_type": "prompt-changed",
    "chat_prompt_config": "prompt-changed",
    "completion_prompt_config": "prompt-changed",
    "agent_mode": "agent-mode-changed",
    "agent_mode.tools": "agent-tools-changed",
    "agent_mode.tools.[].tool_parameters": "tool-settings-changed",
    "dataset_configs": "retrieval-changed",
    "dataset_configs.datasets.datasets": "knowledge-added",
    "dataset_configs.reranking_model": "model-changed",
    "dataset_query_variable": "retrieval-changed",
    "user_input_form": OWNED,
}
_LISTS: Final = {
    ("if-else", "cases.[]"): ("branch-added", "branch-removed", "branch-order-changed"),
    ("llm", "prompt_template.[]"): ("prompt-added", "prompt-removed", "prompt-order-changed"),
    ("start", "variables.[]"): (OWNED, OWNED, "order-changed"),
    ("end", "outputs.[]"): (OWNED, OWNED, "order-changed"),
}


def node_route(kind: str, place: str, change: str) -> str:
    """The rule for a change (``added``, ``removed``, ``changed``, ``moved``) at a place in a node of a type."""
    in_list = _LISTS.get((kind, place))
    if in_list and change != "changed":
        return in_list[("added", "removed", "moved").index(change)]
    own = _BY_TYPE.get(kind, {})
    found = _longest(own, place)
    common = _longest(_COMMON, place)
    if common is not None and (found is None or found == own.get("")):
        return common
    return "setting-changed" if found is None else found


def config_route(place: str) -> str | None:
    """The rule for a change at a place of `model_config`, None where there is none."""
    return _longest(_CONFIG, place)


def _longest(table: Mapping[str, str], place: str) -> str | None:
    parts = place.split(".")
    for length in range(len(parts), 0, -1):
        found = table.get(".".join(parts[:length]))
        if found is not None:
            return found
    return table.get("")
