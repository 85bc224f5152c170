"""What of a document only means something in its own workspace: ids of knowledge bases, tools, credentials, people,
and the names of plugins and models. Found with their places, and replaced at them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from lastgood.dsl.dependencies import identified
from lastgood.dsl.document import Document, is_note, node_data, node_type
from lastgood.dsl.index import id_of, mapping, text

Kind = Literal[
    "knowledge_bases", "tools", "credentials", "plugins", "members", "models", "subscriptions", "extensions"
]
KINDS: Final[tuple[Kind, ...]] = (
    *("knowledge_bases", "tools", "credentials", "plugins", "members", "models", "subscriptions", "extensions"),
)
NAMES: Final[frozenset[Kind]] = frozenset({"plugins", "models"})
"""The kinds whose values mean the same on every server, where they are there at all."""

Path = tuple[str | int, ...]

# Tools that a workspace made itself; the others are named by their plugin.
_OWN_TOOLS: Final = frozenset({"workflow", "api", "mcp", "app"})
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Keys that end like an id's and are the graph's own, and those that are looked at by name.
_LOCAL: Final = frozenset(
    {"case_id", "iteration_id", "loop_id", "start_node_id", "parent_id", "container_id", "node_id", "webhook_id"}
)


@dataclass(frozen=True, slots=True)
class Identity:
    """One such value at one place. `path` leads to it from the envelope; of a model it leads to the mapping, `keys`
    are those of its provider and name there, and the value is both, parted by a space. `name` is what the document
    calls it, for people, `provider` whose credential or subscription it is; `node` and `title` are empty for the
    app itself."""

    kind: Kind
    value: str
    path: Path
    place: str
    node: str = ""
    title: str = ""
    name: str = ""
    provider: str = ""
    keys: tuple[str, str] | None = None

    @property
    def where(self) -> str:
        """The node and the place in it, for people."""
        return f"node {self.title!r} ({self.node}), {self.place}" if self.node else self.place


@dataclass(frozen=True, slots=True)
class Unsure:
    """A value that looks like an id of the workspace and stands where none is known; or a node of a type that is not
    known, in which nothing was looked for."""

    node: str
    title: str
    place: str
    value: str


@dataclass(frozen=True, slots=True)
class Found:
    """All identities of a document, in its order, and what may be some."""

    identities: tuple[Identity, ...]
    unsure: tuple[Unsure, ...]


def identities(document: Document) -> Found:
    """The identities of `document` (with a graph; of others none are known)."""
    found: list[Identity] = []
    unsure: list[Unsure] = []
    nodes = document.graph.get("nodes") if document.has_graph else None
    for number, node in enumerate(nodes if isinstance(nodes, list) else ()):
        if not isinstance(node, dict) or is_note(node):
            continue
        one = _Node(node, ("workflow", "graph", "nodes", number, "data"))
        if reader := _READERS.get(node_type(node)):
            reader(one)
        known = {each.path for each in one.found}
        own = {id_of(other.get("id")) for other in document.nodes}
        unsure += (
            Unsure(one.id, one.title, place_of(path[5:]), value)
            for path, value in _ids(node_data(node), one.path)
            if path not in known and value not in own
        )
        found += one.found
    found += _variables(document)
    found += _features(document)
    found += _listed(document)
    return Found(tuple(found), tuple(unsure))


def replaced(document: Document, values: Mapping[Path, Any]) -> Document:
    """`document` with what stands at each path of `values` replaced, shared with it elsewhere. Raises `KeyError`,
    `IndexError` or `TypeError` for a path that leads nowhere."""
    data = document.data
    for path, value in values.items():
        data = _put(data, path, value)
    return Document(data)


def at(document: Document, path: Path) -> Any:
    """What stands at `path`. Raises as `replaced` does."""
    value: Any = document.data
    for key in path:
        value = value[key]
    return value


def without(document: Document, path: Path) -> Document:
    """`document` without the list item or the key at `path`. Raises as `replaced` does."""
    *above, last = path
    holder = at(document, tuple(above))
    if isinstance(holder, list):
        kept: Any = [item for number, item in enumerate(holder) if number != last]
    else:
        kept = {key: item for key, item in holder.items() if key != last}
    return replaced(document, {tuple(above): kept})


def with_item(document: Document, path: Path, value: Any) -> Document:
    """What `without` gave, undone: `value` at `path` again. Raises as `replaced` does."""
    *above, last = path
    holder = at(document, tuple(above))
    if isinstance(holder, list):
        filled: Any = [*holder[: int(last)], value, *holder[int(last) :]]
    else:
        filled = {**holder, last: value}
    return replaced(document, {tuple(above): filled})


def place_of(path: Path) -> str:
    """A path for people: ``dataset_ids[0]``."""
    written = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return written.removeprefix(".")


def _put(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    changed = _put(value[key], tuple(rest), new)
    if isinstance(value, list):
        return [changed if number == key else item for number, item in enumerate(value)]
    return {**value, key: changed}


class _Node:
    """A node whose identities are collected."""

    def __init__(self, node: dict[str, Any], path: Path) -> None:
        self.data, self.path = node_data(node), path
        self.id = id_of(node.get("id"))
        self.title = text(self.data.get("title")).strip() or self.id
        self.found: list[Identity] = []

    def add(self, kind: Kind, value: str, *path: str | int, name: str = "", provider: str = "") -> None:
        """Note the value at `path` in the node's data, where there is one."""
        if value:
            self.found.append(
                Identity(kind, value, (*self.path, *path), place_of(path), self.id, self.title, name, provider)
            )

    def model(self, value: Any, *path: str | int, keys: tuple[str, str] = ("provider", "name")) -> None:
        """Note the model that the mapping `value` at `path` names."""
        model = mapping(value)
        provider, name = (text(model.get(key)) for key in keys)
        if provider and name:
            self.found.append(
                Identity(
                    "models",
                    f"{provider} {name}",
                    (*self.path, *path),
                    place_of(path) or keys[1],
                    self.id,
                    self.title,
                    name,
                    provider,
                    keys,
                )
            )

    def tool(self, tool: Mapping[str, Any], kind: str, key: str, *path: str | int) -> None:
        """Note what a tool node, or a tool of an agent, names: `kind` of provider, whose id stands under `key`."""
        provider = id_of(tool.get(key))
        name = text(tool.get("provider_name")) if key != "provider_name" else ""
        name = name or text(tool.get("tool_label")) or text(tool.get("tool_name"))
        if kind in _OWN_TOOLS:
            self.add("tools", provider, *path, key, name=name, provider=kind)
        self.pinned(tool, *path)
        credential = id_of(tool.get("credential_id"))
        self.add("credentials", credential, *path, "credential_id", name=name, provider=provider)

    def pinned(self, data: Mapping[str, Any], *path: str | int) -> None:
        """Note the plugin version that `data` names."""
        identifier = text(data.get("plugin_unique_identifier"))
        self.add("plugins", identifier, *path, "plugin_unique_identifier", name=identified(identifier)[0])


