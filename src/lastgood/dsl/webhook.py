"""A webhook trigger: what it takes of a request, what it gives to the nodes after it, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from lastgood.dsl.document import mappings
from lastgood.dsl.index import text

RAW: Final = "_webhook_raw"
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_TEXT: Final = "text/plain"
_BINARY: Final = "application/octet-stream"
# They open doors: a node that needs one declares it.
_HIDDEN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_SUCCESS: Final = {"status": "success", "message": "Webhook processed successfully"}
_YES: Final = frozenset({"true", "1", "yes"})
_NO: Final = frozenset({"false", "0", "no"})


class Misfit(Exception):
    """Why a request is not taken: a sentence part."""


@dataclass(frozen=True, slots=True)
class Part:
    """A header, a parameter or a field of the body that the node reads."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: `headers` by lower-case name."""

    method: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Webhook:
    """What a webhook node declares. `status` and `answer` are what the caller hears at once."""

    method: str
    content_type: str
    headers: tuple[Part, ...]
    params: tuple[Part, ...]
    body: tuple[Part, ...]
    status: int
    answer: bytes

    def take(self, request: Request) -> dict[str, Any]:
        """The outputs of the node for `request`. Raises `Misfit`."""
        if request.method.upper() != self.method:
            raise Misfit(f"HTTP method mismatch: expected {self.method}, got {request.method}")
        params = dict(reversed(parse_qsl(request.query, keep_blank_values=True)))  # the first of several counts
        outputs: dict[str, Any] = {}
        for part in self.headers:
            value = _given("header", part, request.headers.get(part.name.lower()))
            outputs[part.name.replace("-", "_")] = value
        for part in self.params:
            outputs[part.name] = _read("parameter", part, params.get(part.name), spoken=True)
        content = self._content(request)
        for part in self.body:
            whole = self.content_type in (_TEXT, _BINARY)
            value = content.get("raw") if whole else content.get(part.name)
            spoken = self.content_type in (_FORM, _MULTIPART)
            outputs[part.name] = (
                _given("body", part, value or None) if whole else _read("body parameter", part, value, spoken=spoken)
            )
        shown = {name: value for name, value in request.headers.items() if name not in _HIDDEN}
        raw = {"method": self.method, "headers": shown, "query_params": params, "body": content, "files": {}}
        return outputs | {RAW: raw}

    def _content(self, request: Request) -> dict[str, Any]:
        """The body by field; ``raw`` is the whole of a text."""
        if not request.body:
            return {}
        said = request.headers.get("content-type", "")
        kind = said.partition(";")[0].strip().lower() or _JSON
        if kind != self.content_type:
            raise Misfit(f"Content-Type mismatch: expected {self.content_type}, got {kind}")
        return _READERS[kind](request.body, said)

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        told = {
            name: [{"name": part.name, "type": part.type, "required": part.required} for part in parts]
            for name, parts in (("headers", self.headers), ("params", self.params), ("body", self.body))
        }
        return {"method": self.method, "content_type": self.content_type, **told, "status": self.status}


def read(data: Mapping[str, Any]) -> Webhook:
    """The webhook that the data of a `trigger-webhook` node declares; what is missing is as Dify has it."""
    kind = text(data.get("content_type")).strip().lower()
    status = data.get("status_code")
    known = isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 599
    return Webhook(
        method=(text(data.get("method")) or "get").upper(),
        content_type=kind if kind in _READERS else _JSON,
        headers=_parts(data.get("headers")),
        params=_parts(data.get("params")),
        body=_parts(data.get("body")),
        status=int(status) if known and isinstance(status, int) else HTTPStatus.OK,
        answer=_answer(text(data.get("response_body"))),
    )


def _parts(listed: Any) -> tuple[Part, ...]:
    # A hand-written document may hold a mapping of names.
    items = (
        [{**item, "name": name} for name, item in listed.items() if isinstance(item, dict)]
        if isinstance(listed, dict)
        else mappings(listed)
    )
    return tuple(
        Part(text(item["name"]), text(item.get("type")) or "string", bool(item.get("required")))
        for item in items
        if text(item.get("name"))
    )


def _answer(body: str) -> bytes:
    """The JSON that the node answers: its own, or its text as a message, or Dify's."""
    if not body.strip():
        return orjson.dumps(_SUCCESS)
    try:
        return orjson.dumps(orjson.loads(body))
    except orjson.JSONDecodeError:
        return orjson.dumps({"message": body})


def _given(what: str, part: Part, value: Any) -> Any:
    if value is None and part.required:
        raise Misfit(f"Required {what} missing: {part.name}")
    return value


def _read(what: str, part: Part, value: Any, *, spoken: bool) -> Any:
    """`value` as the type of `part`; one that was `spoken` (a text of a form or an address) is turned into it."""
    if _given(what, part, value) is None:
        return None
    if spoken and isinstance(value, str):
        value = _turned(part.type, value)
    fits = _FITS.get(part.type)
    if fits is not None and not fits(value):
        raise Misfit(f"{what.capitalize()} {part.name} is not of type {part.type}")
    return value


def _turned(kind: str, value: str) -> Any:
    word = value.strip().lower()
    if kind == "boolean" and word in _YES | _NO:
        return word in _YES
    if kind == "number" or kind.startswith(("object", "array")):
        try:
            return orjson.loads(value)  # what is something else then, its type refuses
        except orjson.JSONDecodeError:
            return value
    return value


def _of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": _is(str),
    "number": _is_number,
    "boolean": _is(bool),
    "object": _is(dict),
    "file": _is(dict),
    "array[string]": _of(_is(str)),
    "array[number]": _of(_is_number),
    "array[boolean]": _of(_is(bool)),
    "array[object]": _of(_is(dict)),
}


def _json(body: bytes, said: str) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Misfit(f"The body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Misfit("The body must be a JSON object")
    return found


def _form(body: bytes, said: str) -> dict[str, Any]:
    try:
        return dict(reversed(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000)))
    except ValueError:
        raise Misfit("The body is not a form") from None


def _multipart(body: bytes, said: str) -> dict[str, Any]:
    from email import policy  # only here: to load it takes longer than all of `dsl`
    from email.parser import BytesParser

    head = b"content-type: " + said.encode("latin-1", "replace").replace(b"\r", b"").replace(b"\n", b"")
    form = BytesParser(policy=policy.HTTP).parsebytes(head + b"\r\n\r\n" + body)
    if not form.is_multipart():
        raise Misfit("The body is not a form")
    found: dict[str, Any] = {}
    for part in form.iter_parts():
        if part.get_filename() is not None:
            raise Misfit("the embedded engine keeps no files: send the address of one")
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            found.setdefault(name, payload.decode(errors="replace"))
    return found


def _text(body: bytes, said: str) -> dict[str, Any]:
    return {"raw": body.decode(errors="replace")}


def _binary(body: bytes, said: str) -> dict[str, Any]:
    raise Misfit("the embedded engine keeps no files, so a binary body is not taken")


_READERS: Final[Mapping[str, Callable[[bytes, str], dict[str, Any]]]] = {
    _JSON: _json,
    _FORM: _form,
    _MULTIPART: _multipart,
    _TEXT: _text,
    _BINARY: _binary,
}
