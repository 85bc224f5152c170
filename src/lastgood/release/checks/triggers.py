"""Whether the triggers of the live version, its schedules and webhooks, are bound to it."""

from collections.abc import Iterator

from lastgood.dsl.triggers import Trigger, triggers
from lastgood.history import channels, versions
from lastgood.history import triggers as bindings
from lastgood.history.triggers import Bound
from lastgood.release.checks.case import Case, Checked
from lastgood.targets import engine


def check(case: Case) -> Iterator[Checked]:
    """One item for each trigger of the version, and one for each that is bound to another."""
    with case.means.store.read() as tx:
        wanted = triggers(versions.document_of(tx, case.version))
        bound = {(one.node, one.kind): one for one in bindings.of_channel(tx, case.workflow, case.channel)}
    if not wanted and not any(one.version for one in bound.values()):
        yield Checked("triggers", "skipped", "the version's triggers are bound to it", "it has none")
        return
    reason = _elsewhere(case)
    if reason:
        names = ", ".join(f"{trigger.kind} {trigger.node}" for trigger in wanted)
        yield Checked("triggers", "skipped", f"bound to {case.version.id}: {names}", reason)
        return
    for trigger in wanted:
        yield _judge(case, trigger, bound.pop((trigger.node, trigger.kind), None))
    for left in bound.values():
        if left.version is not None:
            found = f"bound to {left.version}"
            yield Checked("triggers", "fail", "unbound: the version has no such trigger", found, subject=left.node)


def _elsewhere(case: Case) -> str:
    """Why triggers are not bound from here, nothing where they are."""
    if case.workflow.target != engine.NAME:
        return f"{case.workflow.target} binds its triggers itself"
    return "no trigger fires while rehearsing" if case.channel == channels.SHADOW else ""


def _judge(case: Case, trigger: Trigger, bound: Bound | None) -> Checked:
    expected = f"{trigger.kind} bound to {case.version.id} at generation {case.generation}"
    if trigger.kind == "plugin":
        return Checked("triggers", "skipped", expected, "only Dify serves it", subject=trigger.node)
    if bound is None or bound.version is None:
        return Checked("triggers", "fail", expected, "not bound", subject=trigger.node)
    found = f"bound to {bound.version} at generation {bound.generation}"
    if bound.problem:
        # A fault of the document, which binding it cannot heal.
        never = f"{found}, but it never fires: {bound.problem}"
        return Checked("triggers", "fail", expected, never, subject=trigger.node, required=False)
    right = (bound.version, bound.generation) == (case.version.id, case.generation)
    coming = f", next at {bound.next_slot[:16].replace('T', ' ')} UTC" if bound.next_slot else ""
    return Checked("triggers", "pass" if right else "fail", expected, f"{found}{coming}", subject=trigger.node)
