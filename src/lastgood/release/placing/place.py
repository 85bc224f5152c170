"""Where a step of an operation works on a Dify app, and what it finds there: whether the draft is what was kept or
what was written, and who was at it or published meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lastgood import dsl
from lastgood.db.tx import Tx
from lastgood.dsl.compare import compare, summary
from lastgood.errors import DraftTaken, LastgoodError, NotAsMeant, PublishedMeanwhile
from lastgood.history import apps, drafts, versions, workflows
from lastgood.history.apps import App
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow as Kept
from lastgood.release.doing import Doing
from lastgood.release.placing import looking
from lastgood.release.plan import WRITING, PlannedMove
from lastgood.targets.dify import Client, writing
from lastgood.targets.dify.bodies import Body, body_of, same, same_draft
from lastgood.targets.dify.contents import document_of
from lastgood.targets.dify.forms import Workflow
from lastgood.targets.dify.source import author_of, time_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where a writing step works: the app, and the version that it is to serve in the end."""

    doing: Doing
    planned: PlannedMove
    client: Client
    app: App
    workflow: Kept
    version: Version
    document: dsl.Document
    secrets: Mapping[str, str]

    @property
    def mark(self) -> str:
        """What the comment of the version that this operation publishes begins with."""
        return f"lastgood {self.doing.operation.id} {'undo' if self.doing.undoing else 'to'}"

    def step(self, name: str) -> str:
        """The step `name` in the direction that this goes."""
        return f"undo-{name}" if self.doing.undoing else name

    def detail(self, name: str) -> Mapping[str, Any]:
        """What the step `name` of this direction found or did."""
        return self.doing.detail(self.step(name))

    def kept(self) -> drafts.Draft | None:
        """The state of the draft that was there before."""
        id = self.detail("keep-draft").get("draft")
        with self.doing.means.store.read() as tx:
            return drafts.get(tx, id) if id else None

    def body(self, draft: Workflow | None) -> Body:
        """What writes the version over `draft`."""
        return body_of(self.document, self.secrets, draft, what=self.version.id, server=self.app.target)

    def keep(self, held: writing.Draft) -> drafts.Draft:
        """Keep a state of the draft."""
        document = document_of(self.workflow, held.row, held.secrets)

        def work(tx: Tx) -> drafts.Draft:
            self.doing.means.fence(tx)
            return drafts.keep(
                tx, self.app, document, held.secrets, held.row.hash[:64], author_of(held.row), time_of(held.row),
                "operation", self.doing.operation.id, who=self.doing.operation.who,
            )  # fmt: skip

        return self.doing.means.store.write(work)


def written(doing: Doing) -> PlannedMove:
    """The one move of the plan that writes on Dify."""
    return next(one for one in doing.operation.plan.moves if one.way in WRITING)


def place_of(doing: Doing) -> Place:
    """Where a step works. Raises `UnknownApp`, `UnknownServer`, `Unsealable`."""
    planned = written(doing)
    to = planned.to_version
    if doing.undoing:
        to = doing.detail("move")["moves"][-1]["from"]
    with doing.means.store.read() as tx:
        workflow = workflows.find(tx, planned.workflow_id)
        app = apps.get(tx, workflow, planned.channel)
        version = versions.find(tx, to, workflow)
        document = versions.document_of(tx, version, whole=True)
        secrets = versions.secrets_of(tx, version)
    return Place(doing, planned, doing.means.dify(app.target), app, workflow, version, document, secrets)


def place_seen(place: Place, row: Workflow) -> None:
    """Let history have what was published and was not meant."""
    source = looking.source_of(place.doing.means, place.app)
    looking.see(place.doing.means, source, place.app, row)


def is_as_kept(place: Place, kept: drafts.Draft | None, now: writing.Draft | None) -> bool:
    """Whether the draft is what was kept of it, secrets included."""
    if kept is None or now is None:
        return kept is None and now is None
    return same_draft(document_kept(place.doing, kept), now.row) and _said(now.secrets) == secrets_before(place, kept)


def is_ours(place: Place, kept: drafts.Draft | None, now: writing.Draft) -> bool:
    """Whether the draft is what this operation wrote there, secrets included."""
    before = secrets_before(place, kept)
    meant = {name: place.secrets.get(name, before.get(name, "")) for name in dsl.secret_names(place.document)}
    return same(place.document, now.row) and _said(now.secrets) == _said(meant)


def secrets_before(place: Place, kept: drafts.Draft | None) -> dict[str, str]:
    """The secrets of the draft that was there before."""
    with place.doing.means.store.read() as tx:
        return drafts.secrets_of(tx, kept) if kept else {}


def _said(secrets: Mapping[str, str]) -> dict[str, str]:
    """The secrets that say anything."""
    return {name: value for name, value in secrets.items() if value}


def elsewhere(place: Place, live: Workflow | None) -> Exception:
    """Why what is live is not what was just published."""
    if live is None:
        what = "it serves nothing"
        return NotAsMeant(
            server=place.app.target, app=place.app.name, version=place.version.id, what=what, workflow=place.app.slug
        )
    place_seen(place, live)
    return PublishedMeanwhile(
        who=author_of(live) or "somebody", label=live.marked_name or live.version, app=place.app.name,
        server=place.app.target, operation=place.doing.operation.id, workflow=place.app.slug,
    )  # fmt: skip


def taken(place: Place, kept: drafts.Draft | None, draft: Workflow | None) -> DraftTaken:
    """Who changed the draft and what; it is kept before that is told."""
    who, at, what = "somebody", "an unknown time", "it is gone"
    if draft is not None:
        who, at = author_of(draft) or "somebody", time_of(draft) or at
        try:
            held = writing.read_draft(place.client, place.app.app_id)
            theirs = place.keep(held) if held else None
        except LastgoodError:
            theirs = None
        what = f"kept as {theirs.id}" if theirs else "it could not be kept"
        if kept is not None:
            found = compare(document_kept(place.doing, kept), document_of(place.workflow, draft))
            what = f"{summary(found)}; {what}"
    return DraftTaken(
        app=place.app.name,
        server=place.app.target,
        who=who,
        at=at[:19],
        operation=place.doing.operation.id,
        what=what,
    )


def document_kept(doing: Doing, kept: drafts.Draft) -> dsl.Document:
    with doing.means.store.read() as tx:
        return drafts.document_of(tx, kept)
