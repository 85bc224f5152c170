"""Keys that somebody wrote into a document in clear, kept out of everything that is shown.

The linter names them and is careful not to accuse; here the doubt goes the other way: what may be a key is hidden."""

import re
from collections.abc import Sequence
from typing import Any, Final

from lastgood.dsl.compare.changes import Item, Step
from lastgood.dsl.keys import redacted, secret_name

HIDDEN: Final = "(hidden)"

# What is around a value and says nothing of it.
_PLAIN_KEYS: Final = frozenset({"value", "default", "default_value"})
_REFERENCE: Final = re.compile(r"\{\{.*?\}\}|\$\{[^}]*\}")
_SCHEME: Final = re.compile(r"\s*(?:bearer|basic|token|apikey)\b", re.IGNORECASE)
_KEY_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
# `name: "value"`, `name = 'value'` in code and JSON; `?name=value` in addresses. A name has a bound, so that a line
# without end takes time in proportion.
_ASSIGNED: Final = re.compile(
    r"""(?P<name>[A-Za-z_][\w-]{0,100})(?P<is>['"]?\s*[:=]+\s*[rbfu]?)(?P<quote>["'])(?P<value>[^"'\s]{6,})(?P=quote)"""
)
_QUERY: Final = re.compile(r"(?<=[?&])(?P<name>[\w-]+)=(?P<value>[^&\s#{}\"']+)")
_HEADER: Final = re.compile(r"\s*(?P<name>[^:\s][^:]*?)\s*:(?P<value>.*)", re.DOTALL)
_SECRET_PARAMETERS: Final = frozenset({"key", "sig", "signature"})
# Settings that are a text of one `name:value` a line.
_NAMED_LINES: Final = frozenset({"headers", "params"})


def is_hidden(path: Sequence[Step], value: Any) -> bool:
    """Whether the value at `path` must not be shown at all: a text that is no reference, under a name like
    ``api_key``."""
    return isinstance(value, str) and secret_name(name_of(path)) and _is_literal(value)


def name_of(path: Sequence[Step]) -> str:
    """What names the value at `path`: its key, or that of what is around a mere ``value``."""
    names = (step.key if isinstance(step, Item) else step for step in reversed(path))
    return next((name for name in names if name not in _PLAIN_KEYS), "")


def shown(value: Any, path: Sequence[Step] = ()) -> Any:
    """A copy of `value`, which stands at `path`, to be shown: ``(hidden)`` in place of keys."""
    if isinstance(value, str):
        return HIDDEN if is_hidden(path, value) else shown_text(value, name_of(path))
    if isinstance(value, list):
        return [shown(item, path) for item in value]
    if isinstance(value, dict):
        # A name beside a value, as in the body of a request and in the form of an app.
        named = next((value[key] for key in ("key", "name", "variable") if isinstance(value.get(key), str)), "")
        return {
            key: shown(item, (*path, named, key) if named and key in _PLAIN_KEYS else (*path, key))
            for key, item in value.items()
        }
    return value


def shown_text(text: str, name: str = "") -> str:
    """`text`, which stands under `name`, to be shown; it has as many lines as before."""
    text = _KEY_BLOCK.sub(lambda found: "\n".join(HIDDEN for _ in found[0].split("\n")), text)
    return "\n".join(_shown_line(line, name in _NAMED_LINES) for line in text.split("\n"))


def _shown_line(line: str, is_named: bool) -> str:
    if is_named:
        found = _HEADER.fullmatch(line)
        if found and _secret_parameter(found["name"]) and _is_literal(found["value"]):
            return f"{found['name']}:{HIDDEN}"
    line = _QUERY.sub(lambda found: _without_value(found) if _secret_parameter(found["name"]) else found[0], line)
    line = _ASSIGNED.sub(lambda found: _without_value(found) if secret_name(found["name"]) else found[0], line)
    return redacted(line).replace("•••", HIDDEN)


def _without_value(found: re.Match[str]) -> str:
    return found[0][: found.start("value") - found.start()] + HIDDEN + found[0][found.end("value") - found.start() :]


def _secret_parameter(name: str) -> bool:
    return secret_name(name) or name.lower() in _SECRET_PARAMETERS


def _is_literal(value: str) -> bool:
    """Whether more is in `value` than references and the name of a scheme."""
    return bool(re.search(r"\w", _SCHEME.sub("", _REFERENCE.sub("", value), count=1)))
