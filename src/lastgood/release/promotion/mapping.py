"""The mapping file: what a workspace's ids are called in another one.

```yaml
from: staging-server          # names of servers as `lastgood servers` lists them, or `engine`
to: prod-server
knowledge_bases:
  8c1f…: 4a77…                # there: here
  91d0…: {to: 5b02…, name: Price list}
credentials:
  c0ff…: drop                 # left out: the tool uses its provider's default there
```
A file for several pairs of servers has a list of these under `pairs`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lastgood import dsl
from lastgood.dsl.export import write_yaml
from lastgood.dsl.identities import KINDS, Identity, Kind
from lastgood.dsl.limits import Limits
from lastgood.dsl.yamltext import load_yaml
from lastgood.errors import InvalidMapping

DROP: Final = "drop"
DROPPABLE: Final[frozenset[Kind]] = frozenset({"knowledge_bases", "credentials", "members", "subscriptions"})
_LIMITS: Final = Limits(bytes=2**20)
_WIDTH: Final = 110


@dataclass(frozen=True, slots=True)
class Map:
    """What is said for one pair of servers: by kind, the value there for the value here. Blanks are left out."""

    values: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict)

    def get(self, kind: Kind, value: str) -> str | None:
        """What stands for `value`; None where nothing is said."""
        return self.values.get(kind, {}).get(value)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all that it says."""
        said = {kind: dict(values) for kind, values in self.values.items() if values}
        return hashlib.sha256(dsl.canonical(said)).hexdigest()


def read(text: str, *, source: str, origin: str, target: str) -> Map:
    """What the mapping file `text` says for the servers `origin` and `target`; `source` is its name in messages.

    Raises `InvalidMapping`, also where it is for other servers, and what reading YAML raises."""
    whole = load_yaml(text, source, _LIMITS)
    if not isinstance(whole, dict):
        raise InvalidMapping(source=source, where="the file", reason="it is not a mapping of kinds to ids")
    if "pairs" not in whole:
        _for(whole, source, origin, target, strict=True)
        return _map(whole, source)
    pairs = whole["pairs"]
    if not isinstance(pairs, list) or not all(isinstance(one, dict) for one in pairs):
        raise InvalidMapping(source=source, where="pairs", reason="it is not a list of mappings")
    fitting = [one for one in pairs if _for(one, source, origin, target, strict=False)]
    if len(fitting) != 1:
        reason = f"{len(fitting) or 'none'} of them is for {origin} to {target}"
        raise InvalidMapping(source=source, where="pairs", reason=reason)
    return _map(fitting[0], source)


def draft(
    origin: str,
    target: str,
    uses: Sequence[Identity],
    found: Mapping[tuple[Kind, str], str],
    names: Mapping[str, str],
) -> str:
    """A mapping file (YAML) for the identities `uses` of a document: `found` are the values that are known there, by
    kind and value here; the others are blank. `names` are what ids are called here, where that is known."""
    written: dict[str, Any] = {"from": origin, "to": target}
    for kind in KINDS:
        entries: dict[str, Any] = {}
        for one in uses:
            if one.kind == kind:
                entry = entries.setdefault(one.value, {"to": found.get((kind, one.value), "")})
                name = names.get(one.value) or one.name
                if name:
                    entry["name"] = name
                entry.setdefault("used", []).append(one.where)
        if entries:
            written[kind] = entries
    return write_yaml(written, sort_keys=False, width=_WIDTH)


def _for(part: Mapping[str, Any], source: str, origin: str, target: str, *, strict: bool) -> bool:
    """Whether `part` is for this pair; a file that names none is for any."""
    said = (part.get("from", origin), part.get("to", target))
    if said == (origin, target):
        return True
    if strict:
        reason = f"it is for {said[0]} to {said[1]}, and this goes from {origin} to {target}"
        raise InvalidMapping(source=source, where="from and to", reason=reason)
    return False


def _map(part: Mapping[str, Any], source: str) -> Map:
    values: dict[Kind, dict[str, str]] = {}
    for name, entries in part.items():
        if name in ("from", "to"):
            continue
        kind = next((one for one in KINDS if one == name), None)
        if kind is None:
            raise InvalidMapping(source=source, where=str(name), reason=f"no such kind; there are {', '.join(KINDS)}")
        if not isinstance(entries, dict):
            if entries is None:
                continue
            raise InvalidMapping(source=source, where=name, reason="it is not a mapping of ids here to ids there")
        values[kind] = {}
        for value, entry in entries.items():
            to = entry.get("to") if isinstance(entry, dict) else entry
            if to is not None and not isinstance(to, str | int):
                reason = "what stands for it is no text; put it in quotes"
                raise InvalidMapping(source=source, where=f"{name}, {value}", reason=reason)
            to = "" if to is None else str(to).strip()
            if to == DROP and kind not in DROPPABLE:
                reason = f"of the {name} none can be left out; say what stands for it"
                raise InvalidMapping(source=source, where=f"{name}, {value}", reason=reason)
            if to:
                values[kind][str(value)] = to
    return Map(values)
