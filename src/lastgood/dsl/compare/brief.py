"""Values in one line, as people read them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lastgood.dsl.compare.changes import Step
from lastgood.dsl.compare.hidden import shown
from lastgood.dsl.compare.text import cut

# What a bare text could be mistaken for.
_AMBIGUOUS: Final = re.compile(
    r"|true|false|null|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|\s.*|.*\s", re.IGNORECASE | re.DOTALL
)
_SIGNS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), 0x200B, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF), 0xFFFD),
}
_SWITCHES: Final = ("enabled", "retry_enabled")


def brief(value: Any, titles: Mapping[str, str], path: Sequence[Step] = (), width: int = 100) -> str:
    """`value`, which stands at `path`, in a line of at most `width` characters (0: of any length). Keys are hidden,
    selectors name the node by its title (``titles``), texts stand bare where nothing else could be meant."""
    told = _brief(shown(value, path), titles)
    return cut(told, width) if width else told


def is_empty(value: Any) -> bool:
    """Whether a setting says nothing that its absence would not: empty, false, or switched off."""
    if isinstance(value, dict):
        return any(value.get(switch) is False for switch in _SWITCHES) or all(map(is_empty, value.values()))
    return value in (None, "", []) or value is False


def visible(text: str) -> str:
    """`text` with a visible sign for every character that is none and could make what is shown another thing:
    escape sequences, carriage returns, writing that turns its direction."""
    return text.translate(_SIGNS)


def _brief(value: Any, titles: Mapping[str, str]) -> str:
    if isinstance(value, str):
        text = value.replace("\n", "⏎")
        return json.dumps(text, ensure_ascii=False) if _AMBIGUOUS.fullmatch(value) else text
    if isinstance(value, list):
        if len(value) > 1 and all(isinstance(item, str) for item in value) and value[0] in titles:
            return ".".join([titles[value[0]], *value[1:]])
        return f"[{', '.join(_brief(item, titles) for item in value)}]"
    if isinstance(value, dict):
        loose = "id" if "role" in value or "comparison_operator" in value else None
        said = {key: item for key, item in value.items() if key != loose and not is_empty(item)} or value
        return f"{{{', '.join(f'{key}: {_brief(item, titles)}' for key, item in said.items())}}}"
    return json.dumps(value)
