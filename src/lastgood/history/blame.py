"""Who last changed what: for each node of a workflow and each field of it, the version that did, read from the
manifests and the blobs of nodes alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam, select

from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.dsl.canonical import folded, meaning
from lastgood.dsl.document import is_note, node_data, node_type
from lastgood.errors import DamagedContent, NotFound
from lastgood.history import blobs, content, manifest
from lastgood.history.workflows import Workflow

_HISTORY = (
    select(
        t.version.c.pk,
        t.version.c.id,
        t.version.c.parent_pk,
        t.version.c.author,
        t.version.c.authored_at,
        t.snapshot.c.id.label("snapshot"),
        t.snapshot.c.digest,
    )
    .join_from(t.version, t.snapshot, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .where(t.version.c.workflow_pk == bindparam("workflow"))
    .order_by(t.version.c.pk.desc())
)


@dataclass(frozen=True, slots=True)
class Blamed:
    """A field of a node and the version that last changed it (gave it its value, or the node its id). `field` is a
    key of the node's data, or of the node where it stands outside of the data (``parentId``)."""

    node: str
    title: str
    type: str
    field: str
    version: str
    author: str
    authored_at: str


@dataclass(frozen=True, slots=True)
class _Node:
    """What a blob says of a node: the bytes that its fields are compared by."""

    id: str
    title: str
    type: str
    fields: dict[str, bytes]


def blame(tx: Tx, workflow: Workflow, node: str | None = None) -> list[Blamed]:
    """For each node of the newest version of `workflow` (or the one with the id or title `node`) and each of its
    fields: who last changed it, nodes in the order of the document. What `dsl.semantic_digest` does not see is no
    change and no field; a document without a graph has none. Raises `NotFound`, `DamagedContent`."""
    line = _line(tx, workflow)
    made_of = {digest: found.keys for digest, found in content.manifests(tx, {row.digest for row in line}).items()}
    skeletons = blobs.load(tx, {keys[0] for keys in made_of.values()})
    nodes_of: list[Sequence[int]] = []
    for row in line:
        keys = made_of.get(row.digest)
        if keys is None or keys[0] not in skeletons:
            raise _damaged(row)
        places = manifest.node_places(skeletons[keys[0]], len(keys))
        nodes_of.append(keys[places.start : places.stop])
    known = _nodes(tx, {key for keys in nodes_of for key in keys})
    for row, parts in zip(line, nodes_of, strict=True):
        if not known.keys() >= set(parts):
            raise _damaged(row)
    histories = [[found for key in keys if (found := known[key])] for keys in nodes_of]
    changed = _sweep(line, histories)
    newest = histories[-1] if histories else []
    shown = [one for one in newest if node in (None, one.id)] or [one for one in newest if one.title == node]
    if node is not None and not shown:
        raise NotFound(detail=f"The newest version of {workflow.slug} has no node {node!r}.")
    return [_blamed(one, name, changed[one.id][name]) for one in shown for name in one.fields]


def _line(tx: Tx, workflow: Workflow) -> list[Any]:
    """The versions from the first one to the newest, parent by parent."""
    rows = {row.pk: row for row in tx.connection.execute(_HISTORY, {"workflow": workflow.pk})}
    line = []
    row = next(iter(rows.values()), None)
    while row is not None:
        line.append(row)
        row = rows.get(row.parent_pk)
    return line[::-1]


def _nodes(tx: Tx, keys: set[int]) -> dict[int, _Node | None]:
    """What the blobs `keys` hold: None for a sticky note and for what is no node. Damaged ones are missing."""
    values = {key: orjson.loads(part) for key, part in blobs.load(tx, keys).items()}
    found: dict[int, _Node | None] = dict.fromkeys(values)
    real = {key: value for key, value in values.items() if isinstance(value, dict) and not is_note(value)}
    means = meaning(dsl.Document({"workflow": {"graph": {"nodes": list(real.values())}}}))["nodes"]
    for (key, value), meant in zip(real.items(), means, strict=True):
        data = node_data(value)
        fields = {name: part for name, part in meant.items() if name not in {"id", "data"}}
        fields |= meant["data"] if isinstance(meant.get("data"), dict) else {}
        written = {name: folded(part) for name, part in fields.items()}
        found[key] = _Node(str(value.get("id")), str(data.get("title", "")), node_type(value), written)
    return found


def _sweep(line: Sequence[Any], histories: Sequence[Sequence[_Node]]) -> dict[str, dict[str, Any]]:
    """The row of `line` that last changed each field of each node of the newest version, by node id and field.
    `histories` are the nodes of the versions."""
    changed: dict[str, dict[str, Any]] = {}
    before: dict[str, _Node] = {}
    for row, nodes in zip(line, histories, strict=True):
        now = {one.id: one for one in nodes}
        for id in before.keys() - now.keys():
            del changed[id]
        for id, one in now.items():
            old = before.get(id)
            if one is not old:
                was = old.fields if old else {}
                changed[id] = {
                    name: changed[id][name] if was.get(name) == value else row for name, value in one.fields.items()
                }
        before = now
    return changed


def _blamed(node: _Node, field: str, row: Any) -> Blamed:
    return Blamed(node.id, node.title, node.type, field, row.id, row.author, row.authored_at)


def _damaged(row: Any) -> DamagedContent:
    return DamagedContent(snapshot=row.snapshot, found="unreadable", expected=row.digest[:12])
