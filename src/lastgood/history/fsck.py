"""The check of everything that is stored: which versions read as they were written, and which are damaged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import batched
from typing import Any

from sqlalchemy import select

from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.history import blobs, content, dictionary, manifest
from lastgood.history.manifest import Manifest

_CHUNK = 200  # contents at a time
_MEMORY = 64 * 2**20  # bytes of parts kept from one content to the next, which has most of them too

_VERSIONS = (
    select(t.snapshot.c.digest, t.snapshot.c.id.label("snapshot"), t.version.c.id.label("version"), t.workflow.c.slug)
    .select_from(t.snapshot)
    .join(t.version, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .join(t.workflow, t.version.c.workflow_pk == t.workflow.c.pk)
    .order_by(t.version.c.workflow_pk, t.version.c.pk)
)
_KEPT = (
    select(t.snapshot.c.digest, t.snapshot.c.id.label("snapshot"), t.version.c.id.label("version"), t.workflow.c.slug)
    .select_from(t.snapshot)
    .join(t.version, t.snapshot.c.kept_version_pk == t.version.c.pk)
    .join(t.workflow, t.version.c.workflow_pk == t.workflow.c.pk)
    .order_by(t.snapshot.c.pk)
)


@dataclass(frozen=True, slots=True)
class Damage:
    """A version that cannot be read as it was written, by the snapshot that holds it. `reason` ends the sentence
    "it cannot be read, because …". Content that no version has stands with empty names."""

    workflow: str
    version: str
    snapshot: str
    digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. `damaged_blobs` are keys of the blob table, used by a version or not, and
    `damaged_dictionaries` ids of dictionaries; the other numbers say how much was looked at."""

    versions: int
    contents: int
    blobs: int
    damaged: tuple[Damage, ...]
    damaged_blobs: tuple[int, ...]
    damaged_dictionaries: tuple[int, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not (self.damaged or self.damaged_blobs or self.damaged_dictionaries)

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "sound": self.sound,
            "checked": {"versions": self.versions, "contents": self.contents, "blobs": self.blobs},
            "damaged": [
                {
                    "workflow": one.workflow,
                    "version": one.version,
                    "snapshot": one.snapshot,
                    "digest": one.digest,
                    "reason": one.reason,
                }
                for one in self.damaged
            ],
            "damaged_blobs": list(self.damaged_blobs),
            "damaged_dictionaries": list(self.damaged_dictionaries),
        }


def fsck(tx: Tx) -> Report:
    """Check every dictionary, every blob and the digest of every content, hot or archived. It changes nothing, reads
    everything, and takes a transaction that only reads."""
    broken = tuple(dictionary.damaged(tx))
    for id in broken:
        dictionary.forget(id)  # a process that has it in memory would find its blobs sound
    versions = tx.connection.execute(_VERSIONS).all()
    rows = [*versions, *tx.connection.execute(_KEPT).all()]
    stored = content.digests(tx)
    # In the order of the versions, which share parts with their neighbours; then what no version has.
    verdicts = _verdicts(tx, dict.fromkeys([*(row.digest for row in rows), *stored]))
    damaged = [
        Damage(row.slug, row.version, row.snapshot, row.digest, verdicts[row.digest])
        for row in rows
        if row.digest in verdicts
    ]
    named = {row.digest for row in rows}
    damaged += [Damage("", "", "", digest, why) for digest, why in verdicts.items() if digest not in named]
    return Report(
        versions=len(versions),
        contents=len(stored),
        blobs=dictionary.held(tx),
        damaged=tuple(damaged),
        damaged_blobs=tuple(blobs.damaged(tx)),
        damaged_dictionaries=broken,
    )


def _verdicts(tx: Tx, digests: Iterable[str]) -> dict[str, str]:
    """Why each damaged content of `digests` cannot be read; the sound ones are missing from the answer."""
    found: dict[str, str] = {}
    parts: dict[int, bytes] = {}
    for some in batched(digests, _CHUNK):
        made_of = content.manifests(tx, some)
        wanted = {key for found in made_of.values() for key in found.keys}
        if sum(map(len, parts.values())) > _MEMORY:
            parts = {}
        parts |= blobs.load(tx, wanted - parts.keys())
        for digest in some:
            why = _why_not(digest, made_of.get(digest), parts)
            if why:
                found[digest] = why
    return found


def _why_not(digest: str, made_of: Manifest | None, parts: Mapping[int, bytes]) -> str:
    if made_of is None:
        return "its manifest is gone or damaged"
    keys, view = made_of
    lost = sorted({key for key in keys if key not in parts})
    if lost:
        named = ", ".join(map(str, lost[:5])) + (", …" if len(lost) > 5 else "")
        return f"blob {named} is gone or damaged" if len(lost) == 1 else f"blobs {named} are gone or damaged"
    try:
        whole = manifest.join([parts[key] for key in keys], view)
    except (ValueError, IndexError):
        return "its parts do not fit together"
    got = sha256(whole).hexdigest()
    return "" if got == digest else f"its digest is {got[:12]}, not {digest[:12]}"
