"""Entering operations that give a Dify app what its channel says already: convergence after a move by `route`, and
healing."""

from lastgood.db.audit import Principal
from lastgood.errors import NothingToHeal
from lastgood.history import apps
from lastgood.history.apps import App
from lastgood.release import planning
from lastgood.release.journal import Operation
from lastgood.release.means import Means
from lastgood.release.plan import Kind, Plan
from lastgood.release.planning import Wanted

_REASONS: dict[str, str] = {
    "converge": "the app itself follows what the gateway serves",
    "heal": "what Dify serves is put back to what the channel says ([dify] heal)",
}


def enter(means: Means, who: Principal, app: App, kind: Kind) -> Operation | None:
    """Plan and enter the operation; None where the app has it by now. Raises what `planning.make` and `accept` do."""
    # The app's clients by the gateway are served already, so nothing is told and nothing verified.
    draft = Plan(kind, (), reason=_REASONS[kind], verify=False, listeners=())
    try:
        plan = planning.make(means, kind, [Wanted(app.workflow_id, app.channel)], draft)
    except NothingToHeal:
        means.store.write(lambda tx: apps.set_converge(tx, app, None))
        return None
    return planning.accept(means, who, plan)
