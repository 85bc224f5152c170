"""What a workflow needs from outside: models, plugins, tools, knowledge bases, hosts, variables, people."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from lastgood.dsl.document import Document, mappings
from lastgood.dsl.graph import TRIGGERS
from lastgood.dsl.index import Index, Node, id_of, mapping, text
from lastgood.dsl.references import References

_IDENTIFIER: Final = re.compile(
    r"(?P<id>[^:@\s]+/[^:@\s]+)(?::(?P<version>\d+(?:\.\d+){2}(?:[+-][\w.-]+)?))?(?:@.*)?"
)
_LONGEST = 500  # of what may be an identifier
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# AES blocks in base64: a UUID makes three of them.
_ENCRYPTED: Final = re.compile(r"[A-Za-z0-9+/]{64}")
_TEMPLATE: Final = re.compile(r"\{\{#([^{}#\n]+)#\}\}")
# Tools that are part of Dify itself, and plugins that are not called after their provider.
_BUILT_IN: Final = frozenset({"audio", "code", "time", "webscraper"})
_MODEL_PLUGINS: Final = {"google": "gemini"}
_TOOL_PLUGINS: Final = {name: f"{name}_tool" for name in ("jina", "siliconflow", "stepfun", "gitee_ai")}
_PLUGGED: Final = frozenset({"builtin", "plugin"})

type _Need = tuple[str, tuple[str, ...]]


def dependencies(document: Document) -> dict[str, list[dict[str, Any]]]:
    """What `document` needs, by kind, each with the ids of the `nodes` that need it (none: the app as a whole, or
    nobody). JSON values, sorted.

    `models`: provider, name, type, plugin. `plugins`: id, the `versions` that nodes and list name, and whether
    Dify's own list has it (`listed`), which misses what agents, triggers and data sources use. `tools`:
    provider_type, provider, tool, plugin. `knowledge_bases`: id, and whether it is `encrypted` as exports do.
    `hosts` of HTTP requests: host (with its port; templates left where `resolved` is false), through which
    variables. `environment_variables` and `conversation_variables`: name, type, and `written_by`. `secrets`: name.
    `triggers`: type, plugin, event. `members`: id. `credentials`: id."""
    return _Collector(document).collect()


def tools(document: Document) -> list[dict[str, Any]]:
    """The `tools` of `dependencies` alone, in canvas order, without the work for the rest."""
    return _Collector(document).tools()


def plugin_of(provider: str, kind: str = "model") -> str:
    """The plugin (``org/name``) that brings a provider of models or tools, ``""`` where Dify itself does."""
    if provider.count("/") >= 2:
        return "/".join(provider.split("/")[:2])
    if not provider or "/" in provider or (kind == "tool" and (provider in _BUILT_IN or _UUID.fullmatch(provider))):
        return ""
    return f"langgenius/{(_MODEL_PLUGINS if kind == 'model' else _TOOL_PLUGINS).get(provider, provider)}"


def identified(identifier: str) -> tuple[str, str]:
    """Id and version out of a plugin's unique identifier (``org/name:1.2.3@sha256``); ``""`` for what it lacks."""
    found = _IDENTIFIER.fullmatch(identifier) if len(identifier) < _LONGEST else None
    return (found["id"], found["version"] or "") if found else ("", "")


def listed_plugins(document: Document) -> Iterator[tuple[str, str, str]]:
    """The plugins of Dify's own `dependencies` list: id, version, and where it comes from."""
    for item in mappings(document.data.get("dependencies")):
        value = mapping(item.get("value"))
        names = (text(part) for key, part in value.items() if key.endswith("plugin_unique_identifier"))
        plugin, version = identified(next(names, ""))
        if plugin:
            yield plugin, text(value.get("version")) or version, text(item.get("type"))


