"""What the recorder did besides what it recorded, and what it sent where a recording is redacted."""

import base64
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dify_server import documents
from dify_server.world import PASSWORD

if TYPE_CHECKING:
    from .replay import Exchange, Replay


PASSWORDS = {
    "setup weak password": "short",
    "login with PLAIN password": PASSWORD,
    "login bad password (base64)": base64.b64encode(b"wrong").decode(),
    "login ok (base64 password)": base64.b64encode(PASSWORD.encode()).decode(),
    "login without remember_me: same cookies": base64.b64encode(PASSWORD.encode()).decode(),
    **{f"unknown account wrong password #{n}": base64.b64encode(b"wrong").decode() for n in range(1, 8)},
}
_AUTH, _LOGOUT = "1.13.0/01_setup_auth", "1.13.0/01b_logout"


def nothing(*_: object) -> None:
    """Where nothing was done besides."""


def unchanged(_: "Replay") -> dict[str, str]:
    return {}


Changes = Callable[["Replay"], dict[str, str]]


def _with(**headers: str) -> Changes:
    return lambda _: {name.replace("_", "-"): value for name, value in headers.items()}


def _cookie(number: int) -> Changes:
    names = ("access_token", "refresh_token", "csrf_token")
    return lambda replay: {"Cookie": f"{names[number]}={replay.session('')[number]}"}


def _expired(replay: "Replay") -> str:
    replay.world.people.expired.add("ended")
    return "ended"


def _workflow_key(replay: "Replay") -> str:
    app = next(one for one in replay.world.apps.values() if one.mode == "workflow" and one.live)
    return replay.world.add_key(app)


HEADERS: dict[tuple[str, str], Changes] = {
    (_AUTH, "cookies + wrong X-CSRF-Token"): _with(X_CSRF_Token="wrong"),
    (_AUTH, "garbage bearer"): _with(Authorization="Bearer garbage"),
    (_AUTH, "EXPIRED access token"): lambda one: {"Authorization": f"Bearer {_expired(one)}"},
    (_AUTH, "Bearer access_token + X-CSRF-Token + Cookie csrf_token only"): _cookie(2),
    (_AUTH, "refresh (cookie refresh_token)"): _cookie(1),
    (_AUTH, "refresh with a garbage refresh token (after logout)"): _with(Cookie="refresh_token=garbage"),
    ("1.13.0/05b_service_chatflow", "chat endpoint on a workflow app"): lambda one: {
        "Authorization": f"Bearer {_workflow_key(one)}"
    },
    ("1.13.0/07a_errors_limits", "unknown key"): _with(Authorization="Bearer app-unknown"),
    ("1.13.0/07a_errors_limits", "bad scheme"): _with(Authorization="Basic x"),
    ("1.13.0/07a_errors_limits", "deleted key"): lambda one: {"Authorization": f"Bearer {one.keys[-1][1]}"},
    ("1.14.2/13_openapi", "app key on openapi"): lambda one: {"Authorization": f"Bearer {one.keys[-1][1]}"},
    ("1.14.2/13_openapi", "console access token on openapi"): lambda one: {
        "Authorization": f"Bearer {one.session('')[0]}"
    },
    ("1.14.2/13_openapi", "approve with the console access token as bearer"): lambda one: {
        "Authorization": f"Bearer {one.session('')[0]}"
    },
    ("1.14.2/13_openapi", "unknown oauth token"): _with(Authorization="Bearer dfoa_unknown"),
}


def _not_set_up(replay: "Replay") -> None:
    replay.world.ready = False


def _pending_member(replay: "Replay") -> None:
    people, space = replay.world.people, replay.world.workspace_id
    people.accounts.remove(replay.world.owner)
    people.accounts.append(replay.world.owner)
    people.add("member1795455148", "member1795455148@example.com", space, "normal").status = "pending"


def _without_openapi(replay: "Replay") -> None:
    replay.world.openapi = False


def _members(replay: "Replay") -> None:
    """People who had been invited before anything was recorded."""
    world, space = replay.world, replay.world.workspace_id
    world.openapi = True
    for number, role in enumerate(("admin", "normal", "editor")):
        account = world.people.add(role, f"{role}000000000{number}@example.com", space, role)
        replay.people[role] = account
    world.people.accounts.sort(key=lambda one: ("admin", "Admin", "normal", "editor", "Other").index(one.name))


def _earlier(replay: "Replay", flows: int, chats: int = 0) -> None:
    """Apps older than all that there are."""
    known = dict(replay.world.apps)
    replay.world.apps.clear()
    for number in range(flows + chats):
        replay.world.add_app(f"earlier {number}", mode="workflow" if number < flows else "advanced-chat")
    replay.world.apps.update(known)


