"""Routes for Dify servers: connecting them, capturing and watching them, and which app runs which channel."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, SecretStr

from lastgood.access import decisions
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, UnknownWorkflow
from lastgood.history import apps, channels, integrations, rebinding, workflows
from lastgood.history.apps import App, Way
from lastgood.release import planning
from lastgood.release.plan import Plan, PlannedMove
from lastgood.server.context import Context, Served, may, record_read
from lastgood.targets.dify import connecting, forms, servers
from lastgood.targets.dify import signin as ways

router = APIRouter(prefix="/v1")


class WayIn(BaseModel):
    """A way into a server: an account, the server's admin key, or a token of /openapi/v1."""

    kind: Literal["password", "admin-key", "bearer"]
    email: str = Field("", max_length=320)
    workspace_id: str = Field("", max_length=64)
    secret: SecretStr = Field(description="the password, the key or the token")

    def opened(self) -> ways.Way:
        """As the client takes it."""
        secret = self.secret.get_secret_value()
        match self.kind:
            case "password":
                return ways.Password(self.email, secret)
            case "admin-key":
                return ways.AdminKey(secret, self.workspace_id)
            case "bearer":
                return ways.Bearer(secret)


class NewServer(BaseModel):
    """A Dify server to connect, or to connect again."""

    name: str = Field(min_length=1, max_length=63)
    url: str = Field(min_length=1, max_length=2000)
    way: WayIn
    service_url: str = Field("", max_length=2000, description="where its Service API is, if not below `url`")
    ca_file: str = Field(
        "", max_length=4096, description="certificates (PEM) to trust, on the machine of this server"
    )


class Capture(BaseModel):
    """What to capture."""

    app: str | None = Field(None, max_length=255, description="one app, by Dify's id or its name")
    all: bool = Field(False, description="read everything again, whatever is known")


class Binding(BaseModel):
    """A Dify app for a channel, or another way to move it."""

    server: str = Field("", max_length=63, description="needed for an app that is not bound yet")
    app: str = Field("", max_length=255, description="Dify's id or the name of the app")
    channel: str = "live"
    way: Way | None = Field(None, description="how its pointer is moved")
    move: bool = Field(False, description="take the app, with its history, from the channel that it runs now")


@router.get("/servers", summary="The connected Dify servers")
def list_servers(served: Served, who: Annotated[Principal, Depends(may("target:read"))]) -> dict[str, Any]:
    watched = {one["server"]: one for one in served.watching.watched()}
    shown = decisions.visible(served.store, who, "target:read")
    with served.store.read() as tx:
        items = [
            {**server.public(), "apps": len(apps.of_target(tx, server.name)), "watch": watched.get(server.name)}
            for server in servers.listing(tx)
            if shown(f"target:{server.name}")
        ]
    return {"items": items, "next": None}


@router.post(
    "/servers", status_code=201, summary="Connect a Dify server: try the way in, learn what it can do, keep it"
)
def connect_server(
    body: NewServer, served: Served, who: Annotated[Principal, Depends(may("target:connect"))]
) -> dict[str, Any]:
    decisions.require(served.store, who, "target:connect", f"target:{body.name}")
    way = body.way.opened()
    found = connecting.facts_of(body.url, way, ca_file=body.ca_file or None)

    def work(tx: Tx) -> servers.Server:
        return servers.save(tx, who, body.name, body.url, way, facts=found, service_url=body.service_url.rstrip("/"))

    return served.store.write(work).public()


@router.post("/servers/{server}/capture", status_code=202, summary="Begin to capture apps, versions and drafts")
def start_capture(
    server: str, body: Capture, served: Served, who: Annotated[Principal, Depends(may("target:capture"))]
) -> dict[str, Any]:
    return served.watching.capture(server, who, app=body.app, everything=body.all).public()


@router.get("/servers/{server}/capture", summary="How far the newest capture is")
def read_capture(
    server: str, served: Served, who: Annotated[Principal, Depends(may("target:read"))]
) -> dict[str, Any] | None:
    with served.store.read() as tx:
        servers.get(tx, server)
    found = served.watching.progress(server)
    return found.public() if found else None


@router.post("/servers/{server}/look", summary="Look at a server once, as the watch does")
def look_once(
    server: str, served: Served, who: Annotated[Principal, Depends(may("target:capture"))]
) -> dict[str, Any]:
    found = served.watching.look(server, who)
    return {
        "sentence": found.sentence(),
        "apps": found.apps,
        "captured": [
            {"workflow": one.workflow, "versions": one.versions, "again": one.again} for one in found.captured
        ],
        "drafts": found.drafts,
        "versions_gone": list(found.rows_gone),
        "apps_gone": list(found.apps_gone),
        "changes": found.changes,
        "proven": list(found.proven),
        "problems": list(found.problems),
    }


