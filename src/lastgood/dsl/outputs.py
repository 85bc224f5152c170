"""What each node gives to the nodes after it, and what stands beside the nodes: system, environment, conversation
and pipeline variables."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lastgood.dsl.document import Document, mappings
from lastgood.dsl.index import Node, mapping, text

RESERVED: Final = frozenset({"sys", "env", "conversation", "rag"})
_CHAT_ONLY: Final = frozenset({"query", "conversation_id", "dialogue_count", "parent_message_id"})
_INPUT_TYPES: Final = {
    "text-input": "string",
    "paragraph": "string",
    "select": "string",
    "external_data_tool": "string",
    "url": "string",
    "number": "number",
    "checkbox": "boolean",
    "file": "file",
    "file-list": "array[file]",
    "json_object": "object",
}
_JSON_TYPES: Final = {"integer": "number", "array": "array[any]", "null": ""}


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a value: Dify's name of its type (``""``: not known) and what is inside, by key (None: any).
    The keys of an array are those of its items, which no selector can reach."""

    type: str = ""
    keys: Mapping[str, "Value"] | None = None

    @property
    def item(self) -> "Value":
        """An item of this array."""
        inner = self.type.removeprefix("array[").removesuffix("]") if self.type.startswith("array[") else ""
        return Value("" if inner == "any" else inner, self.keys)


FILE: Final = Value(
    "file",
    {
        **dict.fromkeys(("type", "name", "mime_type", "transfer_method", "url", "extension"), Value("string")),
        **{"related_id": Value("string"), "size": Value("number")},
    },
)
_TEXT: Final = Value("string")
_NUMBER: Final = Value("number")
_ANY: Final = Value()
ERRORS: Final = {"error_message": _TEXT, "error_type": _TEXT}


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a node by name. An `open` node may give others that its document does not name."""

    values: Mapping[str, Value] = field(default_factory=dict)
    open: bool = False


def outputs(node: Node) -> Outputs:
    """What `node` gives to later nodes. The type of an iteration's output is what the document says of it."""
    given = _GIVERS.get(node.type, _unknown)(node.data)
    if node.data.get("error_strategy") in ("fail-branch", "default-value"):
        return Outputs({**given.values, **ERRORS}, given.open)
    return given


def inner_values(node: Node) -> Mapping[str, Value]:
    """What an iteration or a loop gives to the nodes inside it; the type of an iteration's item is not known here."""
    if node.type == "iteration":
        return {"item": _ANY, "index": _NUMBER}
    return {"index": _NUMBER, **_loop_variables(node.data)} if node.type == "loop" else {}


def variables(document: Document) -> Mapping[str, Mapping[str, Value]]:
    """The values beside the nodes: ``{"sys": …, "env": …, "conversation": …, "rag": …}``, each by name."""
    pipeline = mappings(document.workflow.get("rag_pipeline_variables"))
    return {
        "sys": _system(document.mode),
        "env": _declared(document.environment_variables),
        "conversation": _declared(document.conversation_variables),
        "rag": {text(item.get("variable")): _ANY for item in pipeline if text(item.get("variable"))},
    }


def value_of(type_: Any, keys: Mapping[str, Value] | None = None) -> Value:
    """The value that Dify's type name stands for."""
    name = text(type_)
    name = _INPUT_TYPES.get(name, name)
    if name == "file":
        return FILE
    if name == "array[file]":
        return Value(name, FILE.keys)
    return Value({"secret": "string", "integer": "number", "float": "number", "any": ""}.get(name, name), keys)


def from_schema(schema: Any, depth: int = 0) -> Value:
    """The value that a JSON Schema describes, as far as it says plainly."""
    schema = mapping(schema)
    kind = text(schema.get("type"))
    if kind == "array":
        inner = from_schema(schema.get("items"), depth + 1) if depth < 20 else _ANY
        return Value(f"array[{inner.type or 'any'}]", inner.keys)
    if kind == "object" and isinstance(schema.get("properties"), dict) and depth < 20:
        keys = {name: from_schema(part, depth + 1) for name, part in schema["properties"].items()}
        return Value("object", None if schema.get("additionalProperties") else keys)
    return Value(_JSON_TYPES.get(kind, kind))