class _Collector:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.index = Index(document)
        self.references = References(self.index)
        self._needs: dict[_Need, dict[str, Any]] = {}
        self._versions: dict[str, set[str]] = {}

    def collect(self) -> dict[str, list[dict[str, Any]]]:
        for node in self.index.nodes.values():
            if node.type in _NEEDS:
                _NEEDS[node.type](self, node)
            if node.type in TRIGGERS:
                self._trigger(node)
        self._app()
        self._plugins()
        self._variables()
        found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
        for kind, key in sorted(self._needs):
            found[kind].append(self._needs[kind, key])
        return found

    def tools(self) -> list[dict[str, Any]]:
        for node in self.index.of_type("tool", "agent"):
            _NEEDS[node.type](self, node)
        self._app()
        return [need for (kind, _), need in self._needs.items() if kind == "tools"]

    def need(self, kind: str, node: str, **said: Any) -> dict[str, Any]:
        """Note that `node` (``""``: the app) needs what `said` describes."""
        key = (kind, tuple(str(part) for part in said.values()))
        entry = self._needs.setdefault(key, {**said, "nodes": []})
        if node and node not in entry["nodes"]:
            entry["nodes"].append(node)
        return entry

    def plugin(self, node: str, plugin: str, identifier: Any = "") -> None:
        """Note a plugin, by name or by the identifier that a node pins."""
        pinned, version = identified(text(identifier))
        for name in dict.fromkeys((pinned or plugin, plugin)):
            if name:
                self.need("plugins", node, id=name)
                self._versions.setdefault(name, set()).update({version} - {""} if name == pinned else ())

    def model(self, node: str, model: Any, kind: str = "llm", keys: tuple[str, str] = ("provider", "name")) -> None:
        """Note the model that a mapping names under `keys`."""
        provider, name = (text(mapping(model).get(key)) for key in keys)
        if provider or name:
            plugin = plugin_of(provider)
            self.need("models", node, provider=provider, name=name, type=kind, plugin=plugin)
            self.plugin(node, plugin)

    def tool(self, node: str, tool: Mapping[str, Any], kind: str, provider: str) -> None:
        """Note a tool of a tool node or of an agent."""
        plugin = (text(tool.get("plugin_id")) or plugin_of(provider, "tool")) if kind in _PLUGGED else ""
        name = text(tool.get("provider_name"))
        said = {"provider_type": kind, "provider": provider, "tool": text(tool.get("tool_name"))}
        self.need("tools", node, **said, plugin=plugin).setdefault("provider_name", name)
        if kind in _PLUGGED or text(tool.get("plugin_unique_identifier")):
            self.plugin(node, plugin, tool.get("plugin_unique_identifier"))
        self.credential(node, tool)

    def credential(self, node: str, data: Mapping[str, Any]) -> None:
        if id_of(data.get("credential_id")):
            self.need("credentials", node, id=id_of(data.get("credential_id")))

    def knowledge(self, node: str, ids: Any) -> None:
        for item in ids if isinstance(ids, list) else ():
            if id_of(item):
                self.need("knowledge_bases", node, id=id_of(item), encrypted=bool(_ENCRYPTED.fullmatch(id_of(item))))

    def host(self, node: Node) -> None:
        url = text(node.data.get("url")).strip()
        host, through = _host(url, self._plain_values())
        if host:
            entry = self.need("hosts", node.id, host=host, resolved="{{" not in host)
            entry["through"] = sorted({*entry.get("through", ()), *through})

    def _plain_values(self) -> dict[str, str]:
        """The texts that environment variables hold and that are no secrets, by their name in templates."""
        plain = (item for item in self.document.environment_variables if item.get("value_type") == "string")
        return {f"env.{text(item.get('name'))}": text(item.get("value")) for item in plain if text(item.get("value"))}

    def _trigger(self, node: Node) -> None:
        data = node.data
        plugin, event = text(data.get("plugin_id")), text(data.get("event_name"))
        self.need("triggers", node.id, type=node.type, title=node.title, plugin=plugin, event=event)
        if node.type == "trigger-plugin":
            self.plugin(node.id, plugin, data.get("plugin_unique_identifier"))

    def _app(self) -> None:
        """What an app without a graph names in its settings."""
        if self.document.has_graph:
            return
        config = mapping(self.document.data.get("model_config"))
        self.model("", config.get("model"))
        for tool in mappings(mapping(config.get("agent_mode")).get("tools")):
            provider = text(tool.get("provider_id")) or text(tool.get("provider_name"))
            if provider and tool.get("enabled") is not False:
                self.tool("", tool, text(tool.get("provider_type")), provider)
        datasets = mapping(mapping(config.get("dataset_configs")).get("datasets")).get("datasets")
        self.knowledge("", [mapping(item.get("dataset")).get("id") for item in mappings(datasets)])

    def _plugins(self) -> None:
        """Join what nodes use with what Dify's list says."""
        listed = list(listed_plugins(self.document))
        for plugin, version, _ in listed:
            self.need("plugins", "", id=plugin)
            self._versions.setdefault(plugin, set()).update({version} - {""})
        names = {plugin for plugin, _, _ in listed}
        for (kind, _), entry in self._needs.items():
            if kind == "plugins":
                entry["versions"] = sorted(self._versions.get(entry["id"], ()))
                entry["listed"] = entry["id"] in names

    def _variables(self) -> None:
        for first, kind, items in (
            ("env", "environment_variables", self.document.environment_variables),
            ("conversation", "conversation_variables", self.document.conversation_variables),
        ):
            for item in items:
                name, type_ = text(item.get("name")), text(item.get("value_type"))
                if not name:
                    continue
                uses = self.references.users(first, name)
                readers = [use.node for use in uses if use.form != "written"]
                said = {"name": name} if type_ == "secret" else {"name": name, "type": type_}
                entry = self.need("secrets" if type_ == "secret" else kind, "", **said)
                entry["nodes"] = list(dict.fromkeys(readers))
                if first == "conversation":
                    entry["written_by"] = list(dict.fromkeys(use.node for use in uses if use.form == "written"))


