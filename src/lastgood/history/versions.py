"""Versions: a snapshot's place in its workflow's history."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Integer, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from lastgood import dsl
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import ForeignVersion, IdTaken, InvalidRequest, NothingKept, UnknownVersion
from lastgood.history import content
from lastgood.history.states import State
from lastgood.history.workflows import Workflow
from lastgood.ids import day_of, snapshot_id, split_version, version_id

ORIGINS = ("push", "manual", "import", "capture", "backport", "promote")

_PARENT = t.version.alias("parent")
_COLUMNS = (
    t.version.c.pk,
    t.version.c.id,
    t.version.c.workflow_pk,
    t.workflow.c.id.label("workflow_id"),
    t.workflow.c.slug,
    t.version.c.snapshot_pk,
    t.snapshot.c.id.label("snapshot_id"),
    t.snapshot.c.digest,
    t.snapshot.c.semantic_digest,
    t.version.c.state,
    t.version.c.origin,
    t.version.c.semver,
    t.version.c.author,
    t.version.c.note,
    t.version.c.pinned,
    t.version.c.authored_at,
    t.version.c.recorded_at,
    t.snapshot.c.archived_at,
    _PARENT.c.id.label("parent"),
)
_FROM = (
    select(*_COLUMNS)
    .join_from(t.version, t.snapshot, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .join(t.workflow, t.version.c.workflow_pk == t.workflow.c.pk)
    .outerjoin(_PARENT, t.version.c.parent_pk == _PARENT.c.pk)
)
# Of one version with it, not after it: a question less for each, and plans read many. No name has a comma in it.
_POINTED = (
    select(func.aggregate_strings(t.channel.c.name, ","))
    .where(t.channel.c.version_pk == t.version.c.pk)
    .correlate(t.version)
    .scalar_subquery()
)
_ONE = _FROM.add_columns(_POINTED.label("channels"))
_FIND = _ONE.where(t.version.c.workspace_pk == bindparam("workspace"), t.version.c.id == bindparam("id"))
_BY_PK = _ONE.where(t.version.c.pk == bindparam("pk"))
_PAGE = (
    _FROM.where(t.version.c.workflow_pk == bindparam("workflow"), t.version.c.pk < bindparam("before"))
    .order_by(t.version.c.pk.desc())
    .limit(bindparam("limit"))
)
_NUMBERED = _FROM.where(t.version.c.workflow_pk == bindparam("workflow"), t.version.c.semver.is_not(None))
_CHANNELS = select(t.channel.c.version_pk, t.channel.c.name).where(t.channel.c.workflow_pk == bindparam("workflow"))
_PROOF = (
    select(t.evidence)
    .where(t.evidence.c.version_pk == bindparam("version"))
    .order_by(t.evidence.c.pk.desc())
    .limit(bindparam("limit"))
)
# A verification looks around a version too, and gives it no state.
_PROOF_OF = _PROOF.where(t.evidence.c.verdict == bindparam("state"), t.evidence.c.kind != "verification")
_SECRETS = select(t.secret.c.name, t.secret.c.fingerprint, t.secret.c.sealed).where(
    t.secret.c.version_pk == bindparam("version")
)
_FINGERPRINTS = select(t.secret.c.version_pk, t.secret.c.name, t.secret.c.fingerprint).where(
    t.secret.c.version_pk.in_((bindparam("old"), bindparam("new")))
)
# Pushes to one workflow take turns, else two at once would follow the same newest version. Moves need not wait.
_TURN = select(t.workflow.c.pk).where(t.workflow.c.pk == bindparam("workflow")).with_for_update(key_share=True)
_SHARED = select(t.snapshot.c.pk, t.snapshot.c.archived_at).where(
    t.snapshot.c.workspace_pk == bindparam("workspace"),
    t.snapshot.c.digest == bindparam("digest"),
    t.snapshot.c.kept_version_pk.is_(None),
)
_ADD_SNAPSHOT = insert(t.snapshot).returning(t.snapshot.c.pk)
_OF = t.snapshot.c.digest == bindparam("of")
_MARK_SNAPSHOTS = update(t.snapshot).where(_OF).values(archived_at=bindparam("at"))
_MARK_VERSIONS = (
    update(t.version)
    .where(t.version.c.snapshot_pk.in_(select(t.snapshot.c.pk).where(_OF)))
    .values(at_hand=bindparam("is_at_hand"))
)
_ADD = insert(t.version).returning(t.version.c.pk)
_ADD_SECRET = insert(t.secret)
_ADD_EVIDENCE = insert(t.evidence).values(
    after_move=select(func.coalesce(func.max(t.move.c.pk), 0))
    .where(t.move.c.workflow_pk == bindparam("workflow"))
    .scalar_subquery()
)
_STATE = update(t.version).where(t.version.c.pk == bindparam("version")).values(state=bindparam("to"))
_NEWEST = (2**63) - 1
_LONGEST_NOTE = 2000
_GREATEST = 999_999  # of a number from elsewhere, so that the ones counted on from it stay ids


@dataclass(frozen=True, slots=True)
class Version:
    """A version with what its snapshot says of it. `state` is the stored one; `channels` are the names of the
    channels that point to it now, which makes it active."""

    pk: int
    id: str
    workflow_pk: int
    workflow_id: str
    slug: str
    snapshot_pk: int
    snapshot_id: str
    digest: str
    semantic_digest: str
    state: State
    origin: str
    semver: str | None
    author: str
    note: str
    pinned: bool
    authored_at: str
    recorded_at: str
    archived_at: str | None
    parent: str | None
    channels: tuple[str, ...] = field(default=())

    def public(self) -> dict[str, Any]:
        """Its JSON form; `state` is ``active`` while a channel points to it, `proven` the stored one."""
        return {
            "id": self.id,
            "workflow_id": self.workflow_id,
            "workflow": self.slug,
            "snapshot_id": self.snapshot_id,
            "digest": self.digest,
            "semantic_digest": self.semantic_digest,
            "state": "active" if self.channels else self.state,
            "proven": self.state,
            "channels": list(self.channels),
            "origin": self.origin,
            "semver": self.semver,
            "author": self.author,
            "note": self.note,
            "pinned": self.pinned,
            "authored_at": self.authored_at,
            "recorded_at": self.recorded_at,
            "archived": self.archived_at is not None,
            "parent": self.parent,
        }


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: the version that now holds the document, whether it is new, and secret variables that have
    no value anywhere."""

    version: Version
    created: bool
    secrets_missing: tuple[str, ...] = ()


