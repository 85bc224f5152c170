"""The Service API of workflows: info, parameters, runs, and their log."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from dify_server import shapes
from dify_server.calls import Call, Later, Stream, cut, route
from dify_server.refusals import invalid, refuse
from dify_server.rows import FakeApp, Row
from dify_server.running import KNOWN, Machine, wrong_inputs
from dify_server.runs import Run

SSE_PING = "event: ping\n\n"


@route("GET", "/v1/info", "service")
def info(call: Call) -> Any:
    app = call.app
    author = call.world.people.by_id(app.created_by)
    return {
        "name": app.name, "description": app.description, "tags": [], "mode": app.mode,
        "author_name": author.name if author else None,
    }  # fmt: skip


@route("GET", "/v1/parameters", "service")
@route("GET", "/api/parameters", "webapp")
def parameters(call: Call) -> Any:
    if call.app.live is None:
        raise refuse(400, "app_unavailable", "App unavailable, please check your app configurations.")
    return shapes.parameters(call.app.live)


@route("GET", "/v1/meta", "service")
def meta(call: Call) -> Any:
    return {"tool_icons": {}}


@route("GET", "/v1/site", "service")
def site(call: Call) -> Any:
    names = (
        "title", "chat_color_theme", "chat_color_theme_inverted", "icon_type", "icon", "icon_background",
        "description", "copyright", "privacy_policy", "custom_disclaimer", "default_language", "show_workflow_steps",
        "use_icon_as_answer_icon", "icon_url",
    )  # fmt: skip
    whole = shapes.site(call.world, call.app)
    return {name: whole[name] for name in names}


@route("POST", "/v1/workflows/run", "service")
def run(call: Call) -> Any:
    _body_of(call, "WorkflowRunPayload")
    return start(call, live_of(call), str(call.body["user"]))


@route("POST", "/v1/workflows/<id>/run", "service")
def run_by_id(call: Call) -> Any:
    _body_of(call, "WorkflowRunPayload")
    _workflow_app(call.app)
    return start(call, version_of(call.app, call.parts["id"]), str(call.body["user"]))


def _body_of(call: Call, payload: str) -> None:
    """Refuses a body that is none."""
    if "json" not in call.request.headers.get("content-type", ""):
        told = "Did not attempt to load JSON data because the request Content-Type was not 'application/json'."
        raise refuse(415, "unsupported_media_type", told)
    body, newer = call.body, call.world.newer
    if "user" not in body:
        raise refuse(400, "invalid_param", "Arg user must be provided.")
    if "inputs" not in body:
        raise invalid(payload, "inputs", "Field required", "missing", body, newer)
    mode = body.get("response_mode")
    if mode is not None and mode not in ("blocking", "streaming"):
        told = "Input should be 'blocking' or 'streaming'"
        raise invalid(payload, "response_mode", told, "literal_error", mode, newer)


def _workflow_app(app: FakeApp) -> None:
    if app.mode != "workflow":
        raise refuse(400, "not_workflow_app", "Please check if your app mode matches the right API route.")


def live_of(call: Call) -> Row:
    _workflow_app(call.app)
    if call.app.live is None:
        raise refuse(400, "invalid_param", "Workflow not published")
    return call.app.live


def version_of(app: FakeApp, wanted: str, more: str = "") -> Row:
    """The version of this id, as the Service API looks it up."""
    try:
        UUID(wanted)
    except ValueError:
        raise refuse(400, "bad_request", f"Invalid workflow_id format: '{wanted}'. ") from None
    if app.draft and app.draft.id == wanted:
        raise refuse(
            400,
            "bad_request",
            f"Cannot use draft workflow version. Workflow ID: {wanted}. Please use a published workflow version or "
            "leave workflow_id empty.",
        )
    row = next((one for one in app.versions if one.id == wanted), None)
    if row is None:
        raise refuse(404, "not_found", f"Workflow not found with id: {wanted}{more}")
    return row


def start(
    call: Call, row: Row, user: str, *, streaming: bool | None = None, plain: bool = False, **more: Any
) -> Later | Stream:
    """Begins a run: streamed or waited for as the body asks. `plain` streams say less of nodes."""
    world, app, body = call.world, call.app, call.body
    if streaming is None:
        streaming = body.get("response_mode") == "streaming"
    inputs = body.get("inputs") or {}
    why, code = wrong_inputs(row, inputs), ""
    if not row.graph.get("nodes"):
        why, code = "Graph must have at least one node", "invalid_param"
    unknown = next(
        (one["data"].get("type") for one in row.graph.get("nodes", []) if one["data"].get("type") not in KNOWN), None
    )
    if not why and unknown:
        why, code = f"No class mapping found for node type: {unknown}", "invalid_param"
    if why and not streaming:
        raise refuse(400, "invalid_param", why)
    release = entered(app)
    if why:
        return failed_stream(call, why, code, release)
    made = world.begin(app, row, inputs, user, **more)
    machine = Machine(world, made)
    world.going[made.task_id] = made
    done = _finisher(call, made, release)
    if streaming:
        return Stream(told(machine, made, plain), done=done)
    return Later((wait for wait, _ in machine.steps()), lambda: blocking(made), done)


def _finisher(call: Call, made: Run, release: Callable[[], None]) -> Callable[[], None]:
    def done() -> None:
        release()
        call.world.going.pop(made.task_id, None)

    return done


def entered(app: FakeApp) -> Callable[[], None]:
    """Counts a run against the app's limit. As on real servers, one more gets in than the limit says."""
    if app.max_active_requests and app.active > app.max_active_requests:
        raise refuse(
            400,
            "invalid_param",
            "Too many requests. Please try again later. The current maximum concurrent requests allowed for "
            f"{app.id} is {app.max_active_requests}.",
        )
    app.active += 1
    left = [1]

    def release() -> None:
        if left:
            app.active -= left.pop()

    return release


