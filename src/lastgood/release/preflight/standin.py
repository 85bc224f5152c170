"""A document in which nodes that graphon does not run are replaced, so that it can be asked about all the rest."""

from collections.abc import Collection
from copy import deepcopy
from typing import Any, Final

from lastgood.dsl.document import Document, is_note, node_data, node_type
from lastgood.dsl.graph import TRIGGERS
from lastgood.dsl.index import id_of

_ENTRIES: Final = TRIGGERS | {"datasource"}
# Of the data of a replaced node what leads on from it, or says where it stands.
_KEPT: Final = ("title", "error_strategy", "default_value", "iteration_id", "loop_id", "isInIteration", "isInLoop")


def standin(document: Document, types: Collection[str]) -> tuple[dict[str, Any], frozenset[str]]:
    """A copy of the envelope in which every node of a type that is not among `types` does nothing, and what types
    those were. Triggers become a start; code in other languages becomes an empty function."""
    replaced: set[str] = set()
    nodes: list[dict[str, Any]] = []
    edges = list(document.edges)
    start = next((id_of(node.get("id")) for node in document.nodes if node_type(node) == "start"), "")
    for node in document.nodes:
        kind = node_type(node)
        if is_note(node) or not kind or (kind in types and not _foreign_code(node)):
            nodes.append(node)
            continue
        replaced.add(kind if kind != "code" else f"code in {node_data(node).get('code_language')}")
        if kind in _ENTRIES and not start:
            start = id_of(node.get("id"))
            nodes.append({**node, "data": {"type": "start", "title": node_data(node).get("title"), "variables": []}})
            continue
        if kind in _ENTRIES:  # one start is all that a graph may have
            edges.append({"source": start, "target": node.get("id"), "sourceHandle": "source"})
        kept = {key: value for key in _KEPT if (value := node_data(node).get(key)) is not None}
        nodes.append(
            {**node, "data": {"title": "", **kept, "type": "template-transform", "template": "", "variables": []}}
        )
    if not replaced:
        return document.data, frozenset()
    graph = {**document.graph, "nodes": deepcopy(nodes), "edges": edges}
    return {**document.data, "workflow": {**document.workflow, "graph": graph}}, frozenset(replaced)


def _foreign_code(node: dict[str, Any]) -> bool:
    return node_type(node) == "code" and node_data(node).get("code_language") != "python3"
