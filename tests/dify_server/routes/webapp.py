"""The web app of a workflow, which follows what the app serves."""

from typing import Any
from uuid import uuid4

from dify_server.calls import Call, route
from dify_server.routes.service import live_of, start


@route("GET", "/api/passport", "webapp")
def passport(call: Call) -> Any:
    return {"access_token": call.world.token("passport")}


@route("POST", "/api/workflows/run", "webapp")
def run(call: Call) -> Any:
    user = call.world.end_users.setdefault((call.app.id, "web"), str(uuid4()))
    return start(
        call, live_of(call), user, streaming=True, plain=True, created_from="web-app", user_kind="web-app",
    )  # fmt: skip
