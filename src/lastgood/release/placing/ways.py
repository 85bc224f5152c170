"""How the pointer of an app will be moved: chosen by its setting and by what there is, and what is to be known of it
before."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import exists, select

from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.dsl.document import node_type
from lastgood.errors import DatasetsEncrypted, LastgoodError, SecretsUnknown
from lastgood.history import apps, channels, placements, versions, workflows
from lastgood.history.channels import Channel
from lastgood.history.versions import Version
from lastgood.release.means import Means
from lastgood.release.placing import database
from lastgood.release.placing.looking import Seen, look
from lastgood.release.plan import OURS_AGAIN, WRITING, Finding, Kind, Plan, PlannedMove
from lastgood.targets.dify import servers
from lastgood.targets.dify.bodies import body_of
from lastgood.targets.dify.forms import Workflow

CHECK: Final = "way"
"""What these findings are called. A refusal among them is no matter of opinion: no force goes past it."""

_ANY = select(exists(select(t.app.c.pk)))
_WINDOWS: Final[Mapping[str, str]] = {
    "route": "the gateway names the version by its id, at once and for all its clients; the web app, MCP and "
    "webhooks follow when the app itself was published in the background",
    "publish": "the draft is kept, the version written over it and published, and the draft put back. What an editor "
    "saves in these moments is kept and told",
    "restore": "the draft is kept, Dify brings the version back into it by itself and publishes it, and the draft is "
    "put back. What an editor saves in these moments is kept and told",
    "database": "one compare-and-set in Dify's own database; no draft is touched, and triggers are not re-made",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of an app when a plan was made: what it serves, its draft, who has the editor open."""

    seen: Seen
    draft: Workflow | None = None
    editors: tuple[str, ...] = ()
    abilities: Mapping[str, Any] = field(default_factory=dict)


def sights(means: Means, places: Sequence[tuple[str, str]]) -> dict[int, Sight]:
    """Look at the apps that run the channels `places` (workflow and channel names), by the channels' keys. Changes
    nothing but what is known of Dify; a channel that no app runs costs nothing. Raises `UnknownWorkflow`."""
    found, abilities = {}, {}
    with means.store.read() as tx:
        if not tx.connection.execute(_ANY).scalar_one():
            return {}
        for ref, name in places:
            channel = channels.present(tx, workflows.find(tx, ref), name)
            app = apps.of_channel(tx, channel.pk) if channel.pk else None
            if app is not None:
                found[channel.pk] = app
                abilities[channel.pk] = servers.get(tx, app.target).facts.get("abilities", {})
    return {pk: _sight(means, look(means, app), abilities[pk]) for pk, app in found.items()}


def _sight(means: Means, seen: Seen, abilities: Mapping[str, Any]) -> Sight:
    if seen.problem is not None:
        return Sight(seen, abilities=abilities)
    app = seen.app
    sight = Sight(seen, abilities=abilities)
    with suppress(LastgoodError):
        client = means.dify(app.target)
        sight = replace(sight, draft=client.console.draft(app.app_id))
        if can(abilities, "editors"):
            users = client.integration.editors([app.app_id]).get(app.app_id, ())
            sight = replace(sight, editors=tuple(str(one.get("name") or "somebody") for one in users))
    return sight


def served(pointer: Channel, sight: Sight | None, kind: Kind) -> Channel:
    """The channel as it really stands: at what the app serves, where the way writes there (by `route` the clients are
    served what the channel says, whatever the app itself has)."""
    if sight is None or sight.seen.version is None or (sight.seen.app.way == "route" and kind != "heal"):
        return pointer
    return replace(pointer, version_pk=sight.seen.version.pk, version=sight.seen.version.id)


def choose(tx: Tx, planned: PlannedMove, pointer: Channel, sight: Sight, version: Version, kind: Kind) -> PlannedMove:
    """`planned` with the way in which it is done, and what the channel must adopt before."""
    app = sight.seen.app
    placed = placements.current(tx, app, version) is not None
    way: str = app.way
    if kind in OURS_AGAIN and way == "route":
        way = "restore" if can(sight.abilities, "restore") else "publish"
    if not placed or (way == "restore" and not can(sight.abilities, "restore")):
        way = "publish"
    adopts = None
    if way in WRITING and kind != "converge" and sight.seen.version is not None:
        adopts = sight.seen.version.id if sight.seen.version.pk != pointer.version_pk else None
    return replace(planned, way=way, adopts=adopts)


