"""Making a version ready to run, once: its graph cleaned and checked, its variables typed, its secrets known.

`unrunnable` says what stands in the way, all of it, before anything runs."""

import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from graphon.graph.graph import Graph
from graphon.graph.validation import GraphValidationError
from graphon.runtime.init_params import InitParams
from graphon.runtime.runtime_state import RuntimeState
from graphon.runtime.variable_pool import VariablePool
from graphon.variables.factory import TypeMismatchError, build_segment, build_segment_with_type
from graphon.variables.segments import Segment
from graphon.variables.types import SegmentType
from graphon.variables.variables import SecretVariable
from pydantic import ValidationError

from lastgood.dsl.document import Document, is_note, node_type
from lastgood.errors import LastgoodError, NoGraph, NotRunnable
from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.model import Endpoint
from lastgood.targets.engine.network import public_only
from lastgood.targets.engine.nodes import KINDS, NodeFactory, Tools
from lastgood.targets.engine.sandbox import Sandbox
from lastgood.targets.engine.source import Runnable, Source
from lastgood.targets.engine.values import Mask
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
    "trigger-webhook": "a webhook trigger, which Dify serves",
    "trigger-schedule": "a schedule trigger, which Dify serves",
    "trigger-plugin": "a plugin trigger, which Dify serves",
}
_EMPTY: dict[str, Any] = {"string": "", "secret": "", "number": 0, "integer": 0, "float": 0.0, "boolean": False}
_MAX_RETRIES, _MAX_RETRY_MS = 10, 10_000  # graphon sleeps through a retry interval: a stop waits for it
_MAX_WORKERS = 5


@dataclass(frozen=True, slots=True)
class Variable:
    """A conversation variable as the document declares it."""

    name: str
    value_type: str
    description: str
    segment: Segment


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version ready to run. `titles` and `types` are by node id, `graph` is what graphon builds from."""

    runnable: Runnable
    root: str
    graph: dict[str, Any]
    titles: Mapping[str, str]
    types: Mapping[str, str]
    environment: Mapping[str, Segment]
    conversation: tuple[Variable, ...]
    document: Document
    mask: Mask
    workers: int

    @property
    def chat(self) -> bool:
        """Whether this is a chatflow (else a workflow)."""
        return self.runnable.mode == "advanced-chat"

    def build(self, tools: Tools, state: RuntimeState, context: Mapping[str, Any]) -> Graph:
        """A fresh graph for one run."""
        params = InitParams(
            workflow_id=self.runnable.version_id, graph_config=self.graph, run_context=context, call_depth=0
        )
        factory = NodeFactory(tools, params, state)
        return Graph.init(graph_config=self.graph, node_factory=factory, root_node_id=self.root, skip_validation=True)


class Shelf:
    """The prepared versions of a `Source`, the `size` last used of them. Safe for many threads."""

    def __init__(self, source: Source, size: int = 256) -> None:
        self._source = source
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Prepared | LastgoodError] = OrderedDict()

    def get(self, version_id: str) -> Prepared | None:
        """The version of that id, None where there is none. Raises `NotRunnable`, `NoGraph`."""
        with self._lock:
            found = self._kept.get(version_id)
            if found is not None:
                self._kept.move_to_end(version_id)
        if found is None:
            runnable = self._source.load(version_id)
            if runnable is None:
                return None
            try:
                found = prepare(runnable)
            except (NotRunnable, NoGraph) as error:
                found = error
            with self._lock:
                self._kept[version_id] = found
                while len(self._kept) > self._size:
                    self._kept.popitem(last=False)
        if isinstance(found, LastgoodError):
            raise found
        return found


def prepare(runnable: Runnable) -> Prepared:
    """Make `runnable` ready. Raises `NoGraph` for an app without one, `NotRunnable` naming all that stands in the
    way."""
    if runnable.mode not in MODES:
        raise NoGraph(version=runnable.version_id, mode=runnable.mode)
    reasons = unrunnable(runnable.document)
    if reasons:
        raise NotRunnable(version=runnable.version_id, reasons="; ".join(reasons))
    document = Document(runnable.document)
    graph = _graph(document)
    nodes = {node["id"]: node["data"] for node in graph["nodes"]}
    root = next(node for node, data in nodes.items() if data["type"] == "start")
    environment, secrets = {}, []
    for entry in document.environment_variables:
        environment[entry["name"]] = _environment(entry)
        if entry.get("value_type") == "secret":
            secrets.append(str(entry.get("value") or ""))
    return Prepared(
        runnable=runnable,
        root=root,
        graph=graph,
        titles={node: str(data.get("title") or "") for node, data in nodes.items()},
        types={node: data["type"] for node, data in nodes.items()},
        environment=environment,
        conversation=tuple(_conversation(entry) for entry in document.conversation_variables),
        document=document,
        mask=Mask(secrets),
        workers=_workers(graph),
    )


def unrunnable(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Every reason why the embedded engine cannot run `document` (Dify's envelope), a sentence part each; empty
    when it can. Reads only; nothing is run or fetched."""
    read = Document(dict(document))
    if read.mode not in MODES or not read.has_graph:
        return (f"a {read.mode} app has no graph that runs here",)
    try:
        graph = _graph(read)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        return (f"its graph cannot be read ({error})",)
    starts = [node for node in graph["nodes"] if node["data"]["type"] == "start"]
    reasons = [*_foreign(graph["nodes"]), *_variables(read)]
    if len(starts) != 1 and not any(reason for reason in reasons if "trigger" in reason):
        reasons.append(f"it has {len(starts)} start nodes, and exactly one is needed")
    return tuple(reasons) or tuple(_ill_formed(graph, starts[0]["id"]))


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
        (document.environment_variables, _environment),
        (document.conversation_variables, _conversation),
    ):
        for entry in entries:
            try:
                read(entry)
            except (TypeError, ValueError, KeyError, AttributeError, TypeMismatchError) as error:
                yield f"its variable {entry.get('name')!r} cannot be read ({error})"


