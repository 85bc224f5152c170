"""Values that stand beside the nodes: variables, features, settings of apps without a graph, names, plugins."""

from collections.abc import Mapping
from typing import Any, Final

from lastgood.dsl.compare import Change as Value
from lastgood.dsl.compare import Item, VariableChange
from lastgood.dsl.compare.parts import FORMAT
from lastgood.dsl.dependencies import listed_plugins
from lastgood.dsl.document import Document
from lastgood.dsl.index import mapping, text
from lastgood.dsl.rules.contract import CHATS, enabled
from lastgood.dsl.rules.effect import at, matters
from lastgood.dsl.rules.features import CHAT_ONLY
from lastgood.dsl.rules.gather import Gather
from lastgood.dsl.rules.outside import knowledge, model_name, model_of
from lastgood.dsl.rules.owned import judged, names_of
from lastgood.dsl.rules.routes import ONCE, OWNED, config_route
from lastgood.dsl.rules.rule import quoted

_APP: Final = {
    "name": "app-name-changed",
    "description": "app-description-changed",
    "icon": "app-icon-changed",
    "icon_type": "app-icon-changed",
    "icon_background": "app-icon-changed",
    "use_icon_as_answer_icon": "app-icon-changed",
}
_VARIABLE: Final = {
    "value": "variable-value-changed",
    "value_type": "variable-type-changed",
    "description": "description-changed",
}
_FEATURES: Final = {
    "text_to_speech": "voice-changed",
    "sensitive_word_avoidance": "moderation-changed",
    "annotation_reply": "annotation-changed",
}
_KNOWN_FEATURES: Final = CHAT_ONLY | _FEATURES.keys() | {"speech_to_text", "file_upload"}


