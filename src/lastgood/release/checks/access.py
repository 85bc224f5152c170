"""Whether permissions are in step with where people's roles really live. It is told, and does not count: no version is
at fault for it, and nothing must undo a rollback for it."""

from collections.abc import Iterator

from lastgood.access.sync import overview
from lastgood.access.sync.overview import Standing
from lastgood.release.checks.case import Case, Checked, Verdict

_EXPECTED = "in step with their source"


def check(case: Case) -> Iterator[Checked]:
    """One item for each source of permissions."""
    with case.means.store.read() as tx:
        standings = overview.standings(tx, case.means.settings)
    if not standings:
        yield Checked("access", "skipped", _EXPECTED, "no source of permissions is declared", required=False)
    for one in standings:
        verdict, found = judge(one)
        yield Checked("access", verdict, _EXPECTED, found, subject=one.name, required=False)


def judge(one: Standing) -> tuple[Verdict, str]:
    """How a source stands, and why, in words."""
    if one.in_step is False:
        last = one.last or {}
        return (
            "fail",
            f"{last.get('missing', 0)} missing here and {last.get('extra', 0)} too many at {last.get('at')}",
        )
    if one.problem:
        return "unknown", one.problem
    if one.lag:
        return "unknown", f"{one.lag} events wait"
    if one.dead:
        return "unknown", f"{one.dead} events could not be taken in"
    if one.in_step is None and not one.comparable:
        return ("pass", f"read at {one.read_at}") if one.read_at else ("unknown", "nothing has come of it yet")
    if one.in_step is None:
        return "unknown", "it was never compared"
    return "pass", f"compared at {(one.last or {}).get('at')}"
