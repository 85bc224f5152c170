"""The fake against recordings of real servers: whatever it answers, a real one of that version answered with the same
status, the same keys and the same kinds of values; and the other way round for every exchange it claims to play.

An exchange is known by its method, path, status and Dify's error code. Servers of 1.14.2 were recorded only where
they differ, so what is missing there is looked for under 1.13.0."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from dify_server import FakeDify
from dify_server.world import ADMIN_KEY, EMAIL, PASSWORD, TOKEN, graph
from support.shared import shared

VERSIONS = ("1.13.0", "1.14.2")
Key = tuple[str, str, int, str]

# What the fake answers and nobody recorded, with the reason.
UNRECORDED: dict[str, str] = {
    "GET /console/api/apps/{}/server 404 not_found": "an app without an MCP server was never asked",
    "GET /console/api/apps/{}/workflows/{}/restore 404 ": "a POST was recorded; both are answered by the same page",
    "GET /console/api/apps/{}/workflows/draft/features 404 ": "as the one before",
}

# Values whose insides are the user's own, or belong to node kinds and settings that the fake does not play.
_OPAQUE = frozenset(
    {"graph", "features", "outputs", "inputs", "parameters", "system_parameters", "user_input_form", "icon", "tags"}
    | {"text_to_speech", "file_upload"}
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, recorded or played."""

    key: Key
    body: Any
    label: str


def key_of(method: str, path: str, status: int, body: Any) -> Key:
    plain = _UUID.sub("{}", path.split("?", maxsplit=1)[0])
    code = body.get("code") if isinstance(body, dict) and status >= 400 else ""
    return method, plain, status, code or ""


def recorded(version: str) -> Iterator[Exchange]:
    for file in sorted(shared("dify-recordings", version).glob("*.json")):
        for one in json.loads(file.read_text())["exchanges"]:
            if "method" not in one or not isinstance(one.get("status"), int) or one.get("sse_lines_ms"):
                continue
            kind = (one.get("response_headers") or {}).get("content-type", "")
            body = one.get("response_json") if "json" in kind else "html" if "html" in kind else ""
            yield Exchange(
                key_of(one["method"], one["path"], one["status"], body), body, f"{file.name}: {one['label']}"
            )


def fits(left: Any, right: Any, name: str = "") -> str:
    """Why two answers differ in keys or kinds of values; empty where they do not. Null fits everything."""
    if left is None or right is None or name in _OPAQUE:
        return ""
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            return f"{name or 'the answer'}: {sorted(left.keys() ^ right.keys())} stand on one side only"
        return next((why for key in left if (why := fits(left[key], right[key], key))), "")
    if isinstance(left, list) and isinstance(right, list):
        return fits(left[0], right[0], f"an item of {name}") if left and right else ""
    kinds = [
        float if isinstance(one, int | float) and not isinstance(one, bool) else type(one) for one in (left, right)
    ]
    return "" if kinds[0] is kinds[1] else f"{name or 'the answer'}: {kinds[0].__name__} and {kinds[1].__name__}"


