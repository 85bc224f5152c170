"""Rules on what goes in and what comes out: inputs, outputs, and variables beside the nodes."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

from lastgood.dsl.document import Document
from lastgood.dsl.index import Node, text
from lastgood.dsl.interface import InputField, check_inputs, inputs
from lastgood.dsl.lint.rules import Problem, Rule, Subject, listed, quoted
from lastgood.dsl.lint.texts import bare_names
from lastgood.dsl.outputs import Value, value_of

UNUSED_INPUT: Final = Rule(
    "unused-input",
    "warning",
    "Nothing uses an input.",
    "Callers are asked for something that changes nothing. For an input that is not required this is an info.",
    "a required `language` that no node refers to",
)
DUPLICATE_INPUT: Final = Rule(
    "duplicate-input",
    "error",
    "Two inputs have one name.",
    "Callers can give one value only.",
    "`variables: [{variable: q}, {variable: q}]`",
)
REFUSED_DEFAULT: Final = Rule(
    "refused-default",
    "warning",
    "The default of an input is not accepted as its value.",
    "A caller that leaves the input out gets an error.",
    "a select with the options `a` and `b`, and the default `c`",
)
NO_OPTIONS: Final = Rule(
    "select-without-options",
    "error",
    "A select has nothing to choose from.",
    "No value is accepted.",
    "`{type: select, options: []}`",
)
DUPLICATE_OUTPUT: Final = Rule(
    "duplicate-output",
    "error",
    "An end node gives two outputs of one name.",
    "Only one of them arrives.",
    "`outputs: [{variable: result}, {variable: result}]`",
)
OUTPUT_TYPES: Final = Rule(
    "output-types-differ",
    "warning",
    "Two end nodes give an output of one name with different types.",
    "Callers must tell the two apart.",
    "`result` is a text in one end node and a list in another",
)
OUTPUTS_DIFFER: Final = Rule(
    "outputs-differ",
    "info",
    "The end nodes of a workflow do not give the same outputs.",
    "An output that callers rely on is absent on some runs.",
    "`result` in one end node, `error` in another",
)
NO_OUTPUTS: Final = Rule(
    "end-without-outputs",
    "info",
    "An end node gives nothing.",
    "Callers learn no more than that the run succeeded.",
    "`{type: end, outputs: []}`",
)
UNUSED_VARIABLE: Final = Rule(
    "unused-variable",
    "info",
    "Nothing uses an environment or conversation variable.",
    "It is kept, exported and asked for when secrets are set, for nothing. A conversation variable that is only "
    "written is unused, too.",
    "an environment variable `OLD_HOST` that no node refers to",
)
RULES: Final = (
    *(UNUSED_INPUT, DUPLICATE_INPUT, REFUSED_DEFAULT, NO_OPTIONS),
    *(DUPLICATE_OUTPUT, OUTPUT_TYPES, OUTPUTS_DIFFER, NO_OUTPUTS, UNUSED_VARIABLE),
)

_FILES: Final = frozenset({"file", "file-list"})
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    yield from _inputs(subject)
    yield from _outputs(subject)
    yield from _variables(subject)


def _inputs(subject: Subject) -> Iterator[Problem]:
    if not subject.document.has_graph:
        return
    start = next(iter(subject.index.of_type("start")), None)
    if start is None:
        return
    # What a text only seems to name is told there.
    meant = {name for node in subject.index.nodes.values() for _, names in bare_names(node) for name in names}
    passed = _opening(subject.document) | meant
    places = {text(form.get("variable")): i for i, form in reversed(_numbered(start.data.get("variables")))}
    used = {found.selector[1] for found in subject.references.users(start.id) if len(found.selector) > 1}
    whole = any(found.selector == (start.id,) for found in subject.references.all)
    counts = Counter(field.name for field in inputs(subject.document))
    for field in {field.name: field for field in inputs(subject.document)}.values():
        path = f".variables[{places.get(field.name, 0)}]"
        if counts[field.name] > 1:
            yield DUPLICATE_INPUT.at(start, path, f"{counts[field.name]} inputs have the name {quoted(field.name)}.")
        if field.name not in used | passed and not whole:
            asked = "must be given" if field.required else "may be given"
            sentence = f"The input {quoted(field.name)} {asked}, and nothing uses it."
            yield UNUSED_INPUT.at(start, path, sentence, None if field.required else "info")
        yield from _field(start, path, field)


def _opening(document: Document) -> set[str]:
    """The inputs that a chat's first words and suggestions name."""
    features = document.features
    suggested = features.get("suggested_questions")
    texts = [text(features.get("opening_statement")), *(suggested if isinstance(suggested, list) else ())]
    return {name for said in texts for name in _PLACEHOLDER.findall(text(said))}


