"""States of drafts on Dify servers: what was in an editor when it changed, or when it was about to be overwritten.

A draft belongs to no version, and Dify keeps no copy of what is written over. Each state is a snapshot; its secret
values are sealed in one piece beside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, delete, insert, select

from lastgood import dsl
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import UnknownDraft
from lastgood.history import content, versions
from lastgood.history.apps import App
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.ids import random_id

Why = Literal["seen", "operation", "restore"]

_FROM = (
    select(
        t.draft.c.pk,
        t.draft.c.id,
        t.draft.c.app_pk,
        t.app.c.app_id,
        t.target.c.name.label("server"),
        t.channel.c.name.label("channel"),
        t.workflow.c.pk.label("workflow_pk"),
        t.workflow.c.id.label("workflow_id"),
        t.workflow.c.slug,
        t.snapshot.c.id.label("snapshot_id"),
        t.snapshot.c.digest,
        t.snapshot.c.semantic_digest,
        t.draft.c.hash,
        t.draft.c.author,
        t.draft.c.changed_at,
        t.draft.c.kept_at,
        t.draft.c.why,
        t.draft.c.operation,
        t.draft.c.sealed,
    )
    .join_from(t.draft, t.snapshot, t.draft.c.snapshot_pk == t.snapshot.c.pk)
    .join(t.app, t.draft.c.app_pk == t.app.c.pk)
    .join(t.target, t.app.c.target_pk == t.target.c.pk)
    .join(t.channel, t.app.c.channel_pk == t.channel.c.pk)
    .join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)
    .order_by(t.draft.c.pk.desc())
)
_BY_ID = _FROM.where(t.draft.c.id == bindparam("id"))
_LATEST = _FROM.where(t.draft.c.app_pk == bindparam("app")).limit(1)
_OF_WORKFLOW = _FROM.where(t.workflow.c.pk == bindparam("workflow")).limit(bindparam("limit"))
_ADD = insert(t.draft)
_NEWEST = (
    select(t.draft.c.pk)
    .where(t.draft.c.app_pk == bindparam("app"))
    .order_by(t.draft.c.pk.desc())
    .limit(bindparam("keep"))
)
_PRUNE = delete(t.draft).where(
    t.draft.c.app_pk == bindparam("app"), t.draft.c.kept_at < bindparam("before"), t.draft.c.pk.not_in(_NEWEST)
)
_FINGERPRINTS = select(t.secret.c.name, t.secret.c.fingerprint).where(t.secret.c.version_pk == bindparam("version"))


@dataclass(frozen=True, slots=True)
class Draft:
    """A kept state of the draft of one Dify app. `hash` is Dify's; `author` and `changed_at` are who saved it there
    and when, as Dify says; `why` it was kept: ``seen`` by the watch, before an ``operation`` wrote, or before another
    state was put back (``restore``)."""

    pk: int
    id: str
    app_pk: int
    app_id: str
    server: str
    channel: str
    workflow_pk: int
    workflow_id: str
    slug: str
    snapshot_id: str
    digest: str
    semantic_digest: str
    hash: str
    author: str
    changed_at: str | None
    kept_at: str
    why: Why
    operation: str | None
    sealed: bytes | None = field(repr=False)

    def public(self) -> dict[str, Any]:
        """Its JSON form, without secrets."""
        return {
            "id": self.id,
            "server": self.server,
            "app": self.app_id,
            "workflow": self.slug,
            "workflow_id": self.workflow_id,
            "channel": self.channel,
            "snapshot_id": self.snapshot_id,
            "digest": self.digest,
            "semantic_digest": self.semantic_digest,
            "hash": self.hash,
            "author": self.author,
            "changed_at": self.changed_at,
            "kept_at": self.kept_at,
            "why": self.why,
            "operation": self.operation,
            "has_secrets": self.sealed is not None,
        }


def keep(
    tx: Tx,
    app: App,
    document: dsl.Document,
    secrets: Mapping[str, str],
    hash: str,
    author: str,
    changed_at: str | None,
    why: Why,
    operation: str | None = None,
    *,
    who: Principal | None = None,
) -> Draft:
    """Keep `document` with the values of its secret variables as the newest state of the draft of `app`; where that
    is what the last kept state holds, that one is given and nothing is added.

    Secret values may stand in the document too, those in `secrets` win. `changed_at` is stored time (UTC text)."""
    bare, within = dsl.take_secrets(document)
    names = dsl.secret_names(document)
    merged = {**within, **secrets}
    values = {name: merged[name] for name in names if merged.get(name)}
    digest = content.write_content(tx, bare)
    last = latest(tx, app)
    if last is not None and last.digest == digest and secrets_of(tx, last) == values:
        return last
    keeper = who or Principal(author or "watch", "service")
    id = random_id("dr-", 8)
    row = {
        "id": id,
        "app_pk": app.pk,
        "snapshot_pk": versions.shared_snapshot(tx, keeper, digest, dsl.semantic_digest(bare)),
        "hash": hash,
        "author": author,
        "changed_at": changed_at,
        "kept_at": tx.now,
        "why": why,
        "operation": operation,
        "sealed": tx.ring.seal(json.dumps(values), f"draft/{id}") if values else None,
    }
    tx.connection.execute(_ADD, row)
    facts: dict[str, Any] = {"author": author, "changed_at": changed_at, "after": digest, "operation": operation}
    audit.append(tx, keeper, "draft:keep", f"workflow/{app.workflow_id}/draft/{id}", reason=why, **facts)
    return get(tx, id)


def get(tx: Tx, id: str) -> Draft:
    """The draft state `id`. Raises `UnknownDraft`."""
    row = tx.connection.execute(_BY_ID, {"id": id}).first()
    if row is None:
        raise UnknownDraft(draft=id)
    return _draft(row)


def latest(tx: Tx, app: App) -> Draft | None:
    """The newest kept state of the draft of `app`."""
    row = tx.connection.execute(_LATEST, {"app": app.pk}).first()
    return _draft(row) if row else None


def listing(tx: Tx, workflow: Workflow, limit: int = 50) -> list[Draft]:
    """The kept states of all apps that channels of `workflow` run on, newest first."""
    return [_draft(row) for row in tx.connection.execute(_OF_WORKFLOW, {"workflow": workflow.pk, "limit": limit})]


def document_of(tx: Tx, draft: Draft) -> dsl.Document:
    """The document of `draft`, secret values left out, its digest checked: it may go back to where it came from.
    Raises `DamagedContent`."""
    return dsl.Document(content.read_content(tx, draft.digest, draft.snapshot_id, whole=True))


def secrets_of(tx: Tx, draft: Draft) -> dict[str, str]:
    """The secret values of `draft` by variable name, opened. Never log or return them to a user. Raises
    `Unsealable`."""
    if draft.sealed is None:
        return {}
    values: dict[str, str] = json.loads(tx.ring.unseal(draft.sealed, f"draft/{draft.id}"))
    return values


def secrets_changed(tx: Tx, draft: Draft, version: Version) -> frozenset[str]:
    """The secret variables whose values differ between `version` and `draft`."""
    mine = {name: tx.ring.fingerprint(value) for name, value in secrets_of(tx, draft).items()}
    rows = tx.connection.execute(_FINGERPRINTS, {"version": version.pk})
    theirs = {row.name: row.fingerprint for row in rows}
    return frozenset(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))


def prune(tx: Tx, app: App, *, keep: int, days: float) -> int:
    """Let go of the states that are neither among the newest `keep` of `app` nor younger than `days`, and give their
    number."""
    before = utc_text(parse_time(tx.now) - timedelta(days=days))
    return tx.connection.execute(_PRUNE, {"app": app.pk, "keep": keep, "before": before}).rowcount


def _draft(row: Any) -> Draft:
    sealed = row.sealed
    return Draft(**{**row._mapping, "sealed": None if sealed is None else bytes(sealed)})
