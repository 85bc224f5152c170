"""Capture: every version of every app on a Dify server, and its draft, into history.

An app is read first and kept then, the oldest version first, a batch in one transaction: whoever is killed in
between has lost nothing, and the next pass asks that app's list again and goes on where it stopped."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import batched
from typing import Any

from lastgood import dsl
from lastgood.db import audit
from lastgood.db.tx import Tx, utc_text
from lastgood.errors import (
    DifyBusy,
    DifyError,
    DifyMissing,
    DifySignInRefused,
    DifyUnreachable,
    InvalidDocument,
    UnknownWorkflow,
)
from lastgood.history import apps, captured, channels, drafts, placements, retention, versions, workflows
from lastgood.history.apps import App
from lastgood.ids import slugify
from lastgood.targets.dify import around, forms, listing, logs
from lastgood.targets.dify.contents import document_of
from lastgood.targets.dify.listing import Known, Listing
from lastgood.targets.dify.source import Patience, Source, author_of, live_id_of, time_of

_BATCH = 100  # versions in one transaction
_AT_ONCE = 3  # apps that are read at once, of the four calls that a server is asked at once
_MOST_UNREADABLE = 200


@dataclass(frozen=True, slots=True)
class Captured:
    """What became of one app: how many new versions, and rows of Dify's that hold a version already kept; whether a
    state of its draft was kept; names of secret variables whose values are not known; what else is to be told;
    whether it was the first time, which reads its logs and what is around it too."""

    app: str
    name: str
    workflow: str = ""
    versions: int = 0
    again: int = 0
    draft: bool = False
    secrets_missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    first: bool = False
    failed: bool = False
    """Whether it could not be read whole, and is read again by the next pass."""


def listed(source: Source) -> Iterator[forms.App]:
    """The apps of the server that have versions."""
    return (app for app in source.client.console.every_app() if app.has_versions)


def capture(
    source: Source, found: Iterable[forms.App], told: Callable[[Captured], None], *, everything: bool = False
) -> None:
    """Capture the apps `found`, some at once, and tell of each. An app that cannot be read hinders no other; a server
    that answers for none of several, wants to be left alone or refuses the way in ends it. Raises `DifyUnreachable`,
    `DifyBusy`, `DifySignInRefused`, and what the store raises."""
    patience = Patience()

    def one(app: forms.App) -> Captured:
        if source.stopping.is_set():
            return Captured(app.id, app.name, failed=True, problems=("stopped before it",))
        try:
            outcome = capture_app(source, app, everything=everything)
        except (DifyBusy, DifySignInRefused):
            raise
        except DifyUnreachable as error:
            patience.missed(error)
            return Captured(app.id, app.name, problems=(str(error),), failed=True)
        except DifyMissing as error:
            return Captured(app.id, app.name, problems=(f"it is gone: {error}",))
        except DifyError as error:
            return Captured(app.id, app.name, problems=(str(error),), failed=True)
        patience.answered()
        return outcome

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=f"capture {source.server.name}") as pool:
        for some in batched(found, 4 * _AT_ONCE):  # so that an end comes soon
            for outcome in pool.map(one, some):
                told(outcome)
            if source.stopping.is_set():
                return


def capture_app(source: Source, app: forms.App, *, everything: bool = False) -> Captured:
    """Bring what is new of one app into history: versions, draft, what it serves; at the first time also what is
    around it and what its logs tell. Raises `DifyError`."""
    with source.store.read() as tx:
        bound = source.app(tx, app.id)
        known = known_rows(tx, bound) if bound else Known()
        moving = app.id in source.applying(tx)
    if moving:
        return Captured(app.id, app.name, problems=("an operation is moving it; it is read when that is over",))
    first = bound is None or "updated" not in bound.read
    found = listing.read(source.client.console, app.id, known, everything=everything)
    live_id = _live_id(source, app, found, published=bool(known.ids or found.new))
    outcome = Captured(app.id, app.name, first=first)
    for batch in batched(reversed(found.new), _BATCH):
        read = [(row, *source.secrets(app.id, row)) for row in batch]
        outcome = source.store.write(partial(_keep, source=source, app=app, batch=read, outcome=outcome, first=first))
    if found.draft is not None:
        outcome = keep_draft(source, app, found.draft, outcome)
    before = bound.live_id if bound else None
    outcome = source.store.write(
        partial(_settle, source=source, app=app, live_id=live_id, before=before, outcome=outcome)
    )
    if first or everything:
        around.observe(source, app.id)
        logs.read(source, app.id)
    source.store.write(lambda tx: _mark(tx, source, app, found.top))
    return outcome


def known_rows(tx: Tx, app: App) -> Known:
    """What is known of Dify's rows of `app`; not those that are gone, so that one which is back is noticed."""
    rows = [row for row in placements.listing(tx, app) if row.gone_at is None]
    unreadable = app.read.get("unreadable", [])
    # The top of the last capture that came to its end, and what capture itself found, the oldest first.
    ends = [row.placed_id for row in rows if row.operation is None or row.placed_id == app.read.get("top")]
    return Known(frozenset([*(row.placed_id for row in rows), *unreadable]), frozenset([*ends, *unreadable]))


