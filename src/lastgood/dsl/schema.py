"""What a caller sends and gets back, as JSON Schema (2020-12)."""

import json
from collections.abc import Mapping
from typing import Any, Final

from lastgood.dsl.document import Document, mappings
from lastgood.dsl.flow import Flow
from lastgood.dsl.index import Index, Node, mapping, text
from lastgood.dsl.interface import InputField, inputs
from lastgood.dsl.outputs import Value, value_of
from lastgood.dsl.references import References

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
CHATS: Final = frozenset({"advanced-chat", "chat", "agent-chat", "completion", "agent"})
_FILE_TYPES: Final = ("image", "document", "audio", "video", "custom")
_TRANSFERS: Final = ("remote_url", "local_file")
_MAX_DEPTH: Final = 40


def input_schema(document: Document) -> dict[str, Any]:
    """What `inputs` may be in a request. Names that the form does not know are allowed: Dify drops them. Where
    webhooks start the workflow, it is their requests instead: an object of `headers`, `params` and `body`."""
    hooks = [node for node in Index(document).of_type("trigger-webhook") if not node.parent]
    if hooks:
        requests = [_request(hook) for hook in hooks]
        return _whole({"anyOf": requests} if len(requests) > 1 else requests[0])
    said = {text(form.get("variable")): form for form in forms(document)}
    fields = inputs(document)
    required = [field.name for field in fields if field.required]
    properties = {field.name: _input(field, said.get(field.name, {})) for field in fields}
    return _whole(_object(properties, required))


def output_schema(document: Document) -> dict[str, Any]:
    """What a run gives: a workflow the outputs of its end nodes (one of several, where they differ), a chat its
    `answer`. A value that some runs do not produce may be null."""
    if document.mode in CHATS:
        return _whole(_object({"answer": {"type": "string"}}, ["answer"]))
    index = Index(document)
    references, flow = References(index), Flow(index)
    ends = {}
    for end in index.of_type("end"):
        if end.id in flow.reachable:
            schema = _end(end, references, flow)
            ends[json.dumps(schema, sort_keys=True)] = {"title": end.title, **schema}
    if len(ends) > 1:
        return _whole({"anyOf": list(ends.values())})
    return _whole(next(iter(ends.values()), _object({}, [])))


def forms(document: Document) -> list[dict[str, Any]]:
    """The fields of the form that callers fill in, as the document has them."""
    if document.has_graph:
        starts = (mappings(node.data.get("variables")) for node in Index(document).of_type("start"))
        return next(starts, [])
    form = mapping(document.data.get("model_config")).get("user_input_form")
    return [field for item in mappings(form) for field in item.values() if isinstance(field, dict)]


def value_schema(value: Value) -> dict[str, Any]:
    """What is known of a value."""
    if value.type.startswith("array"):
        inner = value_schema(value.item)
        return {"type": "array", "items": inner} if inner else {"type": "array"}
    if value.type == "file":
        named = {key: {"type": "string"} for key in ("type", "transfer_method", "url", "name", "mime_type")}
        return _object(named, ["type"])
    if value.type == "object":
        return _object({key: value_schema(inner) for key, inner in (value.keys or {}).items()}, [])
    return {"type": value.type} if value.type in ("string", "number", "boolean") else {}


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, **schema}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if properties:
        schema["properties"] = properties
    return {**schema, "required": required} if required else schema


def _input(field: InputField, form: Mapping[str, Any]) -> dict[str, Any]:
    schema = _taken(field, form)
    if field.label and field.label != field.name:
        schema = {"title": field.label, **schema}
    if text(form.get("description")):
        schema["description"] = form["description"]
    if field.default not in (None, "", [], {}):
        schema["default"] = field.default
    return schema


def _taken(field: InputField, form: Mapping[str, Any]) -> dict[str, Any]:
    if field.type == "select":
        return {"type": "string", "enum": list(dict.fromkeys(field.options))}
    if field.type in ("file", "file-list"):
        one = _file(form)
        if field.type == "file":
            return one
        many: dict[str, Any] = {"type": "array", "items": one}
        return {**many, "maxItems": field.max_length} if field.max_length else many
    if field.type == "json_object":
        return _given_schema(form.get("json_schema"))
    schema = value_schema(value_of(field.type)) if field.type else {}
    if schema == {"type": "string"} and field.max_length and field.max_length > 0:
        schema["maxLength"] = field.max_length
    return schema


def _given_schema(given: Any) -> dict[str, Any]:
    """The schema that a document states for an object, as text or plainly."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    stated = mapping(given)
    return {**stated, "type": "object"} if _shallow(stated) else {"type": "object"}


def _shallow(value: Any) -> bool:
    """Whether `value` is no deeper than a reader of schemas endures."""
    level, depth = [value], 0
    while level and depth <= _MAX_DEPTH:
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level, depth = [item for items in inner for item in items], depth + 1
    return not level


def _file(form: Mapping[str, Any]) -> dict[str, Any]:
    """One file of a request: of an allowed type, by an address or by the id of an upload."""
    types = _names(form.get("allowed_file_types")) or list(_FILE_TYPES)
    ways = _names(form.get("allowed_file_upload_methods")) or list(_TRANSFERS)
    schema = _object(
        {
            "type": {"type": "string", "enum": types},
            "transfer_method": {"type": "string", "enum": ways},
            "url": {"type": "string", "format": "uri"},
            "upload_file_id": {"type": "string"},
        },
        ["type", "transfer_method"],
    )
    endings = _names(form.get("allowed_file_extensions"))
    return {**schema, "description": f"Allowed extensions: {', '.join(endings)}"} if endings else schema


def _names(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str) and item] if isinstance(value, list) else []


def _request(hook: Node) -> dict[str, Any]:
    """The request that a webhook takes."""
    parts = {}
    for part in ("headers", "params", "body"):
        fields = mappings(hook.data.get(part))
        properties = {text(field.get("name")): value_schema(value_of(field.get("type"))) for field in fields}
        if part == "headers":
            properties = {name: {"type": "string"} for name in properties}
        properties.pop("", None)
        required = [text(field.get("name")) for field in fields if field.get("required") and text(field.get("name"))]
        if properties:
            parts[part] = _object(properties, list(dict.fromkeys(required)))
    method, kind = text(hook.data.get("method")).upper(), text(hook.data.get("content_type"))
    said = " ".join(filter(None, (method, kind)))
    schema = _object(parts, [part for part, inner in parts.items() if inner.get("required")])
    return {"title": hook.title, **schema, **({"description": said} if said else {})}


def _end(end: Node, references: References, flow: Flow) -> dict[str, Any]:
    properties, required = {}, []
    where = {found.path: found for found in references.used_by(end.id)}
    outputs = end.data.get("outputs")
    for i, output in enumerate(outputs if isinstance(outputs, list) else ()):
        name = text(mapping(output).get("variable"))
        if not name:
            continue
        found = where.get(f"{end.path}.data.outputs[{i}].value_selector")
        value = found.value if found and found.value else Value()
        schema = value_schema(value if value.type else value_of(mapping(output).get("value_type")))
        certain = found is not None and found.value is not None and flow.arrival(found).certainty == "always"
        properties[name] = schema if certain or not schema else {"anyOf": [schema, {"type": "null"}]}
        required.append(name)
    return _object(properties, list(dict.fromkeys(required)))
