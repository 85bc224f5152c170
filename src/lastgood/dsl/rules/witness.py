"""Finds the request that proves a break: one that the old version takes and the new one refuses.

A change of what callers may send is only called breaking where such a request was found and tried on both."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from lastgood.dsl.document import Document, mappings
from lastgood.dsl.index import Node, mapping, text
from lastgood.dsl.interface import InputField, check_inputs, inputs
from lastgood.dsl.rules.contract import (
    CHATS,
    WEBHOOK,
    call_of,
    endings,
    file_refusal,
    file_upload,
    fits,
    names,
    refusal,
    stated_schema,
)
from lastgood.dsl.rules.rule import Witness
from lastgood.dsl.schema import forms

FILE_TYPES: Final = ("document", "image", "audio", "video", "custom")
WAYS: Final = ("remote_url", "local_file")
_ADDRESS: Final = "https://example.com/file"
_UPLOADED: Final = "00000000-0000-4000-8000-000000000000"
_LONGEST: Final = 100_000
_MOST_FILES: Final = 100


def form_of(document: Document) -> dict[str, tuple[InputField, Mapping[str, Any]]]:
    """The inputs by name, each with its form as the document has it; of two with one name the first."""
    said = {text(form.get("variable")): form for form in reversed(forms(document))}
    return {field.name: (field, said.get(field.name, {})) for field in reversed(inputs(document))}


def takes(field: InputField, form: Mapping[str, Any], value: Any) -> bool:
    """Whether an input takes `value`."""
    stated = {
        "variable": field.name,
        "required": field.required,
        "default": field.default,
        "max_length": field.max_length,
        "options": list(field.options),
    }
    alone = Document({"app": {"mode": "chat"}, "model_config": {"user_input_form": [{field.type: stated}]}})
    if check_inputs(alone, {field.name: value}) is not None:
        return False
    if field.type in ("file", "file-list"):
        files = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
        return all(file_refusal(form, file) is None for file in files)
    return not (field.type == "json_object" and isinstance(value, dict)) or fits(stated_schema(form), value)


def values(field: InputField, form: Mapping[str, Any], *, lengths: tuple[int, ...] = ()) -> Iterator[Any]:
    """Some values that an input takes, the plainest first; texts of these `lengths` (or so many files) too."""
    sizes = [size for size in lengths if 0 < size <= _LONGEST]
    found: Iterator[Any] = iter(())
    if field.type in ("text-input", "paragraph"):
        found = iter(["text", "x", *("x" * size for size in sizes), "7"])
    elif field.type == "select":
        found = iter(field.options)
    elif field.type == "number":
        found = iter([7, "7"])
    elif field.type == "checkbox":
        found = iter([True, "yes"])
    elif field.type == "json_object":
        found = iter([example(stated_schema(form)), {}])
    elif field.type == "file":
        found = files(form)
    elif field.type == "file-list":
        found = (
            many
            for file in files(form)
            for many in ([file], *([file] * size for size in sizes if size <= _MOST_FILES))
        )
    return (value for value in found if takes(field, form, value))


def files(rules: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A file of each kind that file rules allow."""
    for way in names(rules.get("allowed_file_upload_methods")) or WAYS:
        for kind in names(rules.get("allowed_file_types")) or FILE_TYPES:
            for ending in (endings(rules) or [".bin"]) if kind == "custom" else [""]:
                file = {"type": kind, "transfer_method": way}
                if way == "remote_url" or kind == "custom":
                    file["url"] = _ADDRESS + ending
                if way == "local_file":
                    file["upload_file_id"] = _UPLOADED
                yield file


def example(schema: Any, depth: int = 0) -> Any:
    """A value that fits a JSON Schema, as far as `contract.fits` reads it, with its required keys only."""
    schema = mapping(schema)
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    known = mapping(schema.get("properties"))
    plain = {"string": "text", "number": 7, "integer": 7, "boolean": True, "array": [], "null": None}
    kind = schema.get("type")
    if isinstance(kind, str) and kind in plain:
        return plain[kind]
    required = names(schema.get("required")) if depth < 20 else []
    return {key: example(known.get(key), depth + 1) for key in required}


