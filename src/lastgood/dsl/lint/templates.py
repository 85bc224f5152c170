"""Rules on Jinja templates. They need Jinja2, which comes with the `engine` extra."""

from collections.abc import Iterator
from typing import Any, Final

from lastgood.dsl.document import mappings
from lastgood.dsl.index import Node, mapping, text
from lastgood.dsl.lint.rules import Problem, Rule, Subject, listed, quoted
from lastgood.dsl.lint.texts import prompts

SYNTAX: Final = Rule(
    "jinja-syntax",
    "error",
    "A Jinja template does not parse.",
    "The node fails on every run. A reference like `{{#1700.text#}}` is such a mistake: in Jinja, a value comes in "
    "through one of the node's variables. Templates are only parsed, never rendered.",
    "`{% if x %}…` without `{% endif %}`",
)
UNKNOWN_NAME: Final = Rule(
    "jinja-unknown-name",
    "warning",
    "A Jinja template uses a name that is none of the node's variables.",
    "It renders as nothing, and fails where something is done with it.",
    "`{{ user_name }}` on a node with the one variable `name`",
)
RULES: Final = (SYNTAX, UNKNOWN_NAME)


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    environment = _environment()
    if environment is None:
        return
    for node in subject.index.of_type("template-transform"):
        names = _names(node.data.get("variables"))
        yield from _check(environment, node, ".template", text(node.data.get("template")), names)
    for node in subject.index.of_type("llm"):
        names = _names(mapping(node.data.get("prompt_config")).get("jinja2_variables"))
        for path, prompt in prompts(node):
            if path.endswith(".jinja2_text"):
                yield from _check(environment, node, path, prompt, names)


def available() -> bool:
    """Whether Jinja2 is installed, so that these rules can look."""
    return _environment() is not None


def _environment() -> Any:
    try:
        from jinja2 import Environment
    except ImportError:
        return None
    return Environment(autoescape=True)


def _check(environment: Any, node: Node, path: str, template: str, names: set[str]) -> Iterator[Problem]:
    from jinja2 import TemplateSyntaxError, meta

    try:
        tree = environment.parse(template)
        # Filters and tests are looked up here only; nothing of the template is run.
        environment.compile(tree, raw=True)
        unknown = sorted(meta.find_undeclared_variables(tree) - names)
    except TemplateSyntaxError as error:
        yield SYNTAX.at(node, path, f"The template does not parse (line {error.lineno}: {error.message}).")
    except (RecursionError, ValueError, OverflowError, MemoryError) as error:
        yield SYNTAX.at(node, path, f"The template cannot be read ({type(error).__name__}).")
    else:
        if unknown:
            told = listed([quoted(name) for name in unknown])
            yield UNKNOWN_NAME.at(node, path, f"The template uses {told}, which the node has no variable for.")


def _names(variables: Any) -> set[str]:
    return {text(item.get("variable")) for item in mappings(variables)}
