"""What differs between two documents."""

from lastgood.dsl.compare.changes import Change, Difference, EdgeChange, Item, NodeChange, VariableChange, path_text
from lastgood.dsl.compare.comparison import compare

__all__ = [
    "Change",
    "Difference",
    "EdgeChange",
    "Item",
    "NodeChange",
    "VariableChange",
    "compare",
    "path_text",
]
