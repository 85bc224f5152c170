"""How much a `Difference` is, in one line a node."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lastgood.dsl.compare.brief import is_empty
from lastgood.dsl.compare.changes import Change, Difference
from lastgood.dsl.compare.text import line_diff
from lastgood.dsl.document import node_data

_BAR: Final = 40


@dataclass(frozen=True, slots=True)
class Stat:
    """How much came and went in one node or section: values, and lines of texts. A changed value counts on both
    sides."""

    name: str
    kind: str
    added: int
    removed: int


def stat(difference: Difference) -> tuple[Stat, ...]:
    """One for each node that differs, in their order, then one for each other section that does."""
    stats = []
    for node in difference.nodes:
        added, removed = _amount(node.fields)
        if node.kind == "added":
            added = _size(node_data(node.node))
        elif node.kind == "removed":
            removed = _size(node_data(node.node))
        elif node.renamed:
            added, removed = added + 1, removed + 1
        stats.append(Stat(f"{node.title or node.type} [{node.id}]", node.kind, added, removed))
    edges = Counter(edge.kind for edge in difference.edges)
    sections = [("edges", edges["added"] + edges["changed"], edges["removed"] + edges["changed"])]
    for name, variables in (
        ("environment variables", difference.environment),
        ("conversation variables", difference.conversation),
    ):
        amounts = [_amount(variable.fields) for variable in variables]
        kinds = Counter(variable.kind for variable in variables)
        sections.append(
            (name, sum(a for a, _ in amounts) + kinds["added"], sum(r for _, r in amounts) + kinds["removed"])
        )
    sections.append(("secrets", len(difference.secrets), len(difference.secrets)))
    sections += [
        (name, *_amount(changes))
        for name, changes in (
            ("features", difference.features),
            ("settings", difference.settings),
            ("app", difference.app),
            ("dependencies", difference.dependencies),
        )
    ]
    return (*stats, *(Stat(name, "changed", added, removed) for name, added, removed in sections if added or removed))


def stat_lines(difference: Difference, width: int = 80) -> tuple[str, ...]:
    """`stat` as text, as git writes it: ``Summarise [17] | 12 ++++++++----``, and a line that sums it up. The bars
    shrink so that no line is wider than `width` for names of usual length."""
    stats = stat(difference)
    if not stats:
        return ()
    longest = max(len(one.name) for one in stats)
    most = max(one.added + one.removed for one in stats)
    room = min(_BAR, max(width - longest - len(str(most)) - 5, 5))
    told = []
    for one in stats:
        total = one.added + one.removed
        bar = max(round(total * room / most), 1) if most > room else total
        plus = int(bar * one.added / total + 0.5) if total else 0
        told.append(f" {one.name:<{longest}} | {total:>{len(str(most))}} {'+' * plus}{'-' * (bar - plus)}".rstrip())
    return (*told, " " + summary(difference))


def summary(difference: Difference) -> str:
    """What differs in a line: ``2 nodes changed, 1 added; 3 edges; 1 variable; same app``."""
    parts = []
    kinds = Counter(node.kind for node in difference.nodes)
    counts = [f"{kinds[kind]} {kind}" for kind in ("changed", "added", "removed") if kinds[kind]]
    if counts:
        first, _, rest = counts[0].partition(" ")
        counts[0] = f"{first} {'node' if first == '1' else 'nodes'} {rest}"
        parts.append(", ".join(counts))
    variables = len(difference.environment) + len(difference.conversation)
    for count, name in (
        (len(difference.edges), "edge"),
        (variables, "variable"),
        (len(difference.secrets), "secret"),
        (len({change.path[0] for change in difference.features}), "feature"),
        (len(difference.settings), "setting"),
    ):
        if count:
            parts.append(f"{count} {name}" if count == 1 else f"{count} {name}s")
    parts += [
        name for name, changes in (("app", difference.app), ("dependencies", difference.dependencies)) if changes
    ]
    return "; ".join(parts) or "nothing has changed"


def _amount(changes: Iterable[Change]) -> tuple[int, int]:
    """How many values, or lines of a text, came and went."""
    amounts = list(map(_of_change, changes))
    return sum(added for added, _ in amounts), sum(removed for _, removed in amounts)


def _of_change(change: Change) -> tuple[int, int]:
    if change.kind == "moved":
        return 1, 1
    if change.kind == "added":
        return _size(change.new), 0
    if change.kind == "removed":
        return 0, _size(change.old)
    if isinstance(change.old, str) and isinstance(change.new, str) and "\n" in change.old + change.new:
        roles = Counter(line.role for line in line_diff(change.old, change.new, 0))
        return roles["added"], roles["removed"]
    return 1, 1


def _size(value: Any) -> int:
    """How many values are in `value`, empty ones left out; a text counts by its lines. At least 1."""
    return max(sum(_sizes(value)), 1)


def _sizes(value: Any) -> Iterator[int]:
    parts: Sequence[Any] = ()
    if isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, list):
        parts = value
    elif not is_empty(value):
        yield value.count("\n") + 1 if isinstance(value, str) else 1
    for part in parts:
        yield from _sizes(part)