def find(tx: Tx, id: str, workflow: Workflow | None = None) -> Version:
    """The version `id`, of `workflow` if one is given. Raises `InvalidId`, `UnknownVersion`, `ForeignVersion`."""
    split_version(id)
    row = tx.connection.execute(_FIND, {"workspace": tx.workspace, "id": id}).first()
    if row is None:
        raise UnknownVersion(version=id, where=f" of {workflow.slug}" if workflow else "")
    if workflow is not None and row.workflow_pk != workflow.pk:
        raise ForeignVersion(version=id, owner=row.slug, workflow=workflow.slug)
    return _one(row)


def by_pk(tx: Tx, pk: int) -> Version:
    """The version with the store key `pk`."""
    return _one(tx.connection.execute(_BY_PK, {"pk": pk}).one())


def page(tx: Tx, workflow: Workflow, *, limit: int = 50, before: str | None = None) -> list[Version]:
    """At most `limit` versions of `workflow`, newest first, those older than the version `before` if given."""
    start = find(tx, before, workflow).pk if before else _NEWEST
    rows = tx.connection.execute(_PAGE, {"workflow": workflow.pk, "before": start, "limit": limit})
    pointing = _pointing(tx, workflow.pk)
    return [_version(row, pointing) for row in rows]


def newest(tx: Tx, workflow: Workflow) -> Version:
    """The newest version. Raises `NothingKept`."""
    found = page(tx, workflow, limit=1)
    if not found:
        raise NothingKept(workflow=workflow.slug)
    return found[0]