class Tour:
    """Asks a fake everything it claims to play, and keeps what came."""

    def __init__(self, dify: FakeDify) -> None:
        self.dify = dify
        self.http = httpx.Client(base_url=dify.url, trust_env=False)
        self.seen: list[Exchange] = []
        self.admin = {"Authorization": f"Bearer {ADMIN_KEY}", "X-WORKSPACE-ID": dify.world.workspace_id}

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        sent = self.admin if headers is None else headers
        answer = self.http.request(method, path, json=body, headers=sent)
        kind = answer.headers["content-type"]
        given = answer.json() if "json" in kind and answer.content else "html" if "html" in kind else ""
        self.seen.append(Exchange(key_of(method, path, answer.status_code, given), given, f"{method} {path}"))
        return given

    def everything(self) -> list[Exchange]:
        self.doors()
        self.console()
        self.service()
        if self.dify.world.newer:
            self.tools()
        return self.seen

    def doors(self) -> None:
        api = "/console/api"
        import base64

        sent = base64.b64encode(PASSWORD.encode()).decode()
        self.ask("GET", f"{api}/account/profile", headers={})
        self.ask("POST", f"{api}/login", {"email": EMAIL, "password": PASSWORD}, {})
        self.ask("POST", f"{api}/login", {"email": EMAIL, "password": sent}, {})
        self.ask("GET", f"{api}/account/profile", headers={})  # cookies without the CSRF header
        csrf = {"X-CSRF-Token": self.http.cookies["csrf_token"]}
        self.ask("GET", f"{api}/account/profile", headers=csrf)
        self.ask("POST", f"{api}/refresh-token", headers={})
        self.http.cookies.clear()
        self.ask("POST", f"{api}/refresh-token", headers={})
        for _ in range(7):
            self.ask("POST", f"{api}/login", {"email": EMAIL, "password": "d3Jvbmc="}, {})
        self.ask("GET", f"{api}/workspaces")
        self.ask("POST", f"{api}/workspaces/current")
        self.ask("GET", f"{api}/nope")

    def console(self) -> None:
        world = self.dify.world
        app = world.add_app("a")
        here = f"/console/api/apps/{app.id}"
        unknown = str(uuid4())
        self.ask("GET", "/console/api/apps?page=1&limit=100")
        self.ask("GET", here)
        self.ask("GET", f"/console/api/apps/{unknown}")
        self.ask("GET", "/console/api/apps/not-a-uuid")
        self.ask("GET", f"{here}/workflows/publish")
        self.ask("GET", f"{here}/workflows?page=1&limit=10")
        draft = self.ask("GET", f"{here}/workflows/draft")
        variable = {"id": unknown, "name": "K", "value": "v", "value_type": "secret", "description": ""}
        body = {
            "graph": graph("x"), "features": draft["features"], "hash": draft["hash"],
            "environment_variables": [{**variable, "selector": ["env", "K"]}], "conversation_variables": [],
        }  # fmt: skip
        self.ask("POST", f"{here}/workflows/draft", body)
        self.ask("POST", f"{here}/workflows/draft", body)
        self.ask("POST", f"{here}/workflows/draft", {**body, "features": None})
        self.ask("GET", f"{here}/workflows/draft/environment-variables")
        self.ask("POST", f"{here}/workflows/publish", {"marked_name": "v1"})
        self.ask("POST", f"{here}/workflows/publish", {"marked_name": "x" * 21})
        self.ask("POST", f"{here}/workflows/publish", {"marked_name": "v2"})
        self.ask("GET", f"{here}/workflows/publish")
        self.ask("GET", f"{here}/workflows?page=1&limit=10")
        self.ask("GET", f"{here}/workflows?page=1&limit=101")
        old = app.versions[1].id
        self.ask("PATCH", f"{here}/workflows/{old}", {"marked_name": "q"})
        self.ask("PATCH", f"{here}/workflows/{unknown}", {"marked_name": "q"})
        self.ask("PATCH", f"{here}/workflows/abc", {"marked_name": "q"})
        self.ask("GET", f"{here}/workflows/{old}/restore")
        self.ask("POST", f"{here}/workflows/{old}/restore")
        self.ask("GET", f"{here}/workflows/draft/features") if not world.newer else None
        if world.newer:
            for version in (unknown, draft["id"], "abc"):
                self.ask("POST", f"{here}/workflows/{version}/restore")
            self.ask("POST", f"{here}/workflows/draft/features", {"features": draft["features"]})
            self.ask("POST", "/console/api/apps/workflows/online-users", {"app_ids": [app.id]})
            self.ask("GET", "/console/api/apps/workflows/online-users")
        document = self.ask("GET", f"{here}/export?include_secret=true")["data"]
        if not world.newer:  # 1.14.2's 500 is told in words only
            self.ask("GET", f"{here}/export?workflow_id={unknown}")
            self.ask("GET", f"{here}/export?workflow_id=abc")
        self.ask("POST", "/console/api/apps/imports", {"mode": "yaml-content", "yaml_content": document})
        self.ask("POST", "/console/api/apps/imports", {"mode": "yaml-content", "yaml_content": "text"})
        self.ask("DELETE", f"{here}/workflows/{app.versions[0].id}")
        self.ask("DELETE", f"{here}/workflows/{old}")
        self.ask("DELETE", f"{here}/workflows/{old}")
        self.ask("POST", f"{here}/api-keys")
        self.ask("GET", f"{here}/api-keys")
        self.ask("GET", f"{here}/server")
        tool = "/console/api/workspaces/current/tool-provider/workflow/get"
        self.ask("GET", f"{tool}?workflow_app_id={unknown}")
        empty = world.add_app("empty")
        empty.draft = None
        self.ask("GET", f"/console/api/apps/{empty.id}/workflows/draft")
        self.ask("POST", f"/console/api/apps/{empty.id}/workflows/publish", {})
        hooked = world.add_app("hooked")
        assert hooked.draft
        hooked.draft.graph = graph("x", trigger="webhook")
        world.publish(hooked)
        there = f"/console/api/apps/{hooked.id}"
        trigger = self.ask("GET", f"{there}/triggers")["data"][0]["id"]
        self.ask("POST", f"{there}/trigger-enable", {"trigger_id": trigger, "enable_trigger": False})
        self.ask("GET", f"{there}/workflows/triggers/webhook?node_id=start")
        self.ask("GET", f"{there}/workflows/triggers/webhook?node_id=end")
        world.record(hooked, hooked.versions[0])
        self.ask("GET", f"{there}/workflow-app-logs?page=1&limit=5")
        self.ask("GET", f"{there}/workflow-runs?limit=3&triggered_from=app-run")
        self.ask("GET", f"{there}/workflow-runs?limit=3&triggered_from=webhook")

    def service(self) -> None:
        app = self.dify.world.add_app("s")
        app.keys.append({"id": "k", "token": "app-tour"})
        key = {"Authorization": "Bearer app-tour"}
        run = {"inputs": {"name": "n"}, "user": "u"}
        for headers in (key, {}, {"Authorization": "Bearer app-unknown"}):
            self.ask("GET", "/v1/info", headers=headers)
        self.ask("GET", "/v1/parameters", headers=key)
        self.ask("POST", "/v1/workflows/run", run, key)
        row = self.dify.world.publish(app)
        assert app.draft
        self.ask("GET", "/v1/parameters", headers=key)
        self.ask("POST", "/v1/workflows/run", run, key)
        self.ask("POST", "/v1/workflows/run", {"inputs": {}, "user": "u"}, key)
        for version in (row.id, str(uuid4()), app.draft.id, "abc"):
            self.ask("POST", f"/v1/workflows/{version}/run", run, key)
        self.ask("GET", "/v1/nope", headers=key)

    def tools(self) -> None:
        app = self.dify.world.add_app("t")
        key = {"Authorization": f"Bearer {TOKEN}"}
        space = self.dify.world.workspace_id
        self.ask("GET", "/openapi/v1/_version", headers={})
        for headers in (key, {}, {"Authorization": "Bearer dfoa_unknown"}):
            self.ask("GET", "/openapi/v1/account", headers=headers)
        self.ask("GET", f"/openapi/v1/apps?workspace_id={space}&limit=3", headers=key)
        self.ask("GET", f"/openapi/v1/apps/{app.id}/export", headers=key)
        self.dify.world.openapi = False
        self.ask("GET", "/openapi/v1/_version", headers={})


