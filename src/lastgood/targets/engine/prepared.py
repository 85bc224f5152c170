"""Making a version ready to run, once: its graph planned, its variables typed, its secrets known."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphon.enums import ErrorStrategy, NodeExecutionType
from graphon.graph.edge import Edge
from graphon.graph.graph import Graph
from graphon.runtime.init_params import InitParams
from graphon.runtime.runtime_state import RuntimeState
from graphon.variables.segments import Segment

from lastgood.dsl.document import Document
from lastgood.dsl.mask import Mask
from lastgood.errors import LastgoodError, NoGraph, NotRunnable
from lastgood.targets.engine import variables
from lastgood.targets.engine.nodes import NodeFactory, Tools
from lastgood.targets.engine.plan import MODES, Plan, survey
from lastgood.targets.engine.source import Runnable, Source

_MAX_WORKERS = 5


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version ready to run. `titles` and `types` of nodes are by their id."""

    runnable: Runnable
    document: Document
    plan: Plan
    titles: Mapping[str, str]
    types: Mapping[str, str]
    environment: Mapping[str, Segment]
    conversation: tuple[variables.Variable, ...]
    mask: Mask
    workers: int

    @property
    def chat(self) -> bool:
        """Whether this is a chatflow (else a workflow)."""
        return self.runnable.mode == "advanced-chat"

    @property
    def fired(self) -> bool:
        """Whether a trigger starts its runs."""
        return self.types[self.plan.root] != "start"

    def at(self, entry: str) -> "Prepared | None":
        """The same for runs that begin at the node `entry`, None where none can."""
        plan = self.plan.at(entry)
        if plan is None or plan is self.plan:
            return self if plan else None
        return replace(self, plan=plan, **_told(plan))

    def build(self, tools: Tools, state: RuntimeState, context: Mapping[str, Any]) -> Graph:
        """A fresh graph for one run, from the checked one: its parts are made anew, its checks are not."""
        checked = self.plan.checked
        params = InitParams(
            workflow_id=self.runnable.version_id,
            graph_config=checked.graph_config or {},
            run_context=context,
            call_depth=0,
        )
        factory = NodeFactory(tools, params, state)
        nodes = {node_id: factory.create_node(self.plan.nodes[node_id]) for node_id in checked.nodes}
        for node in nodes.values():
            if node.error_strategy == ErrorStrategy.FAIL_BRANCH:
                node.execution_type = NodeExecutionType.BRANCH
        edges = checked.edges.values()
        return Graph(
            nodes=nodes,
            edges={e.id: Edge(id=e.id, tail=e.tail, head=e.head, source_handle=e.source_handle) for e in edges},
            in_edges=checked.in_edges,
            out_edges=checked.out_edges,
            root_node=nodes[self.plan.root],
            graph_config=checked.graph_config,
            node_factory=factory,
        )


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
    document = Document(runnable.document)
    plan, reasons = survey(document)
    if plan is None:
        raise NotRunnable(version=runnable.version_id, reasons="; ".join(reasons))
    given = document.environment_variables
    return Prepared(
        runnable=runnable,
        document=document,
        plan=plan,
        environment={entry["name"]: variables.environment(entry) for entry in given},
        conversation=tuple(variables.conversation(entry) for entry in document.conversation_variables),
        mask=Mask(str(entry.get("value") or "") for entry in given if entry.get("value_type") == "secret"),
        **_told(plan),
    )


def _told(plan: Plan) -> dict[str, Any]:
    """What is asked of a plan's nodes again and again."""
    return {
        "titles": {node: str(config["data"].get("title") or "") for node, config in plan.nodes.items()},
        "types": {node: config["data"]["type"] for node, config in plan.nodes.items()},
        "workers": _workers(plan),
    }


def _workers(plan: Plan) -> int:
    """Threads that a run can keep busy: as many as branches may go at once."""
    if any(config["data"].get("is_parallel") for config in plan.nodes.values()):
        return _MAX_WORKERS
    edges = (plan.checked.graph_config or {})["edges"]
    widest = max(Counter((edge["source"], edge["sourceHandle"]) for edge in edges).values(), default=1)
    return min(_MAX_WORKERS, widest * 2 if widest > 1 else 1)