def push(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    document: dsl.Document,
    *,
    id: str | None = None,
    author: str = "",
    authored_at: str | None = None,
    note: str = "",
    origin: str = "push",
) -> Pushed:
    """Keep `document` as the newest version of `workflow`, unless it equals the newest one already.

    The document must be sound (`dsl.require_sound`). A secret variable that comes without a value keeps the value of
    the newest version. `id` and `authored_at` (ISO 8601) keep facts from elsewhere. Raises `IdTaken`, `InvalidId`,
    `InvalidRequest`."""
    if len(note) > _LONGEST_NOTE:
        raise InvalidRequest(where="note", reason=f"it has {len(note)} characters, and at most {_LONGEST_NOTE} fit")
    take_turn(tx, workflow)
    bare, given = dsl.take_secrets(document)
    semantic = dsl.semantic_digest(bare)
    digest = content.write_content(tx, bare)
    parent = next(iter(page(tx, workflow, limit=1)), None)
    held = secrets_of(tx, parent) if parent else {}
    names = dsl.secret_names(document)
    values = {name: given.get(name, held.get(name)) for name in names}
    known = {name: value for name, value in values.items() if value is not None}
    missing = tuple(name for name in names if name not in known)
    if parent is not None and parent.digest == digest and known == held and id in (None, parent.id):
        return Pushed(parent, created=False, secrets_missing=missing)
    version = add(
        tx,
        who,
        workflow,
        digest,
        semantic,
        known,
        parent=parent,
        id=id,
        author=author,
        authored_at=authored_at,
        note=note,
        origin=origin,
    )
    return Pushed(version, created=True, secrets_missing=missing)


def add(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    digest: str,
    semantic: str,
    secrets: Mapping[str, str],
    *,
    parent: Version | None,
    id: str | None = None,
    author: str = "",
    authored_at: str | None = None,
    note: str = "",
    origin: str = "push",
) -> Version:
    """A new version of `workflow` on stored content, with its secret values; what `push` and `captured.keep` do once
    they know that there is none yet. Raises `IdTaken`, `InvalidId`, `InvalidRequest`."""
    version_pk = tx.connection.execute(
        _ADD,
        {
            "workspace_pk": tx.workspace,
            "id": _take_id(tx, id),
            "workflow_pk": workflow.pk,
            "snapshot_pk": shared_snapshot(tx, who, digest, semantic),
            "parent_pk": parent.pk if parent else None,
            "state": "candidate",
            "origin": origin,
            "semver": None,
            "author": author or who.name,
            "note": note,
            "pinned": False,
            "at_hand": True,
            "authored_at": _iso(authored_at) if authored_at else tx.now,
            "recorded_at": tx.now,
        },
    ).scalar_one()
    version = by_pk(tx, version_pk)
    for name, value in secrets.items():
        sealed = {"fingerprint": tx.ring.fingerprint(value), "sealed": tx.ring.seal(value, f"{version.id}/{name}")}
        tx.connection.execute(_ADD_SECRET, {"version_pk": version_pk, "name": name, **sealed})
    audit.append(tx, who, "workflow:push", f"workflow/{workflow.id}/version/{version.id}", after=digest, reason=note)
    audit.emit(tx, "version.pushed", workflow.id, {"version": version.id, "digest": digest, "actor": who.name})
    return version


def take_turn(tx: Tx, workflow: Workflow) -> None:
    """Wait for whoever else is adding a version to `workflow`."""
    tx.connection.execute(_TURN, {"workflow": workflow.pk})


def shared_snapshot(tx: Tx, who: Principal, digest: str, semantic: str) -> int:
    """The key of the snapshot that versions with this content share, made when there is none."""
    found = tx.connection.execute(_SHARED, {"workspace": tx.workspace, "digest": digest}).first()
    if found is None:
        return add_snapshot(tx, who, digest, semantic)
    if found.archived_at is not None:
        mark_archived(tx, digest, None)
    return int(found.pk)


def mark_archived(tx: Tx, digest: str, at: str | None) -> None:
    """Say of every snapshot and version with the content `digest` that it was archived `at`, or is at hand."""
    tx.connection.execute(_MARK_SNAPSHOTS, {"of": digest, "at": at})
    tx.connection.execute(_MARK_VERSIONS, {"of": digest, "is_at_hand": at is None})


