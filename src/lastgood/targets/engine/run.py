"""One run of one version on graphon, from its inputs to its outcome, on a thread of the caller's."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphon.engine import Engine
from graphon.engine.filter import EngineEventFilterContext, ResponseStreamFilter, filter_engine_events
from graphon.engine_events import (
    GraphRunAbortedEvent,
    GraphRunFailedEvent,
    GraphRunPartialSucceededEvent,
    GraphRunSucceededEvent,
    NodeRunStreamChunkEvent,
)
from graphon.engine_events.base import EngineEvent
from graphon.file import File
from graphon.runtime.ready_queue import ReadyTask
from graphon.runtime.runtime_state import RuntimeState
from graphon.runtime.variable_pool import VariablePool
from graphon.variables.factory import build_segment_with_type
from graphon.variables.types import SegmentType

from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.events import Ids, Narrator, Outcome
from lastgood.targets.engine.memory import Memory
from lastgood.targets.engine.nodes import Files, Tools
from lastgood.targets.engine.prepared import Prepared
from lastgood.targets.engine.values import plain
from lastgood.targets.engine.variables import typed

_log = logging.getLogger(__name__)
_GRACE = 1.5  # seconds a stopped run gets to end by itself before its client is told
_TERMINAL = (GraphRunSucceededEvent, GraphRunPartialSucceededEvent, GraphRunFailedEvent, GraphRunAbortedEvent)


@dataclass(frozen=True, slots=True)
class Order:
    """What to run. `inputs` are checked and filled, files in them made; `variables` are the conversation's stored
    values by name; `created` is seconds since 1970."""

    prepared: Prepared
    ids: Ids
    inputs: Mapping[str, Any]
    created: float
    files: Sequence[File] = ()
    query: str = ""
    dialogue: int = 0
    variables: Mapping[str, Any] = field(default_factory=dict)
    turns: Sequence[tuple[str, str]] = ()

    def system(self) -> dict[str, Any]:
        """The ``sys`` variables by name, in Dify's order."""
        ids = self.ids
        known: dict[str, Any] = {
            "files": list(self.files),
            "user_id": ids.user,
            "app_id": self.prepared.runnable.workflow_id,
            "workflow_id": self.prepared.runnable.version_id,
            "workflow_run_id": ids.run,
        }
        if not self.prepared.chat:
            return known | {"timestamp": int(self.created)}
        return known | {
            "query": self.query,
            "conversation_id": ids.conversation,
            "dialogue_count": self.dialogue,
        }

    def shown(self, *, hidden: tuple[str, ...] = ()) -> dict[str, Any]:
        """The inputs and the system variables as Dify shows them (``sys.NAME``), without the `hidden` ones."""
        system = {f"sys.{name}": value for name, value in self.system().items() if name not in hidden}
        return {**self.inputs, **system}


