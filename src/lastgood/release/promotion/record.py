"""What is kept of a promotion beside its version, and the proof that rests on it: the version, with what was mapped
and overlaid taken back, is the one that was tested."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select

from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.dsl.document import mappings
from lastgood.dsl.identities import Path, at, replaced, with_item
from lastgood.dsl.index import text
from lastgood.errors import LastgoodError
from lastgood.history import versions
from lastgood.history.versions import Version
from lastgood.release.promotion.carrying import Carried, Change, order, writes
from lastgood.release.promotion.deciding import Place

KIND: Final = "promotion"
_NEWEST = (
    select(t.evidence)
    .where(t.evidence.c.version_pk == bindparam("version"), t.evidence.c.kind == KIND)
    .order_by(t.evidence.c.pk.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a promoted version is what was tested, but for what was mapped and overlaid."""

    equal: bool
    sentence: str


def keep(
    tx: Tx,
    who: Principal,
    version: Version,
    source: Version,
    *,
    channels: tuple[str, str],
    places: tuple[Place, Place],
    carried: Carried,
    mapping: str,
    evidence: str,
) -> None:
    """Keep on `version` where it comes from: `channels` and `places` are from and to, `mapping` is the digest of the
    mapping that was used, `evidence` what speaks for the source. A record like the last one is not kept twice."""
    detail = {
        "from": {
            "version": source.id,
            "snapshot": source.snapshot_id,
            "digest": source.digest,
            "semantic_digest": source.semantic_digest,
            "channel": channels[0],
            "server": places[0].server,
            "workspace": places[0].workspace,
        },
        "to": {"channel": channels[1], "server": places[1].server, "workspace": places[1].workspace},
        "mapping_digest": mapping,
        "changes": [asdict(one) for one in carried.changes],
        "values": [asdict(one) for one in carried.values],
        "evidence": evidence,
    }
    last = tx.connection.execute(_NEWEST, {"version": version.pk}).first()
    if last is None or json.loads(last.detail) != json.loads(json.dumps(detail)):
        versions.add_evidence(tx, who, version, kind=KIND, verdict="carried", detail=detail)


def promoted_from(tx: Tx, version: Version) -> dict[str, Any] | None:
    """Where `version` was promoted from, and whether it is what was tested there; None for one that was not. JSON
    values: ``version``, ``digest``, ``channel``, ``server``, ``to``, ``mapping_digest``, ``mapped``, ``values``,
    ``evidence``, ``at``, ``by``, ``same``, ``proof``."""
    row = tx.connection.execute(_NEWEST, {"version": version.pk}).first()
    if row is None:
        return None
    detail = json.loads(row.detail)
    origin = detail["from"]
    try:
        source = versions.find(tx, origin["version"])
        proof = prove(
            versions.document_of(tx, version, whole=True),
            versions.document_of(tx, source, whole=True),
            version,
            source,
            detail,
        )
    except LastgoodError as error:
        proof = Proof(False, f"It cannot be proven: {error}")
    return {
        "version": origin["version"],
        "digest": origin["digest"],
        "channel": origin["channel"],
        "server": origin["server"],
        "to": detail["to"]["channel"],
        "mapping_digest": detail["mapping_digest"],
        "mapped": [{key: one[key] for key in ("kind", "before", "after", "how")} for one in detail["changes"]],
        "values": detail["values"],
        "evidence": detail["evidence"],
        "at": row.at,
        "by": row.actor,
        "same": proof.equal,
        "proof": proof.sentence,
    }


def prove(
    promoted: dsl.Document, source: dsl.Document, version: Version, origin: Version, detail: Mapping[str, Any]
) -> Proof:
    """Whether `promoted` (the document of `version`) means what `source` (of `origin`) does, once the changes that
    `detail` names were taken back at their places."""
    changes = [Change(**{**one, "path": tuple(one["path"])}) for one in detail["changes"]]
    values = [one["name"] for one in detail["values"] if one["origin"] != "source" and not one["secret"]]
    secrets = [one["name"] for one in detail["values"] if one["origin"] != "source" and one["secret"]]
    if origin.semantic_digest != detail["from"]["semantic_digest"]:
        return Proof(False, f"{origin.id} is not what it was when it was promoted.")
    try:
        back = unmapped(promoted, source, changes, values)
    except (LookupError, TypeError, ValueError):
        return Proof(False, f"{version.id} does not have what was mapped where it was mapped.")
    if dsl.semantic_digest(back) != origin.semantic_digest:
        return Proof(False, f"{version.id} differs from {origin.id} in more than what was mapped and overlaid.")
    told = [
        f"{len(found)} {noun if len(found) == 1 else noun + 's'}"
        for found, noun in ((changes, "mapped value"), (values, "variable"), (secrets, "secret"))
        if found
    ]
    but = f", but for {', '.join(told)}" if told else ""
    return Proof(True, f"It is what {origin.id} is{but} (sha256:{origin.semantic_digest[:12]}…).")


def unmapped(
    promoted: dsl.Document, source: dsl.Document, changes: Sequence[Change], values: Sequence[str]
) -> dsl.Document:
    """`promoted` with `changes` taken back, and the environment variables `values` as `source` has them. Raises
    `LookupError`, `TypeError` or `ValueError` where it is not as `changes` left it."""
    document = promoted
    for one in sorted((one for one in changes if one.after is None), key=order):
        document = with_item(document, one.path, one.held)
    back: dict[Path, Any] = {}
    for one in changes:
        if one.after is not None:
            now = writes(document, one, one.after)
            if any(at(document, path) != value for path, value in now.items()):
                raise ValueError(one.path)
            back |= writes(document, one, one.before)
    document = replaced(document, back)
    theirs = {text(item.get("name")): item for item in source.environment_variables}
    if not values:
        return document
    items = [
        theirs.get(text(item.get("name")), item) if text(item.get("name")) in values else item
        for item in mappings(document.workflow.get("environment_variables"))
    ]
    return replaced(document, {("workflow", "environment_variables"): items})
