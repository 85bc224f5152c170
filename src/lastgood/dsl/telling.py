"""What differs between two documents and what it means, in every form at once: what the API answers and the command
line prints."""

from dataclasses import asdict
from typing import Any

from lastgood.dsl import rules
from lastgood.dsl.compare import as_data, compare, lines, markdown, stat_lines, summary
from lastgood.dsl.document import Document
from lastgood.dsl.rules import Change


def tell(
    old: Document,
    new: Document,
    secrets_changed: frozenset[str] = frozenset(),
    settings: rules.RuleSettings = rules.PLAIN,
) -> dict[str, Any]:
    """The difference as JSON values: `changes` by the change rules (breaking first, each with its witness),
    `difference` as data, `lines` to read, `stat` a line for each node, `markdown`, and a `summary`. Raises
    `InvalidSetting` for `settings` that name no rule or make one lighter."""
    found = compare(old, new, secrets_changed=secrets_changed)
    return {
        "summary": summary(found),
        "changes": [_change(change) for change in rules.judge(old, new, found, settings)],
        "difference": as_data(found),
        "lines": [
            {
                "role": line.role,
                "sign": line.sign,
                "text": line.text,
                "detail": line.detail,
                "indent": line.indent,
                "marks": [list(span) for span in line.marks],
                "block": line.block,
            }
            for line in lines(found)
        ],
        "stat": list(stat_lines(found)),
        "markdown": markdown(found),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "rule": change.rule.id,
        "tier": change.rule.tier,
        "severity": change.severity,
        "sentence": change.sentence,
        "path": change.path,
        "node": change.node,
        "title": change.title,
        "witness": asdict(change.witness) if change.witness else None,
    }
