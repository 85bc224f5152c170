"""Whether a change of a value can matter to a run."""

from collections.abc import Iterator
from typing import Any, Final

from lastgood.dsl.compare import Change, Item
from lastgood.dsl.compare.changes import Path
from lastgood.dsl.index import mapping

_SWITCHES: Final = ("enabled", "retry_enabled")
# Ids that nothing outside their list refers to, what the editor keeps for itself, and limits that only it applies.
_EDITOR: Final = frozenset({"edition_type", "varType", "label", "value_type", "hint", "placeholder", "key_id"})
_LIMITS: Final = ("timeout.max_connect_timeout", "timeout.max_read_timeout", "timeout.max_write_timeout")
_IDS: Final = ("prompt_template.[].id", "cases.[].id", "conditions.[].id", "cases.[].conditions.[].id", "[].id")
# On where nothing is said, or passed on as they are: leaving them out is not the same as switching them off.
_ON: Final = frozenset({"ssl_verify", "flatten_output"})
_MEANT: Final = _ON | {"enabled"}
_PASSED_ON: Final = ("completion_params", "tool_parameters", "tool_configurations", "agent_parameters", "default")
_NONE: Final[tuple[Any, ...]] = (None, "", [], {}, False, "none")
_EDITED: Final = frozenset({"llm", "code", "if-else", "http-request", "template-transform", "end", "tool", "loop"})


def place_of(path: Path) -> str:
    """A path as `routes` writes it; a node's leading ``data`` is left out."""
    steps = path[1:] if len(path) > 1 and path[0] == "data" else path
    return ".".join("[]" if isinstance(step, Item) else step for step in steps)


def matters(change: Change, old: Any, new: Any, kind: str = "") -> bool:
    """Whether a change between the values `old` and `new` (a node of type `kind`, or another part), in which its
    path begins, can matter to a run."""
    place = place_of(change.path)
    last = place.rpartition(".")[2]
    if change.kind == "moved":
        return True
    if last == "edition_type":
        return "jinja2" in (change.old, change.new)
    if place.startswith("structured_output") and not any(map(_structured, (old, new))):
        return False
    if last in _ON and _is_on(change.old) and _is_on(change.new):
        return False
    if place == "method" and kind == "http-request":
        return str(change.old).lower() != str(change.new).lower()
    kept = place in _LIMITS or (kind in _EDITED and (place.endswith(_IDS) or last in _EDITOR))
    return not (kept or _same_nothing(change, place, last) or _switched_off(change.path, old, new))


def _is_on(value: Any) -> bool:
    return value is None or value is True


def _same_nothing(change: Change, place: str, last: str) -> bool:
    """Whether what came or went says nothing, or says that it is off."""
    if last in _MEANT or last == "[]" or any(part in _PASSED_ON for part in place.split(".")):
        return False
    if change.kind == "changed":
        return _nothing(change.old) and _nothing(change.new)
    value = change.new if change.kind == "added" else change.old
    return _nothing(value) or (isinstance(value, dict) and _off(value))


def at(root: Any, path: Path, side: str) -> Any:
    """What stands at `path` in the ``old`` or ``new`` value, None for nothing."""
    value = root
    for step in path:
        if isinstance(step, Item):
            place = step.old if side == "old" else step.new
            value = value[place] if isinstance(value, list) and place is not None and place < len(value) else None
        else:
            value = mapping(value).get(step)
    return value


def _nothing(value: Any) -> bool:
    return any(type(value) is type(nothing) and value == nothing for nothing in _NONE)


def _structured(node: Any) -> bool:
    data = mapping(mapping(node).get("data"))
    return bool(data.get("structured_output_enabled") or data.get("structured_output_switch_on"))


def _off(value: Any) -> bool:
    """Whether a part says of itself that it is switched off."""
    said = [value[switch] for switch in _SWITCHES if switch in mapping(value)]
    return bool(said) and not any(said)


def _switched_off(path: Path, old: Any, new: Any) -> bool:
    """Whether a part around the change is switched off before and after."""
    return any(
        all(_off(at(root, above, side)) for root, side in ((old, "old"), (new, "new"))) for above in _above(path)
    )


def _above(path: Path) -> Iterator[Path]:
    return (path[:length] for length in range(1, len(path)))