def is_changed(app: forms.App, known: App) -> bool:
    """Whether the list of apps says that `known` was published, or otherwise moved, since it was captured.

    Dify's `updated_at` of an app is set by a publish and by changes of its name and switches, in whole seconds, and
    by no save of the draft. What it serves is in the list too, and exact, the pointer moved in its database
    included."""
    if "updated" not in known.read or known.gone_at is not None:
        return True
    if live_id_of(app) not in (None, known.live_id):
        return True
    return bool(_updated(app) != known.read["updated"])


def keep_draft(source: Source, app: forms.App, row: forms.Workflow, outcome: Captured) -> Captured:
    """Keep the state of a draft where it is not the one that was read last. Secrets are in no hash, so that after a
    change they are looked at once more by the next pass: a save within the same second could be of them alone."""
    mark = draft_mark(row)
    with source.store.read() as tx:
        bound = source.app(tx, app.id)
        last = (bound.read.get("draft") or {}) if bound else {}
    if last.get("mark") == mark and not last.get("again"):
        return outcome
    values, why = source.secrets(app.id, row)

    def work(tx: Tx) -> bool:
        held = source.app(tx, app.id) or bind(tx, source, app)
        if app.id in source.applying(tx):
            return False  # it is what an operation of ours wrote
        workflow = workflows.by_pk(tx, held.workflow_pk)
        before = drafts.latest(tx, held)
        document = document_of(workflow, row, values)
        kept = drafts.keep(
            tx, held, document, values, row.hash[:64], author_of(row), time_of(row), "seen", who=source.who
        )
        settings = source.store.settings
        drafts.prune(tx, held, keep=settings.draft_keep, days=settings.draft_days)
        secret = bool(dsl.secret_names(document))
        apps.set_read(tx, held, draft={"mark": mark, "again": secret and last.get("mark") != mark})
        return before is None or before.id != kept.id

    try:
        changed = source.store.write(work)
    except InvalidDocument as error:
        return replace(outcome, problems=(*outcome.problems, f"its draft cannot be kept: {error}"))
    problems = (f"secrets of the draft are not known: {why}",) if why else ()
    return replace(outcome, draft=outcome.draft or changed, problems=(*outcome.problems, *problems))


def draft_mark(row: forms.Workflow) -> str:
    """What tells two states of a draft apart, secret values aside."""
    parts = [
        row.hash, row.updated_at.isoformat() if row.updated_at else "", row.graph, row.features,
        row.environment_variables, row.conversation_variables,
    ]  # fmt: skip
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def bind(tx: Tx, source: Source, app: forms.App) -> App:
    """Make a workflow of an app that has none yet, and let its channel `live` be what the app runs."""
    short = app.id.replace("-", "")[:8]
    plain = slugify(app.name)
    wanted = (plain, f"{plain[:54] or 'app'}-{short}", f"app-{app.id}")
    slug = next(one for one in wanted if one and not _is_taken(tx, one))
    workflow = workflows.create(tx, source.who, slug, name=app.name, mode=app.mode, target=source.server.name)
    return apps.bind(
        tx, source.who, workflow, channels.LIVE, target=source.server.name, app=app.id, name=app.name, mode=app.mode
    )


def _keep(
    tx: Tx,
    source: Source,
    app: forms.App,
    batch: list[tuple[forms.Workflow, dict[str, str], str]],
    outcome: Captured,
    first: bool,
) -> Captured:
    """Keep a batch of versions, the oldest first."""
    held = source.app(tx, app.id) or bind(tx, source, app)
    workflow = workflows.by_pk(tx, held.workflow_pk)
    versions.take_turn(tx, workflow)
    if app.id in source.applying(tx):
        return outcome  # the newest row may be that operation's, which keeps it itself
    known = known_rows(tx, held).ids
    new, again, missing, problems = 0, 0, set(outcome.secrets_missing), [*outcome.problems]
    unreadable = list(held.read.get("unreadable", []))
    for row, secrets, why in batch:
        if row.id in known:
            continue  # another pass was quicker
        if (back := placements.find(tx, held, row.id)) is not None:
            placements.set_there(tx, source.who, held, back)
            again += 1
            continue
        try:
            document = document_of(workflow, row, secrets)
        except InvalidDocument as error:
            unreadable.append(row.id)
            problems.append(f"version {row.version} cannot be kept: {error}")
            continue
        note = ": ".join(part for part in (row.marked_name, row.marked_comment) if part)
        author, at = author_of(row), time_of(row)
        kept = captured.keep(tx, source.who, workflow, document, secrets, author=author, authored_at=at, note=note)
        placements.add(
            tx,
            held,
            kept.version,
            row.id,
            label=row.version[:64],
            hash=row.hash[:64],
            name=row.marked_name,
            comment=row.marked_comment,
            author=author,
            placed_at=at,
        )
        new, again = new + kept.created, again + (not kept.created)
        missing.update(kept.secrets_missing)
        if why and kept.secrets_missing and why not in problems:
            problems.append(why)
        if not first:
            _alarm_failed(tx, source, held, kept.version, row)
    if unreadable != held.read.get("unreadable", []):
        apps.set_read(tx, held, unreadable=unreadable[-_MOST_UNREADABLE:])
    if new and not first:
        retention.archive_old(tx, source.who, workflow, source.store.settings.retention)
    return replace(
        outcome,
        workflow=workflow.slug,
        versions=outcome.versions + new,
        again=outcome.again + again,
        secrets_missing=tuple(sorted(missing)),
        problems=tuple(problems),
    )


