"""The steps of an operation that writes on a Dify app. Each looks at Dify before it acts, so that one that was broken
off anywhere is gone on with: the mark in the version's comment tells whether a publish was done, the content of the
draft whether a write was."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lastgood import dsl
from lastgood.db.tx import Tx, utc_text
from lastgood.dsl.compare import compare, summary
from lastgood.errors import DifyDraftChanged, NotAsMeant
from lastgood.history import apps, channels, drafts, placements, versions, workflows
from lastgood.history.apps import App
from lastgood.release.doing import Doing, Result
from lastgood.release.placing import database, looking
from lastgood.release.placing.place import (
    Place,
    elsewhere,
    is_as_kept,
    is_ours,
    place_of,
    place_seen,
    secrets_before,
    taken,
    written,
)
from lastgood.release.placing.putback import put_draft_back
from lastgood.targets.dify import writing
from lastgood.targets.dify.bodies import same
from lastgood.targets.dify.contents import document_of
from lastgood.targets.dify.forms import Workflow
from lastgood.targets.dify.source import author_of, time_of

_CORRECTED = "+"


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
    if not is_as_kept(place, kept, now):
        if doing.again and now is not None and is_ours(place, kept, now):
            return Result("done", {"hash": now.row.hash, "found": True})
        raise taken(place, kept, now.row if now else None)
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
            raise elsewhere(place, live)
        return Result("done", {"row": live.id})
    again = place.mark + _CORRECTED
    ours = writing.published_as(place.client, place.app.app_id, again)
    corrected = ours is not None
    ours = ours or writing.published_as(place.client, place.app.app_id, place.mark)
    told: dict[str, Any] = {}
    if ours is None:
        raise elsewhere(place, place.client.console.published(place.app.app_id))
    wrong = _differs(place, ours)
    if wrong and not corrected:
        live = place.client.console.published(place.app.app_id)
        if live is None or live.id != ours.id:
            raise elsewhere(place, live)
        place_seen(place, live)
        draft = place.client.console.draft(place.app.app_id)
        told = _correct(place, draft)
        corrected_row = _publish(place, again)
        if corrected_row is None:
            raise elsewhere(place, place.client.console.published(place.app.app_id))
        ours, wrong = corrected_row, _differs(place, corrected_row)
    if wrong:
        place_seen(place, ours)
        raise NotAsMeant(
            server=place.app.target, app=place.app.name, version=place.version.id, what=wrong, workflow=place.app.slug
        )
    live = place.client.console.published(place.app.app_id)
    if live is None or live.id != ours.id:
        raise elsewhere(place, live)
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


def release(doing: Doing, tx: Tx) -> Result:
    """Let others move the channel again; nothing was moved."""
    planned = written(doing)
    workflow = workflows.find(tx, planned.workflow_id)
    channels.let_go(tx, channels.get(tx, workflow, planned.channel), doing.operation.id)
    if doing.detail("undo-put-draft-back" if doing.undoing else "put-draft-back").get("unsure"):
        apps.set_read(tx, apps.get(tx, workflow, planned.channel), **{looking.UNSURE: doing.operation.id})
    return Result("done", {})


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
        raise taken(place, kept, place.client.console.draft(app)) from None


def _correct(place: Place, draft: Workflow | None) -> dict[str, Any]:
    """Keep what somebody saved over ours, and write ours again. Raises `DraftTaken` where the setting forbids it."""
    kept = place.kept()
    if draft is not None and same(place.document, draft):
        return {"corrected": "what was published was not what was written; it was published again"}
    if not place.doing.means.settings.dify.correct or draft is None:
        raise taken(place, kept, draft)
    intruder = writing.read_draft(place.client, place.app.app_id)
    if intruder is None:
        raise taken(place, kept, None)
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
    before = secrets_before(place, place.kept())
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