@pytest.fixture(scope="module")
def real() -> dict[str, dict[Key, list[Exchange]]]:
    """The recordings by version and key; 1.14.2 falls back on 1.13.0."""
    found: dict[str, dict[Key, list[Exchange]]] = {}
    for version in VERSIONS:
        found[version] = defaultdict(list)
        for one in recorded(version):
            found[version][one.key].append(one)
    for key, exchanges in found["1.13.0"].items():
        found["1.14.2"].setdefault(key, exchanges)
    return found


def played(version: str) -> list[Exchange]:
    with FakeDify(version) as dify:
        return Tour(dify).everything()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_fake_answers_a_real_server_did(version: str, real: dict[str, dict[Key, list[Exchange]]]) -> None:
    wrong = []
    for one in played(version):
        name = " ".join(map(str, one.key))
        if name in UNRECORDED:
            continue
        if not real[version].get(one.key):
            wrong.append(f"never recorded: {name} ({one.label})")
            continue
        reasons = [fits(one.body, other.body) for other in real[version][one.key]]
        if all(reasons):
            wrong.append(f"{name} ({one.label}): {reasons[0]}")
    assert wrong == []


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_real_server_answered_the_fake_does(version: str, real: dict[str, dict[Key, list[Exchange]]]) -> None:
    mine = defaultdict(list)
    for one in played(version):
        mine[one.key].append(one)
    wrong = []
    for key, exchanges in real[version].items():
        for other in exchanges if key in mine else ():
            reasons = [fits(one.body, other.body) for one in mine[key]]
            if all(reasons):
                wrong.append(f"{' '.join(map(str, key))} ({other.label}): {reasons[0]}")
    assert wrong == []


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ({"a": 1}, {"a": 2.5}, True),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": {"b": [1]}}, {"a": {"b": ["x"]}}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}, False),
        ({"a": []}, {"a": [{"b": 1}]}, True),
        ({"a": None}, {"a": {"b": 1}}, True),
        ({"graph": {"x": 1}}, {"graph": {"y": 2}}, True),
        ("html", {"a": 1}, False),
    ],
)
def test_the_comparison_can_tell(left: Any, right: Any, same: bool) -> None:
    assert (fits(left, right) == "") is same