class Seeker:
    """Looks for requests that `old` takes and `new` refuses."""

    def __init__(self, old: Document, new: Document) -> None:
        self.old, self.new = old, new
        self._before, self._after = form_of(old), form_of(new)

    def proven(self, request: Mapping[str, Any]) -> Witness | None:
        """The witness that `request` is, None where it is none."""
        if refusal(self.old, request) is None and refusal(self.new, request) is not None:
            return Witness(request)
        return None

    def call(self, inputs_: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """A plain request to the old version: what is required, filled in, and what is given here. Inputs that only
        the new version requires are there too (the old one drops them), so that nothing else can be what is wrong."""
        filled = {}
        for name, (field, form) in {**self._after, **self._before}.items():
            if field.required or (name in self._after and self._after[name][0].required):
                value = self._shared(name, field, form)
                if value is not None:
                    filled[name] = value
        filled.update(inputs_ or {})
        body = {"inputs": filled, "response_mode": "streaming", "user": "somebody"}
        if self.old.mode in CHATS:
            body["query"] = "Hello"
        return {"call": call_of(self.old), "body": {**body, **more}}

    def _shared(self, name: str, field: InputField, form: Mapping[str, Any]) -> Any:
        """A value that both versions take, else one that this one takes."""
        mine = list(values(field, form))
        other = self._after.get(name)
        return next((value for value in mine if other is None or takes(*other, value)), mine[0] if mine else None)

    def leaving_out(self, name: str) -> Witness | None:
        """A request without the input `name`, where only the new version insists on it."""
        request = self.call()
        request["body"]["inputs"].pop(name, None)
        return self.proven(request)

    def sending(self, name: str, which: Callable[[Any], bool] = lambda value: True) -> Witness | None:
        """A request with a value of the input `name` for which `which` holds, and that only the old version takes."""
        if name not in self._before or name not in self._after:
            return None
        (field, form), other = self._before[name], self._after[name]
        lengths = tuple(size for size in (field.max_length, (other[0].max_length or 0) + 1) if size)
        for value in values(field, form, lengths=lengths):
            if which(value) and not takes(*other, value):
                witness = self.proven(self.call({name: value}))
                if witness:
                    return witness
        return None

    def attaching(self, which: Callable[[list[dict[str, Any]]], bool] = lambda value: True) -> Witness | None:
        """A request with files for the run or the message for which `which` holds, and that only the old takes."""
        rules, later = file_upload(self.old), file_upload(self.new)
        counts = [1, *(n + 1 for n in [later.get("number_limits")] if isinstance(n, int) and 0 < n < _MOST_FILES)]
        for file in files(rules) if rules else ():
            for count in counts:
                witness = self.proven(self.call(files=[file] * count)) if which([file] * count) else None
                if witness:
                    return witness
        return None


def hook_call(hook: Node, other: Node | None = None) -> dict[str, Any]:
    """A plain request to a webhook: what it requires, and what the `other` does where this one does not mind."""
    request: dict[str, Any] = {
        "call": WEBHOOK,
        "node": hook.id,
        "method": text(hook.data.get("method")).upper(),
        "content_type": text(hook.data.get("content_type")),
    }
    for part in ("headers", "params", "body"):
        fields = {text(field.get("name")): field for field in mappings(hook.data.get(part))}
        more = {text(field.get("name")): field for field in mappings(other.data.get(part) if other else None)}
        request[part] = {
            name: hook_value(fields.get(name) or more[name], part)
            for name in {**more, **fields}
            if name and (fields.get(name, {}).get("required") or more.get(name, {}).get("required"))
        }
    return request


def hook_value(field: Mapping[str, Any], part: str) -> Any:
    """A value that a field of a webhook takes."""
    kind = text(field.get("type"))
    if part != "body":
        return "text"
    if kind.startswith("array["):
        return [hook_value({"type": kind[6:-1]}, part)]
    return {"number": 7, "boolean": True, "object": {}}.get(kind, "text")
