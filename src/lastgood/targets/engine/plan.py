"""Reading a document's graph for the engine: what runs of it, and all that stands in the way of running it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from graphon.graph.graph import Graph
from graphon.graph.validation import GraphValidationError
from graphon.runtime.init_params import InitParams
from graphon.runtime.runtime_state import RuntimeState
from graphon.runtime.variable_pool import VariablePool
from graphon.variables.factory import TypeMismatchError
from pydantic import ValidationError

from lastgood.dsl.document import Document, is_note, node_type
from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.model import Endpoint
from lastgood.targets.engine.network import public_only
from lastgood.targets.engine.nodes import KINDS, NodeFactory, Tools
from lastgood.targets.engine.sandbox import Sandbox
from lastgood.targets.engine.variables import conversation, environment
from lastgood.targets.engine.web import Web

MODES = ("workflow", "advanced-chat")
_WHY = {
    "tool": "a plugin tool, which only Dify's plugin daemon runs",
    "knowledge-retrieval": "a question to a Dify knowledge base",
    "knowledge-index": "a write to a Dify knowledge base",
    "agent": "an agent, whose strategy is a Dify plugin",
    "datasource": "a datasource, which is a Dify plugin",
    "document-extractor": "a document extractor, whose readers are not installed here",
    "human-input": "a form that a person fills in within Dify",
    "trigger-plugin": "a plugin trigger, which Dify serves",
}

_MAX_RETRIES, _MAX_RETRY_MS = 10, 10_000  # graphon sleeps through a retry interval: a stop waits for it


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph that can run: graphon's, built and checked, and every node's config by id, those in loops too. `root`
    is where runs begin: the start node, or the first trigger; `others` are the plans that begin at other triggers."""

    checked: Graph
    nodes: Mapping[str, Any]
    root: str
    others: Mapping[str, "Plan"] = field(default_factory=dict)

    def at(self, entry: str) -> "Plan | None":
        """The plan of the runs that begin at the node `entry`, None where none can."""
        return self if entry == self.root else self.others.get(entry)


