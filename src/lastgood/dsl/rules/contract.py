"""What a document promises its callers: whether a given request would be taken."""

import json
from collections.abc import Mapping
from typing import Any, Final

from lastgood.dsl.document import Document, mappings
from lastgood.dsl.index import Index, Node, mapping, text
from lastgood.dsl.interface import check_inputs, inputs
from lastgood.dsl.schema import forms

RUN: Final = "POST /v1/workflows/run"
CHAT: Final = "POST /v1/chat-messages"
COMPLETE: Final = "POST /v1/completion-messages"
SUGGESTED: Final = "GET /v1/messages/{message_id}/suggested"
LISTEN: Final = "POST /v1/audio-to-text"
SPEAK: Final = "POST /v1/text-to-audio"
WEBHOOK: Final = "webhook"

_CALLS: Final = {
    "workflow": RUN,
    "advanced-chat": CHAT,
    "chat": CHAT,
    "agent-chat": CHAT,
    "agent": CHAT,
    "completion": COMPLETE,
}
FEATURE_CALLS: Final = {
    SUGGESTED: "suggested_questions_after_answer",
    LISTEN: "speech_to_text",
    SPEAK: "text_to_speech",
}
AGENTS: Final = frozenset({"agent-chat", "agent"})
CHATS: Final = frozenset({"advanced-chat", "chat", "agent-chat", "agent"})
_DEEPEST: Final = 20
_TYPES: Final[dict[str, Any]] = {
    "string": str,
    "number": int | float,
    "integer": int,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def call_of(document: Document) -> str:
    """How callers start a run, ``""`` where Dify's API has nothing for that mode."""
    return _CALLS.get(document.mode, "")


def features(document: Document) -> Mapping[str, Any]:
    """The features of a document, wherever its kind of app keeps them."""
    return document.features if document.has_graph else mapping(document.data.get("model_config"))


def enabled(document: Document, feature: str) -> bool:
    """Whether a feature with a switch is on."""
    return bool(mapping(features(document).get(feature)).get("enabled"))


def takes_calls(document: Document) -> bool:
    """Whether a run can be asked for through the API: a graph without a start node runs by its triggers alone."""
    return bool(call_of(document)) and (not document.has_graph or any(Index(document).of_type("start")))


def hooks(document: Document) -> dict[str, Node]:
    """The webhooks that start the workflow, by the id of their node, which is part of their address."""
    return {node.id: node for node in Index(document).of_type("trigger-webhook") if not node.parent}


def refusal(document: Document, request: Mapping[str, Any]) -> str | None:
    """Why `document`, by what it declares, does not take `request` (as a `Witness` has it), or None where it does."""
    call, body = text(request.get("call")), mapping(request.get("body"))
    if call == WEBHOOK:
        hook = hooks(document).get(text(request.get("node")))
        return _hook_refusal(hook, request) if hook else "there is no such webhook"
    if call in FEATURE_CALLS:
        return None if enabled(document, FEATURE_CALLS[call]) else f"{FEATURE_CALLS[call]} is off"
    if not takes_calls(document) or call != call_of(document):
        return f"{call} does not start it"
    if document.mode in AGENTS and body.get("response_mode") == "blocking":
        return "an agent answers in streaming mode only"
    given = mapping(body.get("inputs"))
    return check_inputs(document, given) or _input_refusal(document, given) or _files_refusal(document, body)


def file_upload(document: Document) -> Mapping[str, Any]:
    """What files may come with a message or a run, ``{}`` for none. Older documents state it for images alone."""
    said = mapping(features(document).get("file_upload"))
    image = mapping(said.get("image"))
    if said.get("enabled"):
        return said
    if not image.get("enabled"):
        return {}
    return {
        "enabled": True,
        "number_limits": image.get("number_limits"),
        "allowed_file_types": ["image"],
        "allowed_file_upload_methods": image.get("transfer_methods"),
    }


def names(value: Any) -> list[str]:
    """The texts of a list."""
    return [item for item in value if isinstance(item, str) and item] if isinstance(value, list) else []


def endings(rules: Mapping[str, Any]) -> list[str]:
    """The file name extensions of a file rule, in lower case and with their point; of files of type custom only."""
    found = names(rules.get("allowed_file_extensions"))
    return list(dict.fromkeys("." + item.strip().lstrip(".").lower() for item in found))


def file_refusal(rules: Mapping[str, Any], file: Any) -> str | None:
    """Why a file does not pass the `allowed_…` rules of an input or of the feature."""
    file = mapping(file)
    types, ways = names(rules.get("allowed_file_types")), names(rules.get("allowed_file_upload_methods"))
    kind = text(file.get("type"))
    if types and kind not in types:
        return f"files of type {kind} are not taken"
    if kind == "custom" and endings(rules) and "." + text(file.get("url")).rpartition(".")[2] not in endings(rules):
        return "files of that extension are not taken"
    if ways and file.get("transfer_method") not in ways:
        return f"files by {file.get('transfer_method')} are not taken"
    return None


def _input_refusal(document: Document, given: Mapping[str, Any]) -> str | None:
    said = {text(form.get("variable")): form for form in reversed(forms(document))}
    for field in inputs(document):
        value, form = given.get(field.name), said.get(field.name, {})
        if field.type in ("file", "file-list"):
            for file in value if isinstance(value, list) else [value] if isinstance(value, dict) else ():
                if problem := file_refusal(form, file):
                    return f"{field.name}: {problem}"
        elif field.type == "json_object" and isinstance(value, dict) and not fits(stated_schema(form), value):
            return f"{field.name} does not fit its schema"
    return None


def _files_refusal(document: Document, body: Mapping[str, Any]) -> str | None:
    files = mappings(body.get("files"))
    rules = file_upload(document)
    if files and not rules:
        return "no files are taken"
    limit = rules.get("number_limits")
    if isinstance(limit, int) and limit > 0 and len(files) > limit:
        return f"at most {limit} files are taken"
    return next(filter(None, (file_refusal(rules, file) for file in files)), None)


def stated_schema(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON Schema that an input of type json_object states, as text or plainly; ``{}`` for none."""
    stated = form.get("json_schema")
    if isinstance(stated, str):
        try:
            stated = json.loads(stated)
        except (ValueError, RecursionError):
            stated = None
    return mapping(stated)


def fits(schema: Any, value: Any, depth: int = 0) -> bool:
    """Whether `value` fits a JSON Schema, as far as types, enumerations, required and forbidden keys go. What else a
    schema asks is taken as fulfilled."""
    schema = mapping(schema)
    choices = schema.get("enum")
    if not _typed(schema.get("type"), value) or (isinstance(choices, list) and value not in choices):
        return False
    known = mapping(schema.get("properties"))
    if isinstance(value, dict) and any(key not in value for key in names(schema.get("required"))):
        return False
    if isinstance(value, dict) and schema.get("additionalProperties") is False and not set(value) <= set(known):
        return False
    inner = [(schema.get("items"), item) for item in value] if isinstance(value, list) else []
    if isinstance(value, dict):
        inner = [(known[key], item) for key, item in value.items() if key in known]
    return depth > _DEEPEST or all(fits(part, item, depth + 1) for part, item in inner)


def _typed(kind: Any, value: Any) -> bool:
    if not isinstance(kind, str) or kind not in _TYPES:
        return True
    return isinstance(value, _TYPES[kind]) and not (isinstance(value, bool) and kind in ("number", "integer"))


def _hook_refusal(hook: Node, request: Mapping[str, Any]) -> str | None:
    data = hook.data
    if text(data.get("method")).upper() != request.get("method"):
        return "the method is another"
    if text(data.get("content_type")) != request.get("content_type"):
        return "the content type is another"
    for part in ("headers", "params", "body"):
        given = {key.lower() if part == "headers" else key: v for key, v in mapping(request.get(part)).items()}
        for field in mappings(data.get(part)):
            name = text(field.get("name"))
            value = given.get(name.lower() if part == "headers" else name)
            if name and value is None and field.get("required"):
                return f"{name} is missing in {part}"
            if value is not None and part == "body" and not _hook_type(field, value):
                return f"{name} is of another type"
    return None


def _hook_type(field: Mapping[str, Any], value: Any) -> bool:
    kind = text(field.get("type"))
    if kind.startswith("array["):
        return isinstance(value, list) and all(_hook_type({"type": kind[6:-1]}, item) for item in value)
    return fits({"type": kind}, value)
