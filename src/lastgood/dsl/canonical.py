"""The canonical bytes of a document, and the two digests that stand on them."""

import hashlib
import re
from typing import Any, Final

import orjson

from lastgood.dsl.document import Document, is_note, mappings, node_data
from lastgood.dsl.secrets import take_secrets
from lastgood.errors import InvalidDocument

# What the canvas keeps about a node or an edge for drawing it.
_NODE_NOISE: Final = frozenset(
    {"type", "position", "positionAbsolute", "width", "height", "measured", "zIndex", "sourcePosition"}
    | {"targetPosition", "selected", "draggable", "selectable", "connectable", "deletable", "focusable"}
    | {"dragging", "resizing", "extent", "style", "className"}
)
_EDGE_NOISE: Final = _NODE_NOISE | {"id", "data", "targetHandle", "animated", "markerEnd", "hidden"}
# What Dify keeps in the data of a node beside what it does: its size, caches, and what exports clear, drop or add.
_ANY_DATA_NOISE: Final = frozenset({"selected"})
_DATA_NOISE: Final = {
    "iteration": _ANY_DATA_NOISE | {"width", "height"},
    "loop": _ANY_DATA_NOISE | {"width", "height"},
    "tool": (
        _ANY_DATA_NOISE
        | {"paramSchemas", "params", "output_schema", "provider_icon", "provider_icon_dark", "credential_id"}
        | {"tool_description", "tool_label", "is_team_authorization"}
    ),
    "trigger-webhook": _ANY_DATA_NOISE | {"webhook_url", "webhook_debug_url"},
    "trigger-schedule": _ANY_DATA_NOISE | {"config"},
    "trigger-plugin": _ANY_DATA_NOISE | {"subscription_id"},
}
# The parts of a graph's meaning whose order means nothing.
UNORDERED: Final = ("nodes", "edges", "environment_variables", "conversation_variables")
_VARIABLE_NOISE: Final = frozenset({"id", "selector"})
_ENVELOPE: Final = frozenset({"app", "kind", "version", "dependencies"})
# Finds every float that equals an integer and is written without an exponent, and now and then a text like one.
_FOLDABLE: Final = re.compile(rb"\.0(?:[,}\]]|\Z)")
_FOLD_BELOW: Final = 1e16  # from here on floats are written with an exponent
# Finds every float for which the form of exponents may matter, and now and then something else.
_EXPONENT: Final = re.compile(rb"e(?<=[0-9]e)[+-]?[0-9]+(?:[,}\]]|\Z)")
_SMALL: Final = b"0.0000"


