"""How two documents differ on the canvas alone."""

from collections import Counter
from typing import Any

import orjson

from lastgood.dsl.document import Document, is_note, node_data
from lastgood.dsl.index import id_of
from lastgood.dsl.rules.case import Case


def judge_canvas(case: Case) -> None:
    """Tell that nodes stand elsewhere, and that sticky notes are others."""
    before, after = _places(case.old.document), _places(case.new.document)
    moved = [
        node_id
        for node_id, place in before.items()
        if (there := after.get(case.renames.get(node_id, node_id))) is not None and there != place
    ]
    if moved:
        count = "1 node stands" if len(moved) == 1 else f"{len(moved)} nodes stand"
        case.tell("canvas-changed", f"{count} elsewhere on the canvas.")
    notes = [_notes(side.document) for side in (case.old, case.new)]
    come, gone = (notes[1] - notes[0]).total(), (notes[0] - notes[1]).total()
    if come or gone:
        case.tell("note-changed", f"Sticky notes: {come} new or rewritten, {gone} gone or rewritten.")


def _places(document: Document) -> dict[str, tuple[Any, Any]]:
    found = {}
    for node in document.nodes if document.has_graph else ():
        position = node.get("position")
        if isinstance(position, dict) and not is_note(node) and id_of(node.get("id")):
            found[id_of(node.get("id"))] = position.get("x"), position.get("y")
    return found


def _notes(document: Document) -> Counter[bytes]:
    """The sticky notes by what they say and how they look."""
    notes = (node_data(node) for node in (document.nodes if document.has_graph else ()) if is_note(node))
    return Counter(
        orjson.dumps(
            {key: note[key] for key in note if key not in ("selected", "width", "height")},
            option=orjson.OPT_SORT_KEYS,
        )
        for note in notes
    )
