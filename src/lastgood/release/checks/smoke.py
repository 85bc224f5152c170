"""Whether the version answers its workflow's smoke requests: the assertions, the interface, the time."""

from collections.abc import Iterator

from lastgood.errors import LastgoodError
from lastgood.history import smokes
from lastgood.release.checks.case import Case, Checked, Verdict
from lastgood.release.verification import verify
from lastgood.targets import engine

_SECONDS = 65.0
_VERDICTS: dict[bool | None, Verdict] = {True: "pass", False: "fail", None: "unknown"}


def check(case: Case) -> Iterator[Checked]:
    """One item for each smoke request. That all of them passed is what makes a version stable; that one failed makes
    it failed where the case says so."""
    with case.means.store.read() as tx:
        requests = smokes.listing(tx, case.workflow)
    expected = "the version answers every smoke request as expected"
    if not requests:
        slug = case.workflow.slug
        found = f"{slug} has no smoke requests, so nothing proves its versions (`lastgood smoke add {slug} …`)"
        yield Checked("smoke", "skipped", expected, found)
        return
    if case.proven_lately:
        yield Checked("smoke", "skipped", expected, f"{case.version.id} was proven within the rollback window")
        return
    if case.workflow.target != engine.NAME:
        found = f"versions on {case.workflow.target} cannot be run from here"
        yield Checked("smoke", "skipped", expected, found)
        return
    try:
        upstream = case.means.engine()
    except LastgoodError as error:
        yield Checked("smoke", "unknown", expected, str(error))
        return
    report = verify(
        case.means.store,
        case.who,
        case.version,
        upstream,
        condemn=case.condemn,
        interface=True,
        fence=case.means.fence,
    )
    wanted = {one.id: _wanted(one.expect, one.max_ms) for one in requests}
    for one in report.checks:
        yield Checked(
            "smoke", _VERDICTS[one.passed], wanted.get(one.smoke, expected), one.detail, one.elapsed_ms, one.smoke
        )


def seconds(case: Case) -> float:
    """How long all of it may take: they are sent one after the other, so that none slows another down."""
    with case.means.store.read() as tx:
        return 10 + _SECONDS * len(smokes.listing(tx, case.workflow))


def _wanted(expect: tuple[str, ...], max_ms: int | None) -> str:
    """What a smoke request asks for, in words."""
    limit = [f"within {max_ms} ms"] if max_ms is not None else []
    return ", ".join(["a result that fits the interface", *expect, *limit])
