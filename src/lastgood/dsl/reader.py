"""Text → `Document`: what `push` and `capture` take in."""

import re
from typing import Any

import orjson

from lastgood.dsl.document import GRAPH_MODES, Document, node_type
from lastgood.dsl.jsontext import load_json
from lastgood.dsl.limits import PLAIN, Limits, shorten, too_many
from lastgood.dsl.yamltext import load_yaml
from lastgood.errors import NotADocument, NotYaml

_JSON_START = re.compile(r'\s*\{\s*["}]')
PARTS = frozenset({"app", "workflow", "rag_pipeline"})
_SHAPES: dict[str, type] = {
    "app": dict,
    "rag_pipeline": dict,
    "model_config": dict,
    "workflow": dict,
    "workflow.graph": dict,
    "workflow.graph.nodes": list,
    "workflow.graph.edges": list,
    "workflow.features": dict,
    "workflow.environment_variables": list,
    "workflow.conversation_variables": list,
}
# What a row of Dify's console API says about itself, and not about the workflow.
_ROW_KEYS = frozenset(
    {"id", "hash", "kind", "version", "version_number", "marked_name", "marked_comment", "tool_published"}
    | {"created_by", "created_at", "updated_by", "updated_at"}
)
# The first format version that has the node type; a graph read from the API names none.
_FORMAT_OF_TYPE = {
    "trigger-webhook": "0.5.0",
    "trigger-schedule": "0.5.0",
    "trigger-plugin": "0.5.0",
    "human-input": "0.6.0",
}
_OLDEST_FORMAT = "0.4.0"


def parse(data: bytes | str, *, source: str = "document", limits: Limits = PLAIN) -> Document:
    """The workflow document in `data`, YAML or JSON; `source` names it in errors.

    Taken are a Dify app export; the console API's JSON of a workflow (`graph`, `features`, … at the top), which gets
    the envelope of an export; and Lastgood's own answer, whose `document` is the envelope. Unknown keys and node
    types stay as they are. The graph may be broken (`graph.check` tells), the text may not.

    Raises the kinds of `InvalidDocument`, each naming line or path."""
    text = text_of(data, source, limits)
    value = load_json(text, source, limits) if is_json(text) else load_yaml(text, source, limits)
    document = Document(_envelope(value, source))
    if len(document.nodes) > limits.nodes:
        raise too_many(source, "the number of nodes (workflow.graph.nodes)", len(document.nodes), limits.nodes)
    return document


def is_json(text: str) -> bool:
    """Whether a text is read as JSON; else it is YAML."""
    return _JSON_START.match(text) is not None


def text_of(data: bytes | str, source: str, limits: Limits) -> str:
    """`data` as text without its byte-order mark. Raises `NotYaml`, `DocumentTooLarge`."""
    try:
        raw = data.encode() if isinstance(data, str) else data
    except UnicodeEncodeError as error:
        raise _unreadable(error.object[: error.start], source, "half of a surrogate pair") from None
    if len(raw) > limits.bytes:
        raise too_many(source, "the size", len(raw), limits.bytes, "bytes")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotYaml(source=source, line=1, column=1, reason="it is UTF-16; save it as UTF-8")
    try:
        text = raw.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _unreadable(raw[: error.start].decode(), source, "these bytes are not UTF-8") from None
    if "\0" in text:
        raise _unreadable(text[: text.index("\0")], source, "a NUL character")
    return text


def _unreadable(before: str, source: str, reason: str) -> NotYaml:
    """The refusal of a text at the character after `before`."""
    before = before.removeprefix("\ufeff")
    return NotYaml(source=source, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"), reason=reason)


def _envelope(value: Any, source: str) -> dict[str, Any]:
    """`value` as the envelope of an export, its shape checked as far as `Document` relies on it."""
    if not isinstance(value, dict):
        raise NotADocument(source=source, reason=f"it is {_kind(value)}, not a mapping")
    inner = value.get("document")
    if isinstance(inner, dict) and PARTS & inner.keys():
        value = inner
    if "graph" in value and not PARTS & value.keys():
        value = _of_row(value, source)
    if not PARTS & value.keys():
        keys = ", ".join(f"`{shorten(key)}`" for key in sorted(value)[:5]) or "nothing"
        raise NotADocument(source=source, reason=f"it has neither `app` nor `workflow` (it has {keys})")
    for path, expected in _SHAPES.items():
        _check_shape(value, path, expected, source)
    if not value.get("app") and not value.get("rag_pipeline"):
        value = {**value, "app": {"mode": Document(value).mode, "name": ""}}
    envelope: dict[str, Any] = value
    document = Document(envelope)
    if document.mode in GRAPH_MODES and not document.has_graph:
        raise NotADocument(source=source, reason=f"its app mode is {document.mode}, and `workflow.graph` is missing")
    if type(envelope.get("version")) in (int, float):
        # Unquoted, 0.6 is a number in YAML, and Dify takes a text only.
        return {**envelope, "version": str(envelope["version"])}
    return envelope


def _of_row(row: dict[str, Any], source: str) -> dict[str, Any]:
    """The envelope of a workflow that came from Dify's console API: what the row says of itself goes, its content
    stays, unknown keys too."""
    if row["graph"] is None:
        raise NotADocument(source=source, reason="its `graph` is null, so the app has no workflow at this place")
    workflow = {key: item for key, item in row.items() if key not in _ROW_KEYS}
    types = {node_type(node) for node in Document({"workflow": workflow}).nodes}
    version = max((_FORMAT_OF_TYPE.get(kind, _OLDEST_FORMAT) for kind in types), default=_OLDEST_FORMAT)
    return {"kind": "app", "version": version, "workflow": workflow}


def _check_shape(value: Any, path: str, expected: type, source: str) -> None:
    """`NotADocument` unless what stands at `path` is absent, null or of the `expected` type."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if value is not None and not isinstance(value, expected):
        wanted = "a mapping" if expected is dict else "a list"
        raise NotADocument(source=source, reason=f"`{path}` is {_kind(value)}, not {wanted}")


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "text" if isinstance(value, str) else f"`{orjson.dumps(value).decode()}`"
