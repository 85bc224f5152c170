"""Nodes and edges of a difference, each value under exactly one rule."""

from typing import Final

from lastgood.dsl.compare import Change as Value
from lastgood.dsl.compare import EdgeChange, Item, NodeChange
from lastgood.dsl.dependencies import identified
from lastgood.dsl.document import node_data
from lastgood.dsl.index import INNER_STARTS, Node, id_of, mapping, text
from lastgood.dsl.rules.contract import CHATS
from lastgood.dsl.rules.effect import at, matters, place_of
from lastgood.dsl.rules.gather import Gather
from lastgood.dsl.rules.outside import MODEL_KEYS, address, knowledge, model_name, model_of
from lastgood.dsl.rules.owned import judged, names_of
from lastgood.dsl.rules.routes import ONCE, OWNED, node_route
from lastgood.dsl.rules.rule import quoted

_WHOLE: Final = {
    ("trigger-schedule", "added"): "schedule-added",
    ("trigger-schedule", "removed"): "schedule-removed",
    ("trigger-plugin", "added"): "plugin-trigger-added",
    ("trigger-plugin", "removed"): "plugin-trigger-removed",
    ("trigger-webhook", "added"): "webhook-added",
    ("trigger-webhook", "removed"): "webhook-removed",
}
# Rules whose path is that of the value, for they tell one.
_PLACED: Final = frozenset({"prompt-changed", "code-changed", "template-changed", "answer-changed"})
_HOOK_KEYS: Final = frozenset(
    {"method", "content_type", "headers", "params", "body", "variables", "status_code", "response_body", "timeout"}
)