def _llm(node: _Node) -> None:
    node.model(node.data.get("model"), "model")


def _retrieval(node: _Node) -> None:
    data = node.data
    ids = data.get("dataset_ids")
    for number, item in enumerate(ids if isinstance(ids, list) else ()):
        node.add("knowledge_bases", id_of(item), "dataset_ids", number)
    multiple = mapping(data.get("multiple_retrieval_config"))
    node.model(
        multiple.get("reranking_model"), "multiple_retrieval_config", "reranking_model", keys=("provider", "model")
    )
    vector = mapping(multiple.get("weights")).get("vector_setting")
    path = ("multiple_retrieval_config", "weights", "vector_setting")
    node.model(vector, *path, keys=("embedding_provider_name", "embedding_model_name"))
    node.model(mapping(data.get("single_retrieval_config")).get("model"), "single_retrieval_config", "model")
    node.model(data.get("metadata_model_config"), "metadata_model_config")


def _indexing(node: _Node) -> None:
    data = node.data
    node.model(data, keys=("embedding_model_provider", "embedding_model"))
    rerank = mapping(data.get("retrieval_model")).get("reranking_model")
    keys = ("reranking_provider_name", "reranking_model_name")
    node.model(rerank, "retrieval_model", "reranking_model", keys=keys)
    keys = ("model_provider_name", "model_name")
    node.model(data.get("summary_index_setting"), "summary_index_setting", keys=keys)


