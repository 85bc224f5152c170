"""The secret values of a document: taken out before it is stored, put back before it runs.

Secret are the values of environment variables whose `value_type` is ``secret``, and nothing else; literal keys that
somebody wrote into a node are part of the document."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from lastgood.dsl.document import Document

# Dify shows a secret as twenty asterisks, older versions as "sk-abc************yz"; the last one asks it to keep
# the stored value.
_MASK = re.compile(r"\*+|.{6}\*{12}.{2}|\[__HIDDEN__\]", re.DOTALL)


def secret_names(document: Document) -> tuple[str, ...]:
    """The names of the secret variables, sorted."""
    return tuple(sorted({_name(item) for item in document.environment_variables if _is_secret(item)} - {""}))


def take_secrets(document: Document) -> tuple[Document, dict[str, str]]:
    """`document` with every secret value ``""``, and the values by name.

    A name is missing from the second where no value was given: null, ``""``, or one of Dify's masks."""
    values = {}
    for item in document.environment_variables:
        value = item.get("value")
        if _is_secret(item) and value not in (None, "") and not (isinstance(value, str) and _MASK.fullmatch(value)):
            values[_name(item)] = str(value)
    values.pop("", None)  # nothing can refer to a variable without a name
    return _with_values(document, lambda item: ""), values


def put_secrets(document: Document, values: Mapping[str, str]) -> Document:
    """`document` with the secret variables that `values` names set to what it gives; others stay."""
    return _with_values(document, lambda item: values.get(_name(item), item.get("value", "")))


def is_mask(value: str) -> bool:
    """Whether `value` is what Dify shows instead of a secret."""
    return _MASK.fullmatch(value) is not None


def _is_secret(item: dict[str, Any]) -> bool:
    return item.get("value_type") == "secret"


def _name(item: dict[str, Any]) -> str:
    name = item.get("name")
    return name if isinstance(name, str) else ""


def _with_values(document: Document, value_of: Callable[[dict[str, Any]], Any]) -> Document:
    """A copy of `document` in which each secret variable has the value that `value_of` gives."""
    if not any(_is_secret(item) for item in document.environment_variables):
        return document
    items = [
        {**item, "value": value_of(item)} if isinstance(item, dict) and _is_secret(item) else item
        for item in document.workflow["environment_variables"]
    ]
    return Document({**document.data, "workflow": {**document.workflow, "environment_variables": items}})