_KINDS: Final = (
    *("models", "plugins", "tools", "knowledge_bases", "hosts", "environment_variables", "secrets"),
    *("conversation_variables", "triggers", "members", "credentials"),
)


def _host(url: str, plain: Mapping[str, str]) -> tuple[str, set[str]]:
    """The host of a URL with its port, templates replaced by the `plain` values they stand for or left, and the
    variables it goes through; ``""`` where there is none."""
    through = set()

    def filled(found: re.Match[str]) -> str:
        through.add(found[1])
        return plain.get(found[1], found[0])

    # Only what stands before the path can name the host.
    head = re.match(r"(?:[a-zA-Z][\w+.-]*://)?(?:\{\{#[^{}#\n]+#\}\}|[^/?#\s])*", url)
    whole = _TEMPLATE.sub(filled, head[0] if head else "")
    if "{{" in whole:
        rest = whole.partition("://")[2] or whole
        return rest.rpartition("@")[2], through
    try:
        return urlsplit(whole if "://" in whole else f"//{whole}").netloc.rpartition("@")[2].lower(), through
    except ValueError:
        return "", through


def _llm(collector: _Collector, node: Node) -> None:
    selector = node.data.get("model_selector")
    if isinstance(selector, list) and selector[:1] == ["env"]:
        named = (item for item in collector.document.environment_variables if [item.get("name")] == selector[1:])
        collector.model(node.id, next(named, {}).get("value") or node.data.get("model"))
    else:
        collector.model(node.id, node.data.get("model"))


def _retrieval(collector: _Collector, node: Node) -> None:
    data = node.data
    collector.knowledge(node.id, data.get("dataset_ids"))
    multiple = mapping(data.get("multiple_retrieval_config"))
    if data.get("retrieval_mode") == "single":
        collector.model(node.id, mapping(data.get("single_retrieval_config")).get("model"))
    elif multiple.get("reranking_enable") is not False and multiple.get("reranking_mode") == "weighted_score":
        vector = mapping(multiple.get("weights")).get("vector_setting")
        keys = ("embedding_provider_name", "embedding_model_name")
        collector.model(node.id, vector, "text-embedding", keys)
    elif multiple.get("reranking_enable") is not False:
        collector.model(node.id, multiple.get("reranking_model"), "rerank", ("provider", "model"))
    if data.get("metadata_filtering_mode") == "automatic":
        collector.model(node.id, data.get("metadata_model_config"))


def _indexing(collector: _Collector, node: Node) -> None:
    data = node.data
    collector.model(node.id, data, "text-embedding", ("embedding_model_provider", "embedding_model"))
    rerank = mapping(data.get("retrieval_model")).get("reranking_model")
    collector.model(node.id, rerank, "rerank", ("reranking_provider_name", "reranking_model_name"))
    collector.model(node.id, data.get("summary_index_setting"), "llm", ("model_provider_name", "model_name"))


def _tool(collector: _Collector, node: Node) -> None:
    collector.tool(node.id, node.data, text(node.data.get("provider_type")), text(node.data.get("provider_id")))


def _agent(collector: _Collector, node: Node) -> None:
    parameters = mapping(node.data.get("agent_parameters"))
    collector.model(node.id, mapping(parameters.get("model")).get("value"), "llm", ("provider", "model"))
    strategy = plugin_of(text(node.data.get("agent_strategy_provider_name")), "strategy")
    collector.plugin(node.id, strategy, node.data.get("plugin_unique_identifier"))
    for tool in mappings(mapping(parameters.get("tools")).get("value")):
        if tool.get("enabled") is not False:
            collector.tool(node.id, tool, text(tool.get("type")), text(tool.get("provider_name")))
    collector.credential(node.id, node.data)


def _datasource(collector: _Collector, node: Node) -> None:
    collector.plugin(node.id, text(node.data.get("plugin_id")), node.data.get("plugin_unique_identifier"))
    collector.credential(node.id, node.data)


def _people(collector: _Collector, node: Node) -> None:
    for method in mappings(node.data.get("delivery_methods")):
        recipients = mapping(mapping(method.get("config")).get("recipients"))
        for item in mappings(recipients.get("items")):
            if item.get("type") == "member" and id_of(item.get("user_id")):
                collector.need("members", node.id, id=id_of(item.get("user_id")))


_NEEDS: Final[dict[str, Callable[[_Collector, Node], None]]] = {
    "llm": _llm,
    "question-classifier": _llm,
    "parameter-extractor": _llm,
    "knowledge-retrieval": _retrieval,
    "knowledge-index": _indexing,
    "tool": _tool,
    "agent": _agent,
    "datasource": _datasource,
    "human-input": _people,
    "http-request": lambda collector, node: collector.host(node),
}
