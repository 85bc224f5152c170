"""Where everything of a canvas stands: as the document says, or in layers where it does not say it well."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lastgood.dsl.document import is_note, node_data
from lastgood.dsl.drawing.telling import Branch, branches, is_branching
from lastgood.dsl.index import CONTAINERS, FAIL_BRANCH, INNER_STARTS, SOURCE, Index, Node, id_of

HEAD: Final = 54.0
PORT: Final = 24.0  # how far below a node's top its edges meet it
_ROW: Final = 22.0
_FOOT: Final = 6.0
_WIDTH: Final = 244.0
_WIDTHS: Final = (120.0, 480.0)
_TALLEST: Final = 900.0
_START: Final = (44.0, 48.0)
_EMPTY: Final = (388.0, 178.0)
_NOTE: Final = (240.0, 88.0)
_NOTES: Final = (80.0, 4000.0)
_INSET: Final = 16.0
_GAP: Final = (90.0, 40.0)
# A canvas of this many pixels is no canvas that somebody laid out.
_FARTHEST: Final = 100_000.0

type Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its upper left corner and its size, in pixels of the canvas."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    def shifted(self, x: float, y: float) -> "Box":
        return Box(self.x + x, self.y + y, self.width, self.height)

    def encloses(self, other: "Box") -> bool:
        """Whether `other` is inside this box, edges included."""
        return self.x <= other.x and self.y <= other.y and self.right >= other.right and self.bottom >= other.bottom


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the nodes stand (`boxes`, by id, containers before what is in them), where edges leave them (`ports`, by
    id and handle: pixels below the top), the ways out that their cards name, and the sticky notes with theirs."""

    boxes: Mapping[str, Box]
    ports: Mapping[str, Mapping[str, float]]
    ways: Mapping[str, Sequence[Branch]]
    notes: tuple[tuple[Mapping[str, Any], Box], ...]

    @property
    def bounds(self) -> Box:
        """The smallest box around all."""
        return around([*self.boxes.values(), *(box for _, box in self.notes)])


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box around `boxes`; a small one for none."""
    found = list(boxes)
    if not found:
        return Box(0, 0, _WIDTH, HEAD)
    x, y = min(box.x for box in found), min(box.y for box in found)
    return Box(x, y, max(box.right for box in found) - x, max(box.bottom for box in found) - y)


def lay_out(index: Index) -> Layout:
    """The layout of a document's canvas. Containers are as large as what is in them needs. Positions that are
    missing, no numbers, all the same or absurdly far away are replaced, all of them, by layers along the edges."""
    raw: dict[str, dict[str, Any]] = {}
    notes = []
    for node in index.document.nodes if index.document.has_graph else ():
        if is_note(node):
            notes.append(node)
        elif id_of(node.get("id")) in index.nodes:
            raw.setdefault(id_of(node.get("id")), node)
    parents = _parents(index)
    order = sorted(raw, key=lambda node_id: len(_above(node_id, parents)))
    ways = {node_id: branches(index.nodes[node_id]) for node_id in order}
    sizes = {node_id: _size(index.nodes[node_id], raw[node_id], len(ways[node_id])) for node_id in order}
    ports = {node_id: _ports(index.nodes[node_id], ways[node_id], sizes[node_id][1]) for node_id in order}
    points = _as_drawn(order, raw, parents)
    if points is None:
        boxes = _layered(index, order, parents, sizes, ports)
        placed: list[Point | None] = [None] * len(notes)
    else:
        boxes = {node_id: Box(*points[node_id], *sizes[node_id]) for node_id in order}
        placed = [_point(note.get("position")) or _point(note.get("positionAbsolute")) for note in notes]
    inside: dict[str, list[Box]] = defaultdict(list)
    for node_id in reversed(order):
        if inside[node_id]:
            boxes[node_id] = _enclosing(boxes[node_id], around(inside[node_id]))
        inside[parents[node_id]].append(boxes[node_id])
    return Layout(boxes, ports, ways, tuple(_notes(notes, placed, around(boxes.values()))))


def _parents(index: Index) -> dict[str, str]:
    """The container of each node; none for containers that would be inside themselves."""
    parents = {node.id: node.parent for node in index.nodes.values()}
    for node_id in list(parents):
        seen, at = {node_id}, parents[node_id]
        while at and at not in seen:
            seen.add(at)
            at = parents[at]
        if at == node_id:
            parents[node_id] = ""
    return parents


def _above(node_id: str, parents: Mapping[str, str]) -> list[str]:
    found = []
    while parents[node_id]:
        node_id = parents[node_id]
        found.append(node_id)
    return found


def _size(node: Node, raw: Mapping[str, Any], rows: int) -> Point:
    width, height = _number(raw.get("width")), _number(raw.get("height"))
    if node.type in INNER_STARTS:
        return _START
    if node.type in CONTAINERS:
        return max(width or _EMPTY[0], _WIDTH), max(height or _EMPTY[1], HEAD)
    least = HEAD + rows * _ROW + (_FOOT if rows else 0)
    return _within(width or _WIDTH, *_WIDTHS), max(least, min(height or least, _TALLEST))


def _ports(node: Node, ways: Sequence[Branch], height: float) -> dict[str, float]:
    """Where a node's ways out stand: one at its head, branches in rows below, failure in the last."""
    ports = {} if is_branching(node) else {SOURCE: PORT}
    if not is_branching(node):
        return ports | {FAIL_BRANCH: height - _FOOT - _ROW / 2} if ways else ports
    row = (height - HEAD - _FOOT) / len(ways) if ways else 0
    return ports | {way.handle: HEAD + i * row + min(row / 2, _ROW) for i, way in enumerate(ways)}


