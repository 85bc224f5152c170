"""Putting a draft back after an operation wrote over it. What somebody changed since is left, kept, and told."""

from typing import Any

from lastgood import dsl
from lastgood.errors import DifyDraftChanged, LastgoodError
from lastgood.history import drafts, versions
from lastgood.release.doing import Doing, Result
from lastgood.release.placing import looking, ways
from lastgood.release.placing.place import (
    Place,
    is_as_kept,
    is_ours,
    place_of,
)
from lastgood.targets.dify import servers, writing
from lastgood.targets.dify.bodies import body_of
from lastgood.targets.dify.source import author_of


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
    if now is not None and is_as_kept(place, kept, now):
        return Result("done", {**detail, "found": True})
    if now is None or not is_ours(place, kept, now):
        return Result("done", {**detail, **_left_alone(place, kept, now)})
    if lost := _webhooks_lost(place, document):
        restore = f"lastgood draft restore {place.app.slug} {kept.id}"
        left = (
            f"the draft that was there lacks {', '.join(lost)} of {place.version.id}, and this server would end the "
            f"live address with it, so it was not put back; `{restore}` does that."
        )
        return Result("done", {**detail, "left": left})
    body = body_of(document, secrets, now.row, what=kept.id, server=place.app.target, empty=True)
    try:
        writing.write_draft(place.client, place.app.app_id, body, now.row.hash, document)
    except DifyDraftChanged:
        now = writing.read_draft(place.client, place.app.app_id)
        return Result("done", {**detail, **_left_alone(place, kept, now)})
    return Result("done", detail)


def _webhooks_lost(place: Place, draft: dsl.Document) -> list[str]:
    """The webhook nodes that are live and not in `draft`, where the server ties addresses to the draft: 1.13.0 does,
    newer ones (which can restore) go by what is published."""
    with place.doing.means.store.read() as tx:
        abilities = servers.get(tx, place.app.target).facts.get("abilities", {})
    if ways.can(abilities, "restore"):
        return []
    return sorted(set(ways.webhooks(place.document)) - set(ways.webhooks(draft)))


def _left_alone(place: Place, kept: drafts.Draft, now: writing.Draft | None) -> dict[str, Any]:
    """What is told of a draft that somebody changed; theirs is kept too."""
    who = (author_of(now.row) if now else "") or "somebody"
    if now is not None:
        place.keep(now)
    restore = f"lastgood draft restore {place.app.slug} {kept.id}"
    return {
        "left": f"{who} changed the draft meanwhile, so it was left as it is; `{restore}` puts back what was there."
    }
