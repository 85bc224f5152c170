"""How a finding tells the run that it happens in."""

from lastgood.dsl.flow import handle_name
from lastgood.dsl.index import Index
from lastgood.dsl.lint.rules import quoted
from lastgood.dsl.runs import Way

_SHOWN = 3


def when(index: Index, way: Way) -> str:
    """`` when “IF” takes ELSE``: the choices that make a run go this way; nothing where it has none."""
    turns = [_turn(index, node_id, handle) for node_id, handle in way]
    if not turns:
        return ""
    more = " and so on" if len(turns) > _SHOWN else ""
    return " when " + " and ".join(turns[:_SHOWN]) + more


def _turn(index: Index, node_id: str, handle: str) -> str:
    if not node_id:
        return f"{quoted(index.nodes[handle].title)} starts the run"
    node = index.nodes[node_id]
    name = handle_name(node, handle)
    fixed = {"its failure": "fails", "its timeout": "times out", "source": "succeeds"}.get(name)
    return f"{quoted(node.title)} {fixed}" if fixed else f"{quoted(node.title)} takes {name}"
