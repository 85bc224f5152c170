"""The rule of promotion: a document made for one workspace becomes one for another. No I/O.

Every id is mapped, by the mapping file, else by a name that both workspaces have once; what is left refuses, because
Dify drops what it does not know without a word."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lastgood.dsl import Document
from lastgood.dsl.dependencies import identified
from lastgood.dsl.document import node_data, node_type
from lastgood.dsl.identities import NAMES, Identity, Kind, Path, identities, replaced, without
from lastgood.release.plan import Finding
from lastgood.release.promotion import environment
from lastgood.release.promotion.deciding import Decision, Place, decide, plain
from lastgood.release.promotion.environment import Carriage, Standing
from lastgood.release.promotion.mapping import DROP, Map
from lastgood.release.promotion.overlay import Given

_ADDRESSES: Final = ("webhook_url", "webhook_debug_url")


@dataclass(frozen=True, slots=True)
class Change:
    """What a promotion changed at one place of a document: `after` is None where the value was left out, together
    with `held`, which is what stood at `path` then."""

    kind: Kind
    path: Path
    before: str
    after: str | None
    how: str
    held: Any = None


@dataclass(frozen=True, slots=True)
class Carried:
    """A document made for another place, secret values left out. `values` says where the value of each environment
    variable comes from. With a finding that refuses, it is not to be used."""

    document: Document
    changes: tuple[Change, ...]
    values: tuple[Carriage, ...]
    findings: tuple[Finding, ...]
    uses: tuple[Identity, ...]
    mapped: Mapping[tuple[Kind, str], str]
    names: Mapping[str, str]

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings that refuse it."""
        return tuple(one for one in self.findings if one.verdict == "refuse")


def carry(
    document: Document, origin: Place, target: Place, *, map: Map, overlay: Mapping[str, Given], standing: Standing
) -> Carried:
    """`document` (secret values left out) as it is to be at `target`, where variables stand as `standing` says."""
    filled, values, findings = environment.overlaid(document, overlay, standing)
    kept = {one.name for one in values if one.origin != "source"}
    found = identities(document)
    uses = tuple(one for one in found.identities if not _of_variable(one, document, kept))
    findings = [*findings, *_unsure(found.unsure, origin, target)]
    changes: list[Change] = []
    mapped: dict[tuple[Kind, str], str] = {}
    names: dict[str, str] = {}
    uses = tuple(replace(one, value=plain(one, origin)) for one in uses)
    for use, raw in zip(uses, (at_hand for at_hand in _raws(found.identities, uses)), strict=True):
        decision = decide(use, raw, origin, target, map)
        findings += decision.findings
        if decision.name:
            names[use.value] = decision.name
        if decision.to is not None:
            mapped[use.kind, use.value] = decision.to
            if decision.to != raw:
                changes.append(_change(document, use, raw, decision))
    carried = _applied(filled, changes)
    if not origin.same(target):
        carried = _without_addresses(carried)
    if origin.same(target):
        findings.append(_stays(uses))
    return Carried(carried, tuple(changes), values, tuple(findings), uses, mapped, names)


def _raws(before: Sequence[Identity], uses: Sequence[Identity]) -> Iterator[str]:
    """What stands in the document for each of `uses`."""
    written = {one.path: one.value for one in before}
    return (written[one.path] for one in uses)


def _change(document: Document, use: Identity, raw: str, decision: Decision) -> Change:
    if decision.to != DROP:
        return Change(use.kind, use.path, raw, decision.to, decision.how)
    # Of a person the whole entry goes, of anything else the id.
    path = use.path[:-1] if use.kind == "members" else use.path
    held: Any = document.data
    for key in path:
        held = held[key]
    return Change(use.kind, path, raw, None, decision.how, held)


def _applied(document: Document, changes: Sequence[Change]) -> Document:
    written: dict[Path, Any] = {}
    for one in changes:
        if one.after is not None:
            written |= writes(document, one, one.after)
    carried = replaced(document, written)
    # From the last: an item that goes moves those behind it.
    for one in sorted((one for one in changes if one.after is None), key=order, reverse=True):
        carried = without(carried, one.path)
    return carried


def order(change: Change) -> list[tuple[bool, str, int]]:
    """What puts changes of one document in the order of their places."""
    return [(isinstance(key, str), str(key), key if isinstance(key, int) else 0) for key in change.path]


def writes(document: Document, change: Change, value: str) -> dict[Path, Any]:
    """What is written where so that `value` stands for what `change` is about."""
    held: Any = document.data
    for key in change.path:
        held = held[key]
    if change.kind == "models" and isinstance(held, dict):
        provider, _, name = value.partition(" ")
        now = next(one for one in identities(document).identities if one.path == change.path and one.kind == "models")
        assert now.keys is not None  # noqa: S101 - models have them
        return {(*change.path, now.keys[0]): provider, (*change.path, now.keys[1]): name}
    written: dict[Path, Any] = {change.path: value}
    if change.path[0] == "dependencies" and "version" in document.data["dependencies"][change.path[1]]["value"]:
        written[*change.path[:-1], "version"] = identified(value)[1]
    return written


def _without_addresses(document: Document) -> Document:
    """Webhook addresses belong to the app that has them; Dify's own exports clear them too."""
    cleared: dict[Path, Any] = {}
    nodes = document.graph.get("nodes") if document.has_graph else None
    for number, node in enumerate(nodes if isinstance(nodes, list) else ()):
        if isinstance(node, dict) and node_type(node) == "trigger-webhook":
            path = ("workflow", "graph", "nodes", number, "data")
            cleared |= {(*path, key): "" for key in _ADDRESSES if node_data(node).get(key)}
    return replaced(document, cleared)


def _of_variable(use: Identity, document: Document, names: set[str]) -> bool:
    """Whether a value stands in an environment variable whose value the target has anyway."""
    if use.path[:2] != ("workflow", "environment_variables"):
        return False
    return str(document.workflow["environment_variables"][use.path[2]].get("name")) in names


def _unsure(found: Sequence[Any], origin: Place, target: Place) -> Iterator[Finding]:
    if origin.same(target):
        return
    for one in found:
        sentence = (
            f"node {one.title!r} ({one.node}), {one.place}: {one.value} looks like an id of {origin.server}, and "
            "what it names is not known; it is carried as it is."
        )
        yield Finding("promotion", "warn", sentence, f"{one.node} {one.place}")


def _stays(uses: Sequence[Identity]) -> Finding:
    ids = {(one.kind, one.value) for one in uses if one.kind not in NAMES}
    sentence = f"Both channels run in the same workspace, so ids stay as they are ({len(ids)} in it)."
    return Finding("promotion", "pass", sentence)
