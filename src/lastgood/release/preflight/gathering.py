"""Facts about a move, gathered from the store, the store of runs, the engine and the middleware."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any, Final

from sqlalchemy import Connection, bindparam, exists, func, literal, select
from sqlalchemy.exc import DBAPIError

from lastgood.catalogue import matches
from lastgood.db import runs as r
from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.dsl.document import Document
from lastgood.dsl.shapes import request_shape
from lastgood.errors import DamagedContent, LastgoodError
from lastgood.history import apps, calls, channels, keys, smokes, versions, workflows
from lastgood.history.apps import App
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.release import moves
from lastgood.release.impact.dependants import Names, Tool
from lastgood.release.means import Means
from lastgood.release.plan import PlannedMove
from lastgood.release.preflight import probes
from lastgood.release.preflight.content import Content, content_of, plain_type
from lastgood.release.preflight.evidence import outputs_in
from lastgood.release.preflight.facts import (
    Called,
    Callee,
    Caller,
    Calls,
    Conversations,
    Engine,
    Evidence,
    Facts,
    Inventory,
    Side,
    Target,
    Unknown,
)
from lastgood.release.preflight.nodes import GRAPHS
from lastgood.release.preflight.standin import standin
from lastgood.settings import Settings
from lastgood.targets import engine
from lastgood.targets.dify import servers

_REMEMBERED: Final = timedelta(days=30)  # as long as shapes are kept
_MOST_READ: Final = 1000

_HELD = select(t.secret.c.name).where(t.secret.c.version_pk == bindparam("version"))
_NEWER = (
    select(t.evidence.c.kind, func.count())
    .join(t.version, t.evidence.c.version_pk == t.version.c.pk)
    .where(t.version.c.workflow_pk == bindparam("workflow"), t.version.c.pk > bindparam("version"))
    .group_by(t.evidence.c.kind)
)
_OPEN = select(func.count()).select_from(r.conversation).where(r.conversation.c.workflow_id == bindparam("workflow"))
_HOLDING = (
    select(r.conversation_variable.c.name, r.conversation_variable.c.value_type, func.count())
    .join(r.conversation, r.conversation_variable.c.conversation_id == r.conversation.c.id)
    .where(r.conversation.c.workflow_id == bindparam("workflow"))
    .group_by(r.conversation_variable.c.name, r.conversation_variable.c.value_type)
)
# Whether there is one such call is known from an index; to count them would take long.
_LATELY = (r.calls.c.caller_pk == r.caller.c.pk) & (r.calls.c.at + r.calls.c.span > bindparam("since"))
_FOLLOWS = (r.calls.c.channel == bindparam("channel")) & r.calls.c.pins.is_(False)
_CALLERS = select(
    r.caller.c.key_id,
    r.caller.c.user_agent,
    exists(literal(1)).where(_LATELY, _FOLLOWS).correlate(r.caller),
    exists(literal(1)).where(_LATELY, r.calls.c.pins.is_(True)).correlate(r.caller),
).where(r.caller.c.workflow_id == bindparam("workflow"))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What follows from a content alone; contents never change."""

    content: Content | Unknown
    engine: Engine | Unknown


