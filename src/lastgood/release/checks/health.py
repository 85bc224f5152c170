"""Whether the health endpoints answer 200: those that are declared for the workflow, and our own."""

from collections.abc import Iterator

from lastgood.catalogue import matches
from lastgood.release.checks import web
from lastgood.release.checks.case import Case, Checked, Verdict

_OWN_SECONDS = 5.0
_OWN = ("gateway", "engine")


def check(case: Case) -> Iterator[Checked]:
    """One item for each endpoint."""
    asked = list(_endpoints(case))
    if not asked:
        yield Checked("health", "skipped", "200", "no health endpoint is declared, and no server runs beside this")
    for (name, question), answer in zip(asked, web.get_all([one for _, one in asked]), strict=True):
        verdict: Verdict = "pass" if answer.status == 200 else "fail"
        expected = f"{web.shown(question.url)} answers 200"
        yield Checked("health", verdict, expected, answer.said, answer.elapsed_ms, name)


def seconds(case: Case) -> float:
    """How long all of it may take."""
    return max((one.seconds for _, one in _endpoints(case)), default=0.0) + 5


def _endpoints(case: Case) -> Iterator[tuple[str, web.Question]]:
    """Each by name: those that are declared, then our own."""
    for name, health in case.means.settings.health.items():
        if matches(health.workflows, case.workflow.slug):
            yield name, web.Question(health.url, health.timeout)
    for name in _OWN:
        for address in str(case.means.facts.get(name) or "").split():
            yield name, web.Question(f"{address}/healthz", _OWN_SECONDS)