def _declared(items: Iterable[dict[str, Any]]) -> dict[str, Value]:
    return {text(item.get("name")): value_of(item.get("value_type")) for item in items if text(item.get("name"))}


def _system(mode: str) -> dict[str, Value]:
    names = {
        **dict.fromkeys(("user_id", "app_id", "workflow_id", "workflow_run_id"), _TEXT),
        "files": Value("array[file]", FILE.keys),
        "timestamp": _NUMBER,
    }
    if mode == "rag_pipeline":
        places = ("document_id", "original_document_id", "batch", "dataset_id", "datasource_type", "invoke_from")
        return names | dict.fromkeys(places, _TEXT) | {"datasource_info": Value("object")}
    if mode == "advanced-chat":
        names |= dict.fromkeys(_CHAT_ONLY, _TEXT) | {"dialogue_count": _NUMBER}
    return names


def _fixed(**values: Value) -> Callable[[Mapping[str, Any]], Outputs]:
    return lambda data: Outputs(values)


def _unknown(data: Mapping[str, Any]) -> Outputs:
    """A node type from the future, or one that gives what its plugin wants."""
    return Outputs(open=True)


def _start(data: Mapping[str, Any]) -> Outputs:
    given = {}
    for item in mappings(data.get("variables")):
        name, kind = text(item.get("variable")), text(item.get("type"))
        given[name] = from_schema(item.get("json_schema")) if kind == "json_object" else value_of(kind)
        if kind == "json_object" and given[name].type != "object":
            given[name] = Value("object")
    given.pop("", None)
    return Outputs(given)


def _webhook(data: Mapping[str, Any]) -> Outputs:
    given = {"_webhook_raw": Value("object")}
    for part in ("variables", "headers", "params", "body"):
        for item in mappings(data.get(part)):
            name = text(item.get("name")) or text(item.get("variable"))
            # Dify makes a variable's name out of a header's.
            given[name.replace("-", "_") if part == "headers" else name] = value_of(
                item.get("type") or item.get("value_type")
            )
    # Some hand-written documents hold a mapping; Dify then gives what it makes of it.
    loose = any(isinstance(data.get(part), dict) for part in ("headers", "params", "body"))
    return Outputs(given, open=loose)


def _schema_properties(data: Mapping[str, Any]) -> Mapping[str, Value]:
    return (
        from_schema({"type": "object", "properties": mapping(data.get("output_schema")).get("properties")}).keys or {}
    )


def _plugin_trigger(data: Mapping[str, Any]) -> Outputs:
    given = _schema_properties(data)
    return Outputs(given, open=not given)


def _tool(data: Mapping[str, Any]) -> Outputs:
    fixed = {"text": _TEXT, "files": Value("array[file]", FILE.keys), "json": Value("array[object]")}
    # Without a cached schema nobody knows what else the tool gives.
    return Outputs({**fixed, **_schema_properties(data)}, open=not mapping(data.get("output_schema")))


def _agent(data: Mapping[str, Any]) -> Outputs:
    given = _tool(data)
    return Outputs({**given.values, "usage": Value("object")}, given.open)


def _llm(data: Mapping[str, Any]) -> Outputs:
    given = {
        **{"text": _TEXT, "reasoning_content": _TEXT, "usage": Value("object")},
        "files": Value("array[file]", FILE.keys),
    }
    if data.get("structured_output_enabled") or data.get("structured_output_switch_on"):
        given["structured_output"] = from_schema(mapping(data.get("structured_output")).get("schema"))
    return Outputs(given)


def _code(data: Mapping[str, Any]) -> Outputs:
    return Outputs(_code_outputs(data.get("outputs"), 0))


