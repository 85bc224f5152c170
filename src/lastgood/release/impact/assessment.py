"""Facts of the store → `Impact`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import bindparam, select

from lastgood.catalogue import matches
from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.dsl import Document
from lastgood.dsl.compare import Difference, compare
from lastgood.dsl.rules import Change, RuleSettings, judge
from lastgood.errors import DamagedContent, NothingGood, NothingLive
from lastgood.history import channels, content, versions, workflows
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.release import moves
from lastgood.release.impact.callers import Callers
from lastgood.release.impact.dependants import Dependant, Names, Tool, dependants, tools_of
from lastgood.release.impact.impact import Impact, Part, merged, tool_note
from lastgood.release.impact.reached import Caller, Edge, Reach, Scene, parts_of, reached
from lastgood.release.impact.risk import Effect
from lastgood.release.impact.services import service_of
from lastgood.release.impact.touched import Touched, touched
from lastgood.release.means import Means
from lastgood.release.plan import PlannedMove, Service
from lastgood.targets import engine

_LIVE_VERSIONS: Final = (
    select(t.channel.c.workflow_pk, t.snapshot.c.id, t.snapshot.c.digest)
    .join_from(t.channel, t.version, t.channel.c.version_pk == t.version.c.pk)
    .join(t.snapshot, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)
    .where(t.channel.c.name == channels.LIVE, t.workflow.c.workspace_pk == bindparam("workspace"))
    .order_by(t.channel.c.workflow_pk)
)
_MOST_KEPT: Final = 10_000
# The tools of contents, by digest: a content never changes, and reading every live version takes a while.
_TOOLS: Final[dict[str, tuple[Tool, ...]]] = {}
type _Changed = tuple[Effect, str, str, tuple[Touched, ...]]
# What lies between two contents that can be read, for the same reason; by their digests, the secrets that changed
# and the rules.
_CHANGES: Final[dict[tuple[str, str, frozenset[str], frozenset[tuple[str, str]]], _Changed]] = {}


@dataclass(frozen=True, slots=True)
class _Move:
    """A move, its versions read as far as they can be."""

    workflow: Workflow
    channel: str
    from_version: Version | None
    to_version: Version | None


@dataclass(slots=True)
class _Users:
    """The live workflows that use each workflow (by id) as a tool, all workflows, and what could not be made out."""

    of: Mapping[str, list[Workflow]] = field(default_factory=dict)
    by_id: Mapping[str, Workflow] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def assess(means: Means, planned: Sequence[PlannedMove]) -> Impact:
    """What `planned` moves reach together. Changes nothing. Raises `UnknownWorkflow`, `UnknownVersion`."""
    with means.store.read() as tx:
        found = []
        for one in planned:
            workflow = workflows.find(tx, one.workflow_id)
            before = versions.find(tx, one.from_version, workflow) if one.from_version else None
            found.append(_Move(workflow, one.channel, before, versions.find(tx, one.to_version, workflow)))
        return _assess(means, tx, found)


def of_workflow(means: Means, workflow: str, *, channel: str = channels.LIVE, to: str | None = None) -> Impact:
    """What a move of `channel` reaches, to the version `to` or to the last good one; where there is none, what any
    other version may reach. Raises `UnknownWorkflow`, `UnknownChannel`, `UnknownVersion`, `NothingLive`."""
    with means.store.read() as tx:
        owner = workflows.find(tx, workflow)
        pointer = channels.get(tx, owner, channel) if to is None else channels.present(tx, owner, channel)
        before = versions.by_pk(tx, pointer.version_pk) if pointer.version_pk is not None else None
        if before is None and to is None:
            raise NothingLive(channel=channel, workflow=owner.slug)
        try:
            after: Version | None = moves.choose(tx, owner, pointer, to)[0]
        except NothingGood:
            after = None
        return _assess(means, tx, [_Move(owner, channel, before, after)])


def _assess(means: Means, tx: Tx, found: Sequence[_Move]) -> Impact:
    users = _users_of_all(tx) if any(one.channel == channels.LIVE for one in found) else _Users()
    parts: list[Part] = []
    services: list[Service] = []
    edges: list[Edge] = []
    with Callers(means) as callers:
        for one in found:
            part, ways, lines = _part(means, tx, one, users, callers)
            parts.append(part)
            services += [service_of(way, part.effect, part.why, means.settings.services) for way in ways]
            edges += lines
    return merged(parts, services, edges)


def _part(means: Means, tx: Tx, move: _Move, users: _Users, callers: Callers) -> tuple[Part, list[Reach], list[Edge]]:
    effect, sentence, why, things = _change(tx, move, RuleSettings(means.settings.rules))
    further = dependants(move.workflow.id, users.of) if move.channel == channels.LIVE else ()
    around = {move.workflow.slug: callers.of(tx, move.workflow)}
    for one in further:
        around[one.slug] = callers.of(tx, users.by_id[one.id])
    scene = Scene(
        workflow=move.workflow.slug,
        channel=move.channel,
        callers=around,
        counted=callers.counted,
        dependants=further,
        touched=things,
        services=means.settings.services,
        middleware=means.settings.middleware,
    )
    ways, edges = reached(scene)
    own = [one for one in around[move.workflow.slug] if one.channel == move.channel]
    others = [
        caller for one in further for caller in around[one.slug] if caller.channel == channels.LIVE and caller.week
    ]
    part = Part(
        workflow=move.workflow.slug,
        channel=move.channel,
        from_version=move.from_version.id if move.from_version else None,
        to_version=move.to_version.id if move.to_version else None,
        effect=effect,
        sentence=sentence,
        why=why,
        counted=callers.counted,
        callers=tuple(
            replace(one, services=parts_of(one.name, edges)) for one in sorted((*own, *others), key=_order)
        ),
        dependants=further,
        touched=tuple(replace(one, services=parts_of(one.name, edges, means.settings.middleware)) for one in things),
        notes=(*_notes(means, move, things, further), *users.notes),
    )
    return part, ways, edges


def _change(tx: Tx, move: _Move, rules: RuleSettings) -> _Changed:
    """What the move means to callers, a sentence on it, the weightiest change, and what the change touches."""
    pair = (move.from_version, move.to_version)
    if pair[0] is None or pair[1] is None:
        return _changed(move, _read(tx, pair[0]), _read(tx, pair[1]), frozenset(), rules)
    secrets = versions.secrets_changed(tx, pair[0], pair[1])
    key = (pair[0].digest, pair[1].digest, secrets, frozenset(rules.raised.items()))
    if key not in _CHANGES:
        old, new = (_read(tx, one) for one in pair)
        if old is None or new is None:
            return _changed(move, old, new, frozenset(), rules)
        if len(_CHANGES) >= _MOST_KEPT:
            _CHANGES.clear()
        _CHANGES[key] = _changed(move, old, new, secrets, rules)
    return _CHANGES[key]


def _changed(
    move: _Move, old: Document | None, new: Document | None, secrets: frozenset[str], rules: RuleSettings
) -> _Changed:
    difference = compare(old, new, secrets_changed=secrets) if old is not None and new is not None else None
    effect, sentence, why = _effect(move, old, new, difference, rules)
    things = touched(old, new, difference, certain=effect != "unknown") if effect != "same" else ()
    return effect, sentence, why, things


def _order(one: Caller) -> tuple[int, str, str, str]:
    return -(one.week or 0), one.workflow, one.name, one.user_agent


def _read(tx: Tx, version: Version | None) -> Document | None:
    """The document of a version, None where there is none or its content is damaged: a way back is told of all the
    same."""
    try:
        return None if version is None else versions.document_of(tx, version)
    except DamagedContent:
        return None


def _effect(
    move: _Move, old: Document | None, new: Document | None, difference: Difference | None, rules: RuleSettings
) -> tuple[Effect, str, str]:
    """What the move means to callers, a sentence on it, and the weightiest change."""
    if move.to_version is None:
        return "unknown", "There is no good version to go back to, so this is what any other version may reach.", ""
    for version, document in ((move.from_version, old), (move.to_version, new)):
        if version is not None and document is None:
            return "unknown", f"{version.id} cannot be read, so what changes is not known.", ""
    if old is None or new is None or difference is None:
        return "changed", "Nothing is live there yet.", ""
    changes = [one for one in judge(old, new, difference, rules) if one.rule.tier != "LAYOUT"]
    breaking = [one for one in changes if one.breaking]
    if breaking:
        return "breaking", f"It breaks callers: {_said(breaking)}", breaking[0].sentence
    if changes:
        return "changed", f"Callers need not change what they do: {_said(changes)}", changes[0].sentence
    return "same", "Both versions do the same.", ""


def _said(changes: Sequence[Change]) -> str:
    more = f" And {len(changes) - 1} more." if len(changes) > 1 else ""
    return f"{changes[0].sentence}{more}"


def _users_of_all(tx: Tx) -> _Users:
    """Who uses whom as a tool, by the live versions of all kept workflows."""
    kept = {one.pk: one for one in workflows.listing(tx)}
    names = Names(kept.values())
    found: dict[str, list[Workflow]] = defaultdict(list)
    users = _Users(found, {one.id: one for one in kept.values()})
    for workflow_pk, snapshot, digest in tx.connection.execute(_LIVE_VERSIONS, {"workspace": tx.workspace}).all():
        user = kept[workflow_pk]
        try:
            tools = _tools(tx, snapshot, digest)
        except DamagedContent:
            users.notes.append(f"The live version of {user.slug} cannot be read, so what it uses is not known.")
            continue
        for tool in tools:
            used = names.find(tool)
            if not used:
                users.notes.append(tool_note(user.slug, tool))
            for one in used:
                if user not in found[one.id]:
                    found[one.id].append(user)
    return users


def _tools(tx: Tx, snapshot: str, digest: str) -> tuple[Tool, ...]:
    if digest not in _TOOLS:
        if len(_TOOLS) >= _MOST_KEPT:
            _TOOLS.clear()
        _TOOLS[digest] = tools_of(Document(content.read_content(tx, digest, snapshot)))
    return _TOOLS[digest]


def _notes(means: Means, move: _Move, things: Sequence[Touched], further: Sequence[Dependant]) -> list[str]:
    """What bears on the move and cannot be seen in the documents."""
    slug = move.workflow.slug
    unseen = [n for n, one in means.settings.middleware.items() if not one.hosts and matches(one.workflows, slug)]
    notes = []
    if things and unseen:
        notes.append(
            f"Whether a changed node touches {', '.join(unseen)} is not known: no hosts are declared for it."
        )
    if further and move.workflow.target != engine.NAME:
        notes.append(f"On Dify a tool stays on the version of {slug} that it was bound to, until it is updated.")
    return notes