def add_snapshot(
    tx: Tx, who: Principal, digest: str, semantic: str, *, kept: Version | None = None, note: str = ""
) -> int:
    """A new snapshot row on stored content: one that versions share, or one that keeps the version `kept`."""
    day = day_of(parse_time(tx.now))
    pk: int = tx.connection.execute(
        _ADD_SNAPSHOT,
        {
            "workspace_pk": tx.workspace,
            "id": snapshot_id(day, _count(tx, "snapshot", day)),
            "digest": digest,
            "semantic_digest": semantic,
            "kept_version_pk": kept.pk if kept else None,
            "note": note,
            "created_at": tx.now,
            "created_by": who.name,
            "archived_at": None,
        },
    ).scalar_one()
    return pk


def secrets_of(tx: Tx, version: Version) -> dict[str, str]:
    """The secret values of `version` by variable name, opened. Never log or return them to a user."""
    rows = tx.connection.execute(_SECRETS, {"version": version.pk})
    return {row.name: tx.ring.unseal(bytes(row.sealed), f"{version.id}/{row.name}") for row in rows}


def document_of(tx: Tx, version: Version, *, whole: bool = False) -> dsl.Document:
    """The document of `version`, secret values left out; `whole`, for what leaves the store to be used elsewhere, has
    its digest checked beside the checksums. Raises `DamagedContent`."""
    return dsl.Document(content.read_content(tx, version.digest, version.snapshot_id, whole=whole))


def runnable_document(tx: Tx, version: Version) -> dsl.Document:
    """The document of `version` with its secret values, for running it and for nothing else."""
    return dsl.put_secrets(document_of(tx, version, whole=True), secrets_of(tx, version))


def set_state(
    tx: Tx,
    who: Principal,
    version: Version,
    state: State,
    *,
    kind: str,
    reason: str,
    detail: Mapping[str, Any] | None = None,
) -> Version:
    """Set what is known of `version` and keep the evidence. `kind` says where it comes from (``mark``, ``smoke``)."""
    add_evidence(tx, who, version, kind=kind, verdict=state, detail={"reason": reason, **(detail or {})})
    tx.connection.execute(_STATE, {"version": version.pk, "to": state})
    audit.append(
        tx,
        who,
        "version:mark",
        _resource(version),
        before=version.state,
        after=state,
        reason=reason,
        evidence=kind,
    )
    payload = {"version": version.id, "from": version.state, "to": state, "reason": reason, "actor": who.name}
    audit.emit(tx, "version.state", version.workflow_id, payload)
    return by_pk(tx, version.pk)


def add_evidence(
    tx: Tx, who: Principal, version: Version, *, kind: str, verdict: str, detail: Mapping[str, Any]
) -> None:
    """Keep a piece of evidence on `version` (`detail`: JSON values, no secrets)."""
    row = {"kind": kind, "verdict": verdict, "detail": json.dumps(detail), "actor": who.name, "at": tx.now}
    tx.connection.execute(_ADD_EVIDENCE, {"version_pk": version.pk, "workflow": version.workflow_pk, **row})


def evidence_of(tx: Tx, version: Version, limit: int = 20, *, state: State | None = None) -> list[dict[str, Any]]:
    """The newest evidence on `version`, newest first; only that for `state` where one is named."""
    where: dict[str, Any] = {"version": version.pk, "limit": limit}
    rows = (
        tx.connection.execute(_PROOF_OF, where | {"state": state}) if state else tx.connection.execute(_PROOF, where)
    )
    return [
        {"kind": r.kind, "verdict": r.verdict, "detail": json.loads(r.detail), "actor": r.actor, "at": r.at}
        for r in rows
    ]


def set_semver(tx: Tx, who: Principal, version: Version, semver: str) -> None:
    """Give `version` its SemVer. Raises `IdTaken` when another version of the workflow carries it."""
    taken = select(t.version.c.id).where(
        t.version.c.workflow_pk == version.workflow_pk, t.version.c.semver == semver, t.version.c.pk != version.pk
    )
    other = tx.connection.execute(taken).scalar()
    if other is not None:
        raise IdTaken(kind="SemVer", value=semver, by=f" by {other}")
    tx.connection.execute(update(t.version).where(t.version.c.pk == version.pk).values(semver=semver))
    audit.append(tx, who, "version:tag", _resource(version), before=version.semver, after=semver)