def _is_taken(tx: Tx, slug: str) -> bool:
    try:
        workflows.find(tx, slug)
    except UnknownWorkflow:
        return False
    return True


def _settle(
    tx: Tx, source: Source, app: forms.App, live_id: str | None, before: str | None, outcome: Captured
) -> Captured:
    """Keep what the app serves, and let a channel that points to nothing begin there. Where an operation has kept
    what it serves since the app was read (then it is no more what it was `before`), that is newer."""
    held = source.app(tx, app.id) or bind(tx, source, app)
    workflow = workflows.by_pk(tx, held.workflow_pk)
    if held.live_id != before or app.id in source.applying(tx):
        return replace(outcome, workflow=workflow.slug)
    saw(tx, source, held, app, live_id)
    pointer = channels.get(tx, workflow, held.channel)
    placed = placements.find(tx, held, live_id) if live_id else None
    if placed is not None and pointer.version is None and pointer.applying is None:
        version = versions.by_pk(tx, placed.version_pk)
        channels.move(
            tx,
            source.who,
            workflow,
            pointer,
            version,
            expected=pointer.generation,
            kind="adopt",
            reason=f"what {source.server.name} serves when it is captured first",
        )
    return replace(outcome, workflow=workflow.slug)


def _mark(tx: Tx, source: Source, app: forms.App, top: str | None) -> None:
    """Keep that all of an app was read as far as the list of apps tells of it."""
    held = source.app(tx, app.id)
    if held is not None:
        apps.set_read(tx, held, updated=_updated(app), top=top)
        if app.name != held.name:
            apps.rename(tx, held, app.name)


def saw(tx: Tx, source: Source, held: App, app: forms.App, live_id: str | None) -> None:
    """Keep which version an app was seen to serve, since when and by whom, as far as Dify tells."""
    placed = placements.find(tx, held, live_id) if live_id else None
    version = versions.by_pk(tx, placed.version_pk) if placed else None
    if live_id == held.live_id and (version.pk if version else None) == held.live_pk and held.gone_at is None:
        return
    newest = max(placements.listing(tx, held), key=lambda one: one.label, default=None)
    if placed is not None and newest is not None and newest.placed_id == placed.placed_id:
        since, by = placed.placed_at, placed.author
    else:  # its pointer was moved by other means than a publish
        since, by = utc_text(app.updated_at) if app.updated_at else tx.now, ""
    apps.saw_live(tx, held, live_id, version, since=since if live_id else None, by=by if live_id else "")
    if held.live_id is not None and live_id != held.live_id:
        facts: dict[str, Any] = {"before": held.live, "after": version.id if version else None, "by": by}
        resource = f"workflow/{held.workflow_id}/channel/{held.channel}"
        audit.append(tx, source.who, "app:serves", resource, server=held.target, app=held.app_id, **facts)
        payload = {"server": held.target, "app": held.app_id, "channel": held.channel, "since": since, **facts}
        audit.emit(tx, "app.serves", held.workflow_id, payload)


def _alarm_failed(tx: Tx, source: Source, held: App, version: versions.Version, row: forms.Workflow) -> None:
    failed = captured.failed_twin(tx, version)
    if failed is None:
        return
    facts = {"version": version.id, "failed": failed.id, "by": author_of(row), "placed_id": row.id}
    resource = f"workflow/{held.workflow_id}/version/{version.id}"
    audit.append(tx, source.who, "version:failed-again", resource, server=held.target, app=held.app_id, **facts)
    payload = {"server": held.target, "app": held.app_id, "channel": held.channel, "at": time_of(row), **facts}
    audit.emit(tx, "version.failed-again", held.workflow_id, payload)


def _live_id(source: Source, app: forms.App, found: Listing, *, published: bool) -> str | None:
    """What the app serves. Where versions came since the list of apps was read, that list may be too old to tell; and
    where it tells of nothing although the app was `published`, it tells nothing."""
    told = live_id_of(app)
    if not published or (told is not None and (not found.new or told == found.new[0].id)):
        return told
    live = source.client.console.published(app.id)
    return live.id if live else None


def _updated(app: forms.App) -> str:
    return app.updated_at.isoformat() if app.updated_at else ""