class Nodes:
    """Goes through the nodes and edges of a difference."""

    def __init__(self, gather: Gather) -> None:
        self.gather, self.case = gather, gather.case
        self._added = {change.id for change in self.case.difference.nodes if change.kind == "added"}
        self._removed = {change.id for change in self.case.difference.nodes if change.kind == "removed"}

        self._whole: dict[tuple[str, str], str] = {}

    def judge(self) -> None:
        """Bring each under its rule."""
        for node in self.case.difference.nodes:
            self._node(node)
        for edge in self.case.difference.edges:
            self._edge(edge)

    def _node(self, change: NodeChange) -> None:
        side = self.case.old if change.kind == "removed" else self.case.new
        node = side.index.nodes.get(change.id)
        name = quoted(change.title or change.id)
        if change.kind != "changed":
            rule = _WHOLE.get((change.type, change.kind), f"node-{change.kind}")
            around = id_of(change.node.get("parentId"))
            self._whole[change.kind, change.id] = rule
            inner = change.type in INNER_STARTS and around in (self._added | self._removed)
            if inner or self._told_before(rule, change.id):
                self.gather.cover(change, rule)
            else:
                sentence = (
                    f"{'New' if change.kind == 'added' else 'Gone is the'} {change.type or 'untyped'} node {name}."
                )
                self.gather.tell(change, rule, sentence, node)
            return
        if change.renamed:
            if change.type == "trigger-webhook":
                self.gather.cover(change, "webhook-moved")
            else:
                sentence = f"Node {name} has the id {change.id}, {change.old_id} before; what reads it followed."
                self.gather.tell(change, "node-renumbered", sentence, node)
        for value in change.fields:
            self._field(change, value, node)

    def _told_before(self, rule: str, node_id: str) -> bool:
        return any(told.rule.id == rule and told.node == node_id for told in self.case.told)

    def _field(self, change: NodeChange, value: Value, node: Node | None) -> None:
        rule = node_route(change.type if value.path[0] == "data" else "", place_of(value.path), value.kind)
        if rule == OWNED:
            self._owned(change, value, node)
            return
        rule, said = self._meant(change, value, rule)
        name = f"Node {quoted(change.title or change.id)}"
        if rule == "plugin-changed" and said:
            self.gather.cover(value, said)
        elif rule in ONCE and self.gather.told(rule, name):
            self.gather.cover(value, rule)
        else:
            place = node.path if node else ""
            if rule in _PLACED and node:
                place = f"{place}.data.{value.where}"
            self.gather.group(value, rule, name, node, place, said)

    def _meant(self, change: NodeChange, value: Value, rule: str) -> tuple[str, str]:
        """The rule that a value really falls under, and what to say of it where it is more than the value."""
        # Without a conversation there is nothing to remember.
        forgetful = not {self.case.old.document.mode, self.case.new.document.mode} & CHATS
        idle = (rule == "memory-changed" and forgetful) or (rule == "node-moved-inside" and not self._moved(change))
        if idle or not _counts(change, value, rule):
            return "no-effect", ""
        if rule == "model-changed":
            around = value.path[:-1] if value.path[-1] in MODEL_KEYS else value.path
            old, new = (model_of(at(root, around, side)) for root, side in ((change.old, "old"), (change.new, "new")))
            return (
                ("no-effect", "") if old == new else (rule, f"{model_name(new)} is asked, {model_name(old)} before")
            )
        if rule == "knowledge-added":
            return knowledge(value, change.old, change.new, ("data", "dataset_ids"))
        if rule == "plugin-changed":
            # Versions are told for the whole document.
            plugin = identified(text(value.new))[0] or identified(text(value.old))[0]
            return rule, self.case.claimed("plugin", plugin)
        return address(value) if rule == "request-address-changed" else (rule, "")

    def _moved(self, change: NodeChange) -> bool:
        """Whether a node stands in another container, not only in one with another id."""
        before, after = (id_of((side or {}).get("parentId")) for side in (change.old, change.new))
        return self.case.renames.get(before, before) != after

    def _owned(self, change: NodeChange, value: Value, node: Node | None) -> None:
        """A value that was judged as a whole: by the name of its input, output or webhook field."""
        steps = value.path[1:]
        if change.type == "trigger-webhook":
            self._hook(change, value, node)
            return
        kind = "input" if change.type == "start" else "output"
        item = next((step for step in steps if isinstance(step, Item)), None)
        names = names_of(node_data(change.old or {}), node_data(change.new or {}), steps[0], item)
        key = next((step for step in steps[2:] if isinstance(step, str)), "*")
        judged(self.gather, value, kind, names, key, node)

    def _hook(self, change: NodeChange, value: Value, node: Node | None) -> None:
        steps = value.path[1:]
        item = next((step for step in steps if isinstance(step, Item)), None)
        names = names_of(node_data(change.old or {}), node_data(change.new or {}), steps[0], item)
        keys = [f"{steps[0]}.{name}" for name in names] or [str(steps[0])]
        told = next(filter(None, (self.case.claimed("hook", change.id, key) for key in keys)), "")
        if told:
            self.gather.cover(value, told)
        elif value.kind == "moved":
            self.gather.group(value, "order-changed", f"Webhook {quoted(change.title)}", node)
        elif steps[0] in _HOOK_KEYS:
            self.gather.group(value, "no-effect", "", node)
        else:
            self.gather.group(value, "caller-setting-changed", f"Webhook {quoted(change.title)}", node)

    def _edge(self, change: EdgeChange) -> None:
        ends = {change.source, change.target}
        titles = self.case.titles
        source, target = (quoted(titles.get(end, end)) for end in (change.source, change.target))
        named = f"{source} to {target}" + ("" if change.handle in ("source", "") else f" at {quoted(change.handle)}")
        if change.kind == "changed":
            self.gather.tell(change, "setting-changed", f"The connection from {named} has other settings.")
        elif ends & (self._added if change.kind == "added" else self._removed):
            # It is told with the node that it came or went with.
            self.gather.cover(
                change, next(self._whole[change.kind, end] for end in ends if (change.kind, end) in self._whole)
            )
        else:
            begins = "New connection" if change.kind == "added" else "Gone is the connection"
            self.gather.tell(change, f"connection-{change.kind}", f"{begins} from {named}.")


def _counts(change: NodeChange, value: Value, rule: str) -> bool:
    """Whether a value can matter to a run, or to people who see it."""
    if rule in ("branch-added", "branch-removed"):
        case = mapping(value.new if value.kind == "added" else value.old)
        # Some tools write the ELSE as a case of its own.
        return case.get("case_id") != "false" or bool(case.get("conditions"))
    return rule == "setting-changed" or matters(value, change.old, change.new, change.type)