def numbered(tx: Tx, workflow_pk: int) -> list[Version]:
    """The versions of a workflow that have a SemVer."""
    pointing = _pointing(tx, workflow_pk)
    return [_version(row, pointing) for row in tx.connection.execute(_NUMBERED, {"workflow": workflow_pk})]


def set_pinned(tx: Tx, who: Principal, version: Version, pinned: bool) -> Version:
    """Keep `version` at hand whatever its age, or let retention have it."""
    tx.connection.execute(update(t.version).where(t.version.c.pk == version.pk).values(pinned=pinned))
    audit.append(tx, who, "version:pin" if pinned else "version:unpin", _resource(version))
    return by_pk(tx, version.pk)


def secrets_changed(tx: Tx, old: Version, new: Version) -> frozenset[str]:
    """The secret variables whose values differ between two versions, by their keyed fingerprints."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for row in tx.connection.execute(_FINGERPRINTS, {"old": old.pk, "new": new.pk}):
        (before if row.version_pk == old.pk else after)[row.name] = row.fingerprint
    if old.pk == new.pk:
        after = before
    return frozenset(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _resource(version: Version) -> str:
    return f"workflow/{version.workflow_id}/version/{version.id}"


def _one(row: Any) -> Version:
    return Version(**{**row._mapping, "channels": tuple(row.channels.split(",")) if row.channels else ()})


def _version(row: Any, pointing: Mapping[int, tuple[str, ...]]) -> Version:
    return Version(**row._mapping, channels=pointing.get(row.pk, ()))


def _pointing(tx: Tx, workflow_pk: int) -> dict[int, tuple[str, ...]]:
    """Which channels point to which versions of a workflow."""
    found: dict[int, tuple[str, ...]] = {}
    for row in tx.connection.execute(_CHANNELS, {"workflow": workflow_pk}):
        found[row.version_pk] = (*found.get(row.version_pk, ()), row.name)
    return found


def _take_id(tx: Tx, wanted: str | None) -> str:
    if wanted is None:
        day = day_of(parse_time(tx.now))
        return version_id(day, _count(tx, "version", day))
    day, number = split_version(wanted)
    if number > _GREATEST:
        raise InvalidRequest(where="id", reason=f"the number in {wanted} is above {_GREATEST}, and counting goes on")
    _must_be_free(tx, wanted)
    _count(tx, "version", day, at_least=number)
    return wanted


def _must_be_free(tx: Tx, id: str) -> None:
    row = tx.connection.execute(_FIND, {"workspace": tx.workspace, "id": id}).first()
    if row is not None:
        raise IdTaken(kind="version", value=id, by=f" by a version of {row.slug}", owner=row.slug)


def _count(tx: Tx, kind: str, day: str, at_least: int = 0) -> int:
    """The next running number of `kind` on `day`; with `at_least`, count on from there."""
    values = {"workspace": tx.workspace, "of_kind": kind, "on_day": day, "first": max(1, at_least), "least": at_least}
    number: int = tx.connection.execute(_counting(tx.postgres, at_least > 0), values).scalar_one()
    return number


@cache
def _counting(postgres: bool, jump: bool) -> Any:
    """The statement of `_count`; with `jump` it goes on from `least`. To build it takes longer than to run it."""
    added = (pg_insert if postgres else sqlite_insert)(t.counter).values(
        workspace_pk=bindparam("workspace"),
        kind=bindparam("of_kind"),
        day=bindparam("on_day"),
        last=bindparam("first"),
    )
    known, least = t.counter.c.last, bindparam("least", type_=Integer)
    greatest = func.greatest(known, least) if postgres else func.max(known, least)
    return added.on_conflict_do_update(
        index_elements=[t.counter.c.workspace_pk, t.counter.c.kind, t.counter.c.day],
        set_={"last": greatest if jump else known + 1},
    ).returning(known)


def _iso(text: str) -> str:
    try:
        return utc_text(parse_time(text))
    except (ValueError, OverflowError):
        raise InvalidRequest(where="authored_at", reason=f"{text!r} is not an ISO 8601 time") from None
