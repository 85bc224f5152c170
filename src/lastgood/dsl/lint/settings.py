"""Rules on the settings of single nodes."""

from collections.abc import Callable, Iterator
from typing import Final

from lastgood.dsl.flow import handle_name
from lastgood.dsl.index import CONTAINERS, INNER_STARTS, Node, id_of, mapping, text
from lastgood.dsl.lint.rules import Problem, Rule, Subject, quoted
from lastgood.dsl.lint.texts import prompts

EMPTY_PROMPT: Final = Rule(
    "empty-prompt",
    "error",
    "A model is asked with an empty prompt.",
    "Most providers refuse that; others answer with anything.",
    '`prompt_template: [{role: system, text: ""}]`',
)
EMPTY_ANSWER: Final = Rule(
    "empty-answer",
    "warning",
    "An answer says nothing.",
    "The user gets an empty message.",
    '`answer: ""`',
)
NO_TIMEOUT: Final = Rule(
    "http-without-timeout",
    "info",
    "An HTTP request has no timeout of its own.",
    "It waits as long as the server of Dify allows, ten minutes by default, while the caller waits, too.",
    "`timeout: {max_connect_timeout: 0}`",
)
NO_URL: Final = Rule(
    "http-without-url",
    "error",
    "An HTTP request has no address, or one that does not begin with http:// or https://.",
    "The node fails on every run. An address that begins with a reference is left alone.",
    "`url: api.example.com`",
)
NO_BEGINNING: Final = Rule(
    "container-without-start",
    "error",
    "An iteration or loop does not say where it begins.",
    "It cannot run: `start_node_id` names no node inside it, and it has no start node.",
    "`{type: iteration, start_node_id: gone}`",
)
EMPTY_CONTAINER: Final = Rule(
    "container-does-nothing",
    "warning",
    "An iteration or loop has nothing behind its start.",
    "It goes round for nothing.",
    "an iteration with its start node only",
)
NO_COUNT: Final = Rule(
    "loop-without-count",
    "error",
    "A loop does not say how often it goes round at most.",
    "Dify refuses it: the number must be at least 1.",
    "`loop_count: 0`",
)
PARALLEL_WRITE: Final = Rule(
    "parallel-write",
    "warning",
    "A parallel iteration writes a conversation variable.",
    "Rounds run at the same time and overwrite each other's value.",
    "`is_parallel: true`, and an assigner inside",
)
NO_CONDITION: Final = Rule(
    "case-without-condition",
    "warning",
    "A case of an `if-else` has no condition.",
    "What happens then is not said: an empty AND is true, an empty OR is false.",
    "`cases: [{case_id: 'true', conditions: []}]`",
)
NAMELESS_CLASS: Final = Rule(
    "class-without-name",
    "warning",
    "A class of a question classifier has no name.",
    "The model is told its name only, and cannot choose it.",
    "`classes: [{id: '1', name: ''}]`",
)
BAD_SCHEDULE: Final = Rule(
    "bad-schedule",
    "error",
    "A schedule trigger does not say when.",
    "It never starts a run: a cron expression has five parts.",
    "`{mode: cron, cron_expression: ''}`",
)
OLD_SHAPE: Final = Rule(
    "deprecated-shape",
    "info",
    "A node is written in a form that newer versions of Dify replaced.",
    "It is still read, but Dify's editor may show or save it differently, and its engine may drop it.",
    "`if-else` with `conditions` in place of `cases`",
)
RULES: Final = (
    *(EMPTY_PROMPT, EMPTY_ANSWER, NO_TIMEOUT, NO_URL, NO_BEGINNING, EMPTY_CONTAINER, NO_COUNT),
    *(PARALLEL_WRITE, NO_CONDITION, NAMELESS_CLASS, BAD_SCHEDULE, OLD_SHAPE),
)

# The `max_…` beside these are the server's limits, which the editor notes down.
_TIMEOUTS: Final = ("connect", "read", "write")
_FIELDS = 5


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    for node in subject.index.nodes.values():
        look = _LOOKS.get(node.type)
        if look:
            yield from look(subject, node)
        shape = _old_shape(subject, node)
        if shape:
            yield OLD_SHAPE.at(node, "", f"{quoted(node.title)} is written in an old form: {shape}.")


def _llm(subject: Subject, node: Node) -> Iterator[Problem]:
    asked = [prompt for _, prompt in prompts(node)]
    memory = text(mapping(node.data.get("memory")).get("query_prompt_template"))
    # With memory, a chatflow asks what the user asked.
    if not any(prompt.strip() for prompt in [*asked, memory]) and not mapping(node.data.get("memory")):
        yield EMPTY_PROMPT.at(node, ".prompt_template", f"{quoted(node.title)} asks with an empty prompt.")


