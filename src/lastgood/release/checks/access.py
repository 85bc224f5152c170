"""Whether permissions are in step with where people's roles really live. It is told, and does not count: no version
is at fault for it, and nothing must undo a rollback for it."""

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
    last = one.last or {}
    if one.in_step is False:
        return "fail", f"{last['missing']} missing here and {last['extra']} too many at {last['at']}"
    waits = (
        one.problem,
        f"{one.lag} events wait" if one.lag else "",
        f"{one.dead} events could not be taken in" if one.dead else "",
        "it was never compared" if one.comparable and not last else "",
        "nothing has come of it yet" if not one.comparable and not one.read_at else "",
    )
    if any(waits):
        return "unknown", next(filter(None, waits))
    return "pass", f"compared at {last['at']}" if last else f"read at {one.read_at}"
