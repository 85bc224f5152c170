"""The shape of what callers send and get back, names and types without values, and whether it fits a version.

A shape is a mapping from names to types: ``string``, ``number``, ``boolean``, ``null``, ``object``, ``file``,
``array`` (an empty one), ``array<T>``, ``array<any>``. None is a shape that is not known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from lastgood.dsl.document import Document
from lastgood.dsl.index import mapping
from lastgood.dsl.interface import KNOWN_TYPES, InputField, inputs, problem_of
from lastgood.dsl.schema import CHATS, output_schema

type Shape = Mapping[str, str]
# What is the matter: `broken` for certain, `uncertain` because it hangs on the value or on a type that nobody
# declared, `ignored` when it is accepted and dropped, `unknown` when the shape itself is.
type Verdict = Literal["broken", "uncertain", "ignored", "unknown"]

QUERY: Final = "sys.query"
FILES: Final = "sys.files"
_LONGEST_NAME: Final = 100
_MOST_NAMES: Final = 100
_PLAIN: Final = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
_FILE: Final = {"type": "image", "transfer_method": "remote_url", "url": "https://files.example/a.png"}
# Values that stand for their type where the rule of an input is asked. Most rules go by the type alone.
_SAMPLES: Final[Mapping[str, tuple[Any, ...]]] = {
    "string": ("x", "1", ""),
    "number": (0, 7),
    "boolean": (True, False),
    "null": (None,),
    "object": ({"x": 1},),
    "file": (_FILE,),
    "array": ([],),
    "array<file>": ([_FILE],),
    "array<object>": ([{"x": 1}],),
}
_OTHER_ARRAY: Final = (["x"],)


@dataclass(frozen=True, slots=True)
class Interface:
    """What a version takes and gives: its form, the JSON Schema of its outputs, and for a chat whether it takes
    files with a message."""

    mode: str
    inputs: tuple[InputField, ...]
    outputs: Mapping[str, Any]
    takes_files: bool

    @property
    def chat(self) -> bool:
        """Whether callers send a query."""
        return self.mode in CHATS


@dataclass(frozen=True, slots=True)
class Problem:
    """What stands between a shape and an interface. `name` is the input or output, empty for the whole shape."""

    name: str
    verdict: Verdict
    message: str


def interface_of(document: Document) -> Interface:
    """The interface of a document."""
    upload = mapping(document.features.get("file_upload"))
    takes_files = bool(upload.get("enabled") or mapping(upload.get("image")).get("enabled"))
    return Interface(document.mode, inputs(document), output_schema(document), takes_files)


def shape_of(values: Any) -> Shape | None:
    """The shape of a JSON object's values. Long names are cut. None for anything else, and for an object with very
    many names."""
    if not isinstance(values, dict) or len(values) > _MOST_NAMES:
        return None
    return {str(name)[:_LONGEST_NAME]: type_of(value) for name, value in values.items()}


def type_of(value: Any) -> str:
    """The type of a JSON value. An array's is told one level deep."""
    plain = _PLAIN.get(type(value))
    if plain is not None:
        return plain
    if isinstance(value, dict):
        return "file" if _is_file(value) else "object"
    if not isinstance(value, list):
        return "object"
    kinds = {"array" if isinstance(item, list) else type_of(item) for item in value}
    if not kinds:
        return "array"
    return f"array<{kinds.pop()}>" if len(kinds) == 1 else "array<any>"


def request_shape(body: Any, *, chat: bool) -> Shape | None:
    """The shape of a request's inputs; for a chat with `QUERY` and, when files came along, `FILES`. A key of the
    body that is null was not given."""
    if not isinstance(body, dict):
        return None
    given = body.get("inputs")
    shape = shape_of({} if given is None and chat else given)
    if shape is None:
        return None
    beside = ((QUERY, "query"), (FILES, "files")) if chat else ((FILES, "files"),)
    return {**shape, **{name: type_of(body[key]) for name, key in beside if body.get(key) not in (None, [])}}


def check_inputs(shape: Shape | None, interface: Interface) -> tuple[Problem, ...]:
    """What a version with `interface` would have against a request of `shape`; empty when it takes it.

    It goes by names and types: which texts a choice allows, or how long they may be, no shape tells."""
    if shape is None:
        return (_unknown("requests"),)
    fields = {field.name: field for field in interface.inputs}
    problems = [found for field in interface.inputs if (found := _input(field, shape.get(field.name)))]
    for name in sorted(shape.keys() - fields.keys() - {QUERY, FILES}):
        problems.append(Problem(name, "ignored", f"{name} is sent, and would be dropped: there is no such input"))
    return (*problems, *_beside(shape, interface))


def check_outputs(shape: Shape | None, interface: Interface) -> tuple[Problem, ...]:
    """What callers who received `shape` would miss in the answers of a version with `interface`: an output that is
    gone, or has another type. Outputs that come on top are no problem."""
    if shape is None:
        return (_unknown("answers"),)
    ends = [mapping(end) for end in interface.outputs.get("anyOf") or [interface.outputs]]
    return tuple(found for name in sorted(shape) if (found := _output(name, shape[name], ends)))


