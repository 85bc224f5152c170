"""What differs between two documents."""

from lastgood.dsl.compare.changes import Change, Difference, EdgeChange, Item, NodeChange, VariableChange, path_text
from lastgood.dsl.compare.comparison import compare
from lastgood.dsl.compare.patch import apply

__all__ = [
    "Change",
    "Difference",
    "EdgeChange",
    "Item",
    "NodeChange",
    "VariableChange",
    "apply",
    "compare",
    "path_text",
]
