"""What a caller of a workflow has to know: its inputs, and the answer of Dify's `GET /v1/parameters`."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood.dsl.document import Document, is_note, mappings, node_data, node_type

type _Taken = tuple[Any, str | None]

_TEXTS: Final = frozenset({"text-input", "paragraph", "select"})
_YES: Final = frozenset({"true", "1", "yes", "on"})
_NO: Final = frozenset({"false", "0", "no", "off"})
# What Dify answers for a feature that the document does not mention.
_NO_FEATURES: Final[dict[str, Any]] = {
    "opening_statement": None,
    "suggested_questions": [],
    **{
        feature: {"enabled": False}
        for feature in (
            "suggested_questions_after_answer",
            "speech_to_text",
            "text_to_speech",
            "retriever_resource",
            "annotation_reply",
            "more_like_this",
        )
    },
    "sensitive_word_avoidance": {"enabled": False, "type": "", "configs": []},
    "file_upload": {
        "image": {
            "enabled": False,
            "number_limits": 3,
            "detail": "high",
            "transfer_methods": ["remote_url", "local_file"],
        }
    },
}
# Dify's defaults: megabytes, and a number of files.
_SYSTEM_PARAMETERS: Final = {
    "image_file_size_limit": 10,
    "video_file_size_limit": 100,
    "audio_file_size_limit": 50,
    "file_size_limit": 15,
    "workflow_file_upload_limit": 10,
}


@dataclass(frozen=True, slots=True)
class InputField:
    """One input that a caller gives: a variable of the start node, or of a chat app's form. `max_length` counts
    characters, or files of a file-list."""

    name: str
    label: str
    type: str
    required: bool
    hidden: bool
    default: Any
    max_length: int | None
    options: tuple[str, ...]


def node_types(document: Document) -> tuple[str, ...]:
    """The node types in the graph, each once, sorted; sticky notes have none."""
    return tuple(sorted({node_type(node) for node in document.nodes if not is_note(node)} - {""}))


def inputs(document: Document) -> tuple[InputField, ...]:
    """The inputs in the order of the form. A workflow that a trigger starts has none."""
    return tuple(_field(kind, form) for kind, form in _forms(document) if isinstance(form.get("variable"), str))


def parameters(document: Document) -> dict[str, Any]:
    """The body of Dify's `GET /v1/parameters` for this document."""
    features = document.features if document.has_graph else _model_config(document)
    body = {
        **{key: features.get(key, default) for key, default in _NO_FEATURES.items()},
        "user_input_form": [{kind: form} for kind, form in _forms(document)],
        "system_parameters": _SYSTEM_PARAMETERS,
    }
    return copy.deepcopy(body)


def check_inputs(document: Document, given: Mapping[str, Any]) -> str | None:
    """Why `given` is not accepted as inputs, in Dify's own words, or None when it is. Names that the form does not
    know are no problem: Dify drops them."""
    for field in inputs(document):
        problem = problem_of(field, given.get(field.name))
        if problem:
            return problem
    return None


def problem_of(field: InputField, value: Any) -> str | None:
    """Why `value` (None: not given) is not accepted for `field`, in Dify's own words, or None when it is."""
    return _taken(field, value)[1]


def fill_inputs(document: Document, given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every input field as the graph gets it: defaults filled in, numbers and booleans read from text,
    names unknown to the form dropped. `given` has passed `check_inputs`."""
    return {field.name: _taken(field, given.get(field.name))[0] for field in inputs(document)}


def _forms(document: Document) -> list[tuple[str, dict[str, Any]]]:
    """The form's fields as (type, as the document has it)."""
    if document.has_graph:
        starts = (node_data(node) for node in document.nodes if node_type(node) == "start")
        form = mappings(next(starts, {}).get("variables"))
        return [(str(field.get("type", "")), field) for field in form]
    form = mappings(_model_config(document).get("user_input_form"))
    return [(kind, field) for item in form for kind, field in item.items() if isinstance(field, dict)]


def _model_config(document: Document) -> dict[str, Any]:
    config = document.data.get("model_config")
    return config if isinstance(config, dict) else {}


def _field(kind: str, form: dict[str, Any]) -> InputField:
    options, label = form.get("options"), form.get("label")
    return InputField(
        name=form["variable"],
        label=label if isinstance(label, str) else form["variable"],
        type=kind,
        required=bool(form.get("required")),
        hidden=bool(form.get("hide")),
        default=form.get("default"),
        max_length=_whole(form.get("max_length")),
        options=tuple(map(str, options)) if isinstance(options, list) else (),
    )


def _whole(value: Any) -> int | None:
    try:
        return int(value) or None
    except (TypeError, ValueError):
        return None


def _taken(field: InputField, value: Any) -> _Taken:
    """The value that the graph gets for `value` (None: not given), and what is wrong with it."""
    if value is None:
        if field.required:
            return None, f"{field.name} is required in input form"
        if field.default in (None, ""):
            return ("" if field.type in _TEXTS and field.default == "" else None), None
        value = field.default
    take = _TAKERS.get(field.type)
    return take(field, value) if take else (value, None)


def _text(field: InputField, value: Any) -> _Taken:
    if not isinstance(value, str):
        return value, f"(type '{field.type}') {field.name} in input form must be a string"
    if field.max_length and len(value) > field.max_length:
        return value, f"{field.name} in input form must be less than {field.max_length} characters"
    return value, None


def _choice(field: InputField, value: Any) -> _Taken:
    options = list(field.options)
    if not isinstance(value, str):
        return value, f"(type '{field.type}') {field.name} in input form must be a string"
    return value, None if value in options else f"{field.name} in input form must be one of the following: {options}"


def _number(field: InputField, value: Any) -> _Taken:
    problem = f"{field.name} in input form must be a valid number"
    if isinstance(value, int | float):
        return value, None
    if not isinstance(value, str):
        return value, problem
    if not value.strip():
        return None, None
    try:
        number = float(value) if "." in value else int(value)
    except ValueError:
        return value, problem
    return (value, problem) if number in (math.inf, -math.inf) else (number, None)


def _checkbox(field: InputField, value: Any) -> _Taken:
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value), None
    word = value.strip().lower() if isinstance(value, str) else ""
    return word in _YES if word in _YES | _NO else value, None


def _file(field: InputField, value: Any) -> _Taken:
    if value == "" and not field.required:  # what a form sends for a file that was not chosen
        return None, None
    return value, None if isinstance(value, dict) else f"{field.name} in input form must be a file"


def _files(field: InputField, value: Any) -> _Taken:
    if value == "" and not field.required:
        return None, None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return value, f"{field.name} in input form must be a list of files"
    if field.max_length and len(value) > field.max_length:
        return value, f"{field.name} in input form must be less than {field.max_length} files"
    return value, None


def _object(field: InputField, value: Any) -> _Taken:
    return value, f"{field.name} in input form must be a dict" if value and not isinstance(value, dict) else None


_TAKERS: Final[dict[str, Callable[[InputField, Any], _Taken]]] = {
    "text-input": _text,
    "paragraph": _text,
    "select": _choice,
    "number": _number,
    "checkbox": _checkbox,
    "file": _file,
    "file-list": _files,
    "json_object": _object,
}
# Of other types every value is accepted as it is.
KNOWN_TYPES: Final = frozenset(_TAKERS)
