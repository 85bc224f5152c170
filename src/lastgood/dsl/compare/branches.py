"""The names of a node's branches, as its editor shows them."""

from collections.abc import Mapping
from typing import Any, Final

from lastgood.dsl.document import mappings, node_data
from lastgood.dsl.index import FAIL_BRANCH, SOURCE, TIMEOUT, id_of, text

_ELSE: Final = "false"
_FIXED: Final = {SOURCE: "", FAIL_BRANCH: "on failure", TIMEOUT: "on timeout"}
_SHOWN: Final = 40


def branch_of(node: Mapping[str, Any], handle: str) -> str:
    """How to name the branch of `node` (its meaning) that leaves by `handle`; ``""`` for a node's only one."""
    data = node_data(dict(node))
    for place, case in enumerate(mappings(data.get("cases")), start=1):
        if id_of(case.get("case_id")) == handle:
            return f"case {place}"
    if handle == _ELSE:
        return "else"
    for item in mappings(data.get("classes")):
        if id_of(item.get("id")) == handle:
            return _short(text(item.get("name")) or handle)
    for action in mappings(data.get("user_actions")):
        if id_of(action.get("id")) == handle:
            return _short(text(action.get("title")) or handle)
    return _FIXED.get(handle, _short(handle))


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= _SHOWN else name[: _SHOWN - 1] + "…"
