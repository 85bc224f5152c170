"""Two documents before the rules: what each rule may ask, and what was told so far."""

from collections.abc import Iterator
from functools import cached_property

from lastgood.dsl.compare import Difference
from lastgood.dsl.document import Document
from lastgood.dsl.flow import Flow
from lastgood.dsl.index import Index, Node
from lastgood.dsl.references import References
from lastgood.dsl.rules.registry import RULES
from lastgood.dsl.rules.rule import Change, RuleSettings, Severity, Witness
from lastgood.dsl.rules.witness import Seeker

type Claim = tuple[str, str, str]
"""Something that was judged as a whole: its kind (``input``, ``output``, ``feature``, ``hook``), its name, and which
of its settings (``*``: all)."""


class Side:
    """One of the two documents, with what several rules ask about it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.index = Index(document)

    @cached_property
    def references(self) -> References:
        return References(self.index)

    @cached_property
    def flow(self) -> Flow:
        return Flow(self.index)

    def running(self, *types: str) -> Iterator[Node]:
        """The nodes of these types that a run may reach."""
        return (node for node in self.index.of_type(*types) if node.id in self.flow.reachable)


class Case:
    """What is judged, and the changes told so far. `claims` says which rule has told what, so that the values that
    make it up are not told again."""

    def __init__(self, old: Document, new: Document, difference: Difference, settings: RuleSettings) -> None:
        self.old, self.new = Side(old), Side(new)
        self.difference = difference
        self.settings = settings
        self.seeker = Seeker(old, new)
        self.renames = {str(before): str(after) for before, after in difference.renames.items()}
        self.titles = {**difference.old_titles, **difference.new_titles}
        self.told: list[Change] = []
        self.claims: dict[Claim, str] = {}

    def tell(
        self,
        rule: str,
        sentence: str,
        *,
        node: Node | None = None,
        path: str = "",
        severity: Severity | None = None,
        witness: Witness | None = None,
        claim: Claim | None = None,
    ) -> None:
        """Note what a rule found. What cannot be proven to break callers is told as a warning."""
        found = RULES[rule]
        weight = severity or found.severity
        if weight == "breaking" and witness is None:
            weight = "warning"
        self.told.append(
            Change(
                self.settings.rule(found),
                sentence,
                path or (node.path if node else ""),
                node.id if node else "",
                node.title if node else "",
                self.settings.severity(found, weight),
                witness if weight == "breaking" else None,
            )
        )
        if claim:
            self.claims.setdefault(claim, rule)

    def claimed(self, kind: str, name: str, key: str = "*") -> str:
        """The rule that has told of this, ``""`` for none."""
        return self.claims.get((kind, name, key)) or self.claims.get((kind, name, "*")) or ""
