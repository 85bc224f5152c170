"""A request on its way to its route: the table of routes, and the doors before them."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dify_server.people import EDITORS, MANAGERS, Account
from dify_server.refusals import Refuse, broken, forbidden, page, refuse
from dify_server.rows import FakeApp

if TYPE_CHECKING:
    from dify_server.world import World

Headers = list[tuple[str, str]]
Act = Callable[["Call"], Any]
UUID_FORM = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Request:
    """What came in. Header names are lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Answer:
    """What goes out. `body` is JSON unless it is bytes; ``lines`` are sent one by one instead."""

    status: int
    body: Any = None
    headers: Headers = field(default_factory=list)
    lines: tuple[str, ...] = ()


@dataclass
class Later:
    """An answer that takes time: `steps` are waited through, then `body` (or what it refuses with) is answered."""

    steps: Iterator[float]
    body: Callable[[], Any]
    done: Callable[[], None] = lambda: None


@dataclass
class Stream:
    """Server-sent events: pairs of a wait and a text to send, ``None`` for a wait alone. `hangs` keeps the socket
    open and silent after the last, and the connection's slot taken, client or no client."""

    steps: Iterator[tuple[float, str | None]]
    hangs: bool = False
    pings: bool = True
    done: Callable[[], None] = lambda: None


class Call:
    """A request with the world, the parts of its path, who sent it, and the headers to answer with."""

    def __init__(self, world: "World", request: Request, parts: dict[str, str]) -> None:
        self.world, self.request, self.parts = world, request, parts
        self.headers: Headers = []
        self.status = 200
        self.who: Account = world.owner
        self.workspace = world.workspace_id
        self.found: FakeApp | None = None

    @property
    def app(self) -> FakeApp:
        """The app of the path, in the caller's workspace."""
        return self.found or self.world.app(self.parts["app"], self.workspace)

    @property
    def body(self) -> dict[str, Any]:
        if not self.request.body:
            return {}
        try:
            read = json.loads(self.request.body)
        except ValueError:
            raise refuse(
                400, "bad_request",
                "The browser (or proxy) sent a request that this server could not understand.",
            ) from None  # fmt: skip
        return read if isinstance(read, dict) else {}

    @property
    def role(self) -> str:
        return self.who.roles.get(self.workspace, "normal")

    def editor(self) -> None:
        """Refuses who may not edit."""
        if self.role not in EDITORS:
            raise forbidden()

    def manager(self) -> None:
        if self.role not in MANAGERS:
            raise forbidden()

    def number(self, name: str, default: int) -> int:
        return int(self.request.query.get(name, default))


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    act: Act
    door: str
    newer: bool


ROUTES: list[Route] = []


def route(method: str, path: str, door: str = "console", *, newer: bool = False) -> Callable[[Act], Act]:
    """Adds a route. ``<app>`` and ``<id>`` in its path become the call's parts; `newer` ones 1.14.2 alone has."""
    pattern = re.compile(path.replace("<app>", f"(?P<app>{UUID_FORM})").replace("<id>", "(?P<id>[^/]+)") + "$")

    def add(act: Act) -> Act:
        ROUTES.append(Route(method, pattern, act, door, newer))
        return act

    return add


def answer(world: "World", request: Request) -> tuple[int, Any, Headers]:
    """Status, body and headers of the answer. The body may be a `Later` or a `Stream`."""
    found = [(one, match) for one in ROUTES if (match := one.pattern.match(request.path))]
    found = [(one, match) for one, match in found if world.newer or not one.newer]
    if request.path.startswith("/openapi/v1") and not (world.openapi and world.newer):
        found = []
    if not found:
        if request.path.startswith("/openapi/v1/") and request.path != "/openapi/v1/" and world.openapi:
            told = page().decode().split("<p>")[1].split("</p>")[0]
            return 404, {"code": "not_found", "message": told, "status": 404}, []
        return 404, page(), []
    for one, match in found:
        if one.method == request.method:
            call = Call(world, request, match.groupdict())
            try:
                DOORS[one.door](call)
                body = one.act(call)
                return call.status, body, call.headers
            except Refuse as refused:
                return refused.status, refused.body, call.headers
    message = "The method is not allowed for the requested URL."
    return 405, {"code": "method_not_allowed", "message": message, "status": 405}, []


def malformed(value: str) -> None:
    """Most routes break on an id that is none."""
    try:
        UUID(value)
    except ValueError:
        raise broken() from None