class _Readings:
    """The readings last used, by the digest of the content. Safe for many threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, bool], _Reading] = OrderedDict()

    def of(self, digest: str, document: Callable[[], Document], *, asked: bool) -> _Reading:
        """What is to be known of the content `digest`; only what is `asked` about is shown to the engine. `document`
        reads it, where it is not known yet."""
        with self._lock:
            for key in ((digest, asked), (digest, True)):
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
        whole = document()
        content = attempt(partial(content_of, whole))
        found = _Reading(
            content, attempt(partial(ask_engine, whole, digest)) if asked else Unknown("it was not asked")
        )
        if isinstance(found.content, Unknown) or (asked and isinstance(found.engine, Unknown)):
            return found
        with self._lock:
            self._kept[digest, asked] = found
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return found


_readings = _Readings(_MOST_READ)


def gather(means: Means, planned: PlannedMove, *, force: bool) -> Facts:
    """All that the checks go by. What cannot be learnt is `Unknown`; nothing is changed. Raises `UnknownWorkflow`,
    `UnknownVersion`, `StoreUnreachable`."""
    with means.store.read() as tx:
        workflow = workflows.find(tx, planned.workflow_id)
        pointer = channels.present(tx, workflow, planned.channel)
        to = versions.find(tx, planned.to_version, workflow)
        now = versions.by_pk(tx, pointer.version_pk) if pointer.version_pk is not None else None
        if planned.adopts:  # what its app serves, though the channel points elsewhere
            now = versions.find(tx, planned.adopts, workflow)
        app = apps.of_channel(tx, pointer.pk) if pointer.pk else None
        side, asked = _side(tx, to, asked=True)
        beside = _side(tx, now)[0] if now is not None else None
        changed = versions.secrets_changed(tx, now, to) if now is not None else frozenset()
        called = attempt(partial(_called, tx, side.content))
        evidence = attempt(partial(_evidence, tx, workflow, to))
        held = keys.listing(tx, workflow)
        tells = app is not None and _tells_types(tx, app)
    target = target_of(workflow, means.settings, app)
    if app is not None and tells:
        target = replace(target, types=attempt(partial(_types, means, app)))
    declared = {n: one for n, one in means.settings.middleware.items() if matches(one.workflows, workflow.slug)}
    return Facts(
        workflow=workflow.slug,
        channel=planned.channel,
        pointed=now.id if now is not None else None,
        to=side,
        now=beside,
        target=target,
        force=force,
        why=planned.why,
        engine=asked,
        secrets_changed=changed,
        called=called,
        services=attempt(partial(probes.ask_all, declared)),
        conversations=_recorded(means, partial(_conversations, workflow)),
        calls=_recorded(means, partial(_calls, workflow, planned.channel, held, means.settings.rollback.callers)),
        evidence=evidence,
    )


def _tells_types(tx: Tx, app: App) -> bool:
    """Whether the app's server was learnt to tell its node types."""
    learnt = servers.get(tx, app.target).facts.get("abilities", {}).get("node_types")
    return isinstance(learnt, Mapping) and bool(learnt.get("value"))


def _types(means: Means, app: App) -> frozenset[str]:
    """The node types that the app's server knows. Raises `DifyError`, `UnknownServer`."""
    return means.dify(app.target).openapi.node_types()


def attempt[T](work: Callable[[], T]) -> T | Unknown:
    """What `work` gives, or that it could not be learnt. A broken store is no detail, and is raised."""
    try:
        return work()
    except DBAPIError:
        raise
    except Exception as error:
        return Unknown(_reason(error))


def _reason(error: Exception) -> str:
    """Why a fact is missing. Only the words of our own errors may be told."""
    if isinstance(error, LastgoodError):
        return str(error).rstrip(".")
    return f"it could not be looked at ({type(error).__name__})"


def _recorded[T](means: Means, work: Callable[[Connection], T]) -> T | Unknown:
    """What `work` reads in the store of runs; that it cannot be read stops nothing."""
    try:
        runs = means.runs()
        if runs is None:
            return Unknown("there is no store of runs here")
        with runs.connect() as connection:
            return work(connection)
    except Exception as error:
        return Unknown(_reason(error))


def target_of(workflow: Workflow, settings: Settings, app: App | None = None) -> Target:
    """Where the workflow runs, or the app of its channel, and what is known to be there."""
    if app is not None:
        return Target(app.target, embedded=False)
    if workflow.target != engine.NAME:
        return Target(workflow.target, embedded=False)
    without = {"plugins": "the embedded engine does without them"}
    if settings.llm_base_url:
        without["models"] = "the endpoint of LASTGOOD_LLM_BASE_URL is asked for each"
    has: dict[str, frozenset[str]] = {"knowledge_bases": frozenset(), "tools": frozenset()}
    return Target("the embedded engine", embedded=True, inventory=Inventory(has, without))


def ask_engine(document: Document, digest: str) -> Engine:
    """What graphon says of `document`, whose content has this `digest`. Raises `EngineMissing`."""
    engine.require()
    kinds: Mapping[str, Any] = import_module("lastgood.targets.engine.nodes").KINDS
    every = moves.unrunnable(digest, document)
    if document.mode not in GRAPHS:
        return Engine(foreign=every)
    plain, replaced = standin(document, kinds.keys())
    broken = engine.unrunnable(plain) if replaced else every
    return Engine(tuple(one for one in every if one not in broken), broken, replaced)