def findings(
    means: Means, planned: PlannedMove, pointed: str | None, sight: Sight, *, together: bool
) -> Iterator[Finding]:
    """What is to be known of the way of `planned`; the first says which it is and what its windows are."""
    place = f"{planned.workflow}/{planned.channel}"

    def found(verdict: Any, sentence: str, about: str) -> Finding:
        return Finding(CHECK, verdict, sentence, f"{place} {about}")

    app, seen = sight.seen.app, sight.seen
    yield found("pass", f"By `{planned.way}`: {_WINDOWS[planned.way]}.", planned.way)
    writes = planned.way in WRITING
    if app.way == "route" and writes:
        sentence = f"{planned.to_version} has no row on {app.target} any more, so it is published there first."
        yield found("warn", sentence, "re-published")
    if together and writes:
        channel = "" if planned.channel == channels.LIVE else f" --channel {planned.channel}"
        sentence = (
            "Several workflows move together by `route` only; the way of this one writes on Dify, step by step. Move "
            f"it by itself, or let the gateway move it: `lastgood bind {planned.workflow}{channel} --way route`."
        )
        yield found("refuse", sentence, "together")
    if seen.problem is not None:
        verdict = "refuse" if writes else "warn"
        yield found(verdict, f"{app.target} cannot be asked what it serves: {seen.problem}", "unreachable")
        return
    if seen.row is None and writes and planned.way == "database":
        yield found("refuse", f"{app.name} on {app.target} serves nothing yet.", "nothing")
    if seen.row is not None and seen.version is None:
        yield found("warn", f"What {app.target} serves cannot be read, so it is not kept in history.", "unreadable")
    elif seen.version is not None and seen.version.id != pointed:
        by = f"published by {seen.app.live_by or 'somebody'} at {(seen.app.live_since or '')[:19].replace('T', ' ')}"
        goes = (
            f"It goes from there to {planned.to_version}." if writes else "Clients of the gateway are not affected."
        )
        yield found(
            "warn", f"{app.target} serves {seen.version.id} ({by} UTC), not {pointed or 'nothing'}. {goes}", "drift"
        )
    if sight.editors and writes and planned.way != "database":
        yield found("warn", f"{', '.join(sight.editors)} has the editor open on {app.target}.", "editors")
    yield from (found(*one) for one in _of_content(means, planned, sight))


def another(planned: PlannedMove, way: str) -> Finding:
    """That `planned` could only be made in another `way` than its plan says."""
    sentence = f"{planned.to_version} can no longer be moved to by `{planned.way}`, only by `{way}`. Make a new plan."
    return Finding(CHECK, "refuse", sentence, f"{planned.workflow}/{planned.channel} another way")


def stopping(plan: Plan, refused: Sequence[Finding]) -> bool:
    """Whether what `refused` stops `plan`: all does, and by force only what is found of the ways."""
    return any(one.check == CHECK or not plan.force for one in refused)


def _of_content(means: Means, planned: PlannedMove, sight: Sight) -> Iterator[tuple[str, str, str]]:
    """Of what the version holds: its webhooks, secrets and knowledge bases."""
    app = sight.seen.app
    with means.store.read() as tx:
        workflow = workflows.find(tx, planned.workflow_id)
        version = versions.find(tx, planned.to_version, workflow)
        document, secrets = versions.document_of(tx, version), versions.secrets_of(tx, version)
        running = versions.document_of(tx, sight.seen.version) if sight.seen.version else document
    hooks = {*webhooks(document), *webhooks(running)}
    lost = sorted(set(webhooks(running)) - set(webhooks(document)))
    if lost:
        yield (
            "warn",
            f"The webhooks {', '.join(lost)} of what is served now are not in {version.id}: their addresses end, and "
            "are others when the nodes come back.",
            "webhooks lost",
        )
    if hooks and planned.way == "database":
        yield (
            "refuse",
            "It has webhooks, and those run Dify's newest row whatever its pointer says. Move it by `publish`.",
            "webhooks",
        )
    if hooks and planned.way == "route":
        yield (
            "warn",
            "It has webhooks, which Dify itself answers: they follow when the app was published in the background.",
            "webhooks",
        )
    if planned.way == "database":
        try:
            set_up = bool(database.url_of(means.settings, app.target))
        except LastgoodError as error:
            yield "refuse", str(error), "database"
        else:
            if not set_up:
                yield (
                    "refuse",
                    f"The way `database` needs the address of Dify's database: [dify.{app.target}] database = "
                    '"postgresql://…" in lastgood.toml.',
                    "database",
                )
        return
    if planned.way not in WRITING:
        return
    try:
        body = body_of(document, secrets, sight.draft, what=version.id, server=app.target)
    except (SecretsUnknown, DatasetsEncrypted) as error:
        yield "refuse", str(error), "content"
        return
    if body.kept:
        names = ", ".join(sorted(body.kept))
        yield (
            "warn",
            f"The values of {names} in {version.id} are not kept here, so those of {app.target}'s draft are used.",
            "secrets",
        )


def webhooks(document: dsl.Document) -> list[str]:
    """The ids of the webhook nodes."""
    return [str(node.get("id")) for node in document.nodes if node_type(node) == "trigger-webhook"]


def can(abilities: Mapping[str, Any], name: str) -> bool:
    """Whether a server was learnt to have the ability `name`."""
    learnt = abilities.get(name)
    return bool(learnt.get("value")) if isinstance(learnt, Mapping) else False
