"""The steps of an operation that writes on a Dify app. Each looks at Dify before it acts, so that one that was broken
off anywhere is gone on with: the mark in the version's comment tells whether a publish was done, the content of the
draft whether a write was."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood import dsl
from lastgood.db.tx import Tx, utc_text
from lastgood.dsl.compare import compare, summary
from lastgood.errors import DifyDraftChanged, DraftTaken, LastgoodError, NotAsMeant, PublishedMeanwhile
from lastgood.history import apps, channels, drafts, placements, versions, workflows
from lastgood.history.apps import App
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow as Kept
from lastgood.release.doing import Doing, Result
from lastgood.release.placing import database, looking
from lastgood.release.plan import WRITING, PlannedMove
from lastgood.targets.dify import Client, writing
from lastgood.targets.dify.bodies import Body, body_of, same, same_draft
from lastgood.targets.dify.contents import document_of
from lastgood.targets.dify.forms import Workflow
from lastgood.targets.dify.source import author_of, time_of

_CORRECTED = "+"


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
        document = versions.document_of(tx, version)
        secrets = versions.secrets_of(tx, version)
    return Place(doing, planned, doing.means.dify(app.target), app, workflow, version, document, secrets)


def hold(doing: Doing, tx: Tx) -> Result:
    """Let nobody else move the channel until this operation has moved it or let go."""
    planned = written(doing)
    workflow = workflows.find(tx, planned.workflow_id)
    pointer = channels.get(tx, workflow, planned.channel)
    expected = planned.expected_generation
    if doing.undoing:
        made = doing.detail("move").get("moves", [])
        if not made or made[-1]["from"] is None:
            what = "points to nothing before" if made else "was not moved"
            return Result("failed", {"problem": {"detail": f"{planned.channel} of {workflow.slug} {what}"}})
        expected = made[-1]["generation"]
    channels.hold(tx, workflow, pointer, expected=expected, operation=doing.operation.id)
    return Result("done", {"way": planned.way})


def keep_draft(doing: Doing) -> Result:
    """Keep the draft as it is, and make sure that it could be put back and the version be written, before anything
    is."""
    if written(doing).way == "database":
        return Result("skipped", {"reason": "the draft is not touched"})
    place = place_of(doing)
    held = writing.read_draft(place.client, place.app.app_id)
    body = place.body(held.row if held else None)
    if held is None:
        return Result("done", {"draft": None})
    kept = place.keep(held)
    detail = {"draft": kept.id, "hash": kept.hash, "author": kept.author, "changed_at": kept.changed_at}
    return Result("done", {**detail, "secrets_kept": list(body.kept)})


def write_draft(doing: Doing) -> Result:
    """Write the version into the draft, where that still is what was kept."""
    if written(doing).way == "database":
        return Result("skipped", {"reason": "the draft is not touched"})
    place = place_of(doing)
    kept = place.kept()
    now = writing.read_draft(place.client, place.app.app_id)
    if not _is(place, kept, now):
        if doing.again and now is not None and _is_ours(place, kept, now):
            return Result("done", {"hash": now.row.hash, "found": True})
        raise _taken(place, kept, now.row if now else None)
    there = _write(place, kept, now.row if now else None)
    return Result("done", {"hash": there.hash, "restored": place.planned.way == "restore"})


def publish(doing: Doing) -> Result:
    """Publish what was written, unless that was done already."""
    place = place_of(doing)
    if place.planned.way == "database":
        return _switch(place)
    if doing.again and (row := writing.published_as(place.client, place.app.app_id, place.mark)) is not None:
        return Result("done", {"row": row.id, "found": True})
    draft = place.client.console.draft(place.app.app_id)
    told: dict[str, Any] = {}
    if draft is None or not same(place.document, draft):
        told = _correct(place, draft)
    found = _publish(place, place.mark)
    return Result("done", {"row": found.id if found else None, **told})


def read_back(doing: Doing) -> Result:
    """Whether Dify now serves what was meant, variables and readable secrets included. What an editor saved in
    between, and was published with it, is kept, told and (by setting) published over, once."""
    place = place_of(doing)
    if place.planned.way == "database":
        live = place.client.console.published(place.app.app_id)
        wanted = place.detail("publish")["row"]
        if live is None or live.id != wanted:
            raise _elsewhere(place, live)
        return Result("done", {"row": live.id})
    again = place.mark + _CORRECTED
    ours = writing.published_as(place.client, place.app.app_id, again)
    corrected = ours is not None
    ours = ours or writing.published_as(place.client, place.app.app_id, place.mark)
    told: dict[str, Any] = {}
    if ours is None:
        raise _elsewhere(place, place.client.console.published(place.app.app_id))
    wrong = _differs(place, ours)
    if wrong and not corrected:
        live = place.client.console.published(place.app.app_id)
        if live is None or live.id != ours.id:
            raise _elsewhere(place, live)
        place_seen(place, live)
        draft = place.client.console.draft(place.app.app_id)
        told = _correct(place, draft)
        corrected_row = _publish(place, again)
        if corrected_row is None:
            raise _elsewhere(place, place.client.console.published(place.app.app_id))
        ours, wrong = corrected_row, _differs(place, corrected_row)
    if wrong:
        place_seen(place, ours)
        raise NotAsMeant(
            server=place.app.target, app=place.app.name, version=place.version.id, what=wrong, workflow=place.app.slug
        )
    live = place.client.console.published(place.app.app_id)
    if live is None or live.id != ours.id:
        raise _elsewhere(place, live)
    at = utc_text(ours.published_at) if ours.published_at else time_of(ours)
    detail = {
        "row": ours.id, "label": ours.version[:64], "hash": ours.hash[:64], "name": ours.marked_name,
        "comment": ours.marked_comment, "author": author_of(ours), "at": at,
    }  # fmt: skip
    return Result("done", {**detail, **told})


def record(doing: Doing, tx: Tx) -> App:
    """Keep, in the transaction of the move, that the app serves what was read back."""
    planned = written(doing)
    workflow = workflows.find(tx, planned.workflow_id)
    app = apps.get(tx, workflow, planned.channel)
    to = doing.detail("move")["moves"][-1]["from"] if doing.undoing else planned.to_version
    version = versions.find(tx, to, workflow)
    seen = doing.detail("undo-read-back" if doing.undoing else "read-back")
    if "label" in seen:
        placements.add(
            tx, app, version, seen["row"], label=seen["label"], hash=seen["hash"], name=seen["name"],
            comment=seen["comment"], author=seen["author"], placed_at=seen["at"], operation=doing.operation.id,
        )  # fmt: skip
    apps.saw_live(tx, app, seen["row"], version, since=seen.get("at") or tx.now, by=seen.get("author", ""))
    apps.set_converge(tx, app, None)
    apps.set_read(tx, app, **{looking.UNSURE: ""})
    return apps.by_pk(tx, app.pk)


def put_draft_back(doing: Doing) -> Result:
    """Put the draft back that was there before. Where somebody changed it since, theirs stays, and both are told."""
    place = place_of(doing)
    moved = doing.detail("undo" if doing.undoing else "move").get("moves") is not None
    told = {} if moved else _what_is_live(place)
    if place.step("write-draft") not in doing.operation.steps or place.planned.way == "database":
        return Result("skipped", {"reason": "the draft was not touched", **told})
    kept = place.kept()
    if kept is None:
        return Result("skipped", {"reason": "there was no draft before", **told})
    try:
        return _put_back(place, kept, told)
    except LastgoodError as error:
        restore = f"lastgood draft restore {place.app.slug} {kept.id}"
        problem = {"detail": f"{error} The draft that was there is kept: `{restore}` puts it back."}
        return Result("failed", {"problem": problem, "draft": kept.id, **told})


def release(doing: Doing, tx: Tx) -> Result:
    """Let others move the channel again; nothing was moved."""
    planned = written(doing)
    workflow = workflows.find(tx, planned.workflow_id)
    channels.let_go(tx, channels.get(tx, workflow, planned.channel), doing.operation.id)
    if doing.detail("undo-put-draft-back" if doing.undoing else "put-draft-back").get("unsure"):
        apps.set_read(tx, apps.get(tx, workflow, planned.channel), **{looking.UNSURE: doing.operation.id})
    return Result("done", {})


def place_seen(place: Place, row: Workflow) -> None:
    """Let history have what was published and was not meant."""
    source = looking.source_of(place.doing.means, place.app)
    looking.see(place.doing.means, source, place.app, row)


def _what_is_live(place: Place) -> dict[str, Any]:
    """What is to be told of an app whose channel was not moved: what it serves now."""
    if place.step("publish") not in place.doing.operation.steps:
        return {}
    seen = looking.look(place.doing.means, place.app)
    if seen.problem is not None:
        return {"unsure": True, "serves": f"what {place.app.target} serves now is not known: {seen.problem}"}
    name = seen.version.id if seen.version else "nothing that is in history"
    return {"serves": f"{place.app.target} serves {name} now", "live": seen.version.id if seen.version else None}


def _put_back(place: Place, kept: drafts.Draft, told: dict[str, Any]) -> Result:
    with place.doing.means.store.read() as tx:
        document, secrets = drafts.document_of(tx, kept), drafts.secrets_of(tx, kept)
        left = place.planned.from_version if not place.doing.undoing else place.planned.to_version
        rolled_back = versions.find(tx, left, place.workflow) if left else None
    detail: dict[str, Any] = {"draft": kept.id, **told}
    undone = place.doing.operation.kind in ("rollback", "heal") or place.doing.undoing
    if rolled_back is not None and undone and rolled_back.semantic_digest == kept.semantic_digest:
        detail["warning"] = (
            f"The draft in Dify still holds {rolled_back.id}, which was just rolled back: who publishes it there "
            f"brings it back. `lastgood draft restore {place.app.slug} {place.version.id}` takes it out."
        )
    now = writing.read_draft(place.client, place.app.app_id)
    if now is not None and _is(place, kept, now):
        return Result("done", {**detail, "found": True})
    if now is None or not _is_ours(place, kept, now):
        return Result("done", {**detail, **_left_alone(place, kept, now)})
    body = body_of(document, secrets, now.row, what=kept.id, server=place.app.target, empty=True)
    try:
        writing.write_draft(place.client, place.app.app_id, body, now.row.hash, document)
    except DifyDraftChanged:
        now = writing.read_draft(place.client, place.app.app_id)
        return Result("done", {**detail, **_left_alone(place, kept, now)})
    return Result("done", detail)


def _is(place: Place, kept: drafts.Draft | None, now: writing.Draft | None) -> bool:
    """Whether the draft is what was kept of it, secrets included."""
    if kept is None or now is None:
        return kept is None and now is None
    return same_draft(_document(place.doing, kept), now.row) and _said(now.secrets) == _before(place, kept)


def _is_ours(place: Place, kept: drafts.Draft | None, now: writing.Draft) -> bool:
    """Whether the draft is what this operation wrote there, secrets included."""
    before = _before(place, kept)
    meant = {name: place.secrets.get(name, before.get(name, "")) for name in dsl.secret_names(place.document)}
    return same(place.document, now.row) and _said(now.secrets) == _said(meant)


def _before(place: Place, kept: drafts.Draft | None) -> dict[str, str]:
    """The secrets of the draft that was there before."""
    with place.doing.means.store.read() as tx:
        return drafts.secrets_of(tx, kept) if kept else {}


def _said(secrets: Mapping[str, str]) -> dict[str, str]:
    """The secrets that say anything."""
    return {name: value for name, value in secrets.items() if value}


def _left_alone(place: Place, kept: drafts.Draft, now: writing.Draft | None) -> dict[str, Any]:
    """What is told of a draft that somebody changed; theirs is kept too."""
    who = (author_of(now.row) if now else "") or "somebody"
    if now is not None:
        place.keep(now)
    restore = f"lastgood draft restore {place.app.slug} {kept.id}"
    return {
        "left": f"{who} changed the draft meanwhile, so it was left as it is; `{restore}` puts back what was there."
    }


def _write(place: Place, kept: drafts.Draft | None, draft: Workflow | None) -> Workflow:
    """Write the version over `draft`, by the server itself where the way says so and it can."""
    app = place.app.app_id
    if place.planned.way == "restore":
        with place.doing.means.store.read() as tx:
            source = placements.current(tx, place.app, place.version)
        if source is not None:
            there = writing.restore_draft(place.client, app, source.placed_id, place.document)
            if there is not None:
                return there
    try:
        return writing.write_draft(
            place.client, app, place.body(draft), draft.hash if draft else None, place.document
        )
    except DifyDraftChanged:
        raise _taken(place, kept, place.client.console.draft(app)) from None


def _correct(place: Place, draft: Workflow | None) -> dict[str, Any]:
    """Keep what somebody saved over ours, and write ours again. Raises `DraftTaken` where the setting forbids it."""
    kept = place.kept()
    if draft is not None and same(place.document, draft):
        return {"corrected": "what was published was not what was written; it was published again"}
    if not place.doing.means.settings.dify.correct or draft is None:
        raise _taken(place, kept, draft)
    intruder = writing.read_draft(place.client, place.app.app_id)
    if intruder is None:
        raise _taken(place, kept, None)
    theirs = place.keep(intruder)
    _write(place, kept, intruder.row)
    who = author_of(intruder.row) or "somebody"
    return {
        "intruder": theirs.id,
        "corrected": f"{who} saved the draft between our write and our publish; what they saved is kept as "
        f"{theirs.id}, and ours was written again",
    }


def _publish(place: Place, mark: str) -> Workflow | None:
    operation = place.doing.operation
    reason = f": {operation.reason}" if operation.reason else ""
    comment = f"{place.version.id}{reason}" if place.doing.undoing else f"{operation.kind} {place.version.id}{reason}"
    return writing.publish(place.client, place.app.app_id, place.version.id, mark, " ".join(comment.split()))


def _differs(place: Place, row: Workflow) -> str:
    """What in a published version is not as it was meant, empty where all is."""
    if not same(place.document, row):
        found = document_of(place.workflow, row)
        return f"it differs: {summary(compare(place.document, found))}"
    names = dsl.secret_names(place.document)
    if not names:
        return ""
    values = writing.secrets_of(place.client, place.app.app_id, row.id)
    if values is None:
        return ""
    before = _before(place, place.kept())
    wrong = [name for name in names if values.get(name) != place.secrets.get(name, before.get(name, ""))]
    return f"other values of the secrets {', '.join(wrong)}" if wrong else ""


def _switch(place: Place) -> Result:
    with place.doing.means.store.read() as tx:
        target = placements.current(tx, place.app, place.version)
    if target is None or place.app.live_id is None:
        raise NotAsMeant(
            server=place.app.target, app=place.app.name, version=place.version.id, workflow=place.app.slug,
            what="there is no row of it there to point to",
        )  # fmt: skip
    url = database.url_of(place.doing.means.settings, place.app.target)
    database.switch(
        url, place.app.app_id, before=place.app.live_id, after=target.placed_id, server=place.app.target,
        version=place.version.id, workflow=place.app.slug,
    )  # fmt: skip
    return Result("done", {"row": target.placed_id})


def _elsewhere(place: Place, live: Workflow | None) -> Exception:
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


def _taken(place: Place, kept: drafts.Draft | None, draft: Workflow | None) -> DraftTaken:
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
            found = compare(_document(place.doing, kept), document_of(place.workflow, draft))
            what = f"{summary(found)}; {what}"
    return DraftTaken(
        app=place.app.name,
        server=place.app.target,
        who=who,
        at=at[:19],
        operation=place.doing.operation.id,
        what=what,
    )


def _document(doing: Doing, kept: drafts.Draft) -> dsl.Document:
    with doing.means.store.read() as tx:
        return drafts.document_of(tx, kept)


def _either_way[T](work: T, names: tuple[str, ...]) -> dict[str, T]:
    return {one: work for name in names for one in (name, f"undo-{name}")}


EFFECTS: Final[Mapping[str, Callable[[Doing, Tx], Result]]] = {
    **_either_way(hold, ("hold",)),
    **_either_way(release, ("release",)),
}
ACTIONS: Final[Mapping[str, Callable[[Doing], Result]]] = {
    **_either_way(keep_draft, ("keep-draft",)),
    **_either_way(write_draft, ("write-draft",)),
    **_either_way(publish, ("publish",)),
    **_either_way(read_back, ("read-back",)),
    **_either_way(put_draft_back, ("put-draft-back",)),
}
