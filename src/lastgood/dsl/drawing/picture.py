"""The SVG of a canvas, and of two side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lastgood.dsl.compare.changes import Difference, Kind
from lastgood.dsl.compare.hidden import shown_text
from lastgood.dsl.document import Document
from lastgood.dsl.drawing.layout import HEAD, PORT, Box, Layout, Point, lay_out
from lastgood.dsl.drawing.letters import cut, escape, measure, wrap
from lastgood.dsl.drawing.style import SHEET, colour_of
from lastgood.dsl.drawing.telling import details, is_branching, note_text, telling, type_name
from lastgood.dsl.index import CONTAINERS, INNER_STARTS, SOURCE, Index, Node, id_of, text

_MARGIN: Final = 40.0
_LINE: Final = 15.0
_TITLE: Final = 13.0
_SMALL: Final = 11.0
_WAY: Final = 10.0
_BOLD: Final = 1.08  # how much wider bold letters are
_HEADING: Final = 44.0
_BADGE: Final = 10.0
_PARTS: Final = [0.5, *(0.5 + sign * i / 20 for i in range(1, 10) for sign in (-1, 1))]
# Signs that every font has: a machine without CJK fonts shows the wide ones as boxes.
_SIGNS: Final[dict[Kind, str]] = {"added": "+", "removed": "−", "changed": "~"}
_ENDS: Final = frozenset({"end", "loop-end"})
_FIRST: Final = INNER_STARTS | {"start", "datasource", "trigger-webhook", "trigger-schedule", "trigger-plugin"}
_THEMES: Final = frozenset({"blue", "cyan", "green", "pink", "violet"})
_NAMED: Final = 6
_NOTE_READ: Final = 4000

type EdgeKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Marks:
    """What to mark: nodes by id, edges by (source, handle, target), and what to say of a changed node."""

    nodes: dict[str, Kind] = field(default_factory=dict)
    edges: dict[EdgeKey, Kind] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)


def draw(document: Document) -> str:
    """The canvas of `document` as an SVG, as its editor lays it out: containers around what is in them, notes, edges
    from the height where a branch leaves. It needs no network, font or script and follows the reader's light or dark
    mode. A document without a graph gives a picture that says so."""
    index = Index(document)
    layout = lay_out(index)
    bounds = layout.bounds
    parts = _panel(index, layout, _Marks())
    body = _moved(_MARGIN - bounds.x, _MARGIN - bounds.y, parts)
    name = document.name or "Workflow"
    return _svg(bounds.width + 2 * _MARGIN, bounds.height + 2 * _MARGIN, name, body)


def draw_comparison(old: Document, new: Document, difference: Difference) -> str:
    """Both canvases in one SVG, `old` left of or above `new`, with what `difference` (theirs) says was added (+),
    removed (−) and changed (~) marked by colour and sign, and a legend."""
    present = {id_of(after): id_of(before) for before, after in difference.renames.items()}
    marks = _marks_of(difference, present)
    indexes = Index(old), Index(new)
    layouts = lay_out(indexes[0]), lay_out(indexes[1])
    frames = _frames(layouts[0].bounds, layouts[1].bounds)
    width, height = (max(getattr(frame, side) for frame in frames) for side in ("width", "height"))
    is_wide = width > height
    step = (0.0, height + _HEADING + _MARGIN) if is_wide else (width + _MARGIN, 0.0)
    parts = []
    for i, (heading, name) in enumerate((("Before", old.name), ("After", new.name))):
        x, y = _MARGIN + i * step[0], _MARGIN + _HEADING + i * step[1]
        title = cut(f"{heading} · {name}" if name else heading, width, 18 * _BOLD)
        parts.append(f'<text class="title head" x="{_n(x)}" y="{_n(y + 20)}">{escape(title)}</text>')
        frame = frames[i]
        parts += _moved(x - frame.x, y + _HEADING - frame.y, _panel(indexes[i], layouts[i], marks[i]))
    parts += _legend(difference)
    across = width + step[0] + 2 * _MARGIN
    down = height + step[1] + 2 * _MARGIN + 2 * _HEADING
    return _svg(max(across, 460.0), down, f"{old.name or 'Workflow'}: before and after", parts)


def _marks_of(difference: Difference, present: Mapping[str, str]) -> tuple[_Marks, _Marks]:
    """The marks for the old and for the new canvas; `present` gives the old ids of renamed nodes."""
    before, after = _Marks(), _Marks()
    for node in difference.nodes:
        told = ", ".join(dict.fromkeys(change.where for change in node.fields[:_NAMED]))
        told += f" and {len(node.fields) - _NAMED} more" if len(node.fields) > _NAMED else ""
        for marks, node_id, gone in ((before, node.old_id, "added"), (after, node.id, "removed")):
            if node.kind != gone:
                marks.nodes[node_id] = node.kind
                marks.told[node_id] = told
    for edge in difference.edges:
        handle = edge.handle or SOURCE
        if edge.kind != "removed":
            after.edges[edge.source, handle, edge.target] = edge.kind
        if edge.kind != "added":
            ends = present.get(edge.source, edge.source), present.get(edge.target, edge.target)
            before.edges[ends[0], handle, ends[1]] = edge.kind
    return before, after


def _frames(old: Box, new: Box) -> tuple[Box, Box]:
    """What to show of the two canvases: the same part, so that what stayed stands alike, unless they lie apart."""
    x, y = min(old.x, new.x), min(old.y, new.y)
    both = Box(x, y, max(old.right, new.right) - x, max(old.bottom, new.bottom) - y)
    fits = both.width <= 1.5 * max(old.width, new.width) and both.height <= 1.5 * max(old.height, new.height)
    return (both, both) if fits else (old, new)


def _panel(index: Index, layout: Layout, marks: _Marks) -> Iterator[str]:
    """One canvas, from the bottom up: notes, containers and the notes in them, edges, cards."""
    if not index.nodes and not layout.notes:
        yield '<text class="line" x="14" y="30">This app has no graph.</text>'
        return
    titles = {node.id: node.title for node in index.nodes.values()}
    containers = {node_id: box for node_id, box in layout.boxes.items() if index.nodes[node_id].type in CONTAINERS}
    cards = {node_id: box for node_id, box in layout.boxes.items() if node_id not in containers}
    inner = [any(box.encloses(note) for box in containers.values()) for _, note in layout.notes]
    for (data, box), is_inner in zip(layout.notes, inner, strict=True):
        if not is_inner:
            yield from _note(data, box)
    for node_id in containers:
        yield from _node(index.nodes[node_id], layout, marks, titles)
    for (data, box), is_inner in zip(layout.notes, inner, strict=True):
        if is_inner:
            yield from _note(data, box)
    marked: list[str] = []
    taken = list(cards.values())
    for edge in index.edges:
        handle = edge.handle or SOURCE
        kind = marks.edges.get((edge.source, handle, edge.target))
        ends = layout.boxes[edge.source], layout.boxes[edge.target]
        port = layout.ports[edge.source].get(handle)
        start = (ends[0].right, ends[0].y + (PORT if port is None else port))
        end = (ends[1].x, ends[1].y + PORT)
        curve = _curve(start, end)
        path = "M{} {}C{} {} {} {} {} {}".format(*(_n(number) for point in curve for number in point))
        names = f"edge{' loose' if port is None else ''}{f' {kind}' if kind else ''}"
        yield f'<path class="{names}" d="{path}"/>'
        if kind:
            spot = _free_spot(curve, taken)
            taken.append(Box(spot[0] - _BADGE, spot[1] - _BADGE, 2 * _BADGE, 2 * _BADGE))
            marked.append(_badge(*spot, kind))
    for node_id in cards:
        yield from _node(index.nodes[node_id], layout, marks, titles)
    yield from marked


def _node(node: Node, layout: Layout, marks: _Marks, titles: Mapping[str, str]) -> Iterator[str]:
    box, ports = layout.boxes[node.id], layout.ports[node.id]
    kind = marks.nodes.get(node.id)
    is_container = node.type in CONTAINERS
    name, said = type_name(node), telling(node)
    second = f"{name} · {said}" if said else name
    told = f" ({kind}{': ' + marks.told[node.id] if marks.told.get(node.id) else ''})" if kind else ""
    yield f'<g class="{f"node {kind}" if kind else "node"}" transform="translate({_n(box.x)} {_n(box.y)})">'
    yield f"<title>{escape(cut(f'{node.title} — {second}{told}', 4000, 10))}</title>"
    shape = "container" if is_container else "card"
    size = f'width="{_n(box.width)}" height="{_n(box.height)}"'
    yield f'<rect class="box {shape}" {size} rx="12"/>'
    if node.type in INNER_STARTS:
        yield f'<path d="M17 15L30 24L17 33Z" fill="{colour_of(node.type)}"/>'
    else:
        room = box.width - 28
        title = cut(node.title, room - 26 - (14 if kind else 0), _TITLE * _BOLD)
        yield f'<rect x="12" y="10" width="20" height="20" rx="6" fill="{colour_of(node.type)}"/>'
        yield f'<text class="letter" x="22" y="24">{escape(name[:1].upper())}</text>'
        yield f'<text class="title" x="40" y="25">{escape(title)}</text>'
        yield f'<text class="line" x="14" y="45">{escape(cut(second, room, _SMALL))}</text>'
        if not is_container:
            yield from _body(node, layout, titles)
    yield from _dots(node, box, ports)
    if kind:
        yield _badge(box.width, 0, kind)
    yield "</g>"


def _body(node: Node, layout: Layout, titles: Mapping[str, str]) -> Iterator[str]:
    """What stands below a card's head: its ways out by name, else as many further lines as there is room for."""
    box, ports, ways = layout.boxes[node.id], layout.ports[node.id], layout.ways[node.id]
    room = box.width - 28
    for way in ways:
        y = _n(ports[way.handle] + 4)
        name = cut(way.name, room if not way.reason else room / 2, _WAY * _BOLD)
        yield f'<text class="way" x="{_n(box.width - 14)}" y="{y}" text-anchor="end">{escape(name)}</text>'
        reason = cut(way.reason, room - measure(name, _WAY * _BOLD) - 8, _WAY)
        if reason:
            yield f'<text class="line reason" x="14" y="{y}">{escape(reason)}</text>'
    lines = int((box.height - HEAD - 6 - (24 if ways else 0)) / _LINE)
    if lines > 0 and not is_branching(node):
        for i, line in enumerate(wrap(details(node, titles), room, _SMALL, lines)):
            yield f'<text class="line" x="14" y="{_n(HEAD + 10 + i * _LINE)}">{escape(line)}</text>'


