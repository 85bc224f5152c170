"""Rules on models, plugins and knowledge bases."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from lastgood.dsl.dependencies import identified, listed_plugins, plugin_of
from lastgood.dsl.index import mapping, text
from lastgood.dsl.lint.rules import Problem, Rule, Subject, listed, quoted
from lastgood.dsl.lint.texts import strings

PLUGIN_VERSIONS: Final = Rule(
    "plugin-versions",
    "warning",
    "A plugin is named with different versions.",
    "Only one version of a plugin is installed; the nodes that pin another may fail silently after an upgrade.",
    "`langgenius/agent:0.0.3@…` in one node, and `0.0.9` in the dependency list",
)
NOT_LISTED: Final = Rule(
    "plugin-not-listed",
    "info",
    "A plugin that a node uses is missing from the dependency list.",
    "Dify does not offer to install it when the document is imported. Its list leaves out what agents, triggers and "
    "data sources use. Documents without a list are left alone.",
    "an agent node whose strategy comes from a plugin",
)
NOT_USED: Final = Rule(
    "plugin-not-used",
    "info",
    "The dependency list names a plugin that no node uses.",
    "Whoever imports the document installs it for nothing.",
    "a provider of models that an older version of the workflow used",
)
MODEL_VERSIONS: Final = Rule(
    "model-versions",
    "info",
    "Nodes use different versions of one model.",
    "Often one node was forgotten when the others were moved to the newer version.",
    "`gpt-4o-2024-05-13` in one node, `gpt-4o-2024-08-06` in another",
)
PROVIDER_SPELLINGS: Final = Rule(
    "provider-spellings",
    "info",
    "One provider of models is named in two ways.",
    "The short name is from before plugins. Both lead to one plugin, and tools that compare names take them for two.",
    "`openai` and `langgenius/openai/openai`",
)
NO_MODEL: Final = Rule(
    "no-model",
    "error",
    "A node that needs a model names none.",
    "It fails on every run.",
    '`model: {provider: "", name: ""}`',
)
NO_KNOWLEDGE: Final = Rule(
    "no-knowledge-base",
    "error",
    "A knowledge retrieval names no knowledge base.",
    "It finds nothing. Dify empties the list silently when a document comes from another workspace.",
    "`dataset_ids: []`",
)
RULES: Final = (
    PLUGIN_VERSIONS,
    NOT_LISTED,
    NOT_USED,
    MODEL_VERSIONS,
    PROVIDER_SPELLINGS,
    NO_MODEL,
    NO_KNOWLEDGE,
)

# Keys of settings that name a provider or a plugin.
_NAMING: Final = frozenset(
    {"provider", "provider_id", "provider_name", "plugin_id", "reranking_provider_name", "embedding_provider_name"}
)
_MODELLED: Final = ("llm", "question-classifier", "parameter-extractor")
_DATED: Final = re.compile(r"[-@_](?:20\d{2}-?[01]\d-?[0-3]\d|[01]\d[0-3]\d)(?:-v\d+(?::\d+)?)?$")


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    yield from _plugins(subject)
    yield from _models(subject)
    for node in subject.running(*_MODELLED):
        model = mapping(node.data.get("model"))
        if not text(model.get("name")).strip() and not node.data.get("model_selector"):
            yield NO_MODEL.at(node, ".model", f"{quoted(node.title)} names no model.")
    for node in subject.running("knowledge-retrieval"):
        ids = node.data.get("dataset_ids")
        if not (isinstance(ids, list) and any(ids)):
            yield NO_KNOWLEDGE.at(node, ".dataset_ids", f"{quoted(node.title)} names no knowledge base.")


def _plugins(subject: Subject) -> Iterator[Problem]:
    listed_ones = list(listed_plugins(subject.document))
    for entry in subject.needs["plugins"]:
        nodes, plugin = entry["nodes"], quoted(entry["id"])
        node = subject.index.nodes.get(nodes[0]) if nodes else None
        if len(entry["versions"]) > 1:
            pinned = _pinned(subject, entry["id"])
            first = subject.index.nodes[pinned[0]] if pinned else node
            versions = listed(entry["versions"])
            yield PLUGIN_VERSIONS.at(first, "" if first else "dependencies", f"{plugin} is named as {versions}.")
        if listed_ones and nodes and not entry["listed"] and subject.document.has_graph:
            yield NOT_LISTED.at(node, "", f"{plugin} is not in the dependency list.")
        if entry["listed"] and not nodes and subject.document.has_graph and not _named(subject, entry["id"]):
            yield NOT_USED.at(None, "dependencies", f"{plugin} is in the dependency list, and no node uses it.")


def _pinned(subject: Subject, plugin: str) -> list[str]:
    """The nodes that pin a version of the plugin."""
    return [
        node.id
        for node in subject.index.nodes.values()
        if identified(text(node.data.get("plugin_unique_identifier")))[0] == plugin
    ]


def _named(subject: Subject, plugin: str) -> bool:
    """Whether the plugin may be used in a way that is not known: something names it, in a setting that is switched
    off or of a feature, or the document brings agents of its own."""
    if any(subject.document.data.get(part) for part in ("agent_packages", "agent")):
        return True
    places = strings(subject.document.workflow, "workflow")
    return any(
        key in _NAMING and plugin in (said, plugin_of(said), plugin_of(said, "tool")) for _, key, said in places
    )


def _models(subject: Subject) -> Iterator[Problem]:
    versions: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    spellings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in subject.needs["models"]:
        versions[entry["plugin"], _DATED.sub("", entry["name"])].append(entry)
        spellings[entry["plugin"]].append(entry)
    for (_, _), entries in versions.items():
        names = sorted({entry["name"] for entry in entries})
        if len(names) > 1:
            yield MODEL_VERSIONS.at(*_where(subject, entries[0]), f"Nodes use {listed(names)}.")
    for plugin, entries in spellings.items():
        names = sorted({entry["provider"] for entry in entries})
        if plugin and len(names) > 1:
            yield PROVIDER_SPELLINGS.at(
                *_where(subject, entries[0]), f"{quoted(plugin)} is named as {listed(names)}."
            )


def _where(subject: Subject, entry: dict[str, Any]) -> tuple[Any, str]:
    node = subject.index.nodes.get(entry["nodes"][0]) if entry["nodes"] else None
    return node, "" if node else "model_config"
