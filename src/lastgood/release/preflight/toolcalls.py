"""How a document calls other workflows that are published as tools: with which arguments, of which types."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from lastgood.dsl.index import Index, Node, mapping, text
from lastgood.dsl.references import References

_TYPES: Final = {"array[any]": "array<any>", "integer": "number", "float": "number"}


@dataclass(frozen=True, slots=True)
class Argument:
    """What is passed for an input: a ``constant`` with its value, or a value that the run makes, of which only the
    type is known (as `dsl.shapes` names it; ``""``: not even that)."""

    form: Literal["constant", "made"]
    value: Any = None
    type: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A node that calls a workflow tool. `provider` is the target's id of it. `arguments` is None where an agent's
    model chooses them."""

    node: str
    provider: str
    provider_name: str
    tool: str
    arguments: Mapping[str, Argument] | None


def calls_of(index: Index, references: References, reached: frozenset[str]) -> tuple[ToolCall, ...]:
    """The calls of workflow tools by nodes that a run can reach, in canvas order."""
    return tuple(call for node in index.nodes.values() if node.id in reached for call in _calls(node, references))


def _calls(node: Node, references: References) -> Iterator[ToolCall]:
    data = node.data
    if node.type == "tool" and data.get("provider_type") == "workflow":
        # Inputs that a tool's builder marked as settings stand in the configurations.
        given = {**mapping(data.get("tool_configurations")), **mapping(data.get("tool_parameters"))}
        arguments = {name: found for name, one in given.items() if (found := _argument(one, node, references))}
        names = (text(data.get("provider_id")), text(data.get("provider_name")), text(data.get("tool_name")))
        yield ToolCall(node.title, *names, arguments)
    if node.type == "agent":
        tools = mapping(mapping(data.get("agent_parameters")).get("tools")).get("value")
        for tool in tools if isinstance(tools, list) else ():
            one = mapping(tool)
            if (one.get("type") or one.get("provider_type")) == "workflow" and one.get("enabled") is not False:
                provider = text(one.get("provider_name"))
                yield ToolCall(node.title, provider, provider, text(one.get("tool_name")), None)


def _argument(given: Any, node: Node, references: References) -> Argument | None:
    """What is passed, None where nothing is: a field that was left empty is not sent."""
    if not isinstance(given, dict) or "value" not in given:
        return None if given in (None, "") else Argument("constant", given)
    form, value = given.get("type"), given["value"]
    if value in (None, "", []):
        return None
    if form == "variable" and isinstance(value, list):
        found, problem = references.resolve(tuple(map(str, value)), node.id)
        return Argument("made", type=_type(found.type) if found and not problem else "")
    if form == "mixed" and isinstance(value, str) and "{{" in value:
        return Argument("made", type="string")
    return Argument("constant", value)


def _type(name: str) -> str:
    """A document's type as shapes name it."""
    if name.startswith("array["):
        return _TYPES.get(name) or f"array<{_type(name[6:-1])}>"
    return _TYPES.get(name, name if name != "any" else "")
