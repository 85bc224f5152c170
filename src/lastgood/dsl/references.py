"""Where a document refers to a value, and what feeds each of these places."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

from lastgood.dsl.document import Document, mappings
from lastgood.dsl.index import Index, Node, id_of, mapping, step
from lastgood.dsl.outputs import RESERVED, Outputs, Value, inner_values, outputs, variables

type Problem = Literal["", "empty", "malformed", "unknown-node", "unknown-variable", "unknown-output", "unknown-key"]
type _Place = tuple[str, tuple[str, ...], Form]
type Form = Literal["template", "selector", "written"]

# What the engine takes for a reference in a text, and what people meant as one.
_SEEN: Final = re.compile(r"[a-zA-Z0-9_]{1,50}(?:\.[a-zA-Z_][a-zA-Z0-9_]{0,29}){1,10}")
_MEANT: Final = re.compile(r"\{\{(\s*)#([^{}\n]*?)#(\s*)\}\}")
# Places in a text that are no references: the engine fills them from settings of the node.
SPECIAL: Final = frozenset({"context", "histories", "query", "url", "files"})
_OWN_OUTPUT: Final = "$output."
# Names, notes and caches; code and Jinja templates, in which the engine puts nothing.
_NO_TEXT: Final = frozenset({"title", "desc", "type", "id", "code", "jinja2_text", "tool_label", "tool_description"})
# What Dify keeps in the data of a tool or an agent about the tools themselves.
_CACHES: Final = frozenset({"paramSchemas", "params", "output_schema", "schemas"})
_PLUGGED: Final = frozenset({"tool", "agent", "datasource"})
_OPTIONAL: Final = (".query_attachment_selector", ".model_selector")
_AGGREGATORS: Final = frozenset({"variable-aggregator", "variable-assigner"})


@dataclass(frozen=True, slots=True)
class Reference:
    """One place that names a value.

    `node` is the id of the node that it stands in and `path` leads to it; `selector` is the value's name in parts.
    Its `form` is a ``template`` (``{{#…#}}`` in a text), a ``selector``, or ``written``: a selector of what the node
    changes. An inactive one stands in a setting that is switched off or that nothing reads. `value` is what feeds
    it, None where `problem` says why nothing does."""

    node: str
    path: str
    selector: tuple[str, ...]
    form: Form
    active: bool
    value: Value | None
    problem: Problem

    @property
    def name(self) -> str:
        """The selector as templates write it."""
        return ".".join(self.selector)


class References:
    """Every reference of a document, in canvas order."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._outputs: dict[str, Outputs] = {}
        self._resolving: set[str] = set()

    @cached_property
    def all(self) -> tuple[Reference, ...]:
        return tuple(
            self._resolved(node, path, selector, form, active)
            for node in self.index.nodes.values()
            for (path, selector, form), active in _with_state(node)
        )

    def users(self, *selector: str) -> tuple[Reference, ...]:
        """Who uses this node (``users("1700")``), output (``users("1700", "text")``), variable or secret
        (``users("env", "API_KEY")``)."""
        named = self._by_first.get(selector[0], ()) if selector else self.all
        return tuple(found for found in named if found.selector[: len(selector)] == selector)

    def used_by(self, node_id: str) -> tuple[Reference, ...]:
        """What a node uses."""
        return tuple(self._by_node.get(node_id, ()))

    @cached_property
    def _by_first(self) -> Mapping[str, list[Reference]]:
        return _grouped((found.selector[0], found) for found in self.all if found.selector)

    @cached_property
    def _by_node(self) -> Mapping[str, list[Reference]]:
        return _grouped((found.node, found) for found in self.all)

    def outputs(self, node_id: str) -> Outputs:
        """What a node that exists gives to later ones."""
        if node_id not in self._outputs:
            self._outputs[node_id] = self._typed(self.index.nodes[node_id])
        return self._outputs[node_id]

    def resolve(self, selector: tuple[str, ...], reader: str = "") -> tuple[Value | None, Problem]:
        """The value that `selector` names for the node `reader`, or why there is none. Whether it has been
        produced when the node runs is another question (see `flow`)."""
        if len(selector) < 2 or not all(selector):
            return None, "empty"
        first = selector[0]
        if first in self.index.nodes:
            return self._from_node(self.index.nodes[first], selector[1], selector[2:], reader)
        return self._from_beside(*selector) if first in RESERVED else (None, "unknown-node")

    def _from_node(self, node: Node, name: str, keys: Iterable[str], reader: str) -> tuple[Value | None, Problem]:
        around = node.id in self.index.around(reader)
        inner = inner_values(node) if around or reader == node.id else {}
        given = self.outputs(node.id)
        if around and name == "item" and node.type == "iteration":
            return _inside(self._peek(node, node.data.get("iterator_selector")).item, keys)
        if name in inner or name in given.values:
            return _inside(inner.get(name) or given.values[name], keys)
        if node.type == "start" and name.startswith("sys."):  # as the first format wrote it
            return self._from_beside(*name.split("."))
        return (Value(), "") if given.open else (None, "unknown-output")

    def _from_beside(self, first: str, name: str, *keys: str) -> tuple[Value | None, Problem]:
        """A variable that no node produces."""
        if first == "rag" and keys:  # rag.<node or "shared">.<variable>
            name, keys = keys[0], keys[1:]
        beside = self._variables[first]
        return _inside(beside[name], keys) if name in beside else (None, "unknown-variable")

    @cached_property
    def _variables(self) -> Mapping[str, Mapping[str, Value]]:
        return variables(self.index.document)

    def _resolved(self, node: Node, path: str, selector: tuple[str, ...], form: Form, active: bool) -> Reference:
        value, problem = self.resolve(selector, node.id)
        if form == "template" and not _SEEN.fullmatch(".".join(selector)):
            problem, value = "malformed", None
        return Reference(node.id, path, selector, form, active, value, problem)

    def _typed(self, node: Node) -> Outputs:
        """The outputs of `node`, with what follows from other nodes where its own data does not say it."""
        given = outputs(node)
        if node.type == "list-operator" and not given.values["result"].type:
            array = self._peek(node, node.data.get("variable"))
            record = array.item
            return replace(given, values={**given.values, **_list_values(array, record)})
        if node.type == "iteration" and given.values["output"].type == "array[any]":
            made = self._peek(node, node.data.get("output_selector"))
            # An item that is a list may be flattened into the whole, so that its type is open.
            if made.type and not made.type.startswith("array"):
                return replace(given, values={**given.values, "output": Value(f"array[{made.type}]", made.keys)})
        return given

    def _peek(self, node: Node, selector: Any) -> Value:
        """What `selector` names, unknown where that leads back to `node`."""
        if node.id in self._resolving:
            return Value()
        self._resolving.add(node.id)
        try:
            return self.resolve(_parts(selector) or (), node.id)[0] or Value()
        finally:
            self._resolving.discard(node.id)


def references(document: Document) -> tuple[Reference, ...]:
    """Every reference in the graph of `document`, in canvas order."""
    return References(Index(document)).all


def _grouped(found: Iterable[tuple[str, Reference]]) -> Mapping[str, list[Reference]]:
    groups: dict[str, list[Reference]] = defaultdict(list)
    for key, reference in found:
        groups[key].append(reference)
    return groups


def _list_values(array: Value, record: Value) -> dict[str, Value]:
    return {"result": array, "first_record": record, "last_record": record}


def _inside(value: Value, keys: Iterable[str]) -> tuple[Value | None, Problem]:
    for key in keys:
        if value.keys is None and value.type in ("", "object"):
            return Value(), ""
        if value.keys is None or key not in value.keys or value.type.startswith("array"):
            return None, "unknown-key"
        value = value.keys[key]
    return value, ""


def _parts(value: Any) -> tuple[str, ...] | None:
    """`value` as a selector; ``()`` for an empty one, None for what is none."""
    if not isinstance(value, list) or not all(isinstance(part, str | int) for part in value):
        return None
    parts = tuple(map(id_of, value))
    return parts if any(parts) else ()


def _with_state(node: Node) -> Iterator[tuple[_Place, bool]]:
    """The places of `node` that name a value, each with whether the engine reads it."""
    switched_off = _SWITCHED_OFF.get(node.type)
    off = tuple(f"{node.path}.data.{part}" for part in (switched_off(node.data) if switched_off else ()))
    for place in _places(node):
        path, selector, _ = place
        active = not any(path.startswith(part) and path[len(part) :][:1] in ("", ".", "[") for part in off)
        if selector or (active and not path.endswith(_OPTIONAL)):
            yield place, active


def _places(node: Node) -> Iterator[_Place]:
    """Without recursion: documents may be deep."""
    yield from _own_places(node)
    waiting: list[tuple[str, str, Any]] = [(f"{node.path}.data", "", node.data)]
    caches = _CACHES if node.type in _PLUGGED else frozenset()
    no_text = _NO_TEXT | ({"template"} if node.type == "template-transform" else frozenset())
    while waiting:
        path, key, value = waiting.pop()
        if isinstance(value, str):
            yield from ((path, selector, "template") for selector in _templates(value))
        elif isinstance(value, dict):
            if value.get("edition_type") == "jinja2":
                value = {name: part for name, part in value.items() if name != "text"}
            if value.get("variable") == "" and value.get("value_selector") == []:
                continue  # a row that nobody filled in
            inner = [
                (step(path, name), name, part)
                for name, part in value.items()
                if name[:1] != "_" and name not in caches and not (isinstance(part, str) and name in no_text)
            ]
            waiting.extend(reversed(inner))
            if value.get("type") == "variable" and node.type in _PLUGGED and _parts(value.get("value")):
                yield step(path, "value"), _parts(value["value"]) or (), "selector"
        elif isinstance(value, list):
            selector = _parts(value)
            if key.endswith("selector"):
                yield path, selector or (), _form(node, key)
            else:
                waiting.extend(reversed([(step(path, i), "", part) for i, part in enumerate(value)]))


def _form(node: Node, key: str) -> Form:
    """An assigner writes to what these two keys name."""
    writes = key in ("variable_selector", "assigned_variable_selector")
    return "written" if node.type == "assigner" and writes else "selector"


def _templates(value: str) -> Iterator[tuple[str, ...]]:
    if "{{" not in value:
        return
    for before, inner, after in _MEANT.findall(value):
        if inner in SPECIAL or inner.startswith(_OWN_OUTPUT):
            continue
        parts = tuple(inner.split("."))
        # Spaces around make it no reference for the engine: kept in the name, so that it does not pass for one.
        yield (f"{before}{parts[0]}", *parts[1:-1], f"{parts[-1]}{after}") if before or after else parts


def _own_places(node: Node) -> Iterator[_Place]:
    """The selectors that only a node of this type has."""
    path, data = f"{node.path}.data", node.data
    found: list[tuple[str, Any]] = []
    if node.type in _AGGREGATORS:
        found += _each(f"{path}.variables", data.get("variables"))
        for i, group in enumerate(mappings(mapping(data.get("advanced_settings")).get("groups"))):
            found += _each(f"{path}.advanced_settings.groups[{i}].variables", group.get("variables"))
    elif node.type == "assigner":
        found += [
            (f"{path}.items[{i}].value", item.get("value"))
            for i, item in _numbered(data.get("items"))
            if item.get("input_type") == "variable"
        ]
    elif node.type == "loop":
        found += [
            (f"{path}.loop_variables[{i}].value", item.get("value"))
            for i, item in _numbered(data.get("loop_variables"))
            if item.get("value_type") == "variable"
        ]
    elif node.type == "parameter-extractor":
        found.append((f"{path}.query", data.get("query")))
    elif node.type == "list-operator":
        found.append((f"{path}.variable", data.get("variable")))
    elif node.type == "http-request":
        found += [
            (f"{path}.body.data[{i}].file", item.get("file"))
            for i, item in _numbered(mapping(data.get("body")).get("data"))
            if item.get("file")
        ]
    for at, value in found:
        selector = _parts(value)
        if selector is not None:
            yield at, selector, "selector"


def _each(path: str, items: Any) -> list[tuple[str, Any]]:
    return [(step(path, i), item) for i, item in enumerate(items if isinstance(items, list) else ())]


def _numbered(items: Any) -> list[tuple[int, dict[str, Any]]]:
    """The mappings of a list with their places in it."""
    return [(i, item) for i, item in enumerate(items if isinstance(items, list) else ()) if isinstance(item, dict)]


def _model_settings_off(data: Mapping[str, Any]) -> Iterator[str]:
    if not mapping(data.get("context")).get("enabled"):
        yield "context"
    if not mapping(data.get("vision")).get("enabled"):
        yield "vision"
    yield "variables"  # of the first format; nothing reads it
    yield "inputs"


def _agent_off(data: Mapping[str, Any]) -> Iterator[str]:
    tools = mapping(mapping(data.get("agent_parameters")).get("tools"))
    for i, tool in _numbered(tools.get("value")):
        if tool.get("enabled") is False:
            yield f"agent_parameters.tools.value[{i}]"


def _if_else_off(data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("cases") is not None:
        yield "conditions"


def _assigner_off(data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("items") is not None:
        yield from ("assigned_variable_selector", "input_variable_selector")
    elif data.get("write_mode") == "clear":
        yield "input_variable_selector"


def _aggregator_off(data: Mapping[str, Any]) -> Iterator[str]:
    yield "variables" if mapping(data.get("advanced_settings")).get("group_enabled") else "advanced_settings"


def _http_off(data: Mapping[str, Any]) -> Iterator[str]:
    yield "variables"
    if mapping(data.get("authorization")).get("type") == "no-auth":
        yield "authorization"
    if mapping(data.get("body")).get("type") in (None, "none"):
        yield "body"


def _list_off(data: Mapping[str, Any]) -> Iterator[str]:
    for part in ("filter_by", "extract_by", "order_by", "limit"):
        if not mapping(data.get(part)).get("enabled"):
            yield part


def _form_off(data: Mapping[str, Any]) -> Iterator[str]:
    for i, method in _numbered(data.get("delivery_methods")):
        if method.get("enabled") is False:
            yield f"delivery_methods[{i}]"


_SWITCHED_OFF: Final[dict[str, Callable[[Mapping[str, Any]], Iterable[str]]]] = {
    "llm": _model_settings_off,
    "question-classifier": _model_settings_off,
    "parameter-extractor": _model_settings_off,
    "answer": lambda data: ("variables",),
    "code": lambda data: ("inputs",),
    "agent": _agent_off,
    "if-else": _if_else_off,
    "assigner": _assigner_off,
    "variable-aggregator": _aggregator_off,
    "variable-assigner": _aggregator_off,
    "http-request": _http_off,
    "list-operator": _list_off,
    "human-input": _form_off,
}