def unrunnable(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Every reason why the embedded engine cannot run `document` (Dify's envelope), a sentence part each; empty
    when it can. Reads only; nothing is run or fetched."""
    return survey(Document(dict(document)))[1]


def survey(document: Document) -> tuple[Plan | None, tuple[str, ...]]:
    """The plan of `document`, or the reasons why there is none."""
    if document.mode not in MODES or not document.has_graph:
        return None, (f"a {document.mode} app has no graph that runs here",)
    try:
        graph = _graph(document)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        return None, (f"its graph cannot be read ({_brief(error)})",)
    starts = [node["id"] for node in graph["nodes"] if node["data"]["type"] == "start"]
    fired = [node["id"] for node in graph["nodes"] if _is_trigger(node)]
    reasons = [*_foreign(graph["nodes"]), *_variables(document)]
    if len(starts) != 1 and (starts or not fired):
        reasons.append(f"it has {len(starts)} start nodes, and exactly one is needed")
    if reasons:
        return None, tuple(reasons)
    plans = {}
    for entry in (*starts, *fired):
        plan, reasons_now = _checked(_from(graph, entry), entry)
        if plan is None:
            return None, reasons_now
        plans[entry] = plan
    root, *others = plans
    return replace(plans[root], others={entry: plans[entry] for entry in others}), ()


def _checked(graph: dict[str, Any], root: str) -> tuple[Plan | None, tuple[str, ...]]:
    cancel = Cancel(0)
    tools = Tools(Sandbox(cpu=1, memory=0), Web(public_only, cancel), Endpoint(""), cancel)
    state = RuntimeState(variable_pool=VariablePool(), start_at=0, workflow_id="check")
    params = InitParams(workflow_id="check", graph_config=graph, run_context={}, call_depth=0)
    factory = NodeFactory(tools, params, state)
    reasons = tuple(_ill_formed(graph, factory))
    if reasons:
        return None, reasons
    try:
        checked = Graph.init(graph_config=graph, node_factory=factory, root_node_id=root)
    except (GraphValidationError, ValidationError, ValueError, TypeError, KeyError) as error:
        return None, (f"its graph does not hold together ({_brief(error)})",)
    nodes = {node["id"]: node for node in (checked.graph_config or graph)["nodes"]}
    return Plan(checked, nodes, root), ()


def _ill_formed(graph: dict[str, Any], factory: NodeFactory) -> Iterator[str]:
    for node in graph["nodes"]:
        try:
            factory.validate_node(node)
        except (ValidationError, ValueError, TypeError) as error:
            yield f"the node {_label(node)} is not well formed ({_brief(error)})"


def _foreign(nodes: Iterable[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        data = node["data"]
        if data["type"] in _WHY:
            yield f"the node {_label(node)} is {_WHY[data['type']]}"
        elif data["type"] not in KINDS:
            yield f"the node {_label(node)} is of the type {data['type']!r}, which this engine does not know"
        elif data["type"] == "code" and data.get("code_language") != "python3":
            yield f"the node {_label(node)} is written in {data.get('code_language')}, and only python3 runs here"


def _variables(document: Document) -> Iterator[str]:
    for entries, read in (
        (document.environment_variables, environment),
        (document.conversation_variables, conversation),
    ):
        for entry in entries:
            try:
                read(entry)
            except (TypeError, ValueError, KeyError, AttributeError, TypeMismatchError) as error:
                yield f"its variable {entry.get('name')!r} cannot be read ({error})"


def _brief(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return " ".join(str(error).split())[:300]


def _label(node: Mapping[str, Any]) -> str:
    return f"“{node['data'].get('title') or node['id']}” ({node['id']})"


def _graph(document: Document) -> dict[str, Any]:
    """The nodes that a run can reach and the edges between them, as graphon takes them. Notes and what hangs in
    the air are left out: they never run, so they cannot stand in the way."""
    listed = [_node(node) for node in document.nodes if node_type(node) and not is_note(node)]
    nodes = {node["id"]: node for node in listed}
    if len(nodes) < len(listed):
        raise ValueError("two nodes have the same id")
    if any("parentId" in node for node in listed):
        # The canvas knows who is inside what; a node that was copied out of a loop keeps the loop's id in its data.
        for node in listed:
            node["data"]["container_id"] = node.get("parentId", "")
    edges = [edge for edge in document.edges if str(edge["source"]) in nodes and str(edge["target"]) in nodes]
    reached = _reached(nodes, edges, (n for n, d in nodes.items() if d["data"]["type"] == "start" or _is_trigger(d)))
    return {
        "nodes": [node for node_id, node in nodes.items() if node_id in reached],
        "edges": [
            {
                "id": f"edge-{number}",
                "source": str(edge["source"]),
                "target": str(edge["target"]),
                "sourceHandle": edge.get("sourceHandle") or "source",
            }
            for number, edge in enumerate(edges)
            if str(edge["source"]) in reached and str(edge["target"]) in reached
        ],
    }


def _from(graph: dict[str, Any], entry: str) -> dict[str, Any]:
    """The part of `graph` that a run from `entry` can reach."""
    reached = _reached({node["id"]: node for node in graph["nodes"]}, graph["edges"], [entry])
    return {
        "nodes": [node for node in graph["nodes"] if node["id"] in reached],
        "edges": [edge for edge in graph["edges"] if edge["source"] in reached],
    }


def _reached(nodes: Mapping[str, Any], edges: Iterable[Mapping[str, Any]], entries: Iterable[str]) -> set[str]:
    onward = defaultdict(set)
    for edge in edges:
        onward[str(edge["source"])].add(str(edge["target"]))
    for node_id, node in nodes.items():
        data = node["data"]
        owners = (
            (data["container_id"],) if "container_id" in data else (data.get("iteration_id"), data.get("loop_id"))
        )
        for owner in owners:
            if owner in nodes:
                onward[owner].add(node_id)
    waiting = list(entries)
    reached = set(waiting)
    while waiting:
        fresh = onward[waiting.pop()] - reached
        reached |= fresh
        waiting.extend(fresh)
    return reached


def _is_trigger(node: Mapping[str, Any]) -> bool:
    return str(node["data"]["type"]).startswith("trigger-")


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    data = deepcopy(dict(node["data"]))
    retry = data.get("retry_config")
    if isinstance(retry, dict):
        retry["max_retries"] = min(int(retry.get("max_retries") or 0), _MAX_RETRIES)
        retry["retry_interval"] = min(int(retry.get("retry_interval") or 0), _MAX_RETRY_MS)
    if data["type"] == "assigner" and "items" in data:
        data["version"] = "2"
    kept = {"id": str(node["id"]), "type": node.get("type") or "custom", "data": data}
    return kept | ({"parentId": str(node["parentId"])} if node.get("parentId") else {})
