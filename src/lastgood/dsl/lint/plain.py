"""Rules on apps without a graph: chat, agent and completion apps."""

import re
from collections.abc import Iterator
from typing import Any, Final

from lastgood.dsl.document import mappings
from lastgood.dsl.index import mapping, text
from lastgood.dsl.lint.contract import UNUSED_INPUT
from lastgood.dsl.lint.rules import Problem, Rule, Subject, quoted
from lastgood.dsl.schema import forms

UNKNOWN_PLACE: Final = Rule(
    "prompt-unknown-input",
    "info",
    "The prompt of an app without a graph has a place for an input that its form does not ask for.",
    "The place stays in the prompt as it is: a mistake, or a pattern for what the model should write.",
    "`{{language}}` in the prompt, and no such field in the form",
)
RULES: Final = (UNKNOWN_PLACE,)

_PLACE: Final = re.compile(r"\{\{([A-Za-z_]\w{0,29})\}\}")
_RESERVED: Final = frozenset({"query", "histories", "context"})


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    config = subject.document.data.get("model_config")
    if subject.document.has_graph or not isinstance(config, dict):
        return
    asked = {text(form.get("variable")): bool(form.get("required")) for form in forms(subject.document)}
    named = {name for _, said in _texts(config) for name in _PLACE.findall(said)}
    # A data set or an external tool may take an input without a prompt.
    taken = {text(config.get("dataset_query_variable"))} | {
        text(mapping(tool).get("variable")) for tool in mappings(config.get("external_data_tools"))
    }
    for name, required in asked.items():
        if name and name not in named | taken:
            sentence = f"The input {quoted(name)} {'must' if required else 'may'} be given, and nothing uses it."
            yield UNUSED_INPUT.at(None, "model_config.user_input_form", sentence, None if required else "info")
    for path, said in _prompts(config):
        for name in dict.fromkeys(_PLACE.findall(said)):
            if name not in asked.keys() | taken | _RESERVED:
                sentence = f"The prompt has a place for {quoted(name)}, which the form does not ask for."
                yield UNKNOWN_PLACE.at(None, path, sentence)


def _prompts(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if config.get("prompt_type") != "advanced":
        yield "model_config.pre_prompt", text(config.get("pre_prompt"))
        return
    chat = mappings(mapping(config.get("chat_prompt_config")).get("prompt"))
    yield from (
        (f"model_config.chat_prompt_config.prompt[{i}]", text(part.get("text"))) for i, part in enumerate(chat)
    )
    completion = mapping(mapping(config.get("completion_prompt_config")).get("prompt"))
    yield "model_config.completion_prompt_config.prompt.text", text(completion.get("text"))


def _texts(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The prompts, and what the app says of its own accord."""
    yield from _prompts(config)
    yield "model_config.opening_statement", text(config.get("opening_statement"))
    yield "model_config.pre_prompt", text(config.get("pre_prompt"))
