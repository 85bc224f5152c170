"""Collects values of a difference under rules, and tells those that belong together in one sentence."""

from collections import defaultdict
from dataclasses import dataclass

from lastgood.dsl.compare import Change as Value
from lastgood.dsl.compare import EdgeChange, NodeChange, VariableChange
from lastgood.dsl.index import Node
from lastgood.dsl.rules.case import Case
from lastgood.dsl.rules.told import detail, details

type Atom = NodeChange | EdgeChange | VariableChange | Value | str
"""The smallest things that a difference is made of; a str is the name of a secret."""


@dataclass(frozen=True, slots=True)
class _Group:
    """What one sentence is about: a rule, and the node, variable or part that it found it in."""

    rule: str
    name: str
    node: str
    path: str


class Gather:
    """The values of a difference, each under one rule. `assigned` says which."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.assigned: list[tuple[Atom, str]] = []
        self._groups: dict[_Group, list[str]] = defaultdict(list)

    def tell(self, atom: Atom, rule: str, sentence: str, node: Node | None = None, path: str = "") -> None:
        """Tell an atom in a sentence of its own."""
        self.assigned.append((atom, rule))
        self.case.tell(rule, sentence, node=node, path=path)

    def cover(self, atom: Atom, rule: str) -> None:
        """Note an atom that a change told before this is made of."""
        self.assigned.append((atom, rule))

    def group(
        self, atom: Value, rule: str, name: str, node: Node | None = None, path: str = "", said: str = ""
    ) -> None:
        """Note a value for the one sentence of its rule and node. Values without effect share one sentence."""
        self.assigned.append((atom, rule))
        if rule == "no-effect":
            where = f"{node.title}: {atom.where}" if node else atom.where
            self._groups[_Group(rule, "", "", "")].append(where)
        else:
            self._groups[_Group(rule, name, node.id if node else "", path)].append(said or detail(rule, atom))

    def flush(self) -> None:
        """Tell what was gathered."""
        for group, said in self._groups.items():
            if group.rule == "no-effect":
                count = "1 setting is" if len(said) == 1 else f"{len(said)} settings are"
                sentence = f"{count} written otherwise, to the same effect: {details(said)}."
            else:
                sentence = f"{group.name}: {details(said)}."
            self.case.tell(group.rule, sentence, node=self.case.new.index.nodes.get(group.node), path=group.path)

    def told(self, rule: str, name: str) -> bool:
        """Whether the sentence of a rule on a node or a part has been begun."""
        return any(group.rule == rule and group.name == name for group in self._groups)
