"""Rules on references: what names nothing, what is not there yet, what has the wrong type."""

from collections.abc import Iterator
from typing import Final, Literal

from lastgood.dsl.document import mappings
from lastgood.dsl.flow import Arrival
from lastgood.dsl.index import FAIL_BRANCH, Node, mapping, text
from lastgood.dsl.lint.rules import Problem, Rule, Subject, listed, quoted
from lastgood.dsl.lint.texts import bare_names, prompts
from lastgood.dsl.lint.ways import when
from lastgood.dsl.outputs import ERRORS, inner_values
from lastgood.dsl.references import Reference

type Effect = Literal["fails", "shows", "null", "empty", "none"]

UNKNOWN_NODE: Final = Rule(
    "unknown-node",
    "error",
    "A reference names a node that is not there.",
    "The engine finds no value: the node fails, gets null, or shows the bare name.",
    "`{{#1700000000009.text#}}` after that node was deleted",
)
UNKNOWN_OUTPUT: Final = Rule(
    "unknown-output",
    "error",
    "A reference names an output that its node does not give.",
    "As for a node that is not there. Node types and tools whose outputs the document does not tell are left alone.",
    "`{{#1700000000001.output#}}` of an `llm`, which gives `text`",
)
UNKNOWN_VARIABLE: Final = Rule(
    "unknown-variable",
    "error",
    "A reference names an environment, conversation or system variable that is not there.",
    "As for a node that is not there. `sys.query` and its like exist in chatflows only.",
    "`{{#env.API_HOST#}}` with no such environment variable",
)
UNKNOWN_KEY: Final = Rule(
    "unknown-key",
    "error",
    "A reference goes into a value that has no such key.",
    "A text, a number or a list has no keys, an object with a declared shape only those; the engine finds no value.",
    "`{{#1700000000001.text.name#}}`: `text` is a text",
)
MALFORMED: Final = Rule(
    "malformed-reference",
    "error",
    "Something that looks like a reference is none for the engine.",
    "The text stays as it is, braces included. The id of a node may hold letters, digits and underscores (at most "
    "50), a name in it must begin with a letter or underscore (at most 30 characters); no spaces.",
    "`{{#my-node.text#}}`, `{{# 1700.text #}}`",
)
EMPTY: Final = Rule(
    "empty-selector",
    "error",
    "A setting that must name a value names none.",
    "The engine finds no value: the node fails or gets null.",
    "`value_selector: []`",
)
TOO_EARLY: Final = Rule(
    "used-before-produced",
    "error",
    "A node uses a value that is never there when it runs.",
    "Its producer comes later, on a path apart, is the node itself, or keeps its values inside an iteration or loop; "
    "or the value exists only if the producer succeeds (fails), and this node only follows its failure (success).",
    "a prompt that names the output of a node behind it",
)
MAYBE_UNSET: Final = Rule(
    "may-be-unset",
    "warning",
    "A node uses a value that some runs do not produce, and fails then or shows the bare name.",
    "Models, conditions, iterations, loops and assigners fail on a value that is not there; answers, HTTP requests "
    "and tools show its name in its place. A variable aggregator may join branches.",
    "an answer that names the output of one branch, behind the place where two branches meet",
)
MAYBE_NULL: Final = Rule(
    "may-be-null",
    "info",
    "A node uses a value that some runs do not produce, and gets null then.",
    "Often meant, if the code, the template or the caller is ready for it.",
    "an end node that names an output of each of two branches",
)
AGGREGATES_NOTHING: Final = Rule(
    "aggregator-may-be-empty",
    "warning",
    "A run can get to a variable aggregator and produce none of its values.",
    "The aggregator then has no output, and what uses it fails.",
    "an aggregator behind three branches that names the outputs of two",
)
WRONG_TYPE: Final = Rule(
    "wrong-type",
    "error",
    "A node gets a value of a type that it cannot take.",
    "An iteration and a list operator need a list, a document extractor and a vision model files. Only values whose "
    "type is certain are looked at.",
    "an iteration over the `text` of a model",
)
CONSTANT: Final = Rule(
    "write-to-constant",
    "error",
    "An assigner writes to something that cannot be changed.",
    "Only conversation variables, and inside a loop its variables, can be.",
    "`variable_selector: [env, API_HOST]`",
)
CONTEXT_OFF: Final = Rule(
    "context-switched-off",
    "warning",
    "A prompt has a place for the context, and the context is switched off.",
    "The place stays empty.",
    "`{{#context#}}` in a prompt, and `context: {enabled: false}`",
)
CONTEXT_UNUSED: Final = Rule(
    "context-unused",
    "warning",
    "A context is given to a model, and no prompt has a place for it.",
    "The model never sees what was retrieved. Where a prompt names the same value itself, this is an info: the model "
    "sees it, and only the setting is idle.",
    "`context: {enabled: true}` without `{{#context#}}` in a prompt",
)
DEFAULT_MISSING: Final = Rule(
    "default-value-missing",
    "warning",
    "A node has default values for its failure, and none for an output that others use.",
    "After a failure that output is not there.",
    "`error_strategy: default-value` with a value for `body`, and a later use of `status_code`",
)
BARE_NAME: Final = Rule(
    "bare-name",
    "warning",
    "A text has the name of an input or variable in double braces, which is no reference there.",
    "The text stays as it is. A reference has `#` and says where the value comes from; a bare name means "
    "something in Jinja templates only.",
    "`{{language}}` in a prompt, in place of `{{#1700000000001.language#}}`",
)
RULES: Final = (
    *(UNKNOWN_NODE, UNKNOWN_OUTPUT, UNKNOWN_VARIABLE, UNKNOWN_KEY, MALFORMED, EMPTY, TOO_EARLY, MAYBE_UNSET),
    *(MAYBE_NULL, AGGREGATES_NOTHING, WRONG_TYPE, CONSTANT, CONTEXT_OFF, CONTEXT_UNUSED, DEFAULT_MISSING, BARE_NAME),
)