def _as_drawn(
    order: list[str], raw: Mapping[str, Mapping[str, Any]], parents: Mapping[str, str]
) -> dict[str, Point] | None:
    """The absolute points that the document gives, None if it lacks some or they cannot be meant."""
    points: dict[str, Point] = {}
    for node_id in order:
        own, absolute = _point(raw[node_id].get("position")), _point(raw[node_id].get("positionAbsolute"))
        parent, named = parents[node_id], id_of(raw[node_id].get("parentId"))
        if own and parent and named == parent:
            own = (points[parent][0] + own[0], points[parent][1] + own[1])
        elif named:
            own = absolute or own
        else:
            own = own or absolute
        if own is None:
            return None
        points[node_id] = own
    outer = [points[node_id] for node_id in order if not parents[node_id]]
    return None if len(outer) > 1 and len(set(outer)) == 1 else points


def _layered(
    index: Index,
    order: list[str],
    parents: Mapping[str, str],
    sizes: dict[str, Point],
    ports: Mapping[str, Mapping[str, float]],
) -> dict[str, Box]:
    """Boxes in columns along the edges, scope by scope from the innermost outward."""
    inside: dict[str, list[str]] = defaultdict(list)
    for node_id in index.nodes:
        inside[parents[node_id]].append(node_id)
    edges: dict[str, list[tuple[str, str, float]]] = defaultdict(list)
    for edge in index.edges:
        if edge.source != edge.target and parents[edge.source] == parents[edge.target]:
            port = ports[edge.source].get(edge.handle, PORT)
            edges[parents[edge.source]].append((edge.source, edge.target, port))
    offsets: dict[str, Point] = {}
    for scope in [*reversed(order), ""]:
        if inside[scope]:
            found, size = _columns(inside[scope], edges[scope], sizes)
            offsets |= found
            if scope:
                sizes[scope] = (size[0] + 2 * _INSET, size[1] + HEAD + 2 * _INSET)
    boxes: dict[str, Box] = {}
    for node_id in order:
        at = boxes[parents[node_id]].shifted(_INSET, HEAD + _INSET) if parents[node_id] else Box(0, 0, 0, 0)
        boxes[node_id] = Box(at.x + offsets[node_id][0], at.y + offsets[node_id][1], *sizes[node_id])
    return boxes