def _dots(node: Node, box: Box, ports: Mapping[str, float]) -> Iterator[str]:
    if node.type not in _FIRST:
        yield f'<rect class="port" x="-2" y="{_n(PORT - 5)}" width="4" height="10" rx="2"/>'
    if node.type not in _ENDS:
        for y in ports.values():
            yield f'<circle class="port" cx="{_n(box.width)}" cy="{_n(y)}" r="4"/>'


def _note(data: Mapping[str, Any], box: Box) -> Iterator[str]:
    theme = text(data.get("theme"))
    said = shown_text(note_text(data)[:_NOTE_READ])
    yield f'<g transform="translate({_n(box.x)} {_n(box.y)})"><title>{escape(cut(f"Note: {said}", 4000, 10))}</title>'
    size = f'width="{_n(box.width)}" height="{_n(box.height)}"'
    yield f'<rect class="{f"note {theme}" if theme in _THEMES else "note"}" {size} rx="8"/>'
    lines = max(1, int((box.height - 16) / _LINE))
    for i, line in enumerate(wrap(said, box.width - 24, _SMALL, lines)):
        yield f'<text class="memo" x="12" y="{_n(22 + i * _LINE)}">{escape(line)}</text>'
    yield "</g>"


def _curve(start: Point, end: Point) -> tuple[Point, Point, Point, Point]:
    """The Bézier curve of an edge: it leaves to the right and arrives from the left."""
    gap = end[0] - start[0]
    bend = gap / 2 if gap >= 0 else min(6 * (-gap) ** 0.5, 300.0)
    return start, (start[0] + bend, start[1]), (end[0] - bend, end[1]), end


