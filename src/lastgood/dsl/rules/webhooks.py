"""How the webhooks of two workflows differ to the systems that call them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lastgood.dsl.document import mappings
from lastgood.dsl.index import Node, text
from lastgood.dsl.rules.case import Case
from lastgood.dsl.rules.contract import hooks
from lastgood.dsl.rules.rule import Witness, quoted, shown
from lastgood.dsl.rules.witness import hook_call, hook_value

PARTS: Final = ("headers", "params", "body")
_CALLED: Final = {"headers": "header", "params": "parameter", "body": "field"}


def judge_webhooks(case: Case) -> None:
    """Tell what became of each webhook."""
    before, after = hooks(case.old.document), hooks(case.new.document)
    for node_id, hook in before.items():
        twin = case.renames.get(node_id)
        if node_id in after:
            _Judge(case, hook, after[node_id]).judge()
        elif twin in after:
            witness = case.seeker.proven(hook_call(hook))
            sentence = f"Webhook {quoted(hook.title)} has another address: its node is {twin}, {node_id} before."
            case.tell("webhook-moved", sentence, node=after[twin], witness=witness)
            _Judge(case, hook, after[twin]).judge()
        else:
            witness = case.seeker.proven(hook_call(hook))
            case.tell("webhook-removed", f"Webhook {quoted(hook.title)} is gone.", node=hook, witness=witness)
    for node_id, hook in after.items():
        if node_id not in before and node_id not in case.renames.values():
            case.tell("webhook-added", f"New webhook {quoted(hook.title)}.", node=hook)


class _Judge:
    """One webhook that was there before and is there now."""

    def __init__(self, case: Case, old: Node, new: Node) -> None:
        self.case, self.old, self.new = case, old, new

    def tell(self, rule: str, sentence: str, key: str, **more: Any) -> None:
        claim = ("hook", self.new.id, key)
        whole = f"Webhook {quoted(self.new.title)} {sentence}"
        self.case.tell(rule, whole, node=self.new, claim=claim, **more)

    def judge(self) -> None:
        old, new = self.old.data, self.new.data
        request = hook_call(self.old, self.new)
        before, after = (text(data.get("method")).upper() for data in (old, new))
        if before != after:
            sentence = f"is called by {after or 'no method'}, {before or 'no method'} before."
            self.tell("webhook-method-changed", sentence, "method", witness=self.case.seeker.proven(request))
        before, after = (text(data.get("content_type")) for data in (old, new))
        if before != after:
            sentence = f"takes {shown(after)}, {shown(before)} before."
            witness = self.case.seeker.proven(request)
            self.tell("webhook-content-type-changed", sentence, "content_type", witness=witness)
        for part in PARTS:
            self._part(part)
        self._answer()

    def _part(self, part: str) -> None:
        before, after = dict(_fields(self.old, part)), dict(_fields(self.new, part))
        for name in {**before, **after}:
            old, new = before.get(name), after.get(name)
            called, key = f"{_CALLED[part]} {quoted(name)}", f"{part}.{name}"
            if old is None and new is not None and not new.get("required"):
                self.tell("webhook-parameter-added", f"reads the {called} now, if it is there.", key)
            elif new is None:
                self.tell("webhook-parameter-removed", f"no longer reads the {called}.", key)
            elif new.get("required") and not (old or {}).get("required"):
                witness = self._without(part, name)
                self.tell("webhook-parameter-required", f"insists on the {called} now.", key, witness=witness)
            elif old and old.get("required") and not new.get("required"):
                self.tell("webhook-parameter-optional", f"no longer insists on the {called}.", key)
            if old and new and text(old.get("type")) != text(new.get("type")):
                sentence = f"takes the {called} as {shown(new.get('type'))}, {shown(old.get('type'))} before."
                witness = self._with(part, name, hook_value(old, part))
                self.tell("webhook-parameter-type-changed", sentence, key, witness=witness)

    def _without(self, part: str, name: str) -> Witness | None:
        request = hook_call(self.old, self.new)
        request[part].pop(name, None)
        return self.case.seeker.proven(request)

    def _with(self, part: str, name: str, value: Any) -> Witness | None:
        request = hook_call(self.old, self.new)
        request[part][name] = value
        return self.case.seeker.proven(request)

    def _answer(self) -> None:
        before, after = self.old.data.get("status_code"), self.new.data.get("status_code")
        if before != after and _status(before) != _status(after):
            sentence = f"answers with status {_status(after)}, {_status(before)} before."
            turned = (_status(before) < 400) != (_status(after) < 400)
            witness = Witness(output="status_code") if turned else None
            severity = "breaking" if turned else None
            self.tell("webhook-status-changed", sentence, "status_code", severity=severity, witness=witness)
        if text(self.old.data.get("response_body")) != text(self.new.data.get("response_body")):
            self.tell("webhook-response-changed", "answers something else.", "response_body")


def _status(code: Any) -> int:
    return code if isinstance(code, int) and not isinstance(code, bool) else 200


def _fields(hook: Node, part: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for field in mappings(hook.data.get(part)):
        if text(field.get("name")):
            yield text(field.get("name")), field
