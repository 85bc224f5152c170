"""Every value of a difference, brought under exactly one rule."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood.dsl.compare import Change as Value
from lastgood.dsl.compare import EdgeChange, Item, NodeChange, VariableChange
from lastgood.dsl.compare.parts import FORMAT
from lastgood.dsl.dependencies import identified, listed_plugins, plugin_of
from lastgood.dsl.document import Document, node_data
from lastgood.dsl.index import INNER_STARTS, Node, id_of, mapping, text
from lastgood.dsl.rules.case import Case
from lastgood.dsl.rules.contract import CHATS, enabled
from lastgood.dsl.rules.effect import at, matters, place_of
from lastgood.dsl.rules.features import CHAT_ONLY
from lastgood.dsl.rules.routes import OWNED, config_route, node_route
from lastgood.dsl.rules.rule import quoted
from lastgood.dsl.rules.told import detail, details

type Atom = NodeChange | EdgeChange | VariableChange | Value | str
"""The smallest things that a difference is made of; a str is the name of a secret."""

_WHOLE: Final = {
    ("trigger-schedule", "added"): "schedule-added",
    ("trigger-schedule", "removed"): "schedule-removed",
    ("trigger-plugin", "added"): "plugin-trigger-added",
    ("trigger-plugin", "removed"): "plugin-trigger-removed",
    ("trigger-webhook", "added"): "webhook-added",
    ("trigger-webhook", "removed"): "webhook-removed",
}
_APP: Final = {
    "name": "app-name-changed",
    "description": "app-description-changed",
    "icon": "app-icon-changed",
    "icon_type": "app-icon-changed",
    "icon_background": "app-icon-changed",
    "use_icon_as_answer_icon": "app-icon-changed",
}
_FEATURES: Final = {
    "text_to_speech": "voice-changed",
    "sensitive_word_avoidance": "moderation-changed",
    "annotation_reply": "annotation-changed",
}
_KNOWN_FEATURES: Final = CHAT_ONLY | _FEATURES.keys() | {"speech_to_text", "file_upload"}
COVERED: Final = "covered"
# Rules that say all of a node in one sentence, however many values it is made of.
_ONCE: Final = frozenset({"model-changed", "host-changed", "knowledge-unclear"})
# Rules whose path is that of the value, for they tell one.
_PLACED: Final = frozenset({"prompt-changed", "code-changed", "template-changed", "answer-changed"})
_MODEL_KEYS: Final = frozenset(
    {"name", "provider", "model", "embedding_provider_name", "embedding_model_name", "embedding_model"}
    | {"embedding_model_provider", "reranking_provider_name", "reranking_model_name"}
)
_HOOK_KEYS: Final = frozenset(
    {"method", "content_type", "headers", "params", "body", "variables", "status_code", "response_body", "timeout"}
)
# AES blocks in base64, as exports write the ids of knowledge bases.
ENCRYPTED: Final = re.compile(r"[A-Za-z0-9+/]{42,}={0,2}")
_WORDING: Final = frozenset({"label", "description", "hint", "placeholder", "default", "unit"})
_HOST: Final = re.compile(r"(?:[a-zA-Z][\w+.-]*://)?((?:\{\{#[^{}#\n]+#\}\}|[^/?#\s])*)")


@dataclass(frozen=True, slots=True)
class _Group:
    """What one sentence is about: a rule, and the node, variable or part that it found it in."""

    rule: str
    name: str
    node: str
    path: str


class Values:
    """Goes through a difference. `assigned` says afterwards which rule each atom fell under."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.assigned: list[tuple[Atom, str]] = []
        self._groups: dict[_Group, list[str]] = defaultdict(list)
        self._added = {change.id for change in case.difference.nodes if change.kind == "added"}
        self._removed = {change.id for change in case.difference.nodes if change.kind == "removed"}

    def judge(self) -> None:
        """Tell all that is not told yet."""
        difference = self.case.difference
        for node in difference.nodes:
            self._node(node)
        for edge in difference.edges:
            self._edge(edge)
        for variable in difference.environment:
            self._environment(variable)
        for variable in difference.conversation:
            self._conversation(variable)
        for secret in difference.secrets:
            self._tell(secret, "secret-value-changed", f"Secret {quoted(secret)} has another value.")
        for change in difference.features:
            self._feature(change, change.path)
        for change in difference.settings:
            self._setting(change)
        for change in difference.app:
            self._app(change)
        for change in difference.dependencies:
            self._dependency(change)
        self._flush()

    def _tell(self, atom: Atom, rule: str, sentence: str, node: Node | None = None, path: str = "") -> None:
        """Tell an atom in a sentence of its own."""
        self.assigned.append((atom, rule))
        self.case.tell(rule, sentence, node=node, path=path)

    def _covered(self, atom: Atom, rule: str) -> None:
        """Note an atom that a change told before this is made of."""
        self.assigned.append((atom, rule))

    def _group(
        self, atom: Value, rule: str, name: str, node: Node | None = None, path: str = "", said: str = ""
    ) -> None:
        """Note a value for the one sentence of its rule and node. Values without effect share one sentence."""
        self.assigned.append((atom, rule))
        if rule == "no-effect":
            where = f"{node.title}: {atom.where}" if node else atom.where
            self._groups[_Group(rule, "", "", "")].append(where)
        else:
            self._groups[_Group(rule, name, node.id if node else "", path)].append(said or detail(rule, atom))

    def _flush(self) -> None:
        for group, said in self._groups.items():
            if group.rule == "no-effect":
                count = "1 setting is" if len(said) == 1 else f"{len(said)} settings are"
                sentence = f"{count} written otherwise, to the same effect: {details(said)}."
            else:
                sentence = f"{group.name}: {details(said)}."
            self.case.tell(group.rule, sentence, node=self.case.new.index.nodes.get(group.node), path=group.path)

    # Nodes and edges

    def _node(self, change: NodeChange) -> None:
        side = self.case.old if change.kind == "removed" else self.case.new
        node = side.index.nodes.get(change.id)
        name = quoted(change.title or change.id)
        if change.kind != "changed":
            rule = _WHOLE.get((change.type, change.kind), f"node-{change.kind}")
            around = id_of(change.node.get("parentId"))
            inner = change.type in INNER_STARTS and around in (self._added | self._removed)
            if inner or self._told_before(rule, change.id):
                self._covered(change, rule)
            else:
                sentence = (
                    f"{'New' if change.kind == 'added' else 'Gone is the'} {change.type or 'untyped'} node {name}."
                )
                self._tell(change, rule, sentence, node)
            return
        if change.renamed:
            if change.type == "trigger-webhook":
                self._covered(change, "webhook-moved")
            else:
                sentence = f"Node {name} has the id {change.id}, {change.old_id} before; what reads it followed."
                self._tell(change, "node-renumbered", sentence, node)
        for value in change.fields:
            self._field(change, value, node)

    def _told_before(self, rule: str, node_id: str) -> bool:
        return any(told.rule.id == rule and told.node == node_id for told in self.case.told)

    def _field(self, change: NodeChange, value: Value, node: Node | None) -> None:
        place = place_of(value.path)
        kind = change.type if value.path[0] == "data" else ""
        rule = node_route(kind, place, value.kind)
        name = f"Node {quoted(change.title or change.id)}"
        path = f"{node.path}.data.{value.where}" if node else value.where
        if rule == OWNED:
            self._owned(change, value, node)
            return
        if rule not in ("setting-changed", "branch-added", "branch-removed") and not matters(
            value, change.old, change.new, change.type
        ):
            rule = "no-effect"
        said = ""
        if rule == "model-changed":
            rule, said = self._model(change, value, path)
        elif rule == "request-address-changed":
            rule, said = _address(value)
        elif rule == "plugin-changed":
            rule, said = self._plugin(value)
        elif rule == "knowledge-added":
            rule, said = _knowledge(value, change.old, change.new, ("data", "dataset_ids"))
        elif rule == "node-moved-inside":
            inside = [text((side or {}).get("parentId")) for side in (change.old, change.new)]
            if inside[0] == inside[1] or self.case.renames.get(inside[0]) == inside[1]:
                rule = "no-effect"
        if rule == COVERED:
            self._covered(value, said)
        else:
            same = rule in _ONCE and any(
                group.rule == rule and group.node == (node.id if node else "") for group in self._groups
            )
            path = path if rule not in _ONCE else (node.path if node else "")
            if same:
                self._covered(value, rule)
            else:
                self._group(value, rule, name, node, path if rule in _PLACED else node.path if node else "", said)

    def _model(self, change: NodeChange, value: Value, path: str) -> tuple[str, str]:
        """Another model, or the same one under a longer name of its provider."""
        around = value.path[:-1] if value.path[-1] in _MODEL_KEYS else value.path
        old, new = (_model_of(at(root, around, side)) for root, side in ((change.old, "old"), (change.new, "new")))
        if old == new:
            return "no-effect", ""
        return "model-changed", f"{_model_name(new)} is asked, {_model_name(old)} before"

    def _plugin(self, value: Value) -> tuple[str, str]:
        """A pin of a plugin: its version is told for the whole document."""
        plugin = identified(text(value.new))[0] or identified(text(value.old))[0]
        told = self.case.claimed("plugin", plugin)
        return (COVERED, told) if told else ("plugin-changed", "")

    def _owned(self, change: NodeChange, value: Value, node: Node | None) -> None:
        """A value that was judged as a whole: by the name of its input, output or webhook field."""
        steps = value.path[1:]
        if change.type == "trigger-webhook":
            self._hook(change, value, node)
            return
        kind = "input" if change.type == "start" else "output"
        item = next((step for step in steps if isinstance(step, Item)), None)
        names = _names(node_data(change.old or {}), node_data(change.new or {}), steps[0], item)
        key = next((step for step in steps[2:] if isinstance(step, str)), "*")
        self._judged(value, kind, names, key, node)

    def _judged(self, value: Value, kind: str, names: list[str], key: str, node: Node | None) -> None:
        told = next(filter(None, (self.case.claimed(kind, name, key) for name in names)), "")
        subject = f"{kind.title()} {quoted(names[-1])}" if names else f"{kind.title()}s"
        if told:
            self._covered(value, told)
        elif value.kind == "moved" or (kind == "input" and key == "options"):
            self._group(value, "choice-order-changed" if key == "options" else "order-changed", subject, node)
        elif kind == "input" and key in _WORDING:
            self._group(value, "input-wording-changed", subject, node)
        else:
            self._group(value, "no-effect", subject, node)

    def _hook(self, change: NodeChange, value: Value, node: Node | None) -> None:
        steps = value.path[1:]
        item = next((step for step in steps if isinstance(step, Item)), None)
        names = _names(node_data(change.old or {}), node_data(change.new or {}), steps[0], item)
        keys = [f"{steps[0]}.{name}" for name in names] or [str(steps[0])]
        told = next(filter(None, (self.case.claimed("hook", change.id, key) for key in keys)), "")
        if told:
            self._covered(value, told)
        elif value.kind == "moved":
            self._group(value, "order-changed", f"Webhook {quoted(change.title)}", node)
        elif steps[0] in _HOOK_KEYS:
            self._group(value, "no-effect", "", node)
        else:
            self._group(value, "caller-setting-changed", f"Webhook {quoted(change.title)}", node)

    def _edge(self, change: EdgeChange) -> None:
        ends = {change.source, change.target}
        titles = self.case.titles
        source, target = (quoted(titles.get(end, end)) for end in (change.source, change.target))
        named = f"{source} to {target}" + ("" if change.handle in ("source", "") else f" at {quoted(change.handle)}")
        if change.kind == "changed":
            self._tell(change, "setting-changed", f"The connection from {named} has other settings.")
        elif ends & (self._added if change.kind == "added" else self._removed):
            self._covered(change, f"node-{change.kind}")
        else:
            begins = "New connection" if change.kind == "added" else "Gone is the connection"
            self._tell(change, f"connection-{change.kind}", f"{begins} from {named}.")

    # Variables

    def _environment(self, change: VariableChange) -> None:
        name, path = quoted(change.name), "workflow.environment_variables"
        secret = (change.new or change.old or {}).get("value_type") == "secret"
        if change.kind != "changed":
            rule = f"{'secret' if secret else 'variable'}-{change.kind}"
            what = "secret" if secret else "environment variable"
            sentence = f"New {what} {name}." if change.kind == "added" else f"Gone is the {what} {name}."
            self._tell(change, rule, sentence, path=path)
            return
        retyped = any(value.path[:1] == ("value_type",) for value in change.fields)
        for value in change.fields:
            if value.path[:1] == ("description",):
                self._group(value, "description-changed", f"Variable {name}", path=path)
            elif retyped and value.path[:1] == ("value_type",):
                said = f"type {value.new}, {value.old} before"
                self._group(value, "variable-type-changed", f"Environment variable {name}", path=path, said=said)
            elif retyped and value.path[:1] == ("value",):
                self._covered(value, "variable-type-changed")
            elif value.path[:1] == ("value",):
                if not any(
                    group.rule == "variable-value-changed" and group.path == path and name in group.name
                    for group in self._groups
                ):
                    self._group(
                        value,
                        "variable-value-changed",
                        f"Environment variable {name}",
                        path=path,
                        said="it has another value",
                    )
                else:
                    self._covered(value, "variable-value-changed")
            else:
                self._group(value, "setting-changed", f"Environment variable {name}", path=path)

    def _conversation(self, change: VariableChange) -> None:
        name, path = quoted(change.name), "workflow.conversation_variables"
        if change.kind != "changed":
            begins = "New" if change.kind == "added" else "Gone is the"
            sentence = f"{begins} conversation variable {name}."
            self._tell(change, f"conversation-variable-{change.kind}", sentence, path=path)
        for value in change.fields:
            rule = "description-changed" if value.path[:1] == ("description",) else "conversation-variable-changed"
            self._group(value, rule, f"Conversation variable {name}", path=path)

    # What stands beside the graph

    def _feature(self, value: Value, steps: tuple[Any, ...]) -> None:
        feature = steps[0] if isinstance(steps[0], str) else ""
        key = next((step for step in steps[1:] if isinstance(step, str)), "*")
        name = f"Feature {quoted(feature)}"
        told = self.case.claimed("feature", feature, key)
        chat = {self.case.old.document.mode, self.case.new.document.mode} <= CHATS
        if told:
            self._covered(value, told)
        elif feature in CHAT_ONLY and not chat:
            self._group(value, "unused-feature-changed", name)
        elif value.kind == "moved":
            self._group(value, "order-changed", name)
        elif feature in ("text_to_speech", "sensitive_word_avoidance") and not enabled(
            self.case.new.document, feature
        ):
            self._group(value, "no-effect", name)
        elif feature in _FEATURES:
            self._group(value, _FEATURES[feature], name)
        elif feature in _KNOWN_FEATURES:
            self._group(value, "no-effect", name)
        else:
            self._group(value, "caller-setting-changed", name)

    def _setting(self, value: Value) -> None:
        steps = value.path
        mode = self.case.claimed("mode", "")
        if steps == ("mode",) or (mode and len(steps) == 1):
            self._covered(value, mode) if mode else self._group(value, "setting-changed", "App")
        elif steps[0] == "rag_pipeline_variables":
            self._group(value, "pipeline-variable-changed", "Pipeline")
        elif steps[0] == "model_config" and len(steps) > 1:
            self._config(value)
        else:
            self._group(value, "setting-changed", "App")

    def _config(self, value: Value) -> None:
        steps = value.path[1:]
        place = ".".join("[]" if isinstance(step, Item) else step for step in steps)
        rule = config_route(place)
        old, new = (_config_of(side.document.data) for side in (self.case.old, self.case.new))
        said = ""
        if rule == OWNED:
            item = next((step for step in steps if isinstance(step, Item)), None)
            key = next((step for step in steps[3:] if isinstance(step, str)), "*")
            self._judged(value, "input", _names(old, new, "user_input_form", item), key, None)
            return
        if rule is None:
            if steps[0] in _KNOWN_FEATURES:
                self._feature(value, steps)
            else:
                self._group(value, "setting-changed", "App", path="model_config")
            return
        if rule == "model-changed":
            before, after = (
                _model_of(part.get("model") if steps[0] == "model" else at(part, steps[:2], side))
                for part, side in ((old, "old"), (new, "new"))
            )
            if before == after:
                rule = "no-effect"
            else:
                said = f"{_model_name(after)} is asked, {_model_name(before)} before"
        elif rule == "knowledge-added":
            rule, said = _knowledge(value, old, new, ("dataset_configs", "datasets", "datasets"))
        if rule in _ONCE and any(group.rule == rule and group.name == "App" for group in self._groups):
            self._covered(value, rule)
        else:
            self._group(value, rule, "App", path="model_config", said=said)

    def _app(self, value: Value) -> None:
        key = value.path[0] if value.path and isinstance(value.path[0], str) else ""
        mode = self.case.claimed("mode", "")
        if key == "mode" and mode:
            self._covered(value, mode)
        elif key == FORMAT:
            raised = _numbers(value.new) > _numbers(value.old)
            rule = "format-version-raised" if raised else "format-version-lowered"
            self._group(value, rule, "Document", path="version")
        else:
            self._group(value, _APP.get(key, "app-fact-changed"), "App", path=f"app.{key}")

    def _dependency(self, value: Value) -> None:
        item = value.path[0] if value.path else None
        if value.kind == "moved":
            self._group(value, "order-changed", "Dependencies", path="dependencies")
            return
        plugins = []
        for side, place in ((self.case.old, getattr(item, "old", None)), (self.case.new, getattr(item, "new", None))):
            listed = side.document.data.get("dependencies")
            if isinstance(listed, list) and place is not None and place < len(listed):
                bare = Document({"dependencies": [listed[place]]})
                plugins += [plugin for plugin, _, _ in listed_plugins(bare)]
        told = next(filter(None, (self.case.claimed("plugin", plugin) for plugin in plugins)), "")
        if told:
            self._covered(value, told)
        elif plugins and value.kind == "changed":
            self._group(value, "plugin-changed", f"Plugin {quoted(plugins[-1])}", path="dependencies")
        elif plugins:
            # The graph needed it before, or still does: only the list says more or less.
            self._group(value, "no-effect", "Dependencies", path="dependencies")
        else:
            self._group(value, "dependency-changed", "Dependencies", path="dependencies")