class Beside:
    """Goes through what a difference has beside nodes and edges."""

    def __init__(self, gather: Gather) -> None:
        self.gather, self.case = gather, gather.case

    def judge(self) -> None:
        """Bring each value under its rule."""
        difference = self.case.difference
        for variable in difference.environment:
            self._environment(variable)
        for variable in difference.conversation:
            self._conversation(variable)
        for secret in difference.secrets:
            self.gather.tell(secret, "secret-value-changed", f"Secret {quoted(secret)} has another value.")
        for change in difference.features:
            self._feature(change, change.path)
        for change in difference.settings:
            self._setting(change)
        for change in difference.app:
            self._app(change)
        for change in difference.dependencies:
            self._dependency(change)

    def _environment(self, change: VariableChange) -> None:
        name, path = quoted(change.name), "workflow.environment_variables"
        secret = (change.new or change.old or {}).get("value_type") == "secret"
        if change.kind != "changed":
            rule = f"{'secret' if secret else 'variable'}-{change.kind}"
            what = "secret" if secret else "environment variable"
            sentence = f"New {what} {name}." if change.kind == "added" else f"Gone is the {what} {name}."
            self.gather.tell(change, rule, sentence, path=path)
        retyped = any(value.path[:1] == ("value_type",) for value in change.fields)
        for value in change.fields:
            rule = _VARIABLE.get(str(value.path[0]), "setting-changed")
            if retyped and rule == "variable-value-changed":
                self.gather.cover(value, "variable-type-changed")
                continue
            said = {
                "variable-type-changed": f"type {value.new}, {value.old} before",
                "variable-value-changed": "another value",
            }.get(rule, "")
            owner = f"Environment variable {name}"
            if self.gather.told(rule, owner):
                self.gather.cover(value, rule)
            else:
                self.gather.group(value, rule, owner, path=path, said=said)

    def _conversation(self, change: VariableChange) -> None:
        name, path = quoted(change.name), "workflow.conversation_variables"
        if change.kind != "changed":
            begins = "New" if change.kind == "added" else "Gone is the"
            sentence = f"{begins} conversation variable {name}."
            self.gather.tell(change, f"conversation-variable-{change.kind}", sentence, path=path)
        for value in change.fields:
            rule = "description-changed" if value.path[:1] == ("description",) else "conversation-variable-changed"
            self.gather.group(value, rule, f"Conversation variable {name}", path=path)

    # What stands beside the graph
    def _feature(self, value: Value, steps: tuple[Any, ...]) -> None:
        feature = steps[0] if isinstance(steps[0], str) else ""
        key = next((step for step in steps[1:] if isinstance(step, str)), "*")
        name = f"Feature {quoted(feature)}"
        told = self.case.claimed("feature", feature, key)
        chat = {self.case.old.document.mode, self.case.new.document.mode} <= CHATS
        if told:
            self.gather.cover(value, told)
        elif feature in CHAT_ONLY and not chat:
            self.gather.group(value, "unused-feature-changed", name)
        elif value.kind == "moved":
            self.gather.group(value, "order-changed", name)
        elif feature in ("text_to_speech", "sensitive_word_avoidance") and not enabled(
            self.case.new.document, feature
        ):
            self.gather.group(value, "no-effect", name)
        elif feature in _FEATURES:
            self.gather.group(value, _FEATURES[feature], name)
        elif feature in _KNOWN_FEATURES:
            self.gather.group(value, "no-effect", name)
        else:
            self.gather.group(value, "caller-setting-changed", name)

    def _setting(self, value: Value) -> None:
        steps = value.path
        mode = self.case.claimed("mode", "")
        if steps == ("mode",) or (mode and len(steps) == 1):
            self.gather.cover(value, mode) if mode else self.gather.group(value, "setting-changed", "App")
        elif steps[0] == "rag_pipeline_variables":
            self.gather.group(value, "pipeline-variable-changed", "Pipeline")
        elif steps[0] == "model_config" and len(steps) > 1:
            self._config(value)
        else:
            self.gather.group(value, "setting-changed", "App")

    def _config(self, value: Value) -> None:
        steps = value.path[1:]
        rule = config_route(".".join("[]" if isinstance(step, Item) else step for step in steps))
        old, new = (mapping(side.document.data.get("model_config")) for side in (self.case.old, self.case.new))
        if rule == OWNED:
            item = next((step for step in steps if isinstance(step, Item)), None)
            key = next((step for step in steps[3:] if isinstance(step, str)), "*")
            judged(self.gather, value, "input", names_of(old, new, "user_input_form", item), key, None)
        elif rule is None and steps[0] in _KNOWN_FEATURES:
            self._feature(value, steps)
        else:
            rule, said = _meant(value, old, new, rule or "setting-changed")
            if rule in ONCE and self.gather.told(rule, "App"):
                self.gather.cover(value, rule)
            else:
                self.gather.group(value, rule, "App", path="model_config", said=said)

    def _app(self, value: Value) -> None:
        key = value.path[0] if value.path and isinstance(value.path[0], str) else ""
        mode = self.case.claimed("mode", "")
        if key == "mode" and mode:
            self.gather.cover(value, mode)
        elif key == FORMAT:
            raised = _numbers(value.new) > _numbers(value.old)
            rule = "format-version-raised" if raised else "format-version-lowered"
            self.gather.group(value, rule, "Document", path="version")
        else:
            self.gather.group(value, _APP.get(key, "app-fact-changed"), "App", path=f"app.{key}")

    def _dependency(self, value: Value) -> None:
        item = value.path[0] if value.path else None
        if value.kind == "moved":
            self.gather.group(value, "order-changed", "Dependencies", path="dependencies")
            return
        plugins = []
        for side, place in ((self.case.old, getattr(item, "old", None)), (self.case.new, getattr(item, "new", None))):
            items = side.document.data.get("dependencies")
            if isinstance(items, list) and place is not None and place < len(items):
                bare = Document({"dependencies": [items[place]]})
                plugins += [plugin for plugin, _, _ in listed_plugins(bare)]
        told = next(filter(None, (self.case.claimed("plugin", plugin) for plugin in plugins)), "")
        if told:
            self.gather.cover(value, told)
        elif plugins and value.kind == "changed":
            self.gather.group(value, "plugin-changed", f"Plugin {quoted(plugins[-1])}", path="dependencies")
        elif plugins:
            # The graph needed it before, or still does: only the list says more or less.
            self.gather.group(value, "no-effect", "Dependencies", path="dependencies")
        else:
            self.gather.group(value, "dependency-changed", "Dependencies", path="dependencies")


def _meant(value: Value, old: Mapping[str, Any], new: Mapping[str, Any], rule: str) -> tuple[str, str]:
    """The rule that a value of `model_config` really falls under, and what to say of it."""
    steps = value.path[1:]
    if rule == "model-changed":
        around = steps[:1] if steps[0] == "model" else steps[:2]
        before, after = (model_of(at(part, around, side)) for part, side in ((old, "old"), (new, "new")))
        said = f"{model_name(after)} is asked, {model_name(before)} before"
        return ("no-effect", "") if before == after else (rule, said)
    if rule == "knowledge-added":
        return knowledge(value, old, new, ("dataset_configs", "datasets", "datasets"))
    return (rule if matters(value, {"model_config": old}, {"model_config": new}) else "no-effect"), ""


def _numbers(version: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in text(version).split(".") if part.isdigit())