def _answer(subject: Subject, node: Node) -> Iterator[Problem]:
    if not text(node.data.get("answer")).strip():
        yield EMPTY_ANSWER.at(node, ".answer", f"{quoted(node.title)} says nothing.")


def _http(subject: Subject, node: Node) -> Iterator[Problem]:
    timeout = mapping(node.data.get("timeout"))
    if not any(timeout.get(key) for key in _TIMEOUTS):
        yield NO_TIMEOUT.at(node, ".timeout", f"{quoted(node.title)} has no timeout of its own.")
    url = text(node.data.get("url")).strip()
    if not url:
        yield NO_URL.at(node, ".url", f"{quoted(node.title)} has no address.")
    elif not url.startswith(("http://", "https://", "{{")):
        yield NO_URL.at(node, ".url", f"The address of {quoted(node.title)} does not begin with http:// or https://.")


def _container(subject: Subject, node: Node) -> Iterator[Problem]:
    inside = list(subject.index.children(node.id))
    start = id_of(node.data.get("start_node_id"))
    begins = [child for child in inside if child.id == start or child.type in INNER_STARTS or _marked(child)]
    if not begins:
        yield NO_BEGINNING.at(node, ".start_node_id", f"{quoted(node.title)} does not say where it begins.")
    elif not any(child.type not in INNER_STARTS for child in inside):
        yield EMPTY_CONTAINER.at(node, "", f"{quoted(node.title)} has nothing behind its start.")
    count = node.data.get("loop_count")
    if node.type == "loop" and not (isinstance(count, int | float) and count >= 1):
        yield NO_COUNT.at(node, ".loop_count", f"{quoted(node.title)} does not say how often it goes round at most.")
    if node.type == "iteration" and node.data.get("is_parallel"):
        yield from _parallel(subject, node)


def _marked(child: Node) -> bool:
    return bool(child.data.get("isIterationStart"))


def _parallel(subject: Subject, node: Node) -> Iterator[Problem]:
    for found in subject.used:
        writes = found.form == "written" and found.selector[:1] == ("conversation",)
        if writes and node.id in subject.index.around(found.node):
            writer = subject.index.nodes[found.node]
            sentence = f"Rounds of {quoted(node.title)} run at the same time, and each writes {quoted(found.name)}."
            yield PARALLEL_WRITE.at(writer, found.path, sentence)


def _if_else(subject: Subject, node: Node) -> Iterator[Problem]:
    cases = node.data.get("cases")
    for i, case in enumerate(cases if isinstance(cases, list) else ()):
        if isinstance(case, dict) and not case.get("conditions"):
            name = handle_name(node, id_of(case.get("case_id")))
            yield NO_CONDITION.at(node, f".cases[{i}]", f"{name} of {quoted(node.title)} has no condition.")


def _classifier(subject: Subject, node: Node) -> Iterator[Problem]:
    classes = node.data.get("classes")
    for i, item in enumerate(classes if isinstance(classes, list) else ()):
        if isinstance(item, dict) and not text(item.get("name")).strip():
            yield NAMELESS_CLASS.at(node, f".classes[{i}]", f"Class {i + 1} of {quoted(node.title)} has no name.")


def _schedule(subject: Subject, node: Node) -> Iterator[Problem]:
    cron = text(node.data.get("cron_expression")).split()
    if node.data.get("mode") == "cron" and len(cron) != _FIELDS and not "".join(cron).startswith("@"):
        said = f"its cron expression has {len(cron)} parts" if cron else "it has no cron expression"
        yield BAD_SCHEDULE.at(node, ".cron_expression", f"{quoted(node.title)} does not say when: {said}.")


def _old_shape(subject: Subject, node: Node) -> str:
    """What is old about the form of a node, ``""`` for nothing."""
    data = node.data
    old = {
        "variable-assigner": (True, "the type `variable-assigner`, now `variable-aggregator`"),
        "if-else": ("conditions" in data and data.get("cases") is None, "`conditions` in place of `cases`"),
        "assigner": (
            bool(data.get("assigned_variable_selector")) and data.get("items") is None,
            "one assignment in place of `items`",
        ),
        "knowledge-retrieval": (
            data.get("retrieval_mode") == "single",
            "the retrieval mode `single`, in which a model chooses one knowledge base",
        ),
    }
    is_old, what = old.get(node.type, (False, ""))
    around = subject.index.nodes.get(node.parent)
    if not is_old and _marked(node) and around and id_of(around.data.get("start_node_id")) == node.id:
        return "an iteration begins with it, where a start node of its own now stands"
    return what if is_old else ""


_LOOKS: Final[dict[str, Callable[[Subject, Node], Iterator[Problem]]]] = {
    "llm": _llm,
    "answer": _answer,
    "http-request": _http,
    "if-else": _if_else,
    "question-classifier": _classifier,
    "trigger-schedule": _schedule,
    **dict.fromkeys(CONTAINERS, _container),
}
