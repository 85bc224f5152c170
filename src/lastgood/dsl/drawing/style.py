"""How a drawing looks, light and dark: one style sheet, with plain colours that every SVG reader understands."""

from typing import Final

# selector → property → (light, dark)
_COLOURS: Final = (
    (".ground", "fill", "#f4f6fa", "#14161b"),
    (".card", "fill", "#ffffff", "#23262e"),
    (".card", "stroke", "#c9d0dc", "#454b58"),
    (".container", "fill", "#e7ecf5", "#1b1e25"),
    (".container", "stroke", "#aab4c6", "#525a6b"),
    (".title", "fill", "#171b26", "#f1f3f7"),
    (".line", "fill", "#566074", "#a9b2c3"),
    (".way,.memo", "fill", "#2f3a52", "#cdd5e4"),
    (".edge", "stroke", "#9aa5b8", "#6d778b"),
    (".port", "fill", "#5b7cfa", "#7f9bff"),
    (".note", "fill", "#fff6d6", "#3a3420"),
    (".note", "stroke", "#e4cf83", "#6f6334"),
    (".blue", "fill", "#e0edff", "#1d2c45"),
    (".blue", "stroke", "#a9c8f5", "#385684"),
    (".cyan", "fill", "#d9f4f7", "#173439"),
    (".cyan", "stroke", "#97d5dc", "#2f666f"),
    (".green", "fill", "#e0f5e4", "#1b3523"),
    (".green", "stroke", "#a0d9ad", "#356a45"),
    (".pink", "fill", "#fde4ef", "#41212f"),
    (".pink", "stroke", "#efabc8", "#7d405b"),
    (".violet", "fill", "#ece5fd", "#2d2444"),
    (".violet", "stroke", "#c3b0f2", "#594784"),
    (".mark", "fill", "#ffffff", "#14161b"),
    ("g.added>.box, path.added", "stroke", "#178a3e", "#4cd07d"),
    ("g.removed>.box, path.removed", "stroke", "#cf2a34", "#ff7b80"),
    ("g.changed>.box, path.changed", "stroke", "#b06a00", "#f0b048"),
    (".badge.added", "fill", "#178a3e", "#4cd07d"),
    (".badge.removed", "fill", "#cf2a34", "#ff7b80"),
    (".badge.changed", "fill", "#b06a00", "#f0b048"),
)
_FIXED: Final = """
text{font-family:Inter,Helvetica,Arial,"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif;font-size:11px}
.title{font-size:13px;font-weight:600}
.head{font-size:18px;font-weight:600}
.way{font-size:10px;font-weight:600}
.reason{font-size:10px}
.letter{fill:#fff;font-size:11px;font-weight:700;text-anchor:middle}
.mark{font-size:14px;font-weight:700;text-anchor:middle}
.edge{fill:none;stroke-width:1.6}
.loose{stroke-dasharray:5 4}
.container{stroke-dasharray:6 4}
g.added>.box,g.removed>.box,g.changed>.box,path.added,path.removed,path.changed{stroke-width:3}
"""

_FAMILIES: Final = (
    ("#3f63e0", ("llm", "question-classifier", "parameter-extractor", "agent")),
    ("#0d7f6c", ("knowledge-retrieval", "knowledge-index", "datasource", "document-extractor")),
    ("#7a3fd1", ("http-request", "tool", "human-input")),
    ("#0b76b7", ("if-else", "iteration", "loop", "iteration-start", "loop-start", "loop-end")),
    ("#b4530a", ("end", "answer")),
    ("#1d7a36", ("start", "trigger-webhook", "trigger-schedule", "trigger-plugin")),
)
_COLOUR_OF: Final = {kind: colour for colour, kinds in _FAMILIES for kind in kinds}
_OTHER: Final = "#566074"


def colour_of(kind: str) -> str:
    """The colour of a node type's family, white letters on it legible."""
    return _COLOUR_OF.get(kind, _OTHER)


def _rules(column: int) -> str:
    return "".join(f"{row[0]}{{{row[1]}:{row[column]}}}" for row in _COLOURS)


SHEET: Final = f"<style>{_FIXED}{_rules(2)}@media (prefers-color-scheme:dark){{{_rules(3)}}}</style>"
"""The `style` element of every drawing."""