def _elsewhere(replay: "Replay") -> None:
    """Apps and a token of takes that were not kept."""
    world = replay.world
    _earlier(replay, 25, 2)
    world.people.tokens["dfoa_earlier"] = {
        "account": world.owner.id, "id": str(uuid4()), "label": "denied", "calls": 0,
        "created_at": "2026-11-23T17:00:00.000000Z", "expires_at": "2026-12-07T17:00:00.000000Z",
    }  # fmt: skip
    world.token_rate = 60


PREPARE: dict[str, Callable[["Replay"], None]] = {
    _AUTH: _not_set_up,
    "1.13.0/07a_errors_limits": _pending_member,
    "1.14.2/10_openapi_disabled": _without_openapi,
    "1.14.2/07c_hangs": _members,
    "1.14.2/13_openapi": _elsewhere,
    "1.14.2/17_restore_roles": lambda one: _earlier(one, 4),
}


def _point_at_v1(replay: "Replay", note: dict[str, Any]) -> None:
    app = replay.keys[-1][0]
    replay.world.point(app, next(one for one in app.versions if one.marked_name == "v1"))


def _import_v1(replay: "Replay", note: dict[str, Any]) -> None:
    """The official tool exported the first version and imported it over the app."""
    world = replay.world
    app = next(reversed(world.apps.values()))
    document = documents.export(world, app, app.versions[-1].id, True)
    body = {"mode": "yaml-content", "yaml_content": document, "app_id": app.id}
    documents.import_document(world, world.owner, world.workspace_id, body)


NOTES: dict[str, dict[str, Callable[["Replay", dict[str, Any]], None]]] = {
    "1.13.0/09_other_consumers": {"NOT AN API: UPDATE": _point_at_v1},
    "1.14.2/14_difyctl": {"difyctl import app --from-file": _import_v1},
}


def _six_at_once(replay: "Replay", exchange: "Exchange") -> None:
    """Six publishes at once, recorded in a note; in the order in which the server took them."""
    if exchange.occurrence == 1:
        app = next(one for one in replay.world.apps.values() if one.name == "wf-versions")
        for number in (3, 1, 5, 0, 4, 2):
            replay.world.publish(app, f"conc{number}")


def _stop_it(replay: "Replay", exchange: "Exchange") -> None:
    """Stops the run once it is in its slow node; its task was known to the recorder, not to us."""
    world = replay.world

    def stop() -> None:
        _until(lambda: any(len(one.nodes) == 2 for one in list(world.going.values())))
        world.timing.nap, world.timing.ping = 0.01, 0.1
        for one in list(world.going.values()):
            one.stopped = True

    world.timing.nap, world.timing.ping = 0.3, 5.0
    threading.Thread(target=stop, daemon=True).start()


def _in_flight(replay: "Replay", exchange: "Exchange") -> None:
    """Begins the two runs whose answers were recorded later."""
    from .replay import Exchange, exchanges_of

    world, pool = replay.world, ThreadPoolExecutor(2)
    world.timing.nap, world.timing.ping = 0.2, 5.0
    for one in exchanges_of(replay.file):
        if isinstance(one, Exchange) and one.label.startswith("in flight"):
            replay.early[one.name] = pool.submit(replay.send, one)
    _until(lambda: sum(len(one.nodes) == 2 for one in list(world.going.values())) == 2)
    world.timing.nap = 0.01


def _landed(replay: "Replay", exchange: "Exchange") -> None:
    replay.world.timing.ping = 0.1


def _until(come: Callable[[], bool]) -> None:
    for _ in range(5000):
        if come():
            return
        time.sleep(0.001)


def _device(replay: "Replay", exchange: "Exchange") -> None:
    """The official tool had asked for a code."""
    asked = replay.http.post(
        "/openapi/v1/oauth/device/code", json={"client_id": "difyctl", "device_label": "difyctl"}
    ).json()
    replay.own[exchange.data["request_json"]["user_code"]] = asked["user_code"]


def _counted(replay: "Replay", exchange: "Exchange") -> None:
    """Fifteen calls between were left out of the recording."""
    replay.world.people.tokens[replay.token]["calls"] += 15


BEFORE: dict[tuple[str, str], Callable[["Replay", "Exchange"], None]] = {
    ("1.13.0/03_versions_rollback", "list versions"): _six_at_once,
    ("1.13.0/05a_service_workflow", "streaming run that is stopped"): _stop_it,
    ("1.13.0/05a_service_workflow", "publish while runs are in flight"): _in_flight,
    ("1.13.0/05a_service_workflow", "run a deleted version"): _landed,
    ("1.14.2/13_openapi", "rate limit 16"): _counted,
    ("1.14.2/14_difyctl", "approve the CLI's user_code with the console session"): _device,
}