def _columns(
    ids: list[str], edges: list[tuple[str, str, float]], sizes: Mapping[str, Point]
) -> tuple[dict[str, Point], Point]:
    """Where the nodes of one scope stand and how large it gets: a node right of all that lead to it, and in its
    column in the order of these."""
    layers = _layers(ids, [(source, target) for source, target, _ in edges])
    before: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for source, target, port in edges:
        before[target].append((source, port))
    columns: dict[int, list[str]] = defaultdict(list)
    for node_id in ids:
        columns[layers[node_id]].append(node_id)
    points: dict[str, Point] = {}
    x = tallest = 0.0
    for layer in sorted(columns):
        heights = {
            node_id: [points[source][1] + port for source, port in before[node_id] if source in points]
            for node_id in columns[layer]
        }
        y = 0.0
        for node_id in sorted(
            columns[layer], key=lambda node_id: sum(heights[node_id]) / (len(heights[node_id]) or 1)
        ):
            points[node_id] = (x, y)
            y += sizes[node_id][1] + _GAP[1]
        x += max(sizes[node_id][0] for node_id in columns[layer]) + _GAP[0]
        tallest = max(tallest, y - _GAP[1])
    return points, (x - _GAP[0], tallest)


def _layers(ids: list[str], edges: list[tuple[str, str]]) -> dict[str, int]:
    """How many edges lead to each node at most; edges that go round are followed once."""
    targets: dict[str, list[str]] = defaultdict(list)
    waiting = dict.fromkeys(ids, 0)
    for source, target in edges:
        targets[source].append(target)
        waiting[target] += 1
    layers = dict.fromkeys(ids, 0)
    ready = deque(node_id for node_id in ids if not waiting[node_id])
    done: set[str] = set()
    left = iter(ids)
    while True:
        node_id = ready.popleft() if ready else next((other for other in left if other not in done), "")
        if not node_id:
            return layers
        if node_id in done:
            continue
        done.add(node_id)
        for target in targets[node_id]:
            waiting[target] -= 1
            if target not in done:
                layers[target] = max(layers[target], layers[node_id] + 1)
                if not waiting[target]:
                    ready.append(target)


def _enclosing(box: Box, inner: Box) -> Box:
    x, y = min(box.x, inner.x - _INSET), min(box.y, inner.y - HEAD)
    right, bottom = max(box.right, inner.right + _INSET), max(box.bottom, inner.bottom + _INSET)
    return Box(x, y, right - x, bottom - y)


def _notes(
    notes: list[dict[str, Any]], placed: list[Point | None], rest: Box
) -> Iterable[tuple[Mapping[str, Any], Box]]:
    """The notes where they stand, those that stand nowhere in a row above the `rest`."""
    x = rest.x
    for note, point in zip(notes, placed, strict=True):
        data = node_data(note)
        width = _within(_number(note.get("width")) or _number(data.get("width")) or _NOTE[0], *_NOTES)
        height = _within(_number(note.get("height")) or _number(data.get("height")) or _NOTE[1], *_NOTES)
        if point:
            yield data, Box(*point, width, height)
        else:
            yield data, Box(x, rest.y - height - _GAP[1], width, height)
            x += width + _GAP[1]


def _point(value: Any) -> Point | None:
    if not isinstance(value, dict):
        return None
    x, y = _number(value.get("x")), _number(value.get("y"))
    return None if x is None or y is None else (x, y)


def _number(value: Any) -> float | None:
    """`value` if it is a number of pixels that a canvas may have."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FARTHEST:
        return None
    return float(value)


def _within(value: float, low: float, high: float) -> float:
    return max(low, min(value, high))