def _side(tx: Tx, version: Version, *, asked: bool = False) -> tuple[Side, Engine | Unknown]:
    read = partial(versions.document_of, tx, version)
    try:
        if asked:  # what is gone to is read each time, whatever is known of it: it may be damaged since
            whole = read()
            read = partial(_same, whole)
        reading = _readings.of(version.digest, read, asked=asked)
        damaged = False
    except DamagedContent as error:
        unread = Unknown(_reason(error))
        reading, damaged = _Reading(unread, unread), True
    held = frozenset(tx.connection.execute(_HELD, {"version": version.pk}).scalars())
    side = Side(
        version=version.id,
        state=version.state,
        content=reading.content,
        damaged=damaged,
        archived=version.archived_at is not None,
        held=held,
        why=_why(tx, version),
    )
    return side, reading.engine


def _same(document: Document) -> Document:
    return document


def _why(tx: Tx, version: Version) -> str:
    """What proved or condemned a version."""
    if version.state == "stable":
        return moves.proof(tx, version)
    return moves.condemned(tx, version) if version.state == "failed" else ""


def _called(tx: Tx, content: Content | Unknown) -> tuple[Called, ...] | Unknown:
    if isinstance(content, Unknown):
        return content
    if not content.calls:
        return ()
    known = Names(workflows.listing(tx))
    found = []
    for call in content.calls:
        named = (call.provider, call.provider_name, call.tool)
        callees = known.find(Tool(call.provider, call.provider_name, call.tool))
        found.append(Called(call, tuple(_callee(tx, one, one.id in named) for one in callees)))
    return tuple(found)


def _callee(tx: Tx, workflow: Workflow, certain: bool) -> Callee:
    pointer = channels.present(tx, workflow)
    if pointer.version_pk is None:
        return Callee(workflow.slug, certain, None, None)
    content = _side(tx, versions.by_pk(tx, pointer.version_pk))[0].content
    interface = None if isinstance(content, Unknown) else content.interface
    return Callee(workflow.slug, certain, pointer.version, interface)


def _evidence(tx: Tx, workflow: Workflow, to: Version) -> Evidence:
    rows = tx.connection.execute(_NEWER, {"workflow": workflow.pk, "version": to.pk})
    requests = smokes.listing(tx, workflow)
    chat = workflow.mode == "advanced-chat"
    return Evidence(
        newer={kind: int(count) for kind, count in rows},
        smokes={
            one.id: (
                request_shape({"inputs": one.inputs, "query": one.query}, chat=chat),
                frozenset(name for expression in one.expect for name in outputs_in(expression)),
            )
            for one in requests
        },
    )


def _conversations(workflow: Workflow, connection: Connection) -> Conversations:
    whose = {"workflow": workflow.id}
    holding: dict[tuple[str, str], int] = {}
    for name, kind, count in connection.execute(_HOLDING, whose):
        key = (name, plain_type(kind))
        holding[key] = holding.get(key, 0) + int(count)
    return Conversations(int(connection.execute(_OPEN, whose).scalar_one()), holding)


def _calls(
    workflow: Workflow, channel: str, held: Sequence[Mapping[str, Any]], limit: int, connection: Connection
) -> Calls:
    """Who called with a key that is good for more."""
    if not limit:
        return Calls((), (), 0)
    names = {key["id"]: str(key["name"]) for key in held}
    revoked = {key["id"] for key in held if key["revoked_at"] is not None}
    since = (datetime.now(UTC) - _REMEMBERED).timestamp()
    rows = connection.execute(_CALLERS, {"workflow": workflow.id, "channel": channel, "since": since})
    callers = (Caller(key, names.get(key, ""), agent, bool(a), bool(b)) for key, agent, a, b in rows)
    return Calls(
        tuple(one for one in callers if one.key not in revoked),
        tuple(calls.shapes(connection, workflow.id, limit)),
        limit,
    )