def _names(old: Any, new: Any, part: Any, item: Item | None) -> list[str]:
    """What the item of a list in a part is called before and now."""
    found = []
    for side, place in ((old, item.old if item else None), (new, item.new if item else None)):
        listed = mapping(side).get(part)
        if isinstance(listed, list) and place is not None and place < len(listed):
            core = mapping(listed[place])
            if part == "user_input_form":
                core = mapping(next(iter(core.values()), None))
            found.append(text(core.get("variable")) or text(core.get("name")))
    return [name for name in dict.fromkeys(found) if name]


def _model_of(value: Any) -> tuple[str, ...]:
    """A model as it is told from others: the plugin and the name of its provider, and its own."""
    said = mapping(value)
    said = mapping(said.get("value")) or said
    provider = text(said.get("provider")) or text(said.get("embedding_provider_name"))
    provider = provider or text(said.get("embedding_model_provider")) or text(said.get("reranking_provider_name"))
    names = (
        said.get(key) for key in ("name", "model", "embedding_model_name", "embedding_model", "reranking_model_name")
    )
    name = next((item for item in names if isinstance(item, str)), "")
    return plugin_of(provider), provider.rpartition("/")[2], name


def _model_name(model: tuple[str, ...]) -> str:
    _, provider, name = model
    return f"{quoted(name)} of {quoted(provider)}" if name or provider else "no model"


