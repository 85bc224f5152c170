"""The parts of a document that are compared, each on its own."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lastgood.dsl.canonical import folded, meaning
from lastgood.dsl.document import Document
from lastgood.dsl.index import mapping

type Identity = tuple[bytes, int]
"""What a node or a variable is found by: its id or name, and the number of its copy."""

FORMAT: Final = "format version"
_SETTINGS: Final = ("graph", "rag_pipeline_variables")


@dataclass(frozen=True, slots=True)
class Parts:
    """A document's `canonical.meaning` by part, as in a `Difference`, and what stands beside it. An app without a
    graph has settings and facts alone."""

    settings: dict[str, Any]
    facts: dict[str, Any]
    dependencies: list[Any] | None
    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: list[dict[str, Any]] = field(default_factory=list)
    environment: list[dict[str, Any]] = field(default_factory=list)
    conversation: list[dict[str, Any]] = field(default_factory=list)
    features: dict[str, Any] = field(default_factory=dict)


def parts_of(document: Document) -> Parts:
    """The parts of `document`, not yet settled."""
    what = meaning(document)
    listed = document.data.get("dependencies")
    # Their order means nothing, and Dify writes them in another each time.
    dependencies = sorted(listed, key=folded) if isinstance(listed, list) else None
    if not document.has_graph:
        return Parts(what, _facts(document), dependencies)
    return Parts(
        {key: what[key] for key in _SETTINGS if what[key]},
        _facts(document),
        dependencies,
        what["nodes"],
        what["edges"],
        what["environment_variables"],
        what["conversation_variables"],
        what["features"],
    )


def identities(items: Sequence[dict[str, Any]], key: str) -> list[Identity]:
    """What each item is found by: what it has under `key`, and how many before it have the same, which only broken
    documents know. These are counted in an order of their own, so that any order of `items` gives the same."""
    values = [_written(item, key) for item in items]
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        places[value].append(place)
    copies = [0] * len(items)
    for group in places.values():
        if len(group) > 1:
            for copy, place in enumerate(sorted(group, key=lambda place: folded(items[place]))):
                copies[place] = copy
    return list(zip(values, copies, strict=True))


def identity(item: Mapping[str, Any], key: str, copy: int) -> Identity:
    """What `identities` gave the item."""
    return _written(item, key), copy


def _written(item: Mapping[str, Any], key: str) -> bytes:
    value = item.get(key)
    return value.encode() if isinstance(value, str) else b"\0" + folded([value] if key in item else [])


def _facts(document: Document) -> dict[str, Any]:
    """What a document says of the app and of its own format; of one that comes from the API, which knows no name,
    only the mode."""
    if not document.name:
        return {"mode": document.mode}
    said = mapping(document.data.get("app") or document.data.get("rag_pipeline"))
    facts = {**said, "mode": document.mode, FORMAT: document.dsl_version}
    return {key: value for key, value in facts.items() if not is_unsaid(value)}


def is_unsaid(value: Any) -> bool:
    """Whether a fact is as good as not there."""
    return value in (None, "") or value is False