def introduced(problems: Iterable[Problem], present: Iterable[Problem]) -> tuple[Problem, ...]:
    """Those of `problems` that the `present` version does not have just so."""
    known = {(problem.name, problem.verdict) for problem in present}
    return tuple(problem for problem in problems if (problem.name, problem.verdict) not in known)


def _unknown(what: str) -> Problem:
    return Problem("", "unknown", f"the shape of these {what} was not recorded, so nothing is known of them")


def _is_file(value: Mapping[str, Any]) -> bool:
    return "transfer_method" in value or value.get("dify_model_identity") == "__dify__file__"


def _input(field: InputField, kind: str | None) -> Problem | None:
    """What is wrong with a value of type `kind` (None: not given) for `field`."""
    refusals = [problem_of(field, sample) for sample in _samples(field, kind)]
    said = next(filter(None, refusals), "")
    if said and (all(refusals) or kind is None):
        return Problem(field.name, "broken", f"{said}, and {_sent(kind)}")
    if said:
        return Problem(
            field.name, "uncertain", f"{said}, and {_sent(kind)}: which of them are taken hangs on the value"
        )
    if kind in ("object", "array<object>") and field.type in ("file", "file-list"):
        return Problem(field.name, "uncertain", f"{field.name} is a file, and what is sent does not look like one")
    if kind not in (None, "null") and field.type not in KNOWN_TYPES:
        return Problem(field.name, "uncertain", f"{field.name} has the type '{field.type}', which is not known here")
    return None


def _samples(field: InputField, kind: str | None) -> Sequence[Any]:
    if kind is None:
        return (None,)
    if kind == "string" and field.type == "select":
        return field.options[:1] or ("x",)
    return _SAMPLES.get(kind) or _OTHER_ARRAY


def _sent(kind: str | None) -> str:
    return "it is not sent" if kind is None else f"{kind} is sent"


def _beside(shape: Shape, interface: Interface) -> list[Problem]:
    """What is wrong beside the form: the query of a chat, and files."""
    problems = []
    query = shape.get(QUERY)
    if interface.chat and query != "string":
        problems.append(Problem(QUERY, "broken", f"query is required and must be text, and {_sent(query)}"))
    if not interface.chat and query is not None:
        problems.append(Problem(QUERY, "ignored", "query is sent, and would be dropped: this is no chat"))
    files = shape.get(FILES)
    if files is not None and files not in ("array", "array<file>", "array<object>"):
        problems.append(Problem(FILES, "broken", f"files must be a list of files, and {files} is sent"))
    elif files is not None and not interface.takes_files:
        problems.append(Problem(FILES, "ignored", "files are sent, and would be dropped: file upload is off"))
    return problems


def _output(name: str, kind: str, ends: Sequence[Mapping[str, Any]]) -> Problem | None:
    offered = [properties[name] for end in ends if name in (properties := mapping(end.get("properties")))]
    if not offered:
        return Problem(name, "broken", f"{name} was received, and is no longer given")
    fits = [_fits(kind, schema) for schema in offered]
    if "no" in fits and len(set(fits)) == 1:
        return Problem(name, "broken", f"{name} was {kind}, and is now {_told(offered)}")
    if "no" in fits:
        return Problem(name, "uncertain", f"{name} was {kind}, and is now {_told(offered)}, by the way a run takes")
    if len(offered) < len(ends):
        return Problem(name, "uncertain", f"{name} was received, and only some ways of a run give it")
    if "unknown" in fits:
        return Problem(name, "uncertain", f"{name} was {kind}, and the document does not say what it is now")
    return None


def _fits(kind: str, schema: Any) -> Literal["yes", "no", "unknown"]:
    """Whether a caller who received `kind` gets that from `schema`. A null says nothing of the type."""
    schema = mapping(schema)
    if kind == "null":
        return "yes"
    if "anyOf" in schema:
        answers = [_fits(kind, one) for one in schema["anyOf"] if mapping(one).get("type") != "null"]
        return next((answer for answer in ("yes", "unknown") if answer in answers), "no")
    stated = schema.get("type")
    if not isinstance(stated, str):
        return "unknown"
    if kind.startswith("array") and stated == "array":
        item = kind.removeprefix("array").strip("<>")
        if not item:
            return "yes"
        items = schema.get("items")
        return "unknown" if item == "any" or not items else _fits(item, items)
    return "yes" if stated == {"file": "object"}.get(kind, kind) else "no"


def _told(schemas: Sequence[Any]) -> str:
    return " or ".join(dict.fromkeys(_word(mapping(schema)) for schema in schemas))


def _word(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return _told([one for one in schema["anyOf"] if mapping(one).get("type") != "null"])
    stated = schema.get("type", "of no known type")
    if stated == "array" and schema.get("items"):
        return f"array<{_word(mapping(schema['items']))}>"
    return str(stated)
