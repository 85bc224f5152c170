"""Publish and rollback: which target is allowed, and the move to it in the caller's transaction."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from lastgood.access import decisions
from lastgood.access.actions import FORCE
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.dsl import Document
from lastgood.dsl.rules import PLAIN, RuleSettings
from lastgood.dsl.semver import Bump
from lastgood.errors import (
    AlreadyActive,
    Denied,
    FailedVersion,
    InvalidRequest,
    NoGraph,
    NothingGood,
    NothingLive,
    NotRunnable,
)
from lastgood.history import apps, channels, retention, served, triggers, versions
from lastgood.history.channels import Channel, Kind
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.release import numbering
from lastgood.targets import engine

_MOST_KEPT = 10_000
# What the engine cannot run of a content, by digest: a content never changes, and neither does the engine while a
# process runs. To build the graph takes some 10 ms, which a move of many channels at once would hold the store for.
_UNRUNNABLE: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Moved:
    """A move that was made: the channel, from where to where, its new generation, and why that target."""

    workflow: Workflow
    channel: str
    from_id: str | None
    to: Version
    generation: int
    kind: Kind
    why: str
    revision: int
    bump: Bump | None = None


def publish(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    version_id: str,
    *,
    channel: str = channels.LIVE,
    expected: int,
    reason: str = "",
    semver: str | None = None,
    force: bool = False,
    operation: str | None = None,
    rules: RuleSettings = PLAIN,
    kind: Literal["publish", "promote"] = "publish",
) -> Moved:
    """Point `channel` (made when it is new) to a version, candidates included. `kind` is what the move is called.

    A failed version needs `force`, the permission for it and a reason; one that its target cannot run is refused.
    It gets its SemVer by what changed since the highest number (`rules` raises change rules), or `semver` where that
    is not lower. Raises `AlreadyActive`, `FailedVersion`, `NoGraph`, `NotRunnable`, `NumberTooLow`, `ChannelMoved`,
    `UnknownVersion`, `InvalidSetting`."""
    version = check_publish(tx, who, workflow, version_id, force=force, reason=reason, channel=channel)
    pointer = channels.ensure(tx, workflow, channel)
    channels.expect(tx, workflow, pointer, expected)
    moved = _move(tx, who, workflow, pointer, version, kind, expected, reason, "named", operation)
    # After the compare-and-set: of two that publish at once, the second hears that the channel moved, not that its
    # number is taken.
    bump = numbering.number(tx, who, moved.to, semver, force=force, reason=reason, rules=rules)
    return replace(moved, to=versions.by_pk(tx, version.pk), bump=bump)


def check_publish(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    version_id: str,
    *,
    force: bool,
    reason: str,
    channel: str = channels.LIVE,
) -> Version:
    """The version, if it may be published. Raises what `publish` does of the version itself."""
    version = versions.find(tx, version_id, workflow)
    _check_failed(tx, who, workflow, version, force=force, reason=reason)
    _check_runs(tx, workflow, version, channel)
    return version


def rollback(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    *,
    to: str | None = None,
    channel: str = channels.LIVE,
    expected: int,
    reason: str = "",
    force: bool = False,
    why: str = "",
    operation: str | None = None,
    kind: Kind = "rollback",
) -> Moved:
    """Point `channel` back: to the version `to`, or to the last good one. `why` is told instead of how it was chosen.

    Raises `NothingGood`, `NothingLive`, and what `publish` does."""
    pointer = channels.get(tx, workflow, channel)
    if pointer.version is None:
        raise NothingLive(channel=channel, workflow=workflow.slug)
    channels.expect(tx, workflow, pointer, expected)
    version, chosen = choose(tx, workflow, pointer, to)
    if kind != "heal":  # the channel points there already, whatever became of it
        _check_failed(tx, who, workflow, version, force=force, reason=reason)
    if to is not None:
        _check_runs(tx, workflow, version, channel)
    return _move(tx, who, workflow, pointer, version, kind, expected, reason, why or chosen, operation)


def undo(
    tx: Tx, who: Principal, workflow: Workflow, to: str, *, channel: str, expected: int, reason: str, operation: str
) -> Moved:
    """Point `channel` to the version that `operation` moved it from, whatever its state: a new move. Raises
    `ChannelMoved` when it was moved since."""
    pointer = channels.get(tx, workflow, channel)
    channels.expect(tx, workflow, pointer, expected)
    version = versions.find(tx, to, workflow)
    why = f"undoing {operation}"
    return _move(tx, who, workflow, pointer, version, "undo", expected, reason or why, why, operation)


def adopt(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    version_id: str,
    *,
    channel: str,
    expected: int,
    reason: str,
    operation: str | None = None,
) -> Moved:
    """Point `channel` to what its target serves already, whatever the version's state. Raises `AlreadyActive`,
    `ChannelMoved`, `StillApplying`."""
    pointer = channels.get(tx, workflow, channel)
    channels.expect(tx, workflow, pointer, expected)
    version = versions.find(tx, version_id, workflow)
    why = "what its target serves"
    return _move(tx, who, workflow, pointer, version, "adopt", expected, reason or why, why, operation)


def choose(tx: Tx, workflow: Workflow, channel: Channel, to: str | None = None) -> tuple[Version, str]:
    """The version that a rollback of `channel` goes to, and why that one. Raises `NothingGood`."""
    if to is not None:
        return versions.find(tx, to, workflow), "named"
    version = channels.last_good(tx, workflow, channel)
    if version is None:
        raise NothingGood(workflow=workflow.slug)
    return version, f"last good: {proof(tx, version)}"


def proof(tx: Tx, version: Version) -> str:
    """The newest evidence that `version` is good, in a few words: ``smoke requests passed on 2026-…, by alice``."""
    found = proven(tx, version)
    if found is None:
        return "no evidence kept"
    what, at, by = found
    return f"{what} on {at[:16].replace('T', ' ')} UTC, by {by}"


def proven(tx: Tx, version: Version) -> tuple[str, str, str] | None:
    """The newest evidence that `version` is good: what, when (UTC text) and by whom."""
    for piece in versions.evidence_of(tx, version, 1, state="stable"):
        reason = piece["detail"].get("reason", "")
        what = {"smoke": "smoke requests passed", served.KIND: reason}.get(piece["kind"], f"marked stable ({reason})")
        return what, piece["at"], piece["actor"]
    return None


def condemned(tx: Tx, version: Version) -> str:
    """The newest reason why `version` is failed, with who gave it."""
    for piece in versions.evidence_of(tx, version, 1, state="failed"):
        return f"{piece['detail'].get('reason', '')}, by {piece['actor']} on {piece['at'][:10]}"
    return "no evidence kept"


def _move(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    channel: Channel,
    version: Version,
    kind: Kind,
    expected: int,
    reason: str,
    why: str,
    operation: str | None,
) -> Moved:
    if channel.version_pk == version.pk:
        raise AlreadyActive(
            channel=channel.name, workflow=workflow.slug, version=version.id, generation=channel.generation
        )
    if version.archived_at is not None:
        retention.bring_back(tx, version)  # what a channel points to is never archived
    generation = channels.move(
        tx, who, workflow, channel, version, expected=expected, kind=kind, reason=reason, operation=operation
    )
    if apps.of_channel(tx, channel.pk) is None:  # Dify binds its own
        triggers.rebind(tx, workflow, channel, version, generation)
    after = versions.by_pk(tx, version.pk)
    return Moved(workflow, channel.name, channel.version, after, generation, kind, why, tx.revision)


def _check_failed(tx: Tx, who: Principal, workflow: Workflow, version: Version, *, force: bool, reason: str) -> None:
    if version.state != "failed":
        return
    if not force:
        raise FailedVersion(version=version.id, workflow=workflow.slug, why=condemned(tx, version))
    if not reason.strip():
        raise InvalidRequest(where="reason", reason="going to a failed version by force needs a reason")
    resource = f"workflow:{workflow.slug}"
    decision = decisions.decide(tx, who, FORCE, resource)
    if not decision.allowed:
        raise Denied(actor=who.name, action=FORCE, resource=resource, reason=decision.reason)


def _check_runs(tx: Tx, workflow: Workflow, version: Version, channel: str) -> None:
    """Refuse what the channel's target cannot run at all; the embedded engine is the one that we know."""
    if workflow.target != engine.NAME or apps.of_channel(tx, channels.present(tx, workflow, channel).pk) is not None:
        return
    document = versions.document_of(tx, version)
    if not document.has_graph:
        raise NoGraph(version=version.id, mode=document.mode)
    reasons = unrunnable(version.digest, document)
    if reasons:
        raise NotRunnable(version=version.id, reasons="; ".join(reasons))


def unrunnable(digest: str, document: Document) -> tuple[str, ...]:
    """Why the embedded engine cannot run `document`, whose content has this `digest`; empty when it can. What was
    asked of a content once is remembered."""
    found = _UNRUNNABLE.get(digest)
    if found is None:
        found = tuple(engine.unrunnable(document.data))
        if len(_UNRUNNABLE) >= _MOST_KEPT:
            _UNRUNNABLE.clear()
        _UNRUNNABLE[digest] = found
    return found


def public(moved: Moved) -> dict[str, Any]:
    """The JSON form of a move just made."""
    return {
        "workflow_id": moved.workflow.id,
        "workflow": moved.workflow.slug,
        "channel": moved.channel,
        "from": moved.from_id,
        "to": moved.to.id,
        "generation": moved.generation,
        "kind": moved.kind,
        "why": moved.why,
        "semver": moved.bump.public() if moved.bump else None,
    }