def _address(value: Value) -> tuple[str, str]:
    """Another host, or another address of the same. Only hosts are told: addresses may hold keys."""
    before, after = (_host_of(text(side)) for side in (value.old, value.new))
    if before != after:
        return "host-changed", f"{quoted(after)} is called, {quoted(before)} before"
    return "request-address-changed", ""


def _host_of(url: str) -> str:
    found = _HOST.match(url.strip())
    return found[1].rpartition("@")[2].lower() if found else ""


def _knowledge(value: Value, old: Any, new: Any, path: tuple[str, ...]) -> tuple[str, str]:
    lists = [at(root, path, side) for root, side in ((old, "old"), (new, "new"))]
    ids = [
        [id_of(mapping(mapping(item).get("dataset")).get("id")) or id_of(item) for item in found]
        if isinstance(found, list)
        else []
        for found in lists
    ]
    if (
        all(ids)
        and set(ids[0]) != set(ids[1])
        and any(ENCRYPTED.fullmatch(item) for item in ids[0] + ids[1])
        and len(ids[0]) == len(ids[1])
    ):
        return "knowledge-unclear", "other ids, which are encrypted"
    if value.kind == "moved" or set(ids[0]) == set(ids[1]):
        return "retrieval-changed", ""
    if value.kind == "removed":
        return "knowledge-removed", f"{quoted(id_of(value.old) or value.where)} is no longer searched"
    return "knowledge-added", f"{quoted(id_of(value.new) or value.where)} is searched too"


def _config_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(data.get("model_config"))


def _numbers(version: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in text(version).split(".") if part.isdigit())
