"""One call as it is counted: who, to what version, how it ended, and shapes instead of values."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import orjson

from lastgood.dsl.schema import CHATS
from lastgood.dsl.shapes import Shape, request_shape, shape_of
from lastgood.gateway.call import Call
from lastgood.gateway.ending import Ending

type Outcome = Literal["ok", "error", "refused", "unseen"]

UNKNOWN: Final = "null"
_LONGEST_AGENT: Final = 120
_GOOD: Final = {"succeeded", "partial-succeeded"}
_NEITHER: Final = {"stopped", "paused"}


class Observed(NamedTuple):
    """One call, with nothing of its values left. `inputs` and `outputs` are shapes as JSON; `outputs` is empty where
    there were none."""

    workflow_id: str
    key_id: str
    user_agent: str
    channel: str
    version_id: str
    generation: int
    pins: bool
    outcome: Outcome
    ms: float
    inputs: str
    outputs: str


def observe(call: Call) -> Observed:
    """What there is to see in a call that is over."""
    route, own = call.route, call.own
    chat = route.mode in CHATS
    outcome, outputs = _outcome(call, chat)
    return Observed(
        workflow_id=route.workflow_id,
        key_id=route.key_id,
        user_agent=user_agent(call.fields),
        channel=route.channel,
        # A name that was refused may be anything.
        version_id=(route.version_id or "") if own is None else "" if outcome == "refused" else own,
        generation=route.generation,
        pins=own is not None,
        outcome=outcome,
        ms=(call.ended - call.began) * 1000,
        inputs=UNKNOWN if call.body is None else _text(request_shape(_read(call.body), chat=chat)),
        outputs=outputs,
    )


def _outcome(call: Call, chat: bool) -> tuple[Outcome, str]:
    if call.status >= 500 or call.broken:
        return "error", ""
    if call.streamed and call.ending is not None:
        # A failed run answers 400 to a blocking chat, as Dify does.
        return _streamed(call.ending, chat)
    if call.status >= 400:
        return "refused", ""
    if call.status == 200 and call.ending is not None:
        return _streamed(call.ending, chat)
    if call.status != 200 or not call.whole:
        return "unseen", ""
    return _blocking(call.answer, chat)


def user_agent(fields: Iterable[tuple[bytes, bytes]]) -> str:
    """What the client says it is, printable and not too long; empty where it does not say."""
    for name, value in fields:
        if name == b"user-agent":
            return _agent(value[: 4 * _LONGEST_AGENT])
    return ""


@lru_cache(1024)
def _agent(said: bytes) -> str:
    return "".join(filter(str.isprintable, said.decode("latin-1")))[:_LONGEST_AGENT]


def _blocking(answer: bytes | None, chat: bool) -> tuple[Outcome, str]:
    said = None if answer is None else _read(answer)
    if not isinstance(said, dict):
        return "unseen", UNKNOWN
    if chat:
        return ("ok", _text(shape_of({"answer": said["answer"]}))) if "answer" in said else ("unseen", UNKNOWN)
    return _finished(said.get("data"))


def _streamed(ending: Ending, chat: bool) -> tuple[Outcome, str]:
    ending.feed(b"\n")  # the last line may have no end of its own
    told = {name: event for name, line in ending.lines.items() if (event := _event(name, line)) is not None}
    if b"error" in told:
        return "error", ""
    if b"workflow_finished" in told:
        outcome, outputs = _finished(told[b"workflow_finished"].get("data"))
        return outcome, '{"answer":"string"}' if chat and outcome == "ok" and outputs else outputs
    if b"message_end" in told and not ending.missed:
        return "ok", '{"answer":"string"}'
    return "unseen", UNKNOWN if ending.missed else ""


def _event(name: bytes, line: bytes) -> dict[str, Any] | None:
    """The event of a line, if it is one of that name: a value inside another event may have looked like it."""
    event = _read(line[5:]) if line.startswith(b"data:") else None
    return event if isinstance(event, dict) and event.get("event") == name.decode() else None


def _finished(data: Any) -> tuple[Outcome, str]:
    """How a run ended, by Dify's record of it."""
    status = data.get("status") if isinstance(data, dict) else None
    if status in _GOOD:
        outputs = data.get("outputs")
        return "ok", _text(shape_of({} if outputs is None else outputs))
    if status in _NEITHER:
        return "ok", ""
    return ("error", "") if status == "failed" else ("unseen", UNKNOWN)


def _read(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _text(shape: Shape | None) -> str:
    return orjson.dumps(shape, option=orjson.OPT_SORT_KEYS).decode()
