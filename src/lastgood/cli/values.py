"""What ``--input`` says: values for the inputs of a workflow."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lastgood.errors import InvalidRequest

_TEXTS = frozenset({"text-input", "paragraph", "select"})


def read_inputs(given: Sequence[str], form: Callable[[], Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The inputs that `given` say: ``name=value`` each, or ``@file.json`` with an object of them.

    A value that is JSON is read as JSON where the workflow's `form` (as Dify's ``user_input_form``, asked for only
    when it matters) declares something other than text. Raises `InvalidRequest`."""
    found: dict[str, Any] = {}
    said: dict[str, str] = {}
    for one in given:
        if one.startswith("@"):
            found |= _file(one[1:])
            continue
        name, parted, value = one.partition("=")
        if not parted or not name:
            raise InvalidRequest(where="--input", reason=f"{one!r} is neither NAME=VALUE nor @FILE.json")
        said[name] = value
    values = {name: _json(value) for name, value in said.items()}
    if all(values[name] is None for name in said):
        return found | said
    kinds = {field.get("variable"): kind for item in form() for kind, field in item.items()}
    for name, value in values.items():
        as_text = value is None or kinds.get(name, "text-input") in _TEXTS
        found[name] = said[name] if as_text else value
    return found


def _json(text: str) -> Any:
    """The JSON value of `text`; None for what is no JSON (and for null, which is no input)."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _file(name: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(where="--input", reason=f"{name} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InvalidRequest(where="--input", reason=f"{name} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InvalidRequest(where="--input", reason=f"{name} holds no JSON object of inputs")
    return value
