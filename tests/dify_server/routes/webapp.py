"""The web app of a workflow, which follows what the app serves."""

from typing import Any

from dify_server.calls import Call, route
from dify_server.routes.service import live_of, start


@route("GET", "/api/passport", "webapp")
def passport(call: Call) -> Any:
    return {"access_token": call.world.token("passport")}


@route("POST", "/api/workflows/run", "webapp")
def run(call: Call) -> Any:
    return start(
        call, live_of(call), "web-user", streaming=True, plain=True, created_from="web-app", user_kind="web-app",
    )  # fmt: skip
