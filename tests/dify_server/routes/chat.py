"""The Service API of chatflows: messages, conversations and their variables."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from dify_server.calls import Call, Later, Stream, route
from dify_server.refusals import did_you_mean, refuse
from dify_server.routes.service import SSE_PING, _finisher, entered, failed_stream, sse, version_of
from dify_server.rows import Row
from dify_server.running import Machine, wrong_inputs
from dify_server.runs import Run
from dify_server.talks import Talk

_USAGE = {
    "prompt_tokens": 0, "prompt_unit_price": "0.0", "prompt_price_unit": "0.0", "prompt_price": "0.0",
    "completion_tokens": 0, "completion_unit_price": "0.0", "completion_price_unit": "0.0", "completion_price": "0.0",
    "total_tokens": 0, "total_price": "0.0", "currency": "USD", "latency": 0.0, "time_to_first_token": 0.01,
    "time_to_generate": 0.0,
}  # fmt: skip


@route("POST", "/v1/chat-messages", "service")
def chat(call: Call) -> Any:
    """One message. 1.13.0 hangs on every blocking one and on a conversation that is not the user's."""
    if "user" not in call.body:
        raise refuse(400, "invalid_param", "Arg user must be provided.")
    return said(call, str(call.body["user"]))


@route("POST", "/api/chat-messages", "webapp")
def chat_in_web_app(call: Call) -> Any:
    """The same in the web app, which names no user: by source, not recorded."""
    user = call.world.end_users.setdefault((call.app.id, "web"), str(uuid4()))
    return said(call, user, created_from="web-app", user_kind="web-app")


def said(call: Call, user: str, **more: Any) -> Any:
    """A message, and its answer."""
    app, body, world = call.app, call.body, call.world
    if app.mode != "advanced-chat":
        raise refuse(400, "not_chat_app", "Please check if your app mode matches the right API route.")
    row = _row_of(call)
    query, blocking = str(body.get("query", "")), body.get("response_mode") != "streaming"
    wanted = body.get("conversation_id")
    talk = next((one for one in app.conversations if one.id == wanted and one.user == user), None)
    why = wrong_inputs(row, body.get("inputs") or {})
    if why and blocking and world.newer:
        raise refuse(400, "invalid_param", why)
    release = entered(app)
    if why or ((blocking or (wanted and talk is None)) and not world.newer):
        return failed_stream(call, why or "Conversation Not Exists.", "", release)
    if talk is None:
        moment = world.seconds()
        talk = Talk(user, query, str(row.features.get("opening_statement") or ""), moment, updated_at=moment)
        app.conversations.append(talk)
    made = world.begin(
        app, row, body.get("inputs") or {}, user, talk=talk,
        sys={"sys.query": query, "sys.dialogue_count": len(talk.messages) + 1}, **more,
    )  # fmt: skip
    world.going[made.task_id] = made
    message_id = str(uuid4())
    machine, done = Machine(world, made), _finisher(call, made, release)
    if not blocking:
        return Stream(_told(machine, made, talk, message_id, query), done=done)
    steps = (wait for wait, _ in machine.steps())
    return Later(steps, lambda: _answer(made, talk, message_id, query), done)


def _row_of(call: Call) -> Row:
    wanted = call.body.get("workflow_id")
    if wanted:
        more = did_you_mean("/v1/chat-messages", "/v1/chat-messages", "/api/chat-messages",
                            "/v1/chat-messages/<string:task_id>/stop")  # fmt: skip
        return version_of(call.app, str(wanted), f".{more}")
    if call.app.live is None:
        raise refuse(400, "invalid_param", "Workflow not published")
    return call.app.live


def _told(
    machine: Machine, made: Run, talk: Talk, message_id: str, query: str
) -> Iterator[tuple[float, str | None]]:  # fmt: skip
    yield 0.0, SSE_PING
    head = {
        "conversation_id": talk.id, "message_id": message_id, "created_at": made.created_at, "task_id": made.task_id,
    }  # fmt: skip
    for wait, event in machine.steps():
        if event is None:
            yield wait, None
            continue
        name, data = event
        if name == "text_chunk":
            chunk = {"answer": data["text"], "from_variable_selector": data["from_variable_selector"]}
            yield wait, sse({"event": "message", **head, "id": message_id, **chunk})
            continue
        if name == "workflow_finished":
            talk.say(message_id, query, made.answer, made.inputs, made.created_at)
            yield wait, sse({"event": name, **head, "workflow_run_id": made.id, "data": data})
            end = {"id": message_id, "metadata": _metadata(), "files": []}
            yield 0.0, sse({"event": "message_end", **head, **end})
            continue
        yield wait, sse({"event": name, **head, "workflow_run_id": made.id, "data": data})


def _metadata() -> dict[str, Any]:
    return {"annotation_reply": None, "retriever_resources": [], "usage": dict(_USAGE)}


def _answer(made: Run, talk: Talk, message_id: str, query: str) -> Any:
    talk.say(message_id, query, made.answer, made.inputs, made.created_at)
    if made.status == "failed":
        raise refuse(400, "invalid_param", f"Run failed: {made.error}")
    return {
        "event": "message", "task_id": made.task_id, "id": message_id, "message_id": message_id,
        "conversation_id": talk.id, "mode": "advanced-chat", "answer": made.answer, "metadata": _metadata(),
        "created_at": made.created_at,
    }  # fmt: skip


def _talk(call: Call, wanted: str) -> Talk:
    user = call.request.query.get("user", "")
    found = next((one for one in call.app.conversations if one.id == wanted and one.user == user), None)
    if found is None:
        raise refuse(404, "not_found", "Conversation Not Exists.")
    talk: Talk = found
    return talk


@route("GET", "/v1/conversations", "service")
def conversations(call: Call) -> Any:
    user, limit = call.request.query.get("user", ""), call.number("limit", 20)
    mine = [one for one in call.app.conversations if one.user == user]
    mine.sort(key=lambda one: one.touched, reverse=True)
    shown = [
        {
            "id": one.id, "name": one.name, "inputs": {}, "status": "normal", "introduction": one.introduction,
            "created_at": one.created_at, "updated_at": one.updated_at,
        }
        for one in mine[:limit]
    ]  # fmt: skip
    return {"limit": limit, "has_more": len(mine) > limit, "data": shown}


@route("GET", "/v1/conversations/<id>/variables", "service")
def variables(call: Call) -> Any:
    talk = _talk(call, call.parts["id"])
    return {"limit": 20, "has_more": False, "data": list(talk.variables.values())}


@route("GET", "/v1/messages", "service")
def messages(call: Call) -> Any:
    talk, limit = _talk(call, call.request.query.get("conversation_id", "")), call.number("limit", 20)
    return {"limit": limit, "has_more": len(talk.messages) > limit, "data": talk.messages[-limit:]}