def canonical(value: Any) -> bytes:
    """`value` (JSON values) as canonical JSON: UTF-8, keys sorted by code point, no spaces, nothing escaped that
    need not be.

    Numbers: integers in decimal; floats as Python's `repr` writes them (the fewest digits that read back the same,
    ``1e-05`` below 0.0001, ``1e+16`` from 10^16 on, else with a point), so that 1.0 and 1 differ. `semantic_digest`
    makes the same of these two before it comes here: a float below 10^16 that equals an integer becomes it.

    Raises `InvalidDocument` for what JSON cannot hold; not-a-number and infinity never get past `reader.parse`."""
    try:
        written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        if _SMALL in written or _EXPONENT.search(written):
            # orjson has changed how it writes these, and a digest must not change with it.
            written = orjson.dumps(_spelled(value), option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidDocument(source="document", detail=f"it cannot be written as JSON ({error})") from None
    return written


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    return orjson.Fragment(repr(value)) if isinstance(value, float) and "e" in repr(value) else value


def content_digest(document: Document) -> str:
    """SHA-256 (hex) of the whole document, secret values left out."""
    bare, _ = take_secrets(document)
    return hashlib.sha256(canonical(bare.data)).hexdigest()


def semantic_digest(document: Document) -> str:
    """SHA-256 (hex) of what the workflow does: two documents that differ in nothing else have the same one.

    Left out are layout, selection and sticky notes, ids of edges and variables, secret values, features that are
    off, what Dify caches in nodes, what it clears or adds when it exports (webhook addresses, subscriptions,
    credential ids, a schedule's `config`), and what only an export has: name, icon, format version, dependencies.
    The order of nodes, edges and variables means nothing; every other order counts. 1.0 equals 1.

    Encrypted dataset ids (Dify's default in exports) stay as they are, and so differ from the API's plain ones."""
    parts = meaning(document)
    if document.has_graph:
        # Fragments keep an order that does not depend on that of the document.
        parts |= {part: [orjson.Fragment(item) for item in sorted(map(folded, parts[part]))] for part in UNORDERED}
    return hashlib.sha256(folded(parts)).hexdigest()


def meaning(document: Document) -> dict[str, Any]:
    """What `document` does, part by part: all that `semantic_digest` sees and nothing else.

    With a graph: `nodes` (one for each that is no sticky note), `edges`, `environment_variables` (secret values
    ``""``) and `conversation_variables`, each item beside the one that the document's property of that name has at
    its place, `features` by name, `rag_pipeline_variables`, and the graph's other keys as `graph`. Without: `mode`
    and the keys of the envelope. Parts are shared with the document; compare them by what `folded` writes."""
    if not document.has_graph:
        bare = take_secrets(document)[0]  # a mode without a graph may carry variables all the same
        rest = {key: item for key, item in bare.data.items() if key not in _ENVELOPE}
        return {"mode": document.mode, **rest}
    return {
        "graph": {key: item for key, item in document.graph.items() if key not in {"nodes", "edges", "viewport"}},
        "nodes": [_node(node) for node in document.nodes if not is_note(node)],
        "edges": [_edge(edge) for edge in document.edges],
        "features": {name: feature for name, feature in document.features.items() if not _is_off(feature)},
        "environment_variables": [_variable(item) for item in take_secrets(document)[0].environment_variables],
        "conversation_variables": [_variable(item) for item in document.conversation_variables],
        "rag_pipeline_variables": document.workflow.get("rag_pipeline_variables") or [],
    }


def _node(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: item for key, item in node.items() if key not in _NODE_NOISE}
    given = node_data(node)
    kind = given.get("type")
    if kind and isinstance(kind, str):
        noise = _DATA_NOISE.get(kind, _ANY_DATA_NOISE)
        data = {k: v for k, v in given.items() if k not in noise and k[:1] != "_"}
        kept["data"] = _without_credentials(data) if kind == "agent" else data
    return kept


def _without_credentials(agent: dict[str, Any]) -> dict[str, Any]:
    """The data of an agent node without the credentials of its tools, which exports drop."""
    parameters = agent.get("agent_parameters")
    tools = parameters.get("tools") if isinstance(parameters, dict) else None
    if not isinstance(parameters, dict) or not isinstance(tools, dict):
        return agent
    bare = [{k: v for k, v in tool.items() if k != "credential_id"} for tool in mappings(tools.get("value"))]
    return {**agent, "agent_parameters": {**parameters, "tools": {**tools, "value": bare}}}


def _edge(edge: dict[str, Any]) -> dict[str, Any]:
    kept = {key: item for key, item in edge.items() if key not in _EDGE_NOISE}
    kept["sourceHandle"] = edge.get("sourceHandle") or "source"
    return kept


def _variable(variable: dict[str, Any]) -> dict[str, Any]:
    kept = {key: item for key, item in variable.items() if key not in _VARIABLE_NOISE}
    if not kept.get("description"):
        kept.pop("description", None)
    if kept.get("value_type") in ("integer", "float"):  # as exports call what the API calls a number
        kept["value_type"] = "number"
    return kept


def _is_off(feature: Any) -> bool:
    """Whether a feature does nothing, which Dify writes in several ways and adds to a workflow that lacks it."""
    if not isinstance(feature, dict):
        return not feature
    if "enabled" not in feature:
        return all(map(_is_off, feature.values()))
    # An older format switches file upload on by its part `image`.
    switches = (feature, *(part for part in feature.values() if isinstance(part, dict)))
    return not any(switch.get("enabled") for switch in switches)


def foldable(written: bytes) -> bool:
    """Whether `written` JSON may hold a float that `folded` writes as an integer."""
    return b".0" in written and _FOLDABLE.search(written) is not None


def folded(value: Any) -> bytes:
    """The canonical bytes of `value`, floats that equal an integer (below 10^16) written as that integer: what two
    parts of a `meaning` are compared by."""
    written = canonical(value)
    return canonical(_fold(value)) if foldable(written) else written


def _fold(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _fold(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_fold(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _FOLD_BELOW:
        return int(value)
    return value
