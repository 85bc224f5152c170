"""What stands at a promotion's target for one value of the document: what the mapping file says, the one thing that
has the same name there, the same value where it means the same, or nothing, which refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lastgood.dsl import datasets
from lastgood.dsl.dependencies import identified
from lastgood.dsl.identities import NAMES, Identity, Kind
from lastgood.release.plan import Finding
from lastgood.release.promotion.mapping import DROP, Map
from lastgood.targets.dify.roster import Source, Things

_CALLED: Final[Mapping[Kind, str]] = {
    "knowledge_bases": "the knowledge base",
    "tools": "the tool",
    "credentials": "the credential",
    "plugins": "the plugin",
    "members": "the member",
    "models": "the model",
    "subscriptions": "the subscription",
    "extensions": "the API extension",
}


# The lists that were recorded on running servers. What is in no other one may be there all the same.
_CERTAIN: Final = frozenset({("tools", "workflow"), ("members", "")})


def unknown(kind: str, provider: str = "") -> Things:
    """The `Source` of a workspace that cannot be asked."""
    return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a channel runs: the name of its server (``engine`` for the embedded one), the id of the workspace there
    (empty where it is not known), and what can be asked of it."""

    server: str
    workspace: str = ""
    things: Source = field(default=unknown, repr=False, compare=False)

    def same(self, other: "Place") -> bool:
        """Whether ids mean the same in both."""
        return self.server == other.server or (self.workspace != "" and self.workspace == other.workspace)


@dataclass(frozen=True, slots=True)
class Decision:
    """What stands for a value at the target; `to` is None where that is not known."""

    to: str | None
    how: str = ""
    findings: tuple[Finding, ...] = ()
    name: str = ""


def decide(use: Identity, raw: str, origin: Place, target: Place, map: Map) -> Decision:
    """What stands at `target` for `use`, which the document of `origin` writes as `raw` (an id of a knowledge base
    may be encrypted there, and is plain in `use` where that could be read)."""
    called = f"{_CALLED[use.kind]} {use.value}"
    said = map.get(use.kind, use.value) or map.get(use.kind, raw)
    if origin.same(target) and said is None:
        return _staying(use, raw, target)
    here = _named(origin.things, use)
    if said is not None:
        return _said(use, said, target, here)
    asked = target.things(use.kind, use.provider)
    if use.kind not in NAMES and any(one.id == use.value for one in asked or ()):
        return Decision(use.value, "same", (_finding(use, "pass", f"{use.where}: {called} is there too."),), here)
    guess = _guess(use, here, target)
    if guess is not None:
        why = f"both call it {here or use.name}"
        sentence = f"{use.where}: {called} becomes {guess} on {target.server}: {why}."
        return Decision(guess, "name", (_finding(use, "warn" if use.kind == "plugins" else "pass", sentence),), here)
    if use.kind in NAMES:
        return _same_name(use, called, target)
    return _unmapped(use, called, here, origin, target)


def _unmapped(use: Identity, called: str, here: str, origin: Place, target: Place) -> Decision:
    """Refuses a value, and says what was tried."""
    if use.kind == "knowledge_bases" and not datasets.is_plain(use.value):
        reason = f"it is encrypted, and the workspace of {origin.server} is not known, so neither is its key"
        if origin.workspace:
            reason = f"it is encrypted, and not with the key of the workspace of {origin.server}: it is another's"
        return Decision(None, findings=(_finding(use, "refuse", f"{use.where}: {called}: {reason}."),), name=here)
    why = (
        f"{target.server} could not be asked for its own"
        if target.things(use.kind, use.provider) is None
        else f"nothing on {target.server} has its name"
        if here
        else f"{origin.server} does not tell its name"
    )
    label = f" ({here})" if here else ""
    sentence = f"{use.where}: {called}{label} is not mapped: {why}. Name it under {use.kind}."
    return Decision(None, findings=(_finding(use, "refuse", sentence),), name=here)


