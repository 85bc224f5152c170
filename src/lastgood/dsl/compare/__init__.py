"""What differs between two documents, and how to show it."""

from lastgood.dsl.compare.changes import Change, Difference, EdgeChange, Item, NodeChange, VariableChange, path_text
from lastgood.dsl.compare.comparison import compare
from lastgood.dsl.compare.data import as_data
from lastgood.dsl.compare.hidden import HIDDEN, shown, shown_text
from lastgood.dsl.compare.lines import Line, lines
from lastgood.dsl.compare.markdown import markdown
from lastgood.dsl.compare.patch import apply
from lastgood.dsl.compare.stat import Stat, stat, stat_lines, summary
from lastgood.dsl.compare.words import runs, signed

__all__ = [
    "HIDDEN",
    "Change",
    "Difference",
    "EdgeChange",
    "Item",
    "Line",
    "NodeChange",
    "Stat",
    "VariableChange",
    "apply",
    "as_data",
    "compare",
    "lines",
    "markdown",
    "path_text",
    "runs",
    "shown",
    "shown_text",
    "signed",
    "stat",
    "stat_lines",
    "summary",
]
