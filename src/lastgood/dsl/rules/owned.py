"""Values that make up what was judged as a whole: inputs, outputs, webhooks."""

from typing import Any, Final

from lastgood.dsl.compare import Change as Value
from lastgood.dsl.compare import Item
from lastgood.dsl.index import Node, mapping, text
from lastgood.dsl.rules.gather import Gather
from lastgood.dsl.rules.rule import quoted

_WORDING: Final = frozenset({"label", "description", "hint", "placeholder", "default", "unit"})


def judged(gather: Gather, value: Value, kind: str, names: list[str], key: str, node: Node | None) -> None:
    """Bring a value of an input or an output (by its `names` before and now, and its `key` there) under the rule that
    told of it, else under one of the layout."""
    told = next(filter(None, (gather.case.claimed(kind, name, key) for name in names)), "")
    subject = f"{kind.title()} {quoted(names[-1])}" if names else f"{kind.title()}s"
    if told:
        gather.cover(value, told)
    elif value.kind == "moved" or (kind == "input" and key == "options"):
        gather.group(value, "choice-order-changed" if key == "options" else "order-changed", subject, node)
    elif kind == "input" and key in _WORDING and (value.old or value.new):
        gather.group(value, "input-wording-changed", subject, node)
    else:
        gather.group(value, "no-effect", subject, node)


def names_of(old: Any, new: Any, part: Any, item: Item | None) -> list[str]:
    """What the item of a list in a part is called before and now."""
    found = []
    for side, place in ((old, item.old if item else None), (new, item.new if item else None)):
        items = mapping(side).get(part)
        if isinstance(items, list) and place is not None and place < len(items):
            core = mapping(items[place])
            if part == "user_input_form":
                core = mapping(next(iter(core.values()), None))
            found.append(text(core.get("variable")) or text(core.get("name")))
    return [name for name in dict.fromkeys(found) if name]
