"""Dify's server-sent events of one run, made from graphon's. Pure: an event in, dictionaries out."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from graphon.engine_events import (
    NodeEvent,
    NodeRunExceptionEvent,
    NodeRunFailedEvent,
    NodeRunIterationFailedEvent,
    NodeRunIterationNextEvent,
    NodeRunIterationStartedEvent,
    NodeRunIterationSucceededEvent,
    NodeRunLoopFailedEvent,
    NodeRunLoopNextEvent,
    NodeRunLoopStartedEvent,
    NodeRunLoopSucceededEvent,
    NodeRunRetryEvent,
    NodeRunStartedEvent,
    NodeRunStreamChunkEvent,
    NodeRunSucceededEvent,
)
from graphon.engine_events.base import EngineEvent
from graphon.file import File

from lastgood.targets.engine.prepared import Prepared
from lastgood.targets.engine.values import plain

_STATUS: Mapping[type[EngineEvent], str] = {
    NodeRunSucceededEvent: "succeeded",
    NodeRunFailedEvent: "failed",
    NodeRunExceptionEvent: "exception",
}
_OURS = {"type", "container_id"}  # what graphon adds to the node data that an assigner shows as its inputs
_ROUND_STARTED = (NodeRunIterationStartedEvent, NodeRunLoopStartedEvent)
_ROUND_NEXT = (NodeRunIterationNextEvent, NodeRunLoopNextEvent)
_ROUND_DONE = (
    NodeRunIterationSucceededEvent,
    NodeRunIterationFailedEvent,
    NodeRunLoopSucceededEvent,
    NodeRunLoopFailedEvent,
)


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of one run. `conversation` and `message` are empty for a workflow."""

    run: str
    task: str
    user: str
    end_user: str
    conversation: str = ""
    message: str = ""


@dataclass(slots=True)
class Outcome:
    """How a run ended. `outputs` are what the client gets; times in seconds, `usage` as Dify's metadata has it."""

    status: str
    outputs: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    answer: str = ""
    elapsed: float = 0.0
    tokens: int = 0
    steps: int = 0
    exceptions: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    finished_at: float = field(default_factory=time.time)


