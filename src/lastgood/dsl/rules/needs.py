"""How two documents differ in what nodes that came or went need, and in their plugins."""

import re
from typing import Any, Final

from lastgood.dsl.dependencies import dependencies
from lastgood.dsl.rules.case import Case
from lastgood.dsl.rules.rule import listed, quoted

_RULES: Final = {"models": "model", "tools": "tool", "knowledge_bases": "knowledge", "hosts": "host"}
_NUMBER: Final = re.compile(r"\d+")


def judge_needs(case: Case) -> None:
    """Tell what the workflow needs that it did not, and the other way round. What a node that is still there needs
    otherwise is told with that node's values."""
    before, after = dependencies(case.old.document), dependencies(case.new.document)
    added = {change.id for change in case.difference.nodes if change.kind == "added"}
    removed = {change.id for change in case.difference.nodes if change.kind == "removed"}
    for kind, rule in _RULES.items():
        ours, theirs = _by_key(kind, before), _by_key(kind, after)
        for key, need in theirs.items():
            if key not in ours and need["nodes"] and added.issuperset(need["nodes"]):
                node = case.new.index.nodes.get(need["nodes"][0])
                case.tell(f"{rule}-added", f"Needed now: {_named(kind, need)}.", node=node)
        for key, need in ours.items():
            if key not in theirs and need["nodes"] and removed.issuperset(need["nodes"]):
                node = case.old.index.nodes.get(need["nodes"][0])
                case.tell(f"{rule}-removed", f"Needed no longer: {_named(kind, need)}.", node=node)
    _plugins(case, before["plugins"], after["plugins"])


def _by_key(kind: str, needs: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, ...], dict[str, Any]]:
    keys = {
        "models": ("plugin", "name", "type"),
        "tools": ("provider_type", "provider", "tool"),
        "knowledge_bases": ("id",),
        "hosts": ("host",),
    }[kind]
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for need in needs[kind]:
        found.setdefault(tuple(str(need.get(key)) for key in keys), need)
    return found


def _named(kind: str, need: dict[str, Any]) -> str:
    if kind == "models":
        return f"model {quoted(need['name'])} of {quoted(need['provider'])}"
    if kind == "tools":
        return f"tool {quoted(need['tool'])} of {quoted(need.get('provider_name') or need['provider'])}"
    return f"knowledge base {quoted(need['id'])}" if kind == "knowledge_bases" else f"host {quoted(need['host'])}"


def _plugins(case: Case, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """Plugins by what nodes pin and the list of dependencies says; only an export has such a list."""
    both = all(isinstance(side.document.data.get("dependencies"), list) for side in (case.old, case.new))
    ours, theirs = ({item["id"]: item for item in items if both or item["nodes"]} for items in (before, after))
    path = "dependencies"
    for plugin in dict.fromkeys((*theirs, *ours)):
        old, new = ours.get(plugin), theirs.get(plugin)
        claim, name = ("plugin", plugin, "*"), quoted(plugin)
        if old is None and new is not None:
            version = f", version {listed(new['versions'])}" if new["versions"] else ""
            case.tell("plugin-added", f"Plugin {name}{version} is needed now.", path=path, claim=claim)
        elif new is None:
            case.tell("plugin-removed", f"Plugin {name} is needed no longer.", path=path, claim=claim)
        elif old and old["versions"] and new["versions"] and old["versions"] != new["versions"]:
            newest = [max(map(_number, item["versions"])) for item in (old, new)]
            rule = "plugin-downgraded" if newest[1] < newest[0] else "plugin-upgraded"
            sentence = f"Plugin {name} is pinned to {listed(new['versions'])}, {listed(old['versions'])} before."
            case.tell(rule, sentence, path=path, claim=claim)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _NUMBER.findall(version.partition("-")[0])[:3])
