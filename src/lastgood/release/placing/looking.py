"""Asking Dify what an app serves, and keeping what is seen; a version that history does not know is captured."""

from dataclasses import dataclass

from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import DifyMissing, InvalidDocument, LastgoodError
from lastgood.history import apps, captured, placements, versions, workflows
from lastgood.history.apps import App
from lastgood.history.versions import Version
from lastgood.release.means import Means
from lastgood.targets.dify import Client, servers
from lastgood.targets.dify.contents import document_of
from lastgood.targets.dify.forms import Workflow
from lastgood.targets.dify.source import Source, author_of, may_export, time_of

WATCH = Principal("watch", "service")
UNSURE = "unsure"  # in `App.read`: the operation that could not learn what it left there


@dataclass(frozen=True, slots=True)
class Seen:
    """What an app was just seen to serve: Dify's row (None: nothing), and the version of ours that it holds. With a
    `problem` it could not be asked, and `app` says what is remembered."""

    app: App
    row: Workflow | None = None
    version: Version | None = None
    problem: LastgoodError | None = None


def source_of(means: Means, app: App) -> Source:
    """The server of `app` as something to read from. Raises `UnknownServer`, `Unsealable`."""
    with means.store.read() as tx:
        server = servers.get(tx, app.target)
    return Source(means.store, means.dify(app.target), server, WATCH, exports=may_export(server))


def look(means: Means, app: App) -> Seen:
    """Ask Dify what `app` serves now, and keep that. Raises nothing of Dify's."""
    try:
        return see(means, source_of(means, app), app)
    except LastgoodError as error:
        if isinstance(error, DifyMissing) and error.data.get("code") == "app_not_found":
            means.store.write(lambda tx: apps.set_gone(tx, app))
        return Seen(app, problem=error)


def see(means: Means, source: Source, app: App, row: Workflow | None = None) -> Seen:
    """As `look`, with the row where it was read already. Raises `DifyError`."""
    row = row or source.client.console.published(app.app_id)
    with means.store.read() as tx:
        held = placements.find(tx, app, row.id) if row else None
        now = apps.by_pk(tx, app.pk)
        version = versions.by_pk(tx, held.version_pk) if held else None
    known = (now.live_id, now.live_pk) == (row.id if row else None, version.pk if version else None)
    there = held is not None and held.gone_at is None
    if known and (row is None or there) and now.gone_at is None and not now.read.get(UNSURE):
        return Seen(now, row, version)
    secrets = source.secrets(app.app_id, row)[0] if row is not None and held is None else {}

    def work(tx: Tx) -> Seen:
        found = keep_row(tx, source.who, app, row, secrets) if row is not None else None
        since, by = (time_of(row), author_of(row)) if row is not None else (None, "")
        apps.saw_live(tx, app, row.id if row else None, found, since=since, by=by)
        apps.set_read(tx, app, **{UNSURE: ""})
        return Seen(apps.by_pk(tx, app.pk), row, found)

    try:
        return means.store.write(work)
    except InvalidDocument as error:
        # It cannot even be read, so nothing of it is in history; what Dify serves is known all the same.
        kept = means.store.write(lambda tx: _saw_unreadable(tx, app, row))
        return Seen(kept, row, None, error)


def keep_row(tx: Tx, who: Principal, app: App, row: Workflow, secrets: dict[str, str]) -> Version:
    """The version that Dify's `row` of `app` holds, kept as one where history has none. Raises `InvalidDocument`."""
    held = placements.find(tx, app, row.id)
    if held is not None:
        placements.set_there(tx, who, app, held)
        return versions.by_pk(tx, held.version_pk)
    workflow = workflows.by_pk(tx, app.workflow_pk)
    note = ": ".join(part for part in (row.marked_name, row.marked_comment) if part)
    kept = captured.keep(
        tx,
        who,
        workflow,
        document_of(workflow, row, secrets),
        secrets,
        author=author_of(row),
        authored_at=time_of(row),
        note=note,
    )
    place(tx, app, kept.version, row)
    return kept.version


def place(tx: Tx, app: App, version: Version, row: Workflow, operation: str | None = None) -> None:
    """Keep that `row` holds `version`."""
    placements.add(
        tx,
        app,
        version,
        row.id,
        label=row.version[:64],
        hash=row.hash[:64],
        name=row.marked_name,
        comment=row.marked_comment,
        author=author_of(row),
        placed_at=time_of(row),
        operation=operation,
    )


def _saw_unreadable(tx: Tx, app: App, row: Workflow | None) -> App:
    since, by = (time_of(row), author_of(row)) if row is not None else (None, "")
    apps.saw_live(tx, app, row.id if row else None, None, since=since, by=by)
    return apps.by_pk(tx, app.pk)


def gone(means: Means, app: App, client: Client, version: Version) -> bool:
    """Whether the row that holds `version` on `app` was deleted in Dify; then that is kept. What cannot be asked is
    not gone. A version is not read by id there, so the list is looked through."""
    with means.store.read() as tx:
        held = placements.current(tx, app, version)
    if held is None:
        return True
    there = any(row.id == held.placed_id for row in client.console.every_version(app.app_id))
    if not there:
        means.store.write(lambda tx: placements.set_gone(tx, WATCH, app, held))
    return not there