_UNRESOLVED: Final = {rule.id: rule for rule in (UNKNOWN_NODE, UNKNOWN_OUTPUT, UNKNOWN_VARIABLE, UNKNOWN_KEY)}
_AGGREGATORS: Final = frozenset({"variable-aggregator", "variable-assigner"})
_CONTEXT: Final = "{{#context#}}"
# What comes of a value that is not there, by node type: in a selector, and in a text.
_EFFECTS: Final[dict[str, tuple[Effect, Effect]]] = {
    "llm": ("fails", "fails"),
    "if-else": ("fails", "shows"),
    "loop": ("fails", "shows"),
    "iteration": ("fails", "shows"),
    "assigner": ("fails", "shows"),
    "list-operator": ("fails", "shows"),
    "document-extractor": ("fails", "shows"),
    "knowledge-retrieval": ("fails", "shows"),
    "question-classifier": ("empty", "shows"),
    "parameter-extractor": ("empty", "shows"),
    "variable-aggregator": ("none", "none"),
    "variable-assigner": ("none", "none"),
    "code": ("null", "shows"),
    "template-transform": ("null", "shows"),
    "end": ("null", "shows"),
}
_LISTS: Final = {"iteration": ".data.iterator_selector", "list-operator": ".data.variable"}
_COMES: Final[dict[Effect, str]] = {
    "fails": "the node fails",
    "shows": "the bare name is put in its place",
    "null": "null is put in its place",
    "empty": "an empty text is put in its place",
    "none": "it is passed over",
}
_NEVER: Final = {
    "later": "{what} is produced only after this node",
    "apart": "no path leads from {who} to this node",
    "inside": "{what} stays inside the iteration or loop that {who} is in",
    "itself": "{what} is produced by this node itself",
    "failure": "{who} gives {what} when it succeeds, and this node only follows its failure",
    "success": "{who} gives {what} when it fails, and this node only follows its success",
}


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    for found in subject.used:
        yield from _unresolved(subject, found) if found.problem else _arriving(subject, found)
        yield from _mistyped(subject, found)
    for node in subject.index.nodes.values():
        yield from _context(node)
        yield from _bare(subject, node)
        if node.type in _AGGREGATORS and node.id in subject.flow.reachable:
            yield from _aggregated(subject, node)
        if node.data.get("error_strategy") == "default-value":
            yield from _defaults(subject, node)


def effect(node: Node, found: Reference) -> Effect:
    """What comes of `found` not being there when `node` runs."""
    in_selector, in_text = _EFFECTS.get(node.type, ("shows", "shows"))
    if ".context." in found.path or ".vision." in found.path:
        return "empty"
    if node.type == "iteration" and found.path.endswith(".output_selector"):
        return "null"
    return in_text if found.form == "template" else in_selector


def _unresolved(subject: Subject, found: Reference) -> Iterator[Problem]:
    node, name = subject.index.nodes[found.node], quoted(found.name)
    comes = _COMES[effect(node, found)]
    if found.problem == "empty":
        setting = found.path.rpartition(".")[2]
        yield EMPTY.at(node, found.path, f"{quoted(setting)} names no value: {comes}.")
    elif found.problem == "malformed":
        sentence = f"{{{{#{found.name}#}}}} is no reference for the engine, and stays in the text as it is."
        yield MALFORMED.at(node, found.path, sentence)
    else:
        rule = _UNRESOLVED[found.problem]
        first, rest = found.selector[0], ".".join(found.selector[1:])
        why = {
            "unknown-node": f"no node has the id {quoted(first)}",
            "unknown-variable": f"there is no variable {name}" + _only_in_chats(found),
            "unknown-output": f"{_who(subject, first)} gives no {quoted(rest)}",
            "unknown-key": f"{_who(subject, first)} gives no {quoted(rest)}",
        }[found.problem]
        # A newer Dify may have more system variables; those of chats it will not give to workflows.
        newer = found.problem == "unknown-variable" and first == "sys" and not _only_in_chats(found)
        yield rule.at(node, found.path, f"{name} names nothing ({why}): {comes}.", "warning" if newer else None)


def _only_in_chats(found: Reference) -> str:
    chats = ("sys.query", "sys.conversation_id", "sys.dialogue_count")
    return " in a workflow, only in a chatflow" if found.name in chats else ""