def _ill_formed(graph: dict[str, Any], root: str) -> Iterator[str]:
    cancel = Cancel(0)
    tools = Tools(Sandbox(cpu=1, memory=0), Web(public_only, cancel), Endpoint(""), cancel)
    state = RuntimeState(variable_pool=VariablePool(), start_at=0, workflow_id="check")
    params = InitParams(workflow_id="check", graph_config=graph, run_context={}, call_depth=0)
    factory = NodeFactory(tools, params, state)
    broken = False
    for node in graph["nodes"]:
        try:
            factory.validate_node(node)
        except (ValidationError, ValueError, TypeError) as error:
            broken = True
            yield f"the node {_label(node)} is not well formed ({_brief(error)})"
    if broken:
        return
    try:
        Graph.init(graph_config=graph, node_factory=factory, root_node_id=root)
    except (GraphValidationError, ValidationError, ValueError, TypeError, KeyError) as error:
        yield f"its graph does not hold together ({_brief(error)})"


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
    reached = _reached(nodes, edges)
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


def _reached(nodes: Mapping[str, Any], edges: Iterable[Mapping[str, Any]]) -> set[str]:
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
    waiting = [n for n, node in nodes.items() if node["data"]["type"] == "start" or _is_trigger(node)]
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


def _workers(graph: Mapping[str, Any]) -> int:
    """Threads that a run can keep busy: as many as branches may go at once."""
    branches = Counter((edge["source"], edge["sourceHandle"]) for edge in graph["edges"])
    widest = max(branches.values(), default=1)
    parallel = any(node["data"].get("is_parallel") for node in graph["nodes"])
    return _MAX_WORKERS if parallel else min(_MAX_WORKERS, widest * (2 if widest > 1 else 1))


def _environment(entry: Mapping[str, Any]) -> Segment:
    kind, value = str(entry.get("value_type") or "string"), entry.get("value")
    name = str(entry["name"])
    if kind == "secret":
        return SecretVariable(name=name, value=str(value or ""), selector=["env", name])
    return _segment(kind, value)


def _conversation(entry: Mapping[str, Any]) -> Variable:
    kind = str(entry.get("value_type") or "string")
    return Variable(
        str(entry["name"]), kind, str(entry.get("description") or ""), typed_segment(kind, entry.get("value"))
    )


def typed_segment(kind: str, value: Any) -> Segment:
    """`value` as a variable of Dify's type `kind`; what is empty becomes that type's empty value."""
    return _segment(kind, value)


def _segment(kind: str, value: Any) -> Segment:
    if value is None or (value == "" and kind not in {"string", "secret"}):
        value = _EMPTY.get(kind, [] if kind.startswith("array") else {})
    if kind in {"number", "integer", "float"} and isinstance(value, str):
        value = float(value) if "." in value or "e" in value.lower() else int(value)
    if kind == "string" and not isinstance(value, str):
        value = str(value)
    try:
        return build_segment_with_type(SegmentType(kind), value)
    except (ValueError, TypeMismatchError):
        return build_segment(value)
