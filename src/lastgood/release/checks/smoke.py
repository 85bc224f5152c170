"""Whether the version answers its workflow's smoke requests: the assertions, the interface, the time."""

from collections.abc import Iterator

from lastgood.errors import LastgoodError, Unavailable
from lastgood.history import apps, channels, placements, smokes
from lastgood.history.apps import App
from lastgood.release.checks.case import Case, Checked, Verdict
from lastgood.release.verification import Upstream, verify
from lastgood.targets import engine
from lastgood.targets.dify import servers

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
    app = _app(case)
    if app is None and case.workflow.target != engine.NAME:
        found = f"versions on {case.workflow.target} cannot be run from here"
        yield Checked("smoke", "skipped", expected, found)
        return
    try:
        upstream = case.means.engine() if app is None else _on_dify(case, app)
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


def _app(case: Case) -> App | None:
    with case.means.store.read() as tx:
        return apps.of_channel(tx, channels.present(tx, case.workflow, case.channel).pk)


def _on_dify(case: Case, app: App) -> Upstream:
    """The app's Service API with a key that is read now and kept nowhere. Raises `DifyError`, `Unavailable`."""
    with case.means.store.read() as tx:
        placed = placements.current(tx, app, case.version)
        server = servers.get(tx, app.target)
    if placed is None:
        raise Unavailable(detail=f"{app.target} has no row of {case.version.id}.")
    keys = case.means.dify(app.target).integration.api_keys(app.app_id)
    if not keys:
        raise Unavailable(detail=f"{app.name} on {app.target} has no API key to run it with; make one there.")
    return Upstream(server.service_url.rstrip("/").removesuffix("/v1"), keys[0].token, placed.placed_id)


def seconds(case: Case) -> float:
    """How long all of it may take: they are sent one after the other, so that none slows another down."""
    with case.means.store.read() as tx:
        return 10 + _SECONDS * len(smokes.listing(tx, case.workflow))


def _wanted(expect: tuple[str, ...], max_ms: int | None) -> str:
    """What a smoke request asks for, in words."""
    limit = [f"within {max_ms} ms"] if max_ms is not None else []
    return ", ".join(["a result that fits the interface", *expect, *limit])
