"""Environment variables where a version is promoted to: what stands there stays, unless the overlay says more."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lastgood.dsl import Document
from lastgood.dsl.document import mappings
from lastgood.dsl.identities import replaced
from lastgood.dsl.index import text
from lastgood.release.plan import Finding
from lastgood.release.promotion.overlay import Given

Origin = Literal["target", "overlay", "source"]
_NUMBERS = frozenset({"number", "integer", "float"})


@dataclass(frozen=True, slots=True)
class Standing:
    """The variables of the version that the target has now (None: it has none), and which of its secrets have a
    value. `channel` and `source` are the names of both channels."""

    channel: str
    source: str
    document: Document | None = None
    held: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    """The secrets that have a value in the version that is promoted."""


@dataclass(frozen=True, slots=True)
class Carriage:
    """Where the value of a variable comes from."""

    name: str
    secret: bool
    origin: Origin


def overlaid(
    document: Document, overlay: Mapping[str, Given], standing: Standing
) -> tuple[Document, tuple[Carriage, ...], list[Finding]]:
    """`document` with the variables as they are to be at the target, where each value comes from, and findings.
    Values of secrets stay out of the document."""
    items = document.workflow.get("environment_variables")
    now = {text(one.get("name")): one for one in standing.document.environment_variables} if standing.document else {}
    one = _Variables(standing, overlay, now)
    filled = [one.item(item) if isinstance(item, dict) else item for item in items] if isinstance(items, list) else []
    names = {text(item.get("name")) for item in mappings(filled)}
    for name in overlay.keys() - names:
        one.say(name, "refuse", f"The overlay gives {name}, and the version has no such variable.")
    for name in now.keys() - names:
        sentence = f"{name}, which {standing.channel} has now, is not in the promoted version."
        one.say(name, "warn", sentence)
    if isinstance(items, list):
        document = replaced(document, {("workflow", "environment_variables"): filled})
    return document, tuple(one.carriages), one.findings


@dataclass(slots=True)
class _Variables:
    standing: Standing
    overlay: Mapping[str, Given]
    now: Mapping[str, dict[str, Any]]
    findings: list[Finding] = field(default_factory=list)
    carriages: list[Carriage] = field(default_factory=list)

    def say(self, name: str, verdict: Any, sentence: str) -> None:
        self.findings.append(Finding("environment", verdict, sentence, name))

    def item(self, item: dict[str, Any]) -> dict[str, Any]:
        """The variable `item` as it is to be there, under the id that it has there: Dify knows variables by it."""
        name = text(item.get("name"))
        there = self.now.get(name)
        placed = {**item, "id": there["id"]} if there is not None and "id" in there else item
        given = self.overlay.get(name)
        if item.get("value_type") == "secret":
            self._secret(name, there, given)
            return placed
        if given is not None and given.how != "source":
            return {**placed, "value": self._typed(name, item, given)}
        if given is None and there is not None and _kind(there) == _kind(item):
            self._keep(name, secret=False, origin="target")
            self.say(name, "pass", f"{name} keeps the value that {self.standing.channel} has.")
            return {**placed, "value": there.get("value"), "value_type": there.get("value_type")}
        self._keep(name, secret=False, origin="source")
        why = "as the overlay says" if given else f"since {self.standing.channel} has none"
        self.say(name, "pass" if given else "warn", f"{name} takes the value of {self.standing.source}, {why}.")
        return placed

    def _keep(self, name: str, *, secret: bool, origin: Origin) -> None:
        self.carriages.append(Carriage(name, secret, origin))

    def _secret(self, name: str, there: dict[str, Any] | None, given: Given | None) -> None:
        channel, source = self.standing.channel, self.standing.source
        if given is not None and given.how == "written":
            sentence = f"{name} is a secret; write it in the overlay as env:NAME or file:PATH, not as it is."
            self.say(name, "refuse", sentence)
        elif given is not None and given.how == "referred":
            if not given.value:
                self.say(name, "refuse", f"What the overlay gives for the secret {name} is empty.")
                return
            self._keep(name, secret=True, origin="overlay")
            self.say(name, "pass", f"{name} (a secret) takes the value that the overlay refers to.")
        elif given is not None:
            if name not in self.standing.given:
                self.say(name, "refuse", f"{source} has no value for the secret {name}.")
                return
            self._keep(name, secret=True, origin="source")
            self.say(name, "warn", f"{name} (a secret) takes the value of {source}, as the overlay says.")
        elif there is not None and there.get("value_type") == "secret" and name in self.standing.held:
            self._keep(name, secret=True, origin="target")
            self.say(name, "pass", f"{name} (a secret) keeps the value that {channel} has.")
        else:
            sentence = (
                f"{channel} has no value for the secret {name}. Give one in the overlay: `{name}: env:…` or "
                f"`file:…`, or `{name}: 'source:'` for the one that {source} has."
            )
            self.say(name, "refuse", sentence)

    def _typed(self, name: str, item: Mapping[str, Any], given: Given) -> Any:
        """The overlay's value in the type of the variable."""
        kind, value = text(item.get("value_type")), given.value
        if kind in _NUMBERS and isinstance(value, str):
            value = _number(value)
        fits = isinstance(value, int | float) and not isinstance(value, bool) if kind in _NUMBERS else True
        if kind == "string":
            fits = isinstance(value, str)
        if not fits:
            self.say(name, "refuse", f"The overlay's value of {name} is no {kind}.")
            return item.get("value")
        self._keep(name, secret=False, origin="overlay")
        self.say(name, "pass", f"{name} takes the value of the overlay.")
        return value


def _kind(item: Mapping[str, Any]) -> str:
    """The type of a variable; exports tell two kinds of numbers apart, which the API does not."""
    kind = text(item.get("value_type"))
    return "number" if kind in _NUMBERS else kind


def _number(value: str) -> int | float | str:
    for read in (int, float):
        try:
            return read(value.strip())
        except ValueError:
            continue
    return value
