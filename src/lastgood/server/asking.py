"""What a request is about, and whether the caller may do that to it.

A resource is a workflow by its slug, whatever names it in the request: its id, a version, a snapshot, an operation, a
draft. Who may not read it hears the same as of something that is not there: that there may be nothing of the kind for
them, or, where they could read anything, that there is none."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from sqlalchemy import Select, bindparam, or_, select

from lastgood.access import decisions
from lastgood.access.actions import LONGEST, MOVE
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import (
    Denied,
    NotFound,
    UnknownDraft,
    UnknownOperation,
    UnknownSnapshot,
    UnknownVersion,
    UnknownWorkflow,
)
from lastgood.release.plan import Plan

ANY: Final = "workflow:*"  # the name that stands for one which nobody knows
# What a request is about that names nothing in its path, by the noun of the action. These are lists of something, or
# their bodies name it:
ANYWHERE: Final = {
    **dict.fromkeys(("workflow", "channel", "draft", "key", "operation", "plan", "run", "trigger"), "workflow"),
    "target": "target",
}
# All else is about one thing of the installation.
FIXED: Final = {
    "access": "access:*",
    "audit": "audit:log",
    "cluster": "server:*",
    "person": "access:*",
    "token": "access:*",
}

_W = t.workflow
_SLUG = select(_W.c.slug).where(_W.c.workspace_pk == bindparam("workspace"))
_OF_VERSION = select(t.version.c.workflow_pk).where(
    t.version.c.workspace_pk == bindparam("workspace"), t.version.c.id == bindparam("ref")
)
_OF_SNAPSHOT = (
    select(t.version.c.workflow_pk)
    .join_from(
        t.snapshot,
        t.version,
        or_(t.version.c.snapshot_pk == t.snapshot.c.pk, t.version.c.pk == t.snapshot.c.kept_version_pk),
    )
    .where(t.snapshot.c.workspace_pk == bindparam("workspace"), t.snapshot.c.id == bindparam("ref"))
)
_OF_OPERATION = (
    select(t.operation_workflow.c.workflow_pk)
    .join_from(t.operation_workflow, t.operation, t.operation_workflow.c.operation_pk == t.operation.c.pk)
    .where(t.operation.c.workspace_pk == bindparam("workspace"), t.operation.c.id == bindparam("ref"))
)
_OF_DRAFT = (
    select(t.channel.c.workflow_pk)
    .join_from(t.draft, t.app, t.draft.c.app_pk == t.app.c.pk)
    .join(t.channel, t.app.c.channel_pk == t.channel.c.pk)
    .where(t.draft.c.id == bindparam("ref"))
)
_SLUGS: Final[dict[str, Select[tuple[str]]]] = {
    "workflow": _SLUG.where(or_(_W.c.id == bindparam("ref"), _W.c.slug == bindparam("ref"))),
    "version": _SLUG.where(_W.c.pk.in_(_OF_VERSION)),
    "snapshot": _SLUG.where(_W.c.pk.in_(_OF_SNAPSHOT)),
    "operation": _SLUG.where(_W.c.pk.in_(_OF_OPERATION)),
    "draft": _SLUG.where(_W.c.pk.in_(_OF_DRAFT)),
}
_UNKNOWN: Final[dict[str, Callable[[str], NotFound]]] = {
    "workflow": lambda ref: UnknownWorkflow(workflow=ref),
    "version": lambda ref: UnknownVersion(version=ref, where=""),
    "snapshot": lambda ref: UnknownSnapshot(snapshot=ref),
    "operation": lambda ref: UnknownOperation(operation=ref),
    "draft": lambda ref: UnknownDraft(draft=ref),
}
KINDS: Final = (*_SLUGS, "server")


class Thing(NamedTuple):
    """What a request names: ``workflow`` and a slug or an id, ``version``, ``snapshot``, ``operation``, ``draft``,
    ``server``."""

    kind: str
    ref: str


def slugs_of(tx: Tx, thing: Thing) -> list[str]:
    """The workflows that `thing` belongs to; none where there is no such thing."""
    asked = {"workspace": tx.workspace, "ref": thing.ref}
    return sorted(row.slug for row in tx.connection.execute(_SLUGS[thing.kind], asked))


def require(store: Store, who: Principal, thing: Thing, *actions: str) -> None:
    """Let `who` pass who may do all of `actions` to `thing`. Where it is not there, pass as well who could do that to
    anything of such a name: what follows finds out.

    Raises `Denied`, and `NotFound` for what is there and is not for `who` to know of; both are kept."""
    if thing.kind == "server":
        for action in actions:
            decisions.require(store, who, action, f"target:{thing.ref}")
        return
    with store.read() as tx:
        slugs = slugs_of(tx, thing)
    named = thing.kind == "workflow" and slugs in ([], [thing.ref])
    asked = decisions.permissions(store)
    table = asked.fresh()
    holder, subject = asked.holder(table, who), who.subject
    read = "operation:read" if thing.kind == "operation" else "workflow:read"
    # A content that several workflows have is told to whoever may see it in one of them.
    enough: Callable[[Sequence[bool]], bool] = any if thing.kind == "snapshot" else all

    def denied(action: str, names: Sequence[str]) -> str | None:
        """Why `action` is not allowed on these; None where it is."""
        found = [table.decide(subject, holder, action, f"workflow:{name}") for name in names]
        if enough([one.allowed for one in found]):
            return None
        return next(one.reason for one in found if not one.allowed)

    hidden: tuple[str, str] | None = None
    for action in actions:
        reason = denied(action, [thing.ref] if named else slugs) if named or slugs else None
        if reason is None and (named or slugs):
            continue
        if named or (slugs and not hidden and denied(read, slugs) is None):
            resource = f"workflow:{thing.ref if named else ', '.join(slugs)}"
            raise decisions.refuse(store, who, action, resource, str(reason))
        hidden = hidden or (action, str(reason))
        unknown = f"workflow:{thing.ref}" if thing.kind == "workflow" else ANY
        answer = table.decide(subject, holder, action, unknown)
        if not answer.allowed:
            raise _as_unknown(store, who, action, thing, answer.reason, unknown)
    if hidden and slugs:
        # Told as what is not there, and kept as what it is.
        action, reason = hidden
        decisions.refuse(store, who, action, f"{thing.kind}:{thing.ref}", reason)
        raise _UNKNOWN[thing.kind](thing.ref)


def _as_unknown(store: Store, who: Principal, action: str, thing: Thing, reason: str, unknown: str) -> Denied:
    """The refusal of what is not there, or not for `who` to know of."""
    resource = f"{thing.kind}:{thing.ref}"
    if not reason.startswith("denied"):
        reason = f"no role of {who.subject} allows {action} on {resource}"
    return decisions.refuse(store, who, action, resource, reason.replace(unknown, resource))


def require_anywhere(store: Store, who: Principal, action: str) -> None:
    """Let `who` pass who may do `action` to something, where a request does not say in its path to what: for lists,
    which show only that, and for bodies, which are asked for when they are read. Raises `Denied`."""
    noun = action.partition(":")[0]
    kind = ANYWHERE.get(noun)
    if kind is None:
        decisions.require(store, who, action, FIXED.get(noun, f"{noun}:*"))
        return
    decision = decisions.anywhere(store, who, action, kind)
    if not decision.allowed:
        raise decisions.refuse(store, who, action, f"{kind}:*", decision.reason)


class Planned(Protocol):
    """What was entered for a plan, in a list by `pk`."""

    @property
    def pk(self) -> int: ...

    @property
    def plan(self) -> Plan: ...


def page[T: Planned](
    store: Store, who: Principal, action: str, read: Callable[[int | None], list[T]], limit: int, before: int | None
) -> tuple[list[T], int | None]:
    """At most `limit` of those that `read` gives, `limit` at a time, before a number, on all of whose workflows `who`
    may do `action`; and the number that the next page is before, None where there is none."""
    shown = decisions.visible(store, who, action)
    kept: list[T] = []
    while True:
        found = read(before)
        kept += [one for one in found if all(shown(f"workflow:{move.workflow}") for move in one.plan.moves)]
        if len(found) < limit or len(kept) >= limit:
            break
        before = found[-1].pk
    more = len(found) == limit or len(kept) > limit
    return kept[:limit], kept[:limit][-1].pk if more and kept else None


def moving(channel: str) -> str:
    """The action that moves `channel`, beside the one that says how. It is no longer than an action may be, because
    it is kept with its answers, and a path may name a channel of any length: none is there under so long a name."""
    return (MOVE + channel)[:LONGEST]