class Narrator:
    """Tells one run in Dify's events. `created` is when it began."""

    def __init__(self, prepared: Prepared, ids: Ids, created: float) -> None:
        self._prepared = prepared
        self._ids = ids
        self._created = int(created)
        self._head = {"workflow_run_id": ids.run, "task_id": ids.task}
        if ids.message:
            self._head = {**self._chat_head(), "workflow_run_id": ids.run}

    def started(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """``workflow_started``; `inputs` with the ``sys.`` variables among them."""
        return self._event(
            "workflow_started",
            {
                "id": self._ids.run,
                "workflow_id": self._prepared.runnable.version_id,
                "inputs": self._plain(inputs),
                "created_at": self._created,
                "reason": "initial",
            },
        )

    def of(self, event: EngineEvent) -> Iterator[dict[str, Any]]:
        """What Dify's client hears of `event`; nothing for what stays inside."""
        match event:
            case NodeRunStreamChunkEvent():
                if event.chunk:
                    yield self._chunk(event.chunk, list(event.selector))
            case NodeRunRetryEvent():
                yield self._retry(event)
            case NodeRunStartedEvent():
                yield self._node_started(event)
            case NodeRunSucceededEvent() | NodeRunFailedEvent() | NodeRunExceptionEvent():
                yield self._event("node_finished", self._finished_data(event))
            case _ if isinstance(event, _ROUND_STARTED + _ROUND_NEXT + _ROUND_DONE):
                yield self._round(event)
            case _:
                return

    def finished(self, outcome: Outcome) -> Iterator[dict[str, Any]]:
        """``workflow_finished``, and for a chatflow what follows it."""
        yield self._event(
            "workflow_finished",
            {
                "id": self._ids.run,
                "workflow_id": self._prepared.runnable.version_id,
                "status": outcome.status,
                "outputs": outcome.outputs,
                "error": outcome.error,
                "elapsed_time": outcome.elapsed,
                "total_tokens": outcome.tokens,
                "total_steps": outcome.steps,
                "created_by": {"id": self._ids.end_user, "user": self._ids.user},
                "created_at": self._created,
                "finished_at": int(outcome.finished_at),
                "exceptions_count": outcome.exceptions,
                "files": [],
            },
        )
        if not self._ids.message:
            return
        if outcome.status == "failed":
            yield {
                "event": "error",
                **self._chat_head(),
                "code": "invalid_param",
                "status": 400,
                "message": f"Run failed: {outcome.error}",
            }
            return
        yield {
            "event": "message_end",
            **self._chat_head(),
            "id": self._ids.message,
            "metadata": chat_metadata(outcome),
            "files": [],
        }

    def blocking(self, outcome: Outcome) -> dict[str, Any]:
        """The body of a blocking call."""
        if self._ids.message:
            return {
                "event": "message",
                "task_id": self._ids.task,
                "id": self._ids.message,
                "message_id": self._ids.message,
                "conversation_id": self._ids.conversation,
                "mode": self._prepared.runnable.mode,
                "answer": outcome.answer,
                "metadata": chat_metadata(outcome),
                "created_at": self._created,
            }
        return {
            "task_id": self._ids.task,
            "workflow_run_id": self._ids.run,
            "data": {
                "id": self._ids.run,
                "workflow_id": self._prepared.runnable.version_id,
                "status": outcome.status,
                "outputs": outcome.outputs,
                "error": outcome.error,
                "elapsed_time": outcome.elapsed,
                "total_tokens": outcome.tokens,
                "total_steps": outcome.steps,
                "created_at": self._created,
                "finished_at": int(outcome.finished_at),
            },
        }

    def _chat_head(self) -> dict[str, Any]:
        return {
            "conversation_id": self._ids.conversation,
            "message_id": self._ids.message,
            "created_at": self._created,
            "task_id": self._ids.task,
        }

    def _event(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        return {"event": name, **self._head, "data": data}

    def _plain(self, value: Any) -> Any:
        return plain(value, self._prepared.mask)

    def _chunk(self, text: str, selector: list[str]) -> dict[str, Any]:
        if self._ids.message:
            return {
                "event": "message",
                **self._chat_head(),
                "id": self._ids.message,
                "answer": text,
                "from_variable_selector": selector,
            }
        return self._event("text_chunk", {"text": text, "from_variable_selector": selector})

    def _node_started(self, event: NodeRunStartedEvent) -> dict[str, Any]:
        return self._event(
            "node_started",
            {
                **self._node_head(event),
                "index": 1,
                "predecessor_node_id": None,
                "inputs": None,
                "inputs_truncated": False,
                "created_at": _seconds(event.start_at),
                "extras": {},
                **self._container(event),
                "agent_strategy": None,
            },
        )

    def _finished_data(
        self, event: NodeRunSucceededEvent | NodeRunFailedEvent | NodeRunExceptionEvent | NodeRunRetryEvent
    ) -> dict[str, Any]:
        result = event.node_run_result
        finished = getattr(event, "finished_at", None) or datetime.now(UTC).replace(tzinfo=None)
        error = getattr(event, "error", "") or result.error
        return {
            **self._node_head(event),
            "index": 1,
            "predecessor_node_id": None,
            "inputs": self._plain(
                {
                    key: item
                    for key, item in result.inputs.items()
                    if not (key in _OURS and event.node_type == "assigner")
                }
            ),
            "inputs_truncated": False,
            "process_data": self._plain(result.process_data),
            "process_data_truncated": False,
            "outputs": self._plain(result.outputs),
            "outputs_truncated": False,
            "status": _STATUS.get(type(event), "retry"),
            "error": self._plain(error) if error else None,
            "elapsed_time": round((finished - event.start_at).total_seconds(), 6),
            "execution_metadata": self._plain(result.metadata) if result.metadata else None,
            "created_at": _seconds(event.start_at),
            "finished_at": _seconds(finished),
            "files": [self._plain(file) for file in _files(result.outputs)],
            **self._container(event),
        }

    def _retry(self, event: NodeRunRetryEvent) -> dict[str, Any]:
        return self._event("node_retry", {**self._finished_data(event), "retry_index": event.retry_index})

    def _round(self, event: Any) -> dict[str, Any]:
        """The start, the next round or the end of an iteration or a loop."""
        kind = "loop" if "Loop" in type(event).__name__ else "iteration"
        head = self._node_head(event)
        if isinstance(event, _ROUND_NEXT):
            now = int(time.time())
            return self._event(f"{kind}_next", {**head, "index": event.index, "created_at": now, "extras": {}})
        data = {**head, "created_at": _seconds(event.start_at), "extras": {}, "inputs": self._plain(event.inputs)}
        if isinstance(event, _ROUND_STARTED):
            metadata = self._plain(event.metadata)
            return self._event(f"{kind}_started", {**data, "metadata": metadata, "inputs_truncated": False})
        error = getattr(event, "error", None)
        finished = datetime.now(UTC).replace(tzinfo=None)
        return self._event(
            f"{kind}_completed",
            {
                **data,
                "outputs": self._plain(event.outputs),
                "outputs_truncated": False,
                "inputs_truncated": False,
                "status": "failed" if error else "succeeded",
                "error": self._plain(error) if error else None,
                "elapsed_time": round((finished - event.start_at).total_seconds(), 6),
                "total_tokens": int(event.metadata.get("total_tokens", 0) or 0),
                "execution_metadata": self._plain(event.metadata),
                "finished_at": _seconds(finished),
                "steps": event.steps,
            },
        )

    def _node_head(self, event: NodeEvent) -> dict[str, Any]:
        return {
            "id": event.id,
            "node_id": event.node_id,
            "node_type": str(event.node_type),
            "title": self._prepared.titles.get(event.node_id, ""),
        }

    def _container(self, event: NodeEvent) -> dict[str, Any]:
        owner = event.container_id or None
        loop = owner is not None and self._prepared.types.get(owner) == "loop"
        return {"iteration_id": None if loop else owner, "loop_id": owner if loop else None}


def chat_metadata(outcome: Outcome) -> dict[str, Any]:
    """The ``metadata`` of a chatflow's answer."""
    return {"annotation_reply": None, "retriever_resources": [], "usage": outcome.usage}


def _files(outputs: Mapping[str, Any]) -> Iterator[File]:
    for value in outputs.values():
        found = getattr(value, "value", value)
        yield from (item for item in (found if isinstance(found, list) else [found]) if isinstance(item, File))


def _seconds(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp())
