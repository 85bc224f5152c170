"""A promotion made ready from how things stand, and the version that comes of it. The move itself is an ordinary
publish (`planning.accept`)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select

from lastgood import dsl
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import (
    InvalidRequest,
    LastgoodError,
    NoGraph,
    NothingLive,
    NotPromotable,
    PlanVoid,
    UnknownServer,
)
from lastgood.history import apps, channels, content, versions, workflows
from lastgood.history.channels import Channel
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.release import evidence
from lastgood.release.means import Means
from lastgood.release.plan import Finding
from lastgood.release.promotion import mapping, record
from lastgood.release.promotion.carrying import Carried, carry
from lastgood.release.promotion.deciding import Place
from lastgood.release.promotion.environment import Standing
from lastgood.release.promotion.mapping import Map
from lastgood.release.promotion.overlay import Given
from lastgood.targets.dify import servers
from lastgood.targets.dify.roster import Roster, Things

_EQUAL = (
    select(t.version.c.pk)
    .join_from(t.version, t.snapshot, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .where(t.version.c.workflow_pk == bindparam("workflow"), t.snapshot.c.digest == bindparam("digest"))
    .order_by(t.version.c.pk.desc())
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A promotion that somebody asks for: what the channel `origin` points to, to the channel `target`. `mapping` is
    the text of a mapping file, `source` its name; `overlay` the values of variables there."""

    workflow: str
    origin: str
    target: str = channels.LIVE
    mapping: str | None = None
    source: str = "the mapping"
    overlay: Mapping[str, Given] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """A promotion as it would be done now. `generation` is the target channel's."""

    workflow: Workflow
    version: Version
    origin: str
    target: str
    generation: int
    places: tuple[Place, Place]
    map: Map
    carried: Carried
    standing: Version | None
    evidence: str
    overlay: Mapping[str, Given] = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what a person is shown of it: not the values of secrets, but where they come from."""
        shown = {
            "version": self.version.id,
            "target": [self.target, self.generation],
            "content": dsl.content_digest(self.carried.document),
            "values": [[one.name, one.origin] for one in self.carried.values],
            "mapping": self.map.digest,
            "findings": [one.sentence for one in self.carried.findings if one.verdict != "pass"],
        }
        return hashlib.sha256(dsl.canonical(shown)).hexdigest()

    def as_data(self) -> dict[str, Any]:
        """Its JSON form, without values."""
        origin, target = self.places
        uses = self.carried.uses
        return {
            "workflow": self.workflow.slug,
            "version": self.version.public(),
            "from": {"channel": self.origin, "server": origin.server},
            "to": {"channel": self.target, "server": target.server, "generation": self.generation},
            "same_workspace": origin.same(target),
            "findings": [
                {"check": one.check, "verdict": one.verdict, "sentence": one.sentence, "subject": one.subject}
                for one in self.carried.findings
            ],
            "refused": bool(self.carried.refusals),
            "mapping_digest": self.map.digest,
            "mapping": mapping.draft(origin.server, target.server, uses, self.carried.mapped, self.carried.names),
            "evidence": self.evidence,
            "digest": self.digest,
        }


def prepare(means: Means, wanted: Wanted) -> Ready:
    """What the promotion would do, as things stand; changes nothing, and asks both servers where they can be asked.

    Raises `UnknownWorkflow`, `UnknownChannel`, `NothingLive`, `NoGraph`, `InvalidMapping`, `InvalidRequest`."""
    if wanted.origin == wanted.target:
        raise InvalidRequest(where="to", reason=f"{wanted.target} is the channel that the version comes from")
    with means.store.read() as tx:
        workflow = workflows.find(tx, wanted.workflow)
        origin, target = channels.get(tx, workflow, wanted.origin), channels.present(tx, workflow, wanted.target)
        if origin.version_pk is None:
            raise NothingLive(channel=origin.name, workflow=workflow.slug)
        version = versions.by_pk(tx, origin.version_pk)
        document = versions.document_of(tx, version, whole=True)
        if not document.has_graph:
            raise NoGraph(version=version.id, mode=document.mode)
        standing = versions.by_pk(tx, target.version_pk) if target.version_pk is not None else None
        there = Standing(
            target.name,
            origin.name,
            versions.document_of(tx, standing) if standing else None,
            _held(tx, standing),
            _held(tx, version),
        )
        says = [_drift(tx, workflow, origin), _unbound(tx, workflow, target)]
        first, second = _place(means, tx, workflow, origin), _place(means, tx, workflow, target)
        known = evidence.of(means, tx, workflow, version).sentence()
    map = Map()
    if wanted.mapping is not None:
        map = mapping.read(wanted.mapping, source=wanted.source, origin=first.server, target=second.server)
    carried = carry(document, first, second, map=map, overlay=wanted.overlay, standing=there)
    more = tuple(one for one in says if one is not None)
    return Ready(
        workflow,
        version,
        origin.name,
        target.name,
        target.generation,
        (first, second),
        map,
        _with(carried, more),
        standing,
        known,
        wanted.overlay,
    )


def keep(means: Means, who: Principal, ready: Ready, *, shown: str | None = None) -> Version:
    """Keep the promoted content as a version of its workflow, with the record of where it comes from; the version
    that holds it already, where there is one. `shown` is the digest of what a person saw.

    Raises `NotPromotable` with every reason, `PlanVoid`."""
    if shown is not None and shown != ready.digest:
        raise PlanVoid(reasons="what would be promoted is not what was shown")
    refused = ready.carried.refusals
    if refused:
        raise NotPromotable(
            version=ready.version.id,
            origin=ready.origin,
            target=ready.target,
            reasons=" ".join(one.sentence for one in refused),
        )
    return means.store.write(lambda tx: _keep(tx, who, ready))


def _keep(tx: Tx, who: Principal, ready: Ready) -> Version:
    workflow = ready.workflow
    versions.take_turn(tx, workflow)
    secrets = _secrets(tx, ready)
    bare, _ = dsl.take_secrets(ready.carried.document)
    digest = content.write_content(tx, bare)
    version = _equal(tx, ready, digest, secrets)
    if version is None:
        version = versions.add(
            tx,
            who,
            workflow,
            digest,
            dsl.semantic_digest(bare),
            secrets,
            parent=ready.version,
            author=ready.version.author,
            authored_at=ready.version.authored_at,
            note=f"{ready.version.id} promoted from {ready.origin} to {ready.target}",
            origin="promote",
        )
    record.keep(
        tx,
        who,
        version,
        ready.version,
        channels=(ready.origin, ready.target),
        places=ready.places,
        carried=ready.carried,
        mapping=ready.map.digest,
        evidence=ready.evidence,
    )
    resource = f"workflow/{workflow.id}/version/{version.id}"
    facts = {"before": ready.version.id, "after": version.id, "mapping": ready.map.digest}
    audit.append(tx, who, "workflow:promote", resource, source=ready.origin, channel=ready.target, **facts)
    return version


def _secrets(tx: Tx, ready: Ready) -> dict[str, str]:
    """The values of the secrets of the new version, each from where it was said to come."""
    target = versions.secrets_of(tx, ready.standing) if ready.standing else {}
    source = versions.secrets_of(tx, ready.version)
    found = {}
    for one in ready.carried.values:
        if one.secret:
            given = ready.overlay.get(one.name)
            value = {"target": target.get(one.name), "source": source.get(one.name)}.get(
                one.origin, str(given.value) if given else None
            )
            if value is None:
                raise PlanVoid(reasons=f"the secret {one.name} has no value any more")
            found[one.name] = value
    return found


def _equal(tx: Tx, ready: Ready, digest: str, secrets: Mapping[str, str]) -> Version | None:
    """The version that holds this content and these secrets already: the promoted one itself before others."""
    rows = tx.connection.execute(_EQUAL, {"workflow": ready.workflow.pk, "digest": digest})
    same = [one for row in rows if versions.secrets_of(tx, one := versions.by_pk(tx, row.pk)) == secrets]
    return next((one for one in same if one.pk == ready.version.pk), next(iter(same), None))


def _held(tx: Tx, version: Version | None) -> frozenset[str]:
    return frozenset(versions.secrets_of(tx, version)) if version else frozenset()


def _place(means: Means, tx: Tx, workflow: Workflow, channel: Channel) -> Place:
    """Where `channel` runs: its app's server, else the workflow's target."""
    app = apps.of_channel(tx, channel.pk)
    name = app.target if app else workflow.target
    try:
        server = servers.get(tx, name)
    except UnknownServer:
        return Place(name)
    return Place(name, str(server.facts.get("workspace_id") or ""), _asking(lambda: Roster(means.dify(name).caller)))


def _asking(open: Callable[[], Roster]) -> Callable[..., Things]:
    """A source of things that opens its server when it is first asked; one that cannot be opened knows nothing."""
    opened: list[Roster | None] = []

    def ask(kind: str, provider: str = "") -> Things:
        if not opened:
            try:
                opened.append(open())
            except LastgoodError:
                opened.append(None)
        return opened[0](kind, provider) if opened[0] else None

    return ask


def _drift(tx: Tx, workflow: Workflow, channel: Channel) -> Finding | None:
    """A warning where the app of the source was seen to serve something else than its channel says."""
    app = apps.of_channel(tx, channel.pk)
    if app is None or app.live_id is None or app.live_pk == channel.version_pk:
        return None
    sentence = (
        f"{channel.name} of {workflow.slug} says {channel.version}, and {app.target} was seen to serve "
        f"{app.live or 'something that is not in history'}; what is promoted is {channel.version}."
    )
    return Finding("promotion", "warn", sentence, channel.name)


def _unbound(tx: Tx, workflow: Workflow, channel: Channel) -> Finding | None:
    """A warning where the target runs on no app, though the workflow's other channels do."""
    if not apps.of_workflow(tx, workflow) or apps.of_channel(tx, channel.pk) is not None:
        return None
    sentence = f"{channel.name} of {workflow.slug} runs on no Dify app, so only its pointer moves."
    return Finding("promotion", "warn", sentence, channel.name)


def _with(carried: Carried, more: tuple[Finding, ...]) -> Carried:
    return Carried(
        carried.document,
        carried.changes,
        carried.values,
        (*more, *carried.findings),
        carried.uses,
        carried.mapped,
        carried.names,
    )