def cut(call: Call, name: str, items: list[Any], most: int = 100) -> dict[str, Any]:
    """One page of a list. Only its items are made: pass a list of what makes them."""
    number, limit = call.number("page", 1), call.number("limit", 20)
    begin = (number - 1) * limit
    shown = [one() if callable(one) else one for one in items[begin : begin + limit]]
    return {"page": number, "limit": limit, "has_more": begin + limit < len(items), name: shown}


# doors


def _open(call: Call) -> None:
    pass


def cookies(request: Request) -> dict[str, str]:
    return dict(part.strip().split("=", 1) for part in request.headers.get("cookie", "").split(";") if "=" in part)


def _admin(call: Call, bearer: str) -> bool:
    """Whether the admin key opens a workspace; it acts as its owner."""
    workspace = call.request.headers.get("x-workspace-id", "")
    if bearer != call.world.admin_key or workspace not in call.world.people.workspaces:
        return False
    call.who, call.workspace = call.world.people.owner(workspace), workspace
    return True


def _console(call: Call) -> None:
    if not call.world.ready:
        told = (
            "Dify has not been initialized and installed yet. Please proceed with the initialization and installation"
        )
        raise refuse(401, "not_setup", f"{told} process first.")
    people, headers = call.world.people, call.request.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    sent = cookies(call.request)
    if bearer and _admin(call, bearer):
        return
    token = bearer or sent.get("access_token", "")
    if not token:
        raise refuse(401, "unauthorized", "Invalid Authorization token.")
    if bearer and bearer not in people.access and bearer not in people.expired:
        raise refuse(401, "unauthorized", "Invalid token.")
    if "/workflows/draft" not in call.request.path and not call.world.tokens_in_body:
        csrf = sent.get("csrf_token")
        if not csrf or csrf not in people.csrf or headers.get("x-csrf-token") != csrf:
            raise refuse(401, "unauthorized", "CSRF token is missing or invalid.")
    account = people.by_id(people.access.get(token, ""))
    if account is None:
        raise refuse(401, "unauthorized", "Token has expired.")
    call.who, call.workspace = account, account.home


def _service(call: Call) -> None:
    sent = call.request.headers.get("authorization", "")
    if " " not in sent:
        raise refuse(401, "unauthorized", "Authorization header must be provided and start with 'Bearer'")
    scheme, token = sent.split(" ", 1)
    if scheme.lower() != "bearer":
        raise refuse(401, "unauthorized", "Authorization scheme must be 'Bearer'")
    for app in call.world.apps.values():
        if any(token == key["token"] for key in app.keys):
            call.found, call.workspace = app, app.tenant
            if not app.enable_api:
                raise refuse(403, "forbidden", "The app's API service has been disabled.")
            return
    raise refuse(401, "unauthorized", "Access token is invalid")


def _webapp(call: Call) -> None:
    code = call.request.headers.get("x-app-code", "")
    for app in call.world.apps.values():
        if app.site.get("code") == code:
            call.found, call.workspace = app, app.tenant
            return
    raise refuse(401, "unauthorized", "Access token is invalid")


def _tools(call: Call) -> None:
    """A token of /openapi/v1, counted."""
    people, sent = call.world.people, call.request.headers.get("authorization", "")
    if not sent:
        raise refuse(401, "unauthorized", "bearer required")
    token = people.tokens.get(sent.removeprefix("Bearer "))
    account = people.by_id(token["account"]) if token else None
    if token is None or account is None:
        raise refuse(500, "internal_server_error", "Internal Server Error")
    token["calls"] += 1
    if token["calls"] > call.world.token_rate:
        raise refuse(429, "too_many_requests", "This user has exceeded an allotted request count. Try again later.")
    call.who, call.workspace = account, account.home


def _approver(call: Call) -> None:
    """Who may approve a device: a session's cookies (no CSRF header asked for) or the admin key."""
    bearer = call.request.headers.get("authorization", "").removeprefix("Bearer ")
    if bearer and _admin(call, bearer):
        return
    account = call.world.people.by_id(call.world.people.access.get(cookies(call.request).get("access_token", ""), ""))
    if account is None:
        raise Refuse(401, {"code": "unauthorized", "message": "Unauthorized."})
    call.who, call.workspace = account, account.home


DOORS: dict[str, Callable[[Call], None]] = {
    "open": _open, "console": _console, "service": _service, "webapp": _webapp, "openapi": _tools,
    "approver": _approver,
}  # fmt: skip
