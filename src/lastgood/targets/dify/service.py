"""Dify's Service API: one app, by its key (``app-…``). Runs are never sent twice.

A node that fails is a normal answer with the status ``failed``. Chatflows are asked by stream, because a blocking one
hangs for five minutes in 1.13.0; a stream ends for us at its last event, at an error, or when nothing but pings has
come for a while."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lastgood.errors import DifyFailed, DifyTimeout, InvalidRequest
from lastgood.targets.dify.caller import Caller
from lastgood.targets.dify.fields import Fields, Misshapen
from lastgood.targets.dify.wire import Call, outcome

_PING = "event: ping"
_DATA = "data:"
_LAST = frozenset({"message_end", "workflow_finished", "workflow_paused"})


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that ended. `status` is ``succeeded``, ``failed``, ``stopped``, ``partial-succeeded`` or what a newer
    server says; `workflow_id` the version that ran."""

    run_id: str
    task_id: str
    workflow_id: str
    status: str
    outputs: Mapping[str, Any] = field(repr=False)
    error: str = field(repr=False)
    elapsed_seconds: float | None
    steps: int | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From a blocking run or a ``workflow_finished`` event."""
        fields = Fields(data, "the run")
        inner = Fields(fields.mapping("data"), "the run")
        return cls(
            run_id=fields.text("workflow_run_id"),
            task_id=fields.text_or("task_id"),
            workflow_id=inner.text_or("workflow_id"),
            status=inner.text("status"),
            outputs=inner.mapping_or_none("outputs") or {},
            error=inner.text_or("error"),
            elapsed_seconds=inner.number("elapsed_time"),
            steps=inner.count("total_steps"),
            raw=fields.data,
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """A chatflow's answer, put together from its stream."""

    conversation_id: str
    message_id: str
    answer: str = field(repr=False)
    run: Finished | None


@dataclass(frozen=True, slots=True)
class Info:
    """What an app says of itself."""

    name: str
    mode: str
    description: str
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From ``/v1/info``."""
        fields = Fields(data, "the app's information")
        return cls(fields.text_or("name"), fields.text_or("mode"), fields.text_or("description"), fields.data)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the published version asks for: `inputs` are its form fields, each with `variable`, `type`, `required`."""

    inputs: tuple[Mapping[str, Any], ...]
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From ``/v1/parameters``, where each form field stands in an object under its type."""
        fields = Fields(data, "the parameters")
        return cls(tuple(_form(item) for item in fields.mappings("user_input_form")), fields.data)


class Service:
    """The Service API of one app."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def info(self) -> Info:
        """The app's name and mode; the cheapest way to try a key."""
        return self._read(Call("GET", "/v1/info", "tell what app this is"), Info.read)

    def parameters(self) -> Parameters:
        """The inputs of the published version. An app that is not published refuses."""
        return self._read(Call("GET", "/v1/parameters", "tell the app's parameters"), Parameters.read)

    def run(
        self, inputs: Mapping[str, Any], user: str, *, version: str | None = None, seconds: float = 120.0
    ) -> Finished:
        """Run a workflow, the published version or the one with the id `version`, and wait for its end.

        Raises `DifyRefused` for inputs that do not fit and where too many runs are under way (Dify answers 400 to
        both), `DifyMissing` for an unknown version, `DifyTimeout` after `seconds` (the run may go on there)."""
        path = "/v1/workflows/run" if version is None else f"/v1/workflows/{_segment(version)}/run"
        body = {"inputs": dict(inputs), "response_mode": "blocking", "user": user}
        call = Call("POST", path, "run the workflow", json=body, writes=True, seconds=seconds)
        return self._read(call, Finished.read)

    def chat(
        self,
        query: str,
        user: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        conversation: str = "",
        version: str | None = None,
        seconds: float = 120.0,
        idle_seconds: float = 30.0,
    ) -> Answered:
        """Ask a chatflow and wait for the whole answer; `version` names a version by id for this message alone.

        Inputs that do not fit are told in the stream, hence as `DifyFailed` (1.14.2), or not at all (1.13.0):
        `DifyTimeout` after `idle_seconds` of silence or pings. Raises else as `run`."""
        body: dict[str, Any] = {
            "query": query,
            "inputs": dict(inputs or {}),
            "user": user,
            "response_mode": "streaming",
            "conversation_id": conversation,
        }
        if version is not None:
            body["workflow_id"] = version
        call = Call(
            "POST",
            "/v1/chat-messages",
            "answer a message",
            json=body,
            writes=True,
            seconds=seconds,
            idle_seconds=idle_seconds,
        )
        parts: list[str] = []
        conversation_id, message_id, run = conversation, "", None
        try:
            for event in self._events(call, idle_seconds):
                fields = Fields(event, "an event")
                kind = fields.text_or("event")
                conversation_id = fields.text_or("conversation_id", conversation_id)
                message_id = fields.text_or("message_id", message_id)
                if kind == "message":
                    parts.append(fields.text_or("answer"))
                elif kind == "message_replace":
                    parts = [fields.text_or("answer")]
                elif kind == "workflow_finished":
                    run = Finished.read(event)
                if kind in ("message_end", "workflow_paused"):
                    break
                if kind == "workflow_finished" and run is not None and run.status != "succeeded":
                    break  # a failed run has no message_end in every version
        except Misshapen as error:
            raise self._caller.misshapen(call, error) from None
        return Answered(conversation_id, message_id, "".join(parts), run)

    def _events(self, call: Call, idle_seconds: float) -> Iterator[Mapping[str, Any]]:
        clock = self._caller.wire.clock
        with self._caller.stream(call) as lines:
            last = clock.now()
            for line in lines:
                if line.startswith(_DATA):
                    last = clock.now()
                    event = _event(line[len(_DATA) :])
                    if event.get("event") == "error":
                        raise self._failed(call, event)
                    yield event
                elif clock.now() - last > idle_seconds:
                    raise DifyTimeout(
                        server=self._caller.wire.url,
                        what=call.what,
                        seconds=idle_seconds,
                        reason="pings only",
                        outcome="The run may go on there.",
                        done="unknown",
                    )
        raise self._caller.wire.unreadable(call, "its stream ended before its last event")

    def _failed(self, call: Call, event: Mapping[str, Any]) -> DifyFailed:
        said = " ".join(str(event.get("message") or event.get("code") or "an error event").split())[:300]
        code = str(event.get("code") or "")
        return DifyFailed(server=self._caller.wire.url, what=call.what, said=said, code=code, **outcome(call))

    def _read[T](self, call: Call, read: Callable[[Any], T]) -> T:
        try:
            return read(self._caller.ask(call))
        except Misshapen as error:
            raise self._caller.misshapen(call, error) from None


def _event(text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise Misshapen("an event is not JSON") from None
    return Fields(data, "an event").data


def _form(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(item) == 1:
        kind, inner = next(iter(item.items()))
        if isinstance(inner, Mapping):
            return {"type": kind, **inner}
    return item


def _segment(value: str) -> str:
    if not value or not all(sign.isalnum() or sign in "-_" for sign in value):
        raise InvalidRequest(where="a version's id on Dify", reason="it is not a UUID")
    return value