def _who(subject: Subject, first: str) -> str:
    return subject.named(first) if first in subject.index.nodes else first


def _arriving(subject: Subject, found: Reference) -> Iterator[Problem]:
    node = subject.index.nodes[found.node]
    comes = effect(node, found)
    if found.form == "written":
        yield from _written(subject, node, found)
        return
    if comes == "none":  # passed over when it is not there: what matters is whether it ever is
        reason = subject.flow.never(found)
        arrival = Arrival("never", reason) if reason else Arrival("always")
    else:
        arrival = subject.flow.arrival(found)
    if arrival.certainty == "never":
        why = _NEVER[arrival.reason].format(what=quoted(found.name), who=_who(subject, found.selector[0]))
        yield TOO_EARLY.at(node, found.path, f"{why[:1].upper()}{why[1:]}: {_COMES[comes]}.")
    elif arrival.certainty == "sometimes":
        rule = MAYBE_UNSET if comes in ("fails", "shows") else MAYBE_NULL
        missing = f"{_producer(subject, found, arrival)} has not produced {quoted(found.name)}"
        yield rule.at(node, found.path, f"{missing}{when(subject.index, arrival.way)}: {_COMES[comes]}.")


def _producer(subject: Subject, found: Reference, arrival: Arrival) -> str:
    who = _who(subject, found.selector[0])
    return f"Unless it failed, {who}" if arrival.reason == "success" else who


def _written(subject: Subject, node: Node, found: Reference) -> Iterator[Problem]:
    first, name = found.selector[:2]
    producer = subject.index.nodes.get(first)
    own = producer is not None and producer.type == "loop" and first in subject.index.around(node.id)
    if first != "conversation" and not (producer and own and name in inner_values(producer)):
        yield CONSTANT.at(node, found.path, f"{quoted(found.name)} cannot be written: the node fails.")


def _mistyped(subject: Subject, found: Reference) -> Iterator[Problem]:
    node, kind = subject.index.nodes[found.node], found.value.type if found.value else ""
    needs = ""
    if found.path.endswith(_LISTS.get(node.type, "?")):
        needs = "" if kind.startswith("array") else "a list is"
    elif (node.type == "document-extractor" or ".vision." in found.path) and found.form == "selector":
        needs = "" if kind in ("file", "array[file]", "array[any]") else "files are"
    if kind and needs:
        yield WRONG_TYPE.at(node, found.path, f"{quoted(found.name)} is of type {kind}, and {needs} needed.")


def _context(node: Node) -> Iterator[Problem]:
    if node.type != "llm":
        return
    context = mapping(node.data.get("context"))
    places = [path for path, prompt in prompts(node) if _CONTEXT in prompt]
    if places and not context.get("enabled"):
        yield CONTEXT_OFF.at(node, places[0], "The prompt has a place for the context, which is switched off.")
    elif context.get("enabled") and context.get("variable_selector") and not places:
        given = context["variable_selector"]
        name = ".".join(map(str, given)) if isinstance(given, list) else ""
        # Named in a prompt of its own accord, it gets to the model all the same.
        named = name and any(f"{{{{#{name}" in prompt for _, prompt in prompts(node))
        sentence = "The context is given, and no prompt has {{#context#}} to hold it"
        also = f" (one names {quoted(name)} itself)" if named else ""
        yield CONTEXT_UNUSED.at(node, ".context", f"{sentence}{also}.", "info" if named else None)


def _bare(subject: Subject, node: Node) -> Iterator[Problem]:
    for path, names in bare_names(node):
        meant = [f"{{{{{name}}}}}" for name in names if name in subject.variable_names]
        if meant:
            verb = "is no reference here, and stays" if len(meant) == 1 else "are no references here, and stay"
            yield BARE_NAME.at(node, path, f"{listed(meant)} {verb} in the text as written.")


def _aggregated(subject: Subject, node: Node) -> Iterator[Problem]:
    groups: dict[str, list[Reference]] = {}
    for found in subject.references.used_by(node.id):
        if found.active:
            groups.setdefault(found.path.rpartition(".variables")[0], []).append(found)
    for path, sources in groups.items():
        known = [found.selector for found in sources if not found.problem]
        way = subject.flow.without(node.id, known)
        if way is not None and known:
            sentence = (
                f"No value of {quoted(node.title)} has been produced{when(subject.index, way)}: it has no output."
            )
            yield AGGREGATES_NOTHING.at(node, f"{path}.variables", sentence)


def _defaults(subject: Subject, node: Node) -> Iterator[Problem]:
    given = {text(item.get("key")) for item in mappings(node.data.get("default_value"))} | ERRORS.keys()
    after_failure = any(edge.handle != FAIL_BRANCH for edge in subject.index.outgoing[node.id])
    used = [found.selector[1] for found in subject.references.users(node.id) if found.active and not found.problem]
    for name in dict.fromkeys(used):
        if name not in given and after_failure:
            yield DEFAULT_MISSING.at(
                node, ".default_value", f"Others use {quoted(name)}, which has no default value for a failure."
            )
