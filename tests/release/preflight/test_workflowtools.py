"""Other workflows that are called as tools: what is passed, and what they take."""

from typing import Any

import pytest

from dsl.documents import node
from lastgood.dsl.shapes import Interface, interface_of
from lastgood.release.preflight.content import content_of
from lastgood.release.preflight.facts import Called, Callee, Unknown
from lastgood.release.preflight.toolcalls import Argument, ToolCall

from .small import facts, field, flow, found, told, tool, variable, verdicts


def passing(**parameters: Any) -> ToolCall:
    """The call that a tool node with these parameters makes."""
    document = flow(
        node("work", "code", outputs={"n": {"type": "number"}, "xs": {"type": "array[string]"}}),
        tool("workflow", tool_name="billing", tool_parameters=parameters),
        conversation_variables=[variable("memo", "string")],
    )
    (call,) = content_of(document).calls
    return call


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"type": "constant", "value": "2"}, Argument("constant", "2")),
        ({"type": "mixed", "value": "plain"}, Argument("constant", "plain")),
        ({"type": "mixed", "value": "{{#work.n#}}"}, Argument("made", type="string")),
        ({"type": "variable", "value": ["work", "n"]}, Argument("made", type="number")),
        ({"type": "variable", "value": ["work", "xs"]}, Argument("made", type="array<string>")),
        ({"type": "variable", "value": ["gone", "n"]}, Argument("made", type="")),
        ({"type": "mixed", "value": ""}, None),
        ({"type": "variable", "value": []}, None),
        ("2", Argument("constant", "2")),
        (None, None),
    ],
)
def test_what_is_passed(given: Any, argument: Argument | None) -> None:
    assert passing(x=given).arguments == ({} if argument is None else {"x": argument})


def test_what_stands_among_the_settings_is_passed_too() -> None:
    use = tool("workflow", tool_configurations={"x": {"type": "constant", "value": 1}})
    (call,) = content_of(flow(use)).calls
    assert call.arguments == {"x": Argument("constant", 1)}


def test_an_agents_tools_are_calls_without_arguments() -> None:
    tools = [
        {"type": "workflow", "provider_name": "id-1", "tool_name": "billing"},
        {"type": "workflow", "provider_name": "id-2", "tool_name": "off", "enabled": False},
        {"type": "builtin", "provider_name": "id-3", "tool_name": "other"},
    ]
    agent = node("act", "agent", agent_parameters={"tools": {"value": tools}})
    assert content_of(flow(agent)).calls == (ToolCall("Agent", "id-1", "id-1", "billing", None),)


def taking(*fields: dict[str, Any]) -> Interface:
    return interface_of(flow(inputs=fields))


CONSTANT = {"type": "constant", "value": "x"}
NUMBER = {"type": "variable", "value": ["work", "n"]}


@pytest.mark.parametrize(
    ("call", "interface", "broken", "says"),
    [
        (passing(a=CONSTANT), taking(field("a")), False, "passes what billing (v-1) takes"),
        (passing(), taking(field("a")), False, "passes what"),
        (passing(), taking(field("a", required=True)), True, "a is required in input form, and nothing is passed"),
        (passing(a=CONSTANT), taking(field("a", "number")), True, "a in input form must be a valid number"),
        (passing(a={"type": "constant", "value": "2"}), taking(field("a", "number")), False, "passes what"),
        (passing(a=NUMBER), taking(field("a", "number")), False, "passes what"),
        (passing(a={"type": "variable", "value": ["gone", "n"]}), taking(field("a", required=True)), False, "passes"),
    ],
)
def test_a_callee_that_is_known_for_certain(call: ToolCall, interface: Interface, broken: bool, says: str) -> None:
    callees = (Callee("billing", certain=True, version="v-1", interface=interface),)
    given = facts(called=(Called(call, callees),))
    assert verdicts("workflow-tools", given) == ("refuse" if broken else "pass")
    assert says in told("workflow-tools", given)
    doubtful = facts(called=(Called(call, (Callee("billing", False, "v-1", interface),)),))
    assert verdicts("workflow-tools", doubtful) == ("warn" if broken else "pass")
    assert ("(found by its name)" in told("workflow-tools", doubtful)) == broken


@pytest.mark.parametrize(
    ("call", "interface", "says"),
    [
        (passing(a=CONSTANT, b=CONSTANT), taking(field("a")), "it has no input “b”, which is passed"),
        (passing(a=NUMBER), taking(field("a")), "a in input form must be a string, and number is sent"),
        (passing(), None, "has no live version"),
    ],
)
def test_what_may_not_go(call: ToolCall, interface: Interface | None, says: str) -> None:
    given = facts(called=(Called(call, (Callee("billing", True, "v-1" if interface else None, interface),)),))
    assert verdicts("workflow-tools", given) == "warn"
    assert says in told("workflow-tools", given)


def test_a_workflow_that_is_not_kept_here() -> None:
    given = facts(called=(Called(passing(), ()),))
    assert verdicts("workflow-tools", given) == "warn"
    assert "calls the workflow tool “billing”, which is not kept here" in told("workflow-tools", given)


def test_other_answers() -> None:
    agent = ToolCall("Agent", "id", "id", "billing", None)
    may = facts(called=(Called(agent, (Callee("billing", True, "v-1", taking()),)),))
    assert found("workflow-tools", facts()) == [("pass", "v-20261101-01 calls no workflow as a tool.")]
    assert "its model chooses the arguments" in told("workflow-tools", may)
    assert verdicts("workflow-tools", facts(called=Unknown("odd"))) == "warn"