def failed_stream(call: Call, why: str, code: str, release: Callable[[], None]) -> Stream:
    """What a stream is whose error arises behind the API: 1.13.0 goes silent after one ping, 1.14.2 says it and
    goes silent then. Neither closes the socket."""
    error: dict[str, Any] = {"event": "error", "message": why, "status": 500}
    if code:
        error = {"event": "error", "workflow_run_id": None, "code": code, "status": 400, "message": why}
    release()
    steps: list[tuple[float, str | None]] = [(0.0, SSE_PING)]
    if call.world.newer:
        steps.append((0.0, sse(error)))
    return Stream(iter(steps), hangs=True)


def sse(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event, separators=(',', ':'), ensure_ascii=False)}\n\n"


_PLAIN_LESS = {
    "node_started": ("inputs_truncated", "agent_strategy"),
    "node_finished": ("inputs_truncated", "process_data_truncated", "outputs_truncated"),
}


def told(machine: Machine, made: Run, plain: bool) -> Iterator[tuple[float, str | None]]:
    """A run as server-sent events."""
    yield 0.0, SSE_PING
    for wait, event in machine.steps():
        if event is None:
            yield wait, None
            continue
        name, data = event
        yield wait, sse(whole(made, name, simple(name, data) if plain else data))


def simple(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """The short form of an event of a node, for web apps."""
    left_out = _PLAIN_LESS.get(name)
    if left_out is None:
        return data
    empty = ("inputs", "process_data", "outputs") if name == "node_finished" else ()
    return {one: None if one in empty else value for one, value in data.items() if one not in left_out}


def whole(made: Run, name: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"event": name, "workflow_run_id": made.id, "task_id": made.task_id, "data": data}


def blocking(made: Run) -> dict[str, Any]:
    """The answer of a run that was waited for."""
    data = {
        "id": made.id, "workflow_id": made.row.id, "status": made.status, "outputs": made.outputs,
        "error": made.error, "elapsed_time": made.elapsed, "total_tokens": 0, "total_steps": len(made.nodes),
        "created_at": made.created_at, "finished_at": made.created_at,
    }  # fmt: skip
    return {"task_id": made.task_id, "workflow_run_id": made.id, "data": data}


@route("POST", "/v1/workflows/tasks/<id>/stop", "service")
@route("POST", "/v1/chat-messages/<id>/stop", "service")
def stop(call: Call) -> Any:
    if "user" not in call.body:
        raise refuse(400, "invalid_param", "Arg user must be provided.")
    found = call.world.going.get(call.parts["id"])
    if found:
        found.stopped = True
    return {"result": "success"}


def _entry(app: FakeApp, run_id: str) -> dict[str, Any] | None:
    return next((one for one in app.runs if one["id"] == run_id), None)


@route("GET", "/v1/workflows/run/<id>", "service")
def run_detail(call: Call) -> Any:
    found = _entry(call.app, call.parts["id"])
    if found is None:
        if call.world.newer:
            raise refuse(404, "not_found", "Workflow run not found")
        raise refuse(500, "unknown", "Internal Server Error")
    made: Run = found["run"]
    given = made.nodes[0]["inputs"] if made.nodes else made.given
    return {
        "id": made.id, "workflow_id": made.row.id, "status": made.status, "inputs": json.dumps(given),
        "outputs": made.outputs, "error": made.error, "total_steps": len(made.nodes), "total_tokens": 0,
        "created_at": made.created_at, "finished_at": made.created_at, "elapsed_time": made.elapsed,
    }  # fmt: skip


@route("GET", "/v1/workflow/<id>/events", "service", newer=True)
def run_events(call: Call) -> Any:
    raise refuse(404, "not_found", "Workflow run not found")


@route("GET", "/v1/workflows/logs", "service")
def logs(call: Call) -> Any:
    wanted = call.request.query.get("status")
    found = [one for one in call.app.runs if not wanted or one["status"] == wanted]
    world = call.world
    return {**cut(call, "data", [lambda one=one: log_line(world, one) for one in found]), "total": len(found)}


def log_line(world: Any, entry: dict[str, Any]) -> dict[str, Any]:
    """A line of ``workflow-app-logs``."""
    made: Run = entry["run"]
    person = made.user_kind == "account"
    return {
        "id": entry["log_id"], "workflow_run": shapes.summary(entry), "details": None,
        "created_from": made.created_from, "created_by_role": "account" if person else "end_user",
        "created_by_account": None, "created_by_end_user": shapes.end_user(world, made),
        "created_at": entry["created_at"],
    }  # fmt: skip