@router.get("/workflows/{workflow}/apps", summary="The Dify apps that run the channels of a workflow")
def list_apps(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        items = [app.public() for app in apps.of_workflow(tx, workflows.find(tx, workflow))]
    return {"items": items, "next": None}


@router.post("/workflows/{workflow}/apps", summary="Let a channel be what a Dify app runs, or change how it is moved")
def bind_app(
    workflow: str, body: Binding, served: Served, who: Annotated[Principal, Depends(may("target:connect"))]
) -> dict[str, Any]:
    if body.server:
        decisions.require(served.store, who, "target:connect", f"target:{body.server}")
    found = _app_on(served, body) if body.server else None

    def work(tx: Tx) -> dict[str, Any]:
        held = apps.find(tx, body.server, found.id) if found else None
        if held is not None and workflow in (held.slug, held.workflow_id) and held.channel == body.channel:
            return (apps.set_way(tx, who, held, body.way) if body.way else held).public()
        if found is None:
            if body.way is None:
                raise InvalidRequest(where="server", reason="name the server and the app, or another way")
            return apps.set_way(tx, who, apps.get(tx, workflows.find(tx, workflow), body.channel), body.way).public()
        try:
            owner = workflows.find(tx, workflow)
        except UnknownWorkflow:
            owner = workflows.create(tx, who, workflow, name=found.name, mode=found.mode, target=body.server)
        if owner.mode != found.mode:
            reason = f"{found.name!r} is a {found.mode} app, and {owner.slug} is a {owner.mode} one"
            raise InvalidRequest(where="app", reason=reason)
        if held is not None and leaving is not None and held.channel_pk == leaving.channel_pk:
            if body.way:
                held = apps.set_way(tx, who, held, body.way)
            return rebinding.rebind(tx, who, held, owner, body.channel).public()
        return apps.bind(
            tx, who, owner, body.channel,
            target=body.server, app=found.id, name=found.name, mode=found.mode, way=body.way or "publish",
        ).public()  # fmt: skip

    leaving = _leaving(served, who, workflow, body, found.id) if found and body.move else None
    plan = _loss(served, workflow, body, leaving) if leaving is not None else None
    if plan is None:
        return served.store.write(work)
    return planning.guard(served.means(), who, plan, lambda tx, _: work(tx))


def _leaving(served: Context, who: Principal, workflow: str, body: Binding, app_id: str) -> App | None:
    """The app as another channel has it, which is asked for too: it loses the app, and its versions are copied. None
    where no other has it. Raises `Denied`."""
    with served.store.read() as tx:
        held = apps.find(tx, body.server, app_id)
    if held is None or (workflow in (held.slug, held.workflow_id) and held.channel == body.channel):
        return None
    decisions.require(served.store, who, "target:connect", f"workflow:{held.slug}")
    return held


def _loss(served: Context, workflow: str, body: Binding, leaving: App) -> Plan | None:
    """That a channel loses the app that runs it, and with it the keys that open it, as a plan: a protected channel
    loses it by two people only. None where it points to nothing."""
    with served.store.read() as tx:
        pointer = channels.get(tx, workflows.by_pk(tx, leaving.workflow_pk), leaving.channel)
    if pointer.version is None:
        return None
    reason = f"the app {leaving.name} goes to {body.channel} of {workflow}"
    version, generation = pointer.version, pointer.generation
    move = PlannedMove(leaving.workflow_id, leaving.slug, leaving.channel, version, version, generation, why=reason)
    return Plan("adopt", (move,), reason=reason)


@router.get("/workflows/{workflow}/integrations", summary="What is around its apps and in no version")
def list_integrations(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    record_read(served, who, "workflow:read", f"workflow/{workflow}/integrations")
    with served.store.read() as tx:
        items = [
            {"server": app.target, "app": app.app_id, "channel": app.channel, **part.public()}
            for app in apps.of_workflow(tx, workflows.find(tx, workflow))
            for part in integrations.listing(tx, app)
        ]
    return {"items": items, "next": None}


def _app_on(served: Context, body: Binding) -> forms.App:
    """The app that `body` names by its id or name. Raises `InvalidRequest`."""
    if not body.app:
        raise InvalidRequest(where="app", reason="give the id or the name of the app on the server")
    found = [one for one in served.dify(body.server).console.every_app() if body.app in (one.id, one.name)]
    if len(found) != 1:
        reason = f"{len(found)} apps on {body.server} are called {body.app!r}" + ("; give its id" if found else "")
        raise InvalidRequest(where="app", reason=reason)
    if not found[0].has_versions:
        raise InvalidRequest(where="app", reason=f"it is a {found[0].mode} app, and Dify keeps no versions of those")
    return found[0]