class Run:
    """One run. `emit` hears every event (None: nobody streams), `settled` the outcome, once, from whichever thread
    knew it first; then come no more events."""

    def __init__(
        self,
        order: Order,
        make_tools: Callable[[Cancel, Memory | None], Tools],
        *,
        seconds: float,
        emit: Callable[[dict[str, Any]], None] | None,
        settled: Callable[[Outcome], None],
    ) -> None:
        self.order = order
        self.narrator = Narrator(order.prepared, order.ids, order.created)
        self._make_tools = make_tools
        self._emit = emit
        self._settled = settled
        self._cancel = Cancel(seconds)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._state: RuntimeState | None = None
        self._tasks = _Tasks()
        self._ending: tuple[str, str] | None = None
        self._done = False
        self._said: list[str] = []
        self._began = time.perf_counter()
        self._first_word: float | None = None

    def execute(self) -> None:
        """Run to the end. Never raises; returns when graphon's threads are gone."""
        try:
            engine = self._prepare()
            self._tell(self.narrator.started(self.order.shown(hidden=("timestamp", "conversation_id"))))
            events: Iterable[EngineEvent] = engine.run()
            if self._emit is not None:
                context = EngineEventFilterContext.from_engine(engine)
                events = filter_engine_events(events, context=context, filters=[ResponseStreamFilter()])
            for event in events:
                self._hear(event)
        except Exception as error:
            # graphon raises what made the run fail after it has told it as an event, which has settled the run.
            if not self._done:
                _log.exception("The run %s broke", self.order.ids.run)
            self._settle(self._outcome("failed", error=str(error) or type(error).__name__))
        finally:
            self._tasks.close()
            self._cancel.cancel()

    def stop(self, reason: str = "Stopped by user.", *, status: str = "stopped") -> None:
        """End the run: what it waits for is broken off, and it settles within `_GRACE` seconds at most."""
        with self._lock:
            if self._ending is not None or self._done:
                return
            self._ending = (status, reason)
            engine = self._engine
        if engine is not None:
            engine.request_abort(reason)
        self._cancel.cancel()
        timer = threading.Timer(_GRACE, lambda: self._settle(self._outcome(status, error=reason)))
        timer.daemon = True
        timer.start()

    def _prepare(self) -> Engine:
        prepared = self.order.prepared
        tools = self._make_tools(self._cancel, Memory(self.order.turns) if prepared.chat else None)
        state = RuntimeState(
            variable_pool=self._pool(),
            start_at=self.order.created,
            workflow_id=prepared.runnable.version_id,
            ready_queue=self._tasks,
        )
        graph = prepared.build(tools, state, {"user_id": self.order.ids.user})
        engine = Engine(graph=graph, runtime_state=state, workers=prepared.workers, file_runtime=Files(tools.web))
        with self._lock:
            self._engine, self._state = engine, state
            ending = self._ending
        if ending is not None:
            engine.request_abort(ending[1])
        return engine

    def _pool(self) -> VariablePool:
        prepared, pool = self.order.prepared, VariablePool()
        for name, value in self.order.system().items():
            segment = build_segment_with_type(SegmentType.ARRAY_FILE, value) if name == "files" else value
            pool.add(("sys", name), segment)
        for name, segment in prepared.environment.items():
            pool.add(("env", name), segment)
        for variable in prepared.conversation:
            stored = self.order.variables
            known = typed(variable.value_type, stored[variable.name]) if variable.name in stored else None
            pool.add(("conversation", variable.name), known or variable.segment)
        for name, value in self.order.inputs.items():
            pool.add((prepared.plan.root, name), value)
        return pool

    def _hear(self, event: EngineEvent) -> None:
        if isinstance(event, NodeRunStreamChunkEvent) and event.chunk:
            self._said.append(event.chunk)
            if self._first_word is None:
                self._first_word = time.perf_counter() - self._began
        if not isinstance(event, _TERMINAL):
            if self._emit is not None:
                for told in self.narrator.of(event):
                    self._tell(told)
            return
        # Told before graphon takes its threads down, which nobody needs to wait for.
        self._tasks.close()
        match event:
            case GraphRunSucceededEvent():
                self._settle(self._outcome("succeeded", outputs=event.outputs))
            case GraphRunPartialSucceededEvent():
                self._settle(self._outcome("partial-succeeded", outputs=event.outputs))
            case GraphRunFailedEvent():
                self._settle(self._outcome("failed", error=event.error))
                self._cancel.cancel()
            case GraphRunAbortedEvent():
                self._settle(self._outcome("stopped", error=event.reason))

    def _outcome(self, status: str, *, outputs: Mapping[str, Any] | None = None, error: str | None = None) -> Outcome:
        if self._ending is not None and status in {"failed", "stopped"}:
            status, error = self._ending
        given = plain(outputs or {})
        outcome = Outcome(
            status=status,
            outputs=given,
            error=self.order.prepared.mask.text(error) if error else None,
            answer=str(given.get("answer", "")) if outputs else "".join(self._said),
            elapsed=round(time.perf_counter() - self._began, 6),
        )
        state = self._state
        if state is not None:
            usage = state.llm_usage
            outcome.tokens = state.total_tokens
            outcome.steps = state.node_run_steps
            outcome.exceptions = state.graph_execution.exceptions_count
            outcome.usage = plain(usage.model_dump(mode="python")) | {
                "latency": round(usage.latency, 3),
                "time_to_first_token": round(self._first_word or 0.0, 3),
                "time_to_generate": round(usage.time_to_generate or 0.0, 3),
            }
            outcome.variables = dict(state.variable_pool.get_by_prefix("conversation"))
        return outcome

    def _settle(self, outcome: Outcome) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
        self._settled(outcome)

    def _tell(self, event: dict[str, Any]) -> None:
        if self._emit is not None and not self._done:
            self._emit(event)


class _Tasks:
    """graphon's queue of nodes to run, which can be closed: its own lets idle workers sleep out 10 ms at the end of
    every run."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: list[ReadyTask] = []
        self._closed = False

    def put(self, item: ReadyTask) -> None:
        with self._changed:
            self._tasks.append(item)
            self._changed.notify()

    def get(self, timeout: float | None = None) -> ReadyTask:
        with self._changed:
            if not self._tasks and not self._closed:
                self._changed.wait(timeout)
            if self._tasks:
                return self._tasks.pop(0)
            closed = self._closed
        if closed:
            time.sleep(0.0005)  # the worker asks until graphon tells it to go: let the one who tells it run
        raise queue.Empty

    def task_done(self) -> None:
        return

    def qsize(self) -> int:
        return len(self._tasks)

    def take_all(self) -> list[ReadyTask]:
        with self._changed:
            taken, self._tasks = self._tasks, []
        return taken

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def dumps(self) -> str:
        raise NotImplementedError("runs are not suspended here")

    def loads(self, data: str) -> None:
        raise NotImplementedError("runs are not suspended here")
