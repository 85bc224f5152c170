"""A difference in every form at once, as JSON values: what the API answers and the command line prints."""

from typing import Any

from lastgood.dsl.compare.changes import Difference
from lastgood.dsl.compare.data import as_data
from lastgood.dsl.compare.lines import lines
from lastgood.dsl.compare.markdown import markdown
from lastgood.dsl.compare.stat import stat_lines, summary


def told(found: Difference) -> dict[str, Any]:
    """A difference in every form that somebody may ask for: data, lines to read, a count for each node, Markdown."""
    return {
        "summary": summary(found),
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