def _field(start: Node, path: str, field: InputField) -> Iterator[Problem]:
    if field.type == "select" and not field.options:
        yield NO_OPTIONS.at(start, path, f"The input {quoted(field.name)} has nothing to choose from.")
    elif field.default not in (None, "") and field.type not in _FILES:
        form: dict[str, Any] = {"variable": field.name, "type": field.type}
        form |= {"options": list(field.options), "max_length": field.max_length}
        alone = {"nodes": [{"id": "start", "data": {"type": "start", "variables": [form]}}]}
        document = Document({"app": {"mode": "workflow"}, "workflow": {"graph": alone}})
        if check_inputs(document, {field.name: field.default}):
            yield REFUSED_DEFAULT.at(
                start, path, f"The default of {quoted(field.name)} is not accepted as its value."
            )


def _outputs(subject: Subject) -> Iterator[Problem]:
    ends = [node for node in subject.index.of_type("end") if node.id in subject.flow.reachable]
    types: dict[str, dict[str, list[Node]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, set[str]] = {}
    for end in ends:
        given = list(_given(subject, end))
        names[end.id] = {name for name, _ in given}
        counts = Counter(name for name, _ in given)
        for name, count in counts.items():
            if count > 1:
                yield DUPLICATE_OUTPUT.at(end, ".outputs", f"{count} outputs have the name {quoted(name)}.")
        if not given:
            yield NO_OUTPUTS.at(end, ".outputs", f"{quoted(end.title)} gives nothing.")
        for name, value in given:
            if value.type:
                types[name][value.type].append(end)
    for name, by_type in types.items():
        if len(by_type) > 1 and _enders(by_type) > 1:
            told = [f"{kind} in {quoted(nodes[0].title)}" for kind, nodes in by_type.items()]
            last = list(by_type.values())[-1][0]
            yield OUTPUT_TYPES.at(last, ".outputs", f"The output {quoted(name)} is {listed(told)}.")
    every = set().union(*names.values())
    for end in ends:
        missing = sorted(every - names[end.id])
        if missing and names[end.id]:
            absent = listed([quoted(name) for name in missing])
            yield OUTPUTS_DIFFER.at(end, ".outputs", f"{quoted(end.title)} does not give {absent}, as others do.")


def _enders(by_type: dict[str, list[Node]]) -> int:
    return len({node.id for nodes in by_type.values() for node in nodes})


def _given(subject: Subject, end: Node) -> Iterator[tuple[str, Value]]:
    feeding = {found.path: found for found in subject.references.used_by(end.id)}
    for i, output in _numbered(end.data.get("outputs")):
        found = feeding.get(f"{end.path}.data.outputs[{i}].value_selector")
        value = found.value if found and found.value else value_of(output.get("value_type"))
        if text(output.get("variable")):
            yield text(output.get("variable")), value


def _numbered(items: Any) -> list[tuple[int, dict[str, Any]]]:
    return [(i, item) for i, item in enumerate(items) if isinstance(item, dict)] if isinstance(items, list) else []


def _variables(subject: Subject) -> Iterator[Problem]:
    workflow = subject.document.workflow
    for first, part, kind in (
        ("env", "environment_variables", "environment"),
        ("conversation", "conversation_variables", "conversation"),
    ):
        for i, item in _numbered(workflow.get(part)):
            name = text(item.get("name"))
            users = subject.references.users(first, name)
            if name and all(found.form == "written" for found in users) and subject.document.has_graph:
                verb = "Only written, and never read, is" if users else "Nothing uses"
                sentence = f"{verb} the {kind} variable {quoted(name)}."
                yield UNUSED_VARIABLE.at(None, f"workflow.{part}[{i}]", sentence)
