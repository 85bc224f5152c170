"""Versions that were not pushed but found on a server: kept as they are, broken or not, and each content once."""

from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy import bindparam, select

from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.history import content, versions
from lastgood.history.versions import Pushed, Version
from lastgood.history.workflows import Workflow

_SAME = (
    select(t.version.c.pk, t.secret.c.name, t.secret.c.fingerprint)
    .join_from(t.version, t.snapshot, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .outerjoin(t.secret, t.secret.c.version_pk == t.version.c.pk)
    .where(t.version.c.workflow_pk == bindparam("workflow"), t.snapshot.c.digest == bindparam("digest"))
    .order_by(t.version.c.pk.desc())
)
_FAILED = (
    select(t.version.c.pk)
    .join_from(t.version, t.snapshot, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .where(
        t.version.c.workflow_pk == bindparam("workflow"),
        t.version.c.state == "failed",
        t.snapshot.c.semantic_digest == bindparam("semantic"),
    )
    .order_by(t.version.c.pk.desc())
    .limit(1)
)
_MOST_FINDINGS = 20
_LONGEST_NOTE = 2000


def keep(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    document: dsl.Document,
    secrets: Mapping[str, str],
    *,
    author: str,
    authored_at: str | None,
    note: str = "",
    origin: str = "capture",
) -> Pushed:
    """The version of `workflow` that holds `document` with these secret values (by content digest and keyed
    fingerprints), made where there is none yet. A broken graph is kept with what is wrong with it as evidence.

    Unlike a push, a secret without a value takes none from another version: what was not read is not known."""
    versions.take_turn(tx, workflow)
    bare, within = dsl.take_secrets(document)
    given = {**within, **secrets}
    names = dsl.secret_names(document)
    known = {name: given[name] for name in names if given.get(name)}
    missing = tuple(name for name in names if name not in known)
    digest = content.write_content(tx, bare)
    held = find(tx, workflow, digest, {name: tx.ring.fingerprint(value) for name, value in known.items()})
    if held is not None:
        return Pushed(held, created=False, secrets_missing=missing)
    version = versions.add(
        tx,
        who,
        workflow,
        digest,
        dsl.semantic_digest(bare),
        known,
        parent=next(iter(versions.page(tx, workflow, limit=1)), None),
        author=author or "somebody in Dify",
        authored_at=authored_at,
        note=note[:_LONGEST_NOTE],
        origin=origin,
    )
    errors = [finding for finding in dsl.check(bare) if finding.severity == "error"]
    if errors:
        detail = {"findings": [asdict(finding) for finding in errors[:_MOST_FINDINGS]], "number": len(errors)}
        versions.add_evidence(tx, who, version, kind="capture", verdict="broken", detail=detail)
    return Pushed(version, created=True, secrets_missing=missing)


def find(tx: Tx, workflow: Workflow, digest: str, fingerprints: Mapping[str, str]) -> Version | None:
    """The newest version of `workflow` with this content and exactly these secrets (keyed fingerprints by name)."""
    held: dict[int, dict[str, str]] = {}
    for row in tx.connection.execute(_SAME, {"workflow": workflow.pk, "digest": digest}):
        named = held.setdefault(row.pk, {})
        if row.name is not None:
            named[row.name] = row.fingerprint
    found = next((pk for pk, named in held.items() if named == fingerprints), None)
    return None if found is None else versions.by_pk(tx, found)


def failed_twin(tx: Tx, version: Version) -> Version | None:
    """The newest version marked failed that does the same as `version` (by semantic digest), be it itself."""
    where = {"workflow": version.workflow_pk, "semantic": version.semantic_digest}
    pk = tx.connection.execute(_FAILED, where).scalar()
    return None if pk is None else versions.by_pk(tx, pk)
