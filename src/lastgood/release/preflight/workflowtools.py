"""Other workflows that the version calls as tools: kept here, live, and taking the arguments that are passed?"""

from collections.abc import Iterator, Mapping
from typing import Final

from lastgood.dsl.interface import InputField, problem_of
from lastgood.dsl.rules import quoted
from lastgood.dsl.shapes import FILES, QUERY, Interface, check_inputs
from lastgood.release.preflight.facts import Answer, Called, Callee, Facts, known
from lastgood.release.preflight.toolcalls import Argument, ToolCall

# What Dify's tools take beside the inputs.
_BESIDE: Final = frozenset({QUERY, FILES, "query", "files"})


def workflow_tools(facts: Facts) -> Iterator[Answer]:
    """One answer for each call and each workflow that it may mean."""
    called = known(facts.called)
    if not called:
        yield Answer("pass", f"{facts.to.version} calls no workflow as a tool.")
    for one in called:
        yield from _of_call(facts, one)


def _of_call(facts: Facts, called: Called) -> Iterator[Answer]:
    call, to = called.call, facts.to.version
    name = call.tool or call.provider_name or call.provider
    if not called.callees:
        yield Answer(
            "warn",
            f"The node {quoted(call.node)} of {to} calls the workflow tool {quoted(name)}, which is not kept here: "
            f"look on {facts.target.name} that it is there and takes what is passed.",
            f"{name} by {call.node}",
        )
    for callee in called.callees:
        yield _of_callee(to, call, callee, f"{callee.slug} by {call.node}")


def _of_callee(to: str, call: ToolCall, callee: Callee, about: str) -> Answer:
    node = f"The node {quoted(call.node)} of {to}"
    if callee.interface is None:
        return Answer(
            "warn",
            f"{node} calls {callee.slug}, which has no live version that can be read. Publish one, or go to another "
            "version.",
            about,
        )
    which = f"{callee.slug} ({callee.version})"
    if call.arguments is None:
        return Answer(
            "pass", f"{node} may call {which}; its model chooses the arguments, so nothing is checked.", about
        )
    broken, doubtful = problems(call.arguments, callee.interface)
    if broken and callee.certain:
        return Answer(
            "refuse",
            f"{node} calls {which}, and that would refuse it: {'; '.join(broken)}. Roll {callee.slug} back too, or "
            "go to another version.",
            about,
        )
    if broken or doubtful:
        found = "" if callee.certain else " (found by its name)"
        return Answer(
            "warn",
            f"{node} calls {which}{found}, which may not go: {'; '.join((*broken, *doubtful))}. Try it.",
            about,
        )
    return Answer("pass", f"{node} passes what {which} takes.", about)


def problems(arguments: Mapping[str, Argument], interface: Interface) -> tuple[list[str], list[str]]:
    """What is certainly wrong with `arguments` for a workflow, and what may be."""
    broken, doubtful = [], []
    fields = {field.name: field for field in interface.inputs}
    for name, field in fields.items():
        if name not in arguments and (said := problem_of(field, None)):
            broken.append(f"{said}, and nothing is passed")
    for name, argument in arguments.items():
        if name not in fields:
            if name not in _BESIDE:
                doubtful.append(f"it has no input {quoted(name)}, which is passed")
        elif argument.form == "constant":
            # Forms write numbers and switches as text, which the inputs read.
            if said := problem_of(fields[name], argument.value):
                broken.append(said)
        elif argument.type:
            doubtful += _made(fields[name], argument.type, interface)
    return broken, doubtful


def _made(field: InputField, kind: str, interface: Interface) -> Iterator[str]:
    """What may be wrong with a value of the type `kind`: tools turn some types into others, so nothing is certain."""
    alone = Interface("workflow", (field,), {}, interface.takes_files)
    found = check_inputs({field.name: kind}, alone)
    return (one.message for one in found if one.verdict == "broken" or kind != "string")
