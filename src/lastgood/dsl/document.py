"""A Dify document as plain data, and the few questions everybody asks of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

GRAPH_MODES = frozenset({"workflow", "advanced-chat", "rag_pipeline"})
PLAIN_MODES = frozenset({"chat", "agent-chat", "completion", "agent"})
NOTE = "custom-note"


@dataclass(frozen=True, slots=True)
class Document:
    """A Dify app export, whole: `data` is the envelope (`app`, `workflow`, …) as JSON values, with every key that
    Lastgood does not know. `reader.parse` makes one; nothing changes `data` afterwards.

    The properties are tolerant: what is missing or null reads as empty, and list items that are not mappings are
    left out (`graph.check` names them)."""

    data: dict[str, Any]

    @property
    def mode(self) -> str:
        """Dify's app mode (``workflow``, ``advanced-chat``, ``chat``, …), or ``rag_pipeline``; guessed from the
        nodes where the document does not say."""
        if "rag_pipeline" in self.data:
            return "rag_pipeline"
        mode = self._part("app").get("mode")
        return mode if isinstance(mode, str) and mode else guess_mode(self.nodes)

    @property
    def name(self) -> str:
        """The app's name, or ``""``."""
        name = (self._part("app") or self._part("rag_pipeline")).get("name")
        return name if isinstance(name, str) else ""

    @property
    def dsl_version(self) -> str:
        """The version of the document format, or ``""``."""
        version = self.data.get("version")
        return version if isinstance(version, str) else ""

    @property
    def workflow(self) -> dict[str, Any]:
        """The `workflow` part: graph, features and variables."""
        return self._part("workflow")

    @property
    def has_graph(self) -> bool:
        """Whether this is an app that runs a graph (a chat, agent-chat or completion app does not, even if the
        document holds one)."""
        return isinstance(self.workflow.get("graph"), dict) and self.mode not in PLAIN_MODES

    @property
    def graph(self) -> dict[str, Any]:
        graph = self.workflow.get("graph")
        return graph if isinstance(graph, dict) else {}

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The graph's nodes, sticky notes among them, in canvas order."""
        return mappings(self.graph.get("nodes"))

    @property
    def edges(self) -> list[dict[str, Any]]:
        return mappings(self.graph.get("edges"))

    @property
    def environment_variables(self) -> list[dict[str, Any]]:
        return mappings(self.workflow.get("environment_variables"))

    @property
    def conversation_variables(self) -> list[dict[str, Any]]:
        return mappings(self.workflow.get("conversation_variables"))

    @property
    def features(self) -> dict[str, Any]:
        features = self.workflow.get("features")
        return features if isinstance(features, dict) else {}

    def _part(self, key: str) -> dict[str, Any]:
        part = self.data.get(key)
        return part if isinstance(part, dict) else {}


def mappings(value: Any) -> list[dict[str, Any]]:
    """The items of `value` that are mappings; none when it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def node_data(node: dict[str, Any]) -> dict[str, Any]:
    """What a node is and does (its `data`), ``{}`` when it has none."""
    data = node.get("data")
    return data if isinstance(data, dict) else {}


def node_type(node: dict[str, Any]) -> str:
    """A node's real type, which stands in its data (the outer `type` is the canvas's); ``""`` for none."""
    kind = node_data(node).get("type")
    return kind if isinstance(kind, str) else ""


def is_note(node: dict[str, Any]) -> bool:
    """Whether a node is a sticky note, which never runs."""
    return node.get("type") == NOTE


def guess_mode(nodes: Iterable[dict[str, Any]]) -> str:
    """The mode of a graph that does not say it: only a chatflow has answer nodes."""
    return "advanced-chat" if any(node_type(node) == "answer" for node in nodes) else "workflow"
