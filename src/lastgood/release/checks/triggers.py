"""Whether the triggers of the live version, its schedules and webhooks, are bound to it."""

from collections.abc import Iterator

from lastgood.dsl.graph import TRIGGERS
from lastgood.dsl.interface import node_types
from lastgood.history import versions
from lastgood.release.checks.case import Case, Checked


def check(case: Case) -> Iterator[Checked]:
    """One item for each trigger of the version."""
    with case.means.store.read() as tx:
        wanted = sorted(TRIGGERS.intersection(node_types(versions.document_of(tx, case.version))))
    if not wanted:
        yield Checked("triggers", "skipped", "the version's triggers are bound to it", "it has none")
        return
    yield Checked(
        "triggers", "skipped", f"bound to {case.version.id}: {', '.join(wanted)}", "triggers are not bound from here"
    )
