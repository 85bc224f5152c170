"""A `Difference` as lines to read, in no markup: the terminal, Markdown and pages are made of these."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from lastgood.dsl.compare.brief import brief, is_empty, visible
from lastgood.dsl.compare.changes import (
    Change,
    Difference,
    EdgeChange,
    Item,
    NodeChange,
    Path,
    Step,
    VariableChange,
)
from lastgood.dsl.compare.hidden import HIDDEN, is_hidden, name_of, shown, shown_text
from lastgood.dsl.compare.lists import items_of
from lastgood.dsl.compare.order import ENDS, ENTRIES
from lastgood.dsl.compare.settling import written
from lastgood.dsl.compare.text import Span, cut, line_diff, windowed
from lastgood.dsl.dependencies import identified
from lastgood.dsl.document import node_data
from lastgood.dsl.index import id_of

type Role = Literal["heading", "added", "removed", "changed", "moved", "context", "note"]

SIGNS: Final[dict[str, str]] = {"added": "+", "removed": "-", "changed": "~", "moved": "↕"}
_SHORT: Final = 100  # two values stand in one line up to so many characters
_WIDTH: Final = 200  # a line of a text
_SIDES: Final = ("removed", "added")
_MOST_LINES: Final = 12  # of a text that came or went as a whole
# Ids inside nodes that nothing refers to: editors make them anew.
_LOOSE_IDS: Final = frozenset({"prompt_template", "conditions", "break_conditions", "data", "delivery_methods"})
# What an agent node keeps of its tools for its editor; `path` into the tool, and the place of its key in it.
_TOOLS: Final = ("data", "agent_parameters", "tools")
_TOOL: Final = 5
_TOOL_CACHES: Final = frozenset({"schemas", "provider_show_name", "tool_label", "tool_description"})
_MOST_SETTINGS: Final = 40
_HEADS: Final = frozenset(
    {"type", "title", "isInIteration", "iteration_id", "isInLoop", "loop_id", "start_node_id", "isIterationStart"}
)
# The order of a node's settings: its title first, its description last.
_RANKS: Final = {"title": -1, "desc": 1}
_SPECIAL: Final = {name: name for name in ("sys", "env", "conversation")}


@dataclass(frozen=True, slots=True)
class Line:
    """A line to read. `text` names what it is about (a section, a node, a path) and `detail` says what of it; in a
    `block`, which shows a text, `text` is a line of that and `marks` are the spans in it that differ. `indent` counts
    steps."""

    role: Role
    text: str
    detail: str = ""
    indent: int = 0
    marks: tuple[Span, ...] = ()
    block: bool = False

    @property
    def sign(self) -> str:
        """What stands before the line: ``+``, ``-``, ``~``, ``↕``, or a space."""
        return SIGNS.get(self.role, " ")


def lines(difference: Difference) -> tuple[Line, ...]:
    """What differs, for people: inputs and outputs, then nodes along the graph, edges, variables, features and
    settings, then what does not change a run. Nothing when there is nothing to tell. No key or secret is in it."""
    return tuple(
        replace(line, text=visible(line.text), detail=visible(line.detail)) for line in _Teller(difference).tell()
    )


class _Teller:
    def __init__(self, difference: Difference) -> None:
        self.difference = difference
        self.old_titles = {**difference.old_titles, **_SPECIAL}
        self.new_titles = {**difference.new_titles, **_SPECIAL}

    def tell(self) -> Iterator[Line]:
        difference = self.difference
        mode = [change for change in difference.app if change.path == ("mode",)]
        outer = [node for node in difference.nodes if node.type in ENTRIES | ENDS]
        inner = [node for node in difference.nodes if node.type not in ENTRIES | ENDS]
        yield from _section("Inputs and outputs", [*self._changes(mode, 0), *self._nodes(outer)])
        yield from _section("Nodes", self._nodes(inner))
        yield from _section("Edges", map(_edge, difference.edges))
        environment = [*self._variables(difference.environment), *map(_secret, difference.secrets)]
        yield from _section("Environment variables", environment)
        yield from _section("Conversation variables", self._variables(difference.conversation))
        yield from _section("Features", self._features(difference.features))
        yield from _section("Settings", self._changes(difference.settings, 0))
        facts = [change for change in difference.app if change.path != ("mode",)]
        yield from _section("App", self._changes(facts, 0))
        yield from _section("Dependencies", self._dependencies(difference.dependencies))

    def _nodes(self, nodes: Iterable[NodeChange]) -> Iterator[Line]:
        """The nodes; those that changed alike as one, those with another id alone in a note."""
        bare = []
        groups: dict[Hashable, list[NodeChange]] = defaultdict(list)
        for place, node in enumerate(nodes):
            if node.renamed and not node.fields:
                bare.append(node)
            else:
                alike = node.kind == "changed" and not node.renamed
                groups[(node.type, *map(_written, node.fields)) if alike else place].append(node)
        for group in groups.values():
            first = group[0]
            if len(group) > 1:
                yield Line("changed", f"{len(group)} nodes changed alike:", ", ".join(map(_node_name, group)))
            else:
                yield Line(first.kind, _node_name(first), self._node_detail(first))
            if first.kind == "added":
                yield from self._whole(node_data(first.node))
            elif first.kind == "changed":
                yield from self._changes(first.fields, 1)
        if bare:
            names = ", ".join(node.title or node.id for node in bare)
            what = "1 node has another id and is" if len(bare) == 1 else f"{len(bare)} nodes have other ids and are"
            yield Line("note", f"{what} otherwise the same:", names)

    def _node_detail(self, node: NodeChange) -> str:
        parent = id_of(node.node.get("parentId"))
        titles = self.old_titles if node.kind == "removed" else self.new_titles
        inside = f", inside {titles.get(parent, parent)}" if parent else ""
        renamed = f", id was {node.old_id}" if node.renamed else ""
        return f"{node.type or 'no type'}{inside}{renamed}"

    def _whole(self, data: Mapping[str, Any]) -> Iterator[Line]:
        """The settings of a node that came, as far as one reads."""
        told = [
            line
            for key, value in data.items()
            if key not in _HEADS and not is_empty(value)
            for line in self._change(Change(("data", key), "added", None, value), 1)
        ]
        yield from told[:_MOST_SETTINGS]
        if len(told) > _MOST_SETTINGS:
            yield Line("note", f"… {len(told) - _MOST_SETTINGS} more lines", "", 1)

    def _changes(self, changes: Iterable[Change], indent: int) -> Iterator[Line]:
        """The changes, those that say nothing gathered in one note."""
        quiet, loose, cached = [], 0, 0
        for change in sorted(changes, key=lambda change: _RANKS.get(change.where, 0)):
            if _is_loose_id(change.path):
                loose += 1
            elif _is_cache(change.path):
                cached += 1
            elif change.kind != "moved" and is_empty(change.old) and is_empty(change.new):
                quiet.append(change.where)
            else:
                yield from self._change(change, indent)
        if quiet:
            yield Line("note", "empty or off, before and after:", ", ".join(quiet), indent)
        if cached:
            what = "1 change" if cached == 1 else f"{cached} changes"
            yield Line("note", f"{what} in what the editor keeps of the tools' descriptions", "", indent)
        if loose:
            yield Line("note", "1 internal id differs" if loose == 1 else f"{loose} internal ids differ", "", indent)

    def _change(self, change: Change, indent: int, owner: Path = ()) -> Iterator[Line]:
        """One change. `owner` is what the path begins in, where that has a name that tells keys."""
        name, old, new, path = change.where, change.old, change.new, (*owner, *change.path)
        if change.kind == "moved":
            yield Line("moved", name, _move(change.path), indent)
        elif _is_text(old) and _is_text(new) and _is_long(old, new) and not _hides(path, old, new):
            yield Line(change.kind, f"{name}:", "", indent)
            yield from _text_block(old or "", new or "", name_of(path), indent + 1)
        elif change.kind == "changed":
            before = brief(old, self.old_titles, path, _SHORT)
            after = brief(new, self.new_titles, path, _SHORT)
            told = f"changed {HIDDEN}" if shown(old, path) == shown(new, path) else f"{before} → {after}"
            yield Line("changed", f"{name}:", told, indent)
        else:
            yield from self._one_sided(change, indent, path)

    def _one_sided(self, change: Change, indent: int, path: Path) -> Iterator[Line]:
        """A value that came or went: in one line, or part by part if that is too long."""
        value, titles = change.new, self.new_titles
        if change.kind == "removed":
            value, titles = change.old, self.old_titles
        told = brief(value, titles, path, width=0)
        if len(told) <= _WIDTH or not isinstance(value, dict | list):
            yield Line(change.kind, f"{change.where}:", cut(told, _WIDTH), indent)
            return
        steps: Iterable[Step] = value if isinstance(value, dict) else items_of([], value, [])
        for step, part in zip(steps, value.values() if isinstance(value, dict) else value, strict=True):
            inner = (*change.path, step)
            if not (is_empty(part) or _is_loose_id(inner) or _is_cache(inner)):
                old, new = (part, None) if change.kind == "removed" else (None, part)
                owner = path[: len(path) - len(change.path)]
                yield from self._change(Change(inner, change.kind, old, new), indent, owner)

    def _variables(self, variables: Iterable[VariableChange]) -> Iterator[Line]:
        for variable in variables:
            side = variable.new if variable.new is not None else variable.old or {}
            kind = str(side.get("value_type") or "no type")
            if variable.kind != "changed":
                value = "" if variable.secret else brief(side.get("value"), _SPECIAL, (variable.name, "value"))
                yield Line(variable.kind, variable.name, f"{kind} = {value}" if value else kind)
                continue
            yield Line("changed", variable.name, kind)
            for change in variable.fields:
                if variable.secret and change.path[:1] == ("value",):
                    yield Line("changed", "value:", f"changed {HIDDEN}", 1)
                else:
                    yield from self._change(change, 1, (variable.name,))

    def _features(self, changes: Iterable[Change]) -> Iterator[Line]:
        for change in changes:
            switched = {"added": "on", "removed": "off"}.get(change.kind)
            value = change.new if change.kind == "added" else change.old
            if len(change.path) == 1 and switched and isinstance(value, dict):
                detail = f"switched {switched}, {brief(value, _SPECIAL, change.path)}"
                yield Line(change.kind, f"{change.where}:", detail)
            else:
                yield from self._changes([change], 0)

    def _dependencies(self, changes: Iterable[Change]) -> Iterator[Line]:
        for change in changes:
            item, last = change.path[0], change.path[-1]
            name = item.key if isinstance(item, Item) else str(item)
            if len(change.path) == 1 and change.kind != "moved":
                value = change.old if change.kind == "removed" else change.new
                yield Line(change.kind, name, _version(value) or brief(value, _SPECIAL))
            elif change.kind == "changed" and isinstance(last, str) and last.endswith("unique_identifier"):
                before, after = (identified(id_of(value))[1] for value in (change.old, change.new))
                told = before and before != after
                yield Line("changed", f"{name}:", f"{before} → {after}" if told else "another build of it")
            else:
                yield from self._changes([change], 0)


def _section(heading: str, body: Iterable[Line]) -> Iterator[Line]:
    body = list(body)
    if body:
        yield Line("heading", heading)
        yield from body


def _node_name(node: NodeChange) -> str:
    return f"{node.title} [{node.id}]" if node.title and node.title != node.id else f"[{node.id}]"


def _edge(edge: EdgeChange) -> Line:
    branch = f" ({edge.branch})" if edge.branch else ""
    return Line(edge.kind, f"{edge.source_title}{branch} → {edge.target_title}")


def _written(change: Change) -> Hashable:
    return change.kind, change.path, written(change.old), written(change.new)


def _secret(name: str) -> Line:
    return Line("changed", name, f"secret, value changed {HIDDEN}")


def _move(path: Path) -> str:
    item = path[-1]
    if isinstance(item, Item) and item.old is not None and item.new is not None:
        return f"moved from place {item.old + 1} to {item.new + 1}"
    return "moved"


def _version(dependency: Any) -> str:
    value = dependency.get("value") if isinstance(dependency, dict) else None
    names = (
        [part for key, part in value.items() if key.endswith("unique_identifier")] if isinstance(value, dict) else []
    )
    return identified(id_of(names[0]))[1] if names else ""


def _is_loose_id(path: Path) -> bool:
    return len(path) > 2 and path[-1] == "id" and path[-3] in _LOOSE_IDS


def _is_cache(path: Path) -> bool:
    """Whether `path` leads into what an agent node keeps of its tools for its editor."""
    return path[:3] == _TOOLS and len(path) > _TOOL and path[_TOOL] in _TOOL_CACHES


def _hides(path: Path, *values: Any) -> bool:
    return any(is_hidden(path, value) for value in values)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_long(old: str | None, new: str | None) -> bool:
    """Whether texts are shown line by line."""
    return "\n" in (old or "") + (new or "") or len(old or "") + len(new or "") > _SHORT


def _text_block(old: str, new: str, name: str, indent: int) -> Iterator[Line]:
    """How a text changed, came or went, line by line, keys hidden."""
    if not old or not new:
        yield from _one_sided(shown_text(old or new, name), "removed" if old else "added", indent)
        return
    if old.replace("\r\n", "\n") == new.replace("\r\n", "\n"):
        yield Line("note", "only the line ends differ", "", indent)
        return
    if "".join(old.split()) == "".join(new.split()):
        yield Line("note", "only white space differs", "", indent)
    before, after = shown_text(old, name).split("\n"), shown_text(new, name).split("\n")
    told = [
        (line, after[line.new] if line.new is not None else before[line.old or 0]) for line in line_diff(old, new)
    ]
    masked = {role: {text for line, text in told if line.role == role and text != line.text} for role in _SIDES}
    for line, text in told:
        if line.role == "gap":
            yield Line("context", f"… line {(line.new or 0) + 1}", "", indent, (), True)
        elif text in masked["removed"] & masked["added"]:
            # Nothing but what is hidden differs, or the line did not change at all.
            if line.role != "removed":
                detail = "" if line.role == "context" else f"changed {HIDDEN}"
                yield Line("context" if line.role == "context" else "changed", text, detail, indent, (), True)
        else:
            part, marks = windowed(text, line.marks if text == line.text else (), _WIDTH)
            yield Line(line.role, part, "", indent, marks, True)


def _one_sided(text: str, role: Literal["added", "removed"], indent: int) -> Iterator[Line]:
    all_lines = text.rstrip("\n").split("\n")
    for line in all_lines[:_MOST_LINES]:
        yield Line(role, windowed(line, (), _WIDTH)[0], "", indent, (), True)
    if len(all_lines) > _MOST_LINES:
        yield Line("note", f"… {len(all_lines) - _MOST_LINES} more lines", "", indent)