def _tool(node: _Node) -> None:
    node.tool(node.data, text(node.data.get("provider_type")), "provider_id")


def _agent(node: _Node) -> None:
    parameters = mapping(node.data.get("agent_parameters"))
    node.model(mapping(parameters.get("model")).get("value"), "agent_parameters", "model", "value")
    node.pinned(node.data)
    node.add("credentials", id_of(node.data.get("credential_id")), "credential_id")
    tools = mapping(parameters.get("tools")).get("value")
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict):
            kind = text(tool.get("type")) or text(tool.get("provider_type"))
            node.tool(tool, kind, "provider_name", "agent_parameters", "tools", "value", number)


def _plugged(node: _Node) -> None:
    data = node.data
    node.pinned(data)
    provider = id_of(data.get("provider_id")) or text(data.get("provider_name"))
    node.add("credentials", id_of(data.get("credential_id")), "credential_id", provider=provider)
    node.add("subscriptions", id_of(data.get("subscription_id")), "subscription_id", provider=provider)


def _people(node: _Node) -> None:
    methods = node.data.get("delivery_methods")
    for number, method in enumerate(methods if isinstance(methods, list) else ()):
        items = mapping(mapping(mapping(method).get("config")).get("recipients")).get("items")
        for place, item in enumerate(items if isinstance(items, list) else ()):
            if mapping(item).get("type") == "member":
                path = ("delivery_methods", number, "config", "recipients", "items", place, "user_id")
                node.add("members", id_of(mapping(item).get("user_id")), *path)


_READERS: Final[Mapping[str, Callable[[_Node], None]]] = {
    "llm": _llm,
    "question-classifier": _llm,
    "parameter-extractor": _llm,
    "knowledge-retrieval": _retrieval,
    "knowledge-index": _indexing,
    "tool": _tool,
    "agent": _agent,
    "datasource": _plugged,
    "trigger-plugin": _plugged,
    "human-input": _people,
}


def _variables(document: Document) -> Iterator[Identity]:
    """Models that environment variables name, which newer servers know."""
    items = document.workflow.get("environment_variables")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        model = mapping(mapping(item).get("value"))
        provider, name = text(model.get("provider")), text(model.get("name"))
        if provider and name:
            path = ("workflow", "environment_variables", number, "value")
            place = f"environment variable {text(mapping(item).get('name'))}"
            yield Identity("models", f"{provider} {name}", path, place, name=name, keys=("provider", "name"))


def _features(document: Document) -> Iterator[Identity]:
    """The API extension that moderates what is said."""
    config = mapping(mapping(document.features.get("sensitive_word_avoidance")).get("config"))
    extension = id_of(config.get("api_based_extension_id"))
    if extension:
        path = ("workflow", "features", "sensitive_word_avoidance", "config", "api_based_extension_id")
        yield Identity("extensions", extension, path, place_of(path[1:]))


def _listed(document: Document) -> Iterator[Identity]:
    """The plugins of Dify's own list, which an import installs by."""
    items = document.data.get("dependencies")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        for key, value in mapping(mapping(item).get("value")).items():
            plugin = identified(text(value))[0] if key.endswith("plugin_unique_identifier") else ""
            if plugin:
                path = ("dependencies", number, "value", key)
                yield Identity("plugins", text(value), path, place_of(path[:2]), name=plugin)


def _ids(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Texts like UUIDs under keys like those of ids, anywhere in `value`."""
    items: Sequence[tuple[str | int, Any]]
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, item in items:
        here = (*path, key)
        if isinstance(item, dict | list):
            yield from _ids(item, here)
        elif isinstance(item, str) and _UUID.fullmatch(item):
            name = next(str(part) for part in reversed(here) if isinstance(part, str))
            if name.endswith(("_id", "_ids")) and name not in _LOCAL:
                yield here, item
