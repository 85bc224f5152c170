"""Whether a channel and the app that runs it agree: our pointer says what should be live, the app what it was last
seen to serve."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import or_, select

from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.history import apps, channels, placements, versions, workflows
from lastgood.history.apps import App
from lastgood.history.channels import Channel
from lastgood.release.placing.looking import UNSURE

State = Literal["in step", "ahead", "drifted", "converging", "applying", "unknown", "gone"]
OUT_OF_STEP: frozenset[State] = frozenset({"ahead", "drifted", "unknown", "gone"})

_WANTED = (
    select(t.app.c.pk)
    .join(t.channel, t.app.c.channel_pk == t.channel.c.pk)
    .where(t.app.c.gone_at.is_(None), t.channel.c.applying.is_(None), t.channel.c.version_pk.is_not(None))
)
# Those that may have to be given something: told so, or moved by `route` to a version whose row may be gone.
_CONVERGING = _WANTED.where(or_(t.app.c.converge_pk.is_not(None), t.app.c.way == "route"))


@dataclass(frozen=True, slots=True)
class Standing:
    """How an app stands to its channel, and that in a sentence. `since` and `by` are of what it serves, as Dify tells
    them."""

    app: App
    channel: Channel
    state: State
    sentence: str

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            **self.app.public(),
            "state": self.state,
            "sentence": self.sentence,
            "should_be": self.channel.version,
        }


def of(tx: Tx, app: App, channel: Channel) -> Standing:
    """How `app` stands, as it was last seen."""
    state = _state(tx, app, channel)
    return Standing(app, channel, state, _sentence(app, channel, state))


def _state(tx: Tx, app: App, channel: Channel) -> State:
    if app.gone_at is not None:
        return "gone"
    if channel.applying is not None:
        return "applying"
    if app.read.get(UNSURE):
        return "unknown"
    return _agreement(tx, app, channel)


def _agreement(tx: Tx, app: App, channel: Channel) -> State:
    """How what the app serves stands to where the channel points."""
    if (app.live_id is None or app.live_pk is not None) and app.live_pk == channel.version_pk:
        return "in step"
    if channel.version_pk is not None and app.converge_pk == channel.version_pk:
        return "converging"
    live = placements.find(tx, app, app.live_id) if app.live_id else None
    ours = placements.current(tx, app, versions.by_pk(tx, channel.version_pk)) if channel.version_pk else None
    # The labels are Dify's own times of publishing, so one clock orders them.
    return "ahead" if live is not None and ours is not None and live.label > ours.label else "drifted"


def _sentence(app: App, channel: Channel, state: State) -> str:
    live = app.live or ("a version that is not in history" if app.live_id else "nothing")
    since = f" since {app.live_since[:19].replace('T', ' ')} UTC" if app.live_since else ""
    by = f", published by {app.live_by}" if app.live_by else ""
    should = channel.version or "nothing"
    where = f"{app.name} on {app.target}"
    return {
        "in step": f"{where} serves {live}{since}.",
        "ahead": f"{where} serves {live}{since}{by}, which came after {should}.",
        "drifted": f"{where} serves {live}{since}{by}, not {should}.",
        "converging": f"{where} is still to be given {should}; it serves {live}{since}.",
        "applying": f"{where} is being moved by {channel.applying}.",
        "unknown": f"{app.read.get(UNSURE)} could not learn what {where} serves.",
        "gone": f"{where} was deleted in Dify.",
    }[state]


def listing(tx: Tx) -> dict[int, Standing]:
    """How every bound app stands, by the key of its channel."""
    found: dict[int, Standing] = {}
    for workflow in workflows.listing(tx):
        held = apps.of_workflow(tx, workflow)
        pointers = {one.pk: one for one in channels.listing(tx, workflow)} if held else {}
        found |= {app.channel_pk: of(tx, app, pointers[app.channel_pk]) for app in held}
    return found


def to_converge(tx: Tx) -> list[App]:
    """The apps that are to be given what their channel says: after a move by `route`, and where the row that the
    gateway names was deleted in Dify."""
    found = []
    for pk in tx.connection.execute(_CONVERGING).scalars().all():
        app = apps.by_pk(tx, pk)
        pointer = channels.get(tx, workflows.by_pk(tx, app.workflow_pk), app.channel)
        if pointer.version_pk is None:
            continue
        placed = placements.current(tx, app, versions.by_pk(tx, pointer.version_pk))
        if app.converge_pk == pointer.version_pk or placed is None:
            found.append(app)
    return found


def drifted(tx: Tx) -> list[App]:
    """The apps that serve something else than their channel says, though nothing of ours is under way there."""
    return [one.app for one in listing(tx).values() if one.state in ("ahead", "drifted")]
