"""What a Dify server can do, learnt by asking it: a fork or a backport may carry another version number than its
abilities. Nothing is written to learn it; each answer says how it was learnt."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

from lastgood.errors import DifyError, DifyLacks, DifyMissing
from lastgood.targets.dify.caller import Caller
from lastgood.targets.dify.client import Client
from lastgood.targets.dify.console import MOST_COMMENT, MOST_NAME
from lastgood.targets.dify.forms import Workflow, content_hash
from lastgood.targets.dify.refusal import is_no_route
from lastgood.targets.dify.wire import Call

How = Literal["asked", "seen", "assumed"]
Covers = Literal["graph", "graph and features", "unknown"]

_NOBODY = "00000000-0000-0000-0000-000000000000"
_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Learnt[T]:
    """One ability. `how`: ``asked`` a harmless question, ``seen`` in an answer, or ``assumed`` as the safe case where
    only a write would tell. `because` is a sentence for the user."""

    value: T
    how: How
    because: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server can do."""

    version: Learnt[str]
    """As the server names itself, empty where it does not; for people, not for decisions."""
    restore: Learnt[bool]
    """Bring a version back into the draft by itself, secrets included."""
    hash_covers: Learnt[Covers]
    """What a draft's hash guards. Variables are never in it."""
    masks_kept: Learnt[bool]
    """Whether a secret written as asterisks keeps its value; else the asterisks become the secret."""
    draft_parts: Learnt[bool]
    """Write features or variables of the draft alone."""
    editors: Learnt[bool]
    """Tell who has the editor open."""
    publish_name: Learnt[int]
    """Most characters of a version's name."""
    publish_comment: Learnt[int]
    """Most characters of a version's comment."""
    publish_hash: Learnt[bool]
    """Whether publish refuses a draft that changed."""
    openapi: Learnt[bool]
    """The routes for tools, ``/openapi/v1``."""
    node_types: Learnt[bool]
    """Tell which node types it knows."""
    export_secrets: Learnt[bool]
    """Whether the account may export documents with secret values."""

    def as_data(self) -> dict[str, dict[str, Any]]:
        """All of it as JSON-safe values, by name."""
        return {name: {"value": one.value, "how": one.how, "because": one.because} for name, one in self}

    def __iter__(self) -> Iterator[tuple[str, Learnt[Any]]]:
        return ((each.name, getattr(self, each.name)) for each in fields(self))


def learn(client: Client) -> Capabilities:
    """Ask the server that `client` speaks to. It takes about ten calls, writes nothing, and needs a way into the
    console (not `Bearer`, which it refuses). Raises `DifyError` where the server or the way in does not work."""
    caller = client.caller
    workspace = client.console.workspace()
    samples = list(_samples(client))
    return Capabilities(
        version=_version(caller),
        restore=_route(
            caller,
            f"/console/api/apps/{_NOBODY}/workflows/{_NOBODY}/restore",
            "restore a version by itself",
        ),
        hash_covers=_hash_covers(samples),
        masks_kept=Learnt(False, "assumed", "Only a write would tell, so asterisks are never sent."),
        draft_parts=_route(caller, f"/console/api/apps/{_NOBODY}/workflows/draft/features", "write parts of a draft"),
        editors=_route(caller, "/console/api/apps/workflows/online-users", "tell who is editing"),
        publish_name=Learnt(MOST_NAME, "assumed", "Every recorded server takes so many; a longer name is not sent."),
        publish_comment=Learnt(MOST_COMMENT, "assumed", "Every recorded server takes so many; no more are sent."),
        publish_hash=Learnt(False, "assumed", "No recorded server looks at one, so what was published is read back."),
        openapi=_openapi(caller),
        node_types=_node_types(client),
        export_secrets=_exports(workspace.role),
    )


def hash_covers(workflow: Workflow) -> Covers:
    """What `workflow`'s hash is made of; ``unknown`` where it is neither."""
    if workflow.hash == content_hash(workflow.graph):
        return "graph"
    if workflow.hash == content_hash(workflow.graph, workflow.features):
        return "graph and features"
    return "unknown"


def _samples(client: Client) -> Iterator[Workflow]:
    tried = 0
    for app in client.console.apps(limit=20).items:
        if app.has_versions and tried < _SAMPLES:
            tried += 1
            try:
                draft = client.console.draft(app.id)
            except DifyMissing:
                continue  # deleted between the two calls
            if draft is not None:
                yield draft


def _hash_covers(samples: list[Workflow]) -> Learnt[Covers]:
    found = {hash_covers(sample) for sample in samples}
    if len(found) == 1 and "unknown" not in found:
        return Learnt(found.pop(), "seen", f"The hashes of {len(samples)} drafts are made so.")
    if not samples:
        because = "There is no draft to look at; a hash is taken to guard the graph alone."
    else:
        because = "The drafts' hashes are made in no known way; they are taken to guard the graph alone."
    return Learnt("unknown", "assumed", because)


def _version(caller: Caller) -> Learnt[str]:
    reply = caller.reply(Call("GET", "/console/api/system-features", "tell its version"), take=range(400, 500))
    version = reply.headers.get("X-Version", "").strip()[:40]
    if version:
        return Learnt(version, "seen", "The server names it in every answer.")
    return Learnt("", "seen", "The server does not name it; a proxy may take it away.")


def _route(caller: Caller, path: str, what: str) -> Learnt[bool]:
    """Whether a route that takes only POST is there: a GET is answered 405 then, and 404 where it is not."""
    reply = caller.reply(Call("GET", path, f"tell whether it can {what}"), take=range(400, 500))
    if reply.status == 405:
        return Learnt(True, "asked", "A GET of its route is answered 405, so it takes POST.")
    if is_no_route(reply):
        return Learnt(False, "asked", "A GET of its route is answered 404.")
    return Learnt(False, "assumed", f"A GET of its route is answered {reply.status}, which tells nothing.")


def _openapi(caller: Caller) -> Learnt[bool]:
    call = Call("GET", "/openapi/v1/_version", "tell whether it has /openapi/v1")
    try:
        reply = caller.reply(call, take=range(400, 500))
        there = reply.status == 200 and "version" in reply.json()
    except (DifyError, ValueError, TypeError):
        return Learnt(False, "assumed", "The question failed.")
    return Learnt(there, "asked", f"/openapi/v1/_version is answered {reply.status}.")


def _node_types(client: Client) -> Learnt[bool]:
    try:
        number = len(client.openapi.node_types())
    except DifyLacks:
        return Learnt(False, "asked", "/openapi/v1/node-types is refused, or not there.")
    except DifyError as error:
        return Learnt(False, "assumed", f"It does not tell them: {error}")
    return Learnt(True, "asked", f"/openapi/v1/node-types lists {number}.")


def _exports(role: str) -> Learnt[bool]:
    if not role:
        return Learnt(False, "assumed", "The server does not tell the account's role.")
    return Learnt(role in ("owner", "admin", "editor"), "seen", f"The account's role is {role}.")