def _free_spot(curve: tuple[Point, Point, Point, Point], taken: list[Box]) -> Point:
    """The point of `curve` nearest its middle where a badge covers none of the boxes `taken`; else the middle."""
    for part in _PARTS:
        x, y = (sum(w * point[axis] for w, point in zip(_weights(part), curve, strict=True)) for axis in (0, 1))
        if not any(
            box.x - _BADGE < x < box.right + _BADGE and box.y - _BADGE < y < box.bottom + _BADGE for box in taken
        ):
            return x, y
    return (curve[0][0] + curve[3][0]) / 2, (curve[0][1] + curve[3][1]) / 2


def _weights(part: float) -> tuple[float, float, float, float]:
    rest = 1 - part
    return rest**3, 3 * rest**2 * part, 3 * rest * part**2, part**3


def _badge(x: float, y: float, kind: Kind) -> str:
    return (
        f'<circle class="badge {kind}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(_BADGE)}"/>'
        f'<text class="mark" x="{_n(x)}" y="{_n(y + 5)}">{_SIGNS[kind]}</text>'
    )


def _legend(difference: Difference) -> Iterator[str]:
    x = _MARGIN + 10
    for kind in _SIGNS:
        nodes = sum(node.kind == kind for node in difference.nodes)
        edges = sum(edge.kind == kind for edge in difference.edges)
        counted = f"{kind}: {nodes} node{'' if nodes == 1 else 's'}, {edges} edge{'' if edges == 1 else 's'}"
        yield _badge(x, _MARGIN, kind)
        yield f'<text class="way" x="{_n(x + 18)}" y="{_n(_MARGIN + 4)}">{counted}</text>'
        x += 40 + measure(counted, _WAY * _BOLD)


def _moved(x: float, y: float, parts: Iterator[str]) -> list[str]:
    return [f'<g transform="translate({_n(x)} {_n(y)})">', *parts, "</g>"]


def _svg(width: float, height: float, name: str, body: list[str]) -> str:
    size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
    title = escape(cut(name, 4000, 10))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{title}</title>{SHEET}'
        f'<rect class="ground" width="100%" height="100%"/>{"".join(body)}</svg>\n'
    )


def _n(value: float) -> str:
    """A number with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")
