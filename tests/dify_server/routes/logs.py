"""The console's logs of runs."""

from datetime import UTC, datetime
from typing import Any

from dify_server import shapes
from dify_server.calls import Call, cut, route
from dify_server.refusals import invalid, refuse
from dify_server.routes.service import log_line
from dify_server.runs import Run

HERE = "/console/api/apps/<app>"


def _moment(text: str | None) -> float | None:
    """Seconds, of an ISO time; in UTC unless it says otherwise."""
    if not text:
        return None
    read = datetime.fromisoformat(text.replace(" ", "+"))
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


@route("GET", f"{HERE}/workflow-app-logs")
def logs(call: Call) -> Any:
    """Runs of clients, the newest first; not those that an editor tried. The filters by time are by Dify's
    documentation; nobody recorded them."""
    world, query = call.world, call.request.query
    if call.app.mode != "workflow":  # by source; nobody recorded it
        raise refuse(404, "app_not_found", "App not found")
    wanted = query.get("status")
    first, last = (_moment(query.get(f"created_at__{name}")) for name in ("after", "before"))
    found = [
        one
        for one in call.app.runs
        if one["triggered_from"] != "debugging"
        and (not wanted or one["status"] == wanted)
        and (first is None or one["created_at"] >= first)
        and (last is None or one["created_at"] <= last)
    ]
    return {**cut(call, "data", [lambda one=one: log_line(world, one) for one in found]), "total": len(found)}


@route("GET", f"{HERE}/advanced-chat/workflow-runs")
def chat_runs(call: Call) -> Any:
    """The same of a chatflow, with the conversation of each: by source, not recorded."""
    if call.app.mode != "advanced-chat":
        raise refuse(404, "app_not_found", "App not found")
    listed = runs(call)
    talks = {one["id"]: one["run"].talk for one in call.app.runs}
    for item in listed["data"]:
        talk = talks[item["id"]]
        item |= {"conversation_id": talk.id if talk else None, "message_id": None}
    return listed


@route("GET", f"{HERE}/workflow-runs")
def runs(call: Call) -> Any:
    """Runs by what triggered them: ``debugging`` unless told, or ``app-run``; webhooks it does not know."""
    wanted = call.request.query.get("triggered_from", "debugging")
    if wanted not in ("debugging", "app-run"):
        told = "Input should be 'debugging' or 'app-run'"
        raise invalid("WorkflowRunListQuery", "triggered_from", told, "literal_error", wanted, call.world.newer)
    left_out = ("triggered_from", "error")
    kept = [one for one in call.app.runs if one["triggered_from"] == wanted]
    last = call.request.query.get("last_id")
    if last:
        ids = [one["id"] for one in kept]
        kept = kept[ids.index(last) + 1 :] if last in ids else []
    limit = call.number("limit", 20)
    items = [
        {
            **{name: value for name, value in shapes.summary(one).items() if name not in left_out},
            "created_by_account": None, "retry_index": None,
        }
        for one in kept[:limit]
    ]  # fmt: skip
    return {"limit": limit, "has_more": len(kept) > limit, "data": items}


def _run(call: Call, run_id: str) -> Run:
    found = next((one for one in call.app.runs if one["id"] == run_id), None)
    if found is None:
        raise refuse(404, "not_found", "Workflow run not found")
    made: Run = found["run"]
    return made


@route("GET", f"{HERE}/workflow-runs/<id>")
def run_detail(call: Call) -> Any:
    made = _run(call, call.parts["id"])
    user = shapes.end_user(call.world, made)
    return {
        "id": made.id, "version": made.row.version, "graph": made.row.graph,
        "inputs": made.nodes[0]["inputs"] if made.nodes else made.given, "status": made.status,
        "outputs": made.outputs, "error": made.error, "elapsed_time": made.elapsed, "total_tokens": 0,
        "total_steps": len(made.nodes), "created_by_role": "end_user" if user else "account",
        "created_by_account": None, "created_by_end_user": user, "created_at": made.created_at,
        "finished_at": made.created_at, "exceptions_count": 1 if made.status == "failed" else 0,
    }  # fmt: skip


@route("GET", f"{HERE}/workflow-runs/<id>/node-executions")
def nodes(call: Call) -> Any:
    made = _run(call, call.parts["id"])
    user = shapes.end_user(call.world, made)
    shown = [
        {
            "id": one["id"], "index": number, "predecessor_node_id": None, "node_id": one["node_id"],
            "node_type": one["node_type"], "title": one["title"], "inputs": one["inputs"] or {},
            "process_data": one["process_data"], "outputs": one["outputs"], "status": one["status"],
            "error": one["error"], "elapsed_time": 0.001, "execution_metadata": {}, "extras": {},
            "created_at": made.created_at, "created_by_role": "end_user", "created_by_account": None,
            "created_by_end_user": user, "finished_at": made.created_at, "inputs_truncated": False,
            "outputs_truncated": False, "process_data_truncated": False,
        }
        for number, one in enumerate(made.nodes, 1)
    ]  # fmt: skip
    return {"data": shown}