def _staying(use: Identity, raw: str, target: Place) -> Decision:
    """Within one workspace every id stays; an encrypted one is read where it can be, because the API takes none."""
    if use.kind != "knowledge_bases" or datasets.is_plain(raw) or not target.workspace:
        return Decision(raw)
    if datasets.is_plain(use.value):
        return Decision(use.value, "decrypted")
    sentence = f"{use.where}: {_CALLED[use.kind]} {raw} is encrypted with the key of another workspace."
    return Decision(None, findings=(_finding(use, "refuse", sentence),))


def _said(use: Identity, said: str, target: Place, here: str) -> Decision:
    """What the mapping file says, looked at as far as the target can be asked."""
    called = f"{_CALLED[use.kind]} {use.value}"
    if said == DROP:
        sentence = f"{use.where}: {called} is left out, as the mapping says."
        return Decision(DROP, "mapping", (_finding(use, "warn", sentence),), here)
    if use.kind == "knowledge_bases":
        plain = datasets.decrypted(said, target.workspace) if target.workspace or datasets.is_plain(said) else None
        if plain is None:
            sentence = f"{use.where}: {called} is mapped to {said}, which is no id of a knowledge base there."
            return Decision(None, findings=(_finding(use, "refuse", sentence),), name=here)
        said = plain
    if use.kind == "models" and not all(said.partition(" ")[::2]):
        sentence = f"{use.where}: {called} is mapped to {said}; write a provider, a space and a model."
        return Decision(None, findings=(_finding(use, "refuse", sentence),), name=here)
    there = target.things(use.kind, "" if use.kind in NAMES else use.provider)
    listed = there is not None and any(one.id == said for one in there)
    if there is not None and not listed and (use.kind, use.provider) in _CERTAIN:
        sentence = f"{use.where}: {called} is mapped to {said}, which {target.server} does not have."
        return Decision(None, findings=(_finding(use, "refuse", sentence),), name=here)
    told = f"; whether {target.server} has it could not be asked" if there is None else ""
    told = f"; {target.server} does not list it" if there is not None and not listed else told
    sentence = f"{use.where}: {called} becomes {said}, as the mapping says{told}."
    return Decision(said, "mapping", (_finding(use, "pass" if listed else "warn", sentence),), here)


def _same_name(use: Identity, called: str, target: Place) -> Decision:
    """A plugin or model that nobody mapped: it is called the same everywhere, if it is there."""
    there = target.things(use.kind, "")
    if there is None:
        sentence = f"{use.where}: {called} stays; whether {target.server} has it is unknown."
        return Decision(use.value, "same", (_finding(use, "warn", sentence),))
    if any(one.id == use.value for one in there):
        return Decision(use.value, "same", (_finding(use, "pass", f"{use.where}: {called} is there too."),))
    sentence = (
        f"{use.where}: {called} stays, and {target.server} does not list it. Install it there, or name another under "
        f"{use.kind}."
    )
    return Decision(use.value, "same", (_finding(use, "warn", sentence),))


def _guess(use: Identity, here: str, target: Place) -> str | None:
    """The one thing at the target that has the name which the value has here."""
    if use.kind == "models":
        return None
    there = target.things(use.kind, "" if use.kind == "plugins" else use.provider)
    name = identified(use.value)[0] if use.kind == "plugins" else here
    if not there or not name or any(one.id == use.value for one in there):
        return None
    fitting = {one.id for one in there if one.name == name}
    return fitting.pop() if len(fitting) == 1 else None


def _named(things: Source, use: Identity) -> str:
    """What people call the value where it comes from; empty where that is unknown, or other things are called so."""
    if use.kind in NAMES:
        return ""
    known = things(use.kind, use.provider) or ()
    name = next((one.name for one in known if one.id == use.value), "")
    return name if sum(one.name == name for one in known) == 1 else ""


def plain(use: Identity, origin: Place) -> str:
    """The value, of a knowledge base decrypted where that can be."""
    if use.kind == "knowledge_bases" and origin.workspace:
        return datasets.decrypted(use.value, origin.workspace) or use.value
    return use.value


def _finding(use: Identity, verdict: Any, sentence: str) -> Finding:
    return Finding("promotion", verdict, sentence[:1].upper() + sentence[1:], f"{use.node} {use.place}".strip())
