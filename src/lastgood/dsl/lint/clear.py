"""Rules on secrets: in clear text in the document, or on a way out."""

import re
from collections.abc import Iterator
from typing import Final

from lastgood.dsl.document import mappings
from lastgood.dsl.index import Node, mapping, text
from lastgood.dsl.keys import is_like_a_key, is_literal, is_random, known, secret_name
from lastgood.dsl.lint.rules import Problem, Rule, Subject, quoted
from lastgood.dsl.lint.texts import strings

IN_CLEAR: Final = Rule(
    "secret-in-clear",
    "error",
    "What looks like a secret stands in the document in clear text.",
    "Everybody who reads the workflow, an export or its history has it; Dify leaves it even in exports without "
    "secrets. Put it into an environment variable of type secret and refer to that. Findings never show the value.",
    "an API key in the authorization of an HTTP request, `password = …` in code",
)
PLAIN_VARIABLE: Final = Rule(
    "secret-as-plain-variable",
    "warning",
    "An environment variable that is named like a secret is of another type.",
    "Its value is shown and exported in clear text. Make it a secret.",
    "`{name: API_KEY, value_type: string, value: …}`",
)
LEAVES: Final = Rule(
    "secret-leaves",
    "warning",
    "A secret is put into what callers or a model get to see.",
    "It ends up in answers, logs and the records of the model's provider.",
    "`{{#env.API_KEY#}}` in an answer or a prompt",
)
OVER_HTTP: Final = Rule(
    "credentials-over-http",
    "warning",
    "An HTTP request sends credentials unencrypted.",
    "Everybody on the way can read them. Addresses within one machine or network are left alone.",
    "`http://api.example.com` with an authorization",
)
UNVERIFIED: Final = Rule(
    "certificate-not-checked",
    "warning",
    "An HTTP request does not check the certificate of the server.",
    "Anybody on the way can pose as the server.",
    "`ssl_verify: false`",
)
RULES: Final = (IN_CLEAR, PLAIN_VARIABLE, LEAVES, OVER_HTTP, UNVERIFIED)

# `name = "value"` in code, and `"name": "value"`.
_ASSIGNED: Final = re.compile(
    r"""(?<![\w-])([A-Za-z_][\w-]{0,60})['"]?[ \t]{0,20}[:=][ \t]{0,20}[rbf]?(["'])([^"'\s]{12,500})\2"""
)
_PRIVATE: Final = re.compile(
    r"(?:localhost|127(?:\.\d+){3}|10(?:\.\d+){3}|192\.168(?:\.\d+){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d+){2}|\[::1\]|"
    r"[^.]+|.*\.(?:local|internal|lan|localhost|svc|test))(?::\d+)?"
)
_PLAIN_TYPES: Final = ("string", "number", "integer", "float")


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    for node in subject.index.nodes.values():
        yield from _in_node(node)
        if node.type == "http-request":
            yield from _request(subject, node)
    yield from _variables(subject)
    yield from _leaving(subject)
    config = subject.document.data.get("model_config")
    if not subject.document.has_graph and isinstance(config, dict):
        for path, _, value in strings(config, "model_config"):
            if kind := known(value):
                yield IN_CLEAR.at(None, path, f"Here is what looks like {kind} in clear text.")


def _in_node(node: Node) -> Iterator[Problem]:
    told: set[str] = set()
    for path, kind in _secrets(node):
        if path not in told:
            told.add(path)
            yield IN_CLEAR.at(node, path, f"Here is what looks like {kind} in clear text.")


def _secrets(node: Node) -> Iterator[tuple[str, str]]:
    if node.type == "http-request":
        yield from _credentials(node)
    for path, key, value in strings(dict(node.data), f"{node.path}.data"):
        kind = known(value)
        if kind:
            yield path, kind
        elif node.type in ("tool", "agent", "datasource") and secret_name(key) and is_like_a_key(value):
            yield path, f"a secret ({key})"
        elif key == "code" and (named := _assigned(value)):
            yield path, f"a secret ({named})"


def _credentials(node: Node) -> Iterator[tuple[str, str]]:
    """The settings of an HTTP request that hold a credential as such."""
    authorization = mapping(node.data.get("authorization"))
    config = mapping(authorization.get("config"))
    if authorization.get("type") != "no-auth" and is_literal(text(config.get("api_key")), 6):
        yield f"{node.path}.data.authorization.config.api_key", "the credential of the request"
    for part in ("headers", "params"):
        for line in text(node.data.get(part)).splitlines():
            name, _, value = line.partition(":")
            if secret_name(name) and is_like_a_key(value.strip()):
                yield f"{node.path}.data.{part}", f"a secret ({name.strip()})"
    body = mappings(mapping(node.data.get("body")).get("data"))
    for i, item in enumerate(body):
        value, path = text(item.get("value")), f"{node.path}.data.body.data[{i}].value"
        key = text(item.get("key"))
        named = _assigned(value) or (key if secret_name(key) and is_like_a_key(value) else "")
        if named:
            yield path, f"a secret ({named})"


def _assigned(value: str) -> str:
    """The name of the first secret that a text gives a value in quotes, ``""`` for none."""
    found = (name for name, _, literal in _ASSIGNED.findall(value) if secret_name(name) and is_random(literal))
    return next(found, "")


def _variables(subject: Subject) -> Iterator[Problem]:
    for part in ("environment_variables", "conversation_variables"):
        items = subject.document.workflow.get(part)
        for i, item in enumerate(items if isinstance(items, list) else ()):
            name, value, path = text(mapping(item).get("name")), mapping(item).get("value"), f"workflow.{part}[{i}]"
            if not isinstance(value, str) or mapping(item).get("value_type") not in _PLAIN_TYPES:
                continue
            kind = known(value)
            if kind or (part == "environment_variables" and secret_name(name) and value):
                looks = f"holds what looks like {kind}" if kind else "is named like a secret"
                yield PLAIN_VARIABLE.at(None, path, f"The variable {quoted(name)} {looks}, and is of another type.")


def _leaving(subject: Subject) -> Iterator[Problem]:
    secret = {
        text(item.get("name"))
        for item in subject.document.environment_variables
        if item.get("value_type") == "secret"
    }
    whom = {"end": "callers", "answer": "users", "llm": "the model"}
    for found in subject.used:
        node = subject.index.nodes[found.node]
        if (
            found.selector[:1] == ("env",)
            and found.selector[1:2]
            and found.selector[1] in secret
            and node.type in whom
        ):
            sentence = f"The secret {quoted(found.selector[1])} is shown to {whom[node.type]}."
            yield LEAVES.at(node, found.path, sentence)


def _request(subject: Subject, node: Node) -> Iterator[Problem]:
    if node.data.get("ssl_verify") is False:
        yield UNVERIFIED.at(node, ".ssl_verify", "The certificate of the server is not checked.")
    url = text(node.data.get("url")).strip().lower()
    hosts = [entry["host"] for entry in subject.needs["hosts"] if node.id in entry["nodes"]]
    sends = mapping(node.data.get("authorization")).get("type") == "api-key" or any(
        secret_name(line.partition(":")[0]) for line in text(node.data.get("headers")).splitlines()
    )
    if url.startswith("http://") and hosts and "{{" not in hosts[0] and not _PRIVATE.fullmatch(hosts[0]) and sends:
        yield OVER_HTTP.at(node, ".url", f"Credentials are sent to {hosts[0]} unencrypted.")
