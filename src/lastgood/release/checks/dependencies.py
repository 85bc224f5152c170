"""Whether each external service answers with the credential that the version calls it with.

The secret is opened in memory for the request and for nothing else: what is told is the name of its variable."""

from collections.abc import Iterator

from lastgood.catalogue import Dependency, matches
from lastgood.history import versions
from lastgood.release.checks import web
from lastgood.release.checks.case import Case, Checked, Verdict

_PLACE = "{secret}"


def check(case: Case) -> Iterator[Checked]:
    """One item for each dependency of the workflow."""
    declared = _declared(case)
    if not declared:
        yield Checked("dependencies", "skipped", "each answers with its credential", "none is declared")
        return
    with case.means.store.read() as tx:
        wants_secret = any(one.secret for one in declared.values())
        secrets = versions.secrets_of(tx, case.version) if wants_secret else {}
    asked = {
        name: web.Question(one.url, one.timeout, _headers(one, secrets))
        for name, one in declared.items()
        if not one.secret or (one.secret in secrets and _PLACE in one.header)
    }
    answers = dict(zip(asked, web.get_all(list(asked.values())), strict=True))
    for name, one in declared.items():
        expected = f"{web.shown(one.url)} answers{f' to the secret {one.secret}' if one.secret else ''}"
        if one.secret and _PLACE not in one.header:
            found = f"its header has no place for {_PLACE}, so the secret was not sent"
            yield Checked("dependencies", "unknown", expected, found, subject=name)
            continue
        if name not in asked:
            found = f"{case.version.id} has no value for the secret variable {one.secret}"
            yield Checked("dependencies", "fail", expected, found, subject=name)
            continue
        verdict, found = _judge(one, answers[name])
        yield Checked("dependencies", verdict, expected, found, answers[name].elapsed_ms, name)


def seconds(case: Case) -> float:
    """How long all of it may take."""
    return max((one.timeout for one in _declared(case).values()), default=0.0) + 5


def _declared(case: Case) -> dict[str, Dependency]:
    found = case.means.settings.dependencies
    return {name: one for name, one in found.items() if matches(one.workflows, case.workflow.slug)}


def _headers(one: Dependency, secrets: dict[str, str]) -> dict[str, str]:
    """The declared header with the secret in its place."""
    name, _, value = one.header.partition(":")
    if not name.strip():
        return {}
    return {name.strip(): value.strip().replace(_PLACE, secrets.get(one.secret, ""))}


def _judge(one: Dependency, answer: web.Answer) -> tuple[Verdict, str]:
    """The verdict on an answer, and what was found."""
    status = answer.status
    if status is None:
        return "fail", answer.reason
    if status in (401, 403):
        held = f"the secret {one.secret}" if one.secret else "the request, which carries no secret"
        return "fail", f"it answered {status}: it refuses {held}"
    if 200 <= status < 400:
        return "pass", answer.said
    # 404 or 429 says that it is there, and nothing of the credential.
    return ("fail" if status >= 500 else "unknown"), answer.said