def _code_outputs(declared: Any, depth: int) -> dict[str, Value]:
    given = {}
    for name, item in mapping(declared).items():
        children = mapping(item).get("children")
        inner = _code_outputs(children, depth + 1) if children and depth < 20 else None
        given[name] = value_of(mapping(item).get("type"), inner)
    return given


def _extractor(data: Mapping[str, Any]) -> Outputs:
    types = {"bool": "boolean", "select": "string"}
    own = {
        text(item.get("name")): value_of(types.get(text(item.get("type")), item.get("type")))
        for item in mappings(data.get("parameters"))
    }
    return Outputs({**own, "__is_success": _NUMBER, "__reason": _TEXT, "__usage": Value("object")})


def _aggregator(data: Mapping[str, Any]) -> Outputs:
    settings = mapping(data.get("advanced_settings"))
    if not settings.get("group_enabled"):
        return Outputs({"output": value_of(data.get("output_type"))})
    groups = mappings(settings.get("groups"))
    return Outputs(
        {
            text(group.get("group_name")): Value("object", {"output": value_of(group.get("output_type"))})
            for group in groups
        }
    )


def _loop_variables(data: Mapping[str, Any]) -> dict[str, Value]:
    return {text(item.get("label")): value_of(item.get("var_type")) for item in mappings(data.get("loop_variables"))}


def _loop(data: Mapping[str, Any]) -> Outputs:
    return Outputs({"loop_round": _NUMBER, **_loop_variables(data)})


def _iteration(data: Mapping[str, Any]) -> Outputs:
    said = text(data.get("output_type"))
    return Outputs({"output": value_of(said if said.startswith("array") else "array[any]")})


def _documents(data: Mapping[str, Any]) -> Outputs:
    return Outputs({"text": Value("array[string]") if data.get("is_array_file") else _TEXT})


def _list(data: Mapping[str, Any]) -> Outputs:
    array = value_of(data.get("var_type"))
    item = value_of(data.get("item_var_type")) if data.get("item_var_type") else array.item
    return Outputs({"result": array, "first_record": item, "last_record": item})


def _form(data: Mapping[str, Any]) -> Outputs:
    own = {text(item.get("output_variable_name")): _ANY for item in mappings(data.get("inputs"))}
    own.pop("", None)
    return Outputs({**own, "__action_id": _TEXT, "__action_value": _TEXT, "__rendered_content": _TEXT})


_GIVERS: Final[dict[str, Callable[[Mapping[str, Any]], Outputs]]] = {
    "start": _start,
    "end": _fixed(),
    "answer": _fixed(answer=_TEXT, files=Value("array[file]", FILE.keys)),
    "llm": _llm,
    "knowledge-retrieval": _fixed(result=Value("array[object]"), files=Value("array[file]", FILE.keys)),
    "knowledge-index": _fixed(),
    "if-else": _fixed(result=Value("boolean"), selected_case_id=_TEXT),
    "code": _code,
    "template-transform": _fixed(output=_TEXT),
    "question-classifier": _fixed(class_name=_TEXT, class_id=_TEXT, class_label=_TEXT, usage=Value("object")),
    "http-request": _fixed(
        body=_TEXT, status_code=_NUMBER, headers=Value("object"), files=Value("array[file]", FILE.keys)
    ),
    "tool": _tool,
    "agent": _agent,
    "variable-aggregator": _aggregator,
    "variable-assigner": _aggregator,
    "assigner": _fixed(),
    "parameter-extractor": _extractor,
    "iteration": _iteration,
    "iteration-start": _fixed(),
    "loop": _loop,
    "loop-start": _fixed(),
    "loop-end": _fixed(),
    "document-extractor": _documents,
    "list-operator": _list,
    "human-input": _form,
    "trigger-webhook": _webhook,
    "trigger-plugin": _plugin_trigger,
}
