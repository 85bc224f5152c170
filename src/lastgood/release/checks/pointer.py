"""Whether the channel points where it should, and the target behind it is switched on."""

from collections.abc import Iterator

from sqlalchemy import bindparam, select

from lastgood.db import tables as t
from lastgood.errors import EngineMissing, LastgoodError, UnknownChannel
from lastgood.history import channels
from lastgood.release.checks import web
from lastgood.release.checks.case import Case, Checked, Verdict
from lastgood.targets import engine

_SECONDS = 5.0
_TARGET = (
    select(t.target.c.base_url)
    .join(t.workflow, t.workflow.c.target_pk == t.target.c.pk)
    .where(t.workflow.c.pk == bindparam("workflow"))
)


def check(case: Case) -> Iterator[Checked]:
    """The channel's version and generation, then whether its target answers."""
    wanted = _place(case.version.id, case.generation)
    try:
        with case.means.store.read() as tx:
            channel = channels.get(tx, case.workflow, case.channel)
            addresses = str(tx.connection.execute(_TARGET, {"workflow": case.workflow.pk}).scalar_one()).split()
    except UnknownChannel as error:
        yield Checked("pointer", "fail", f"want {wanted}", str(error), subject=case.channel)
        return
    found = _place(channel.version or "nothing", channel.generation)
    verdict: Verdict = "pass" if found == wanted else "fail"
    moving = f", being moved by {channel.applying}" if channel.applying else ""
    yield Checked("pointer", verdict, f"want {wanted}", f"got {found}{moving}", subject=case.channel)
    yield from _embedded(case) if case.workflow.target == engine.NAME else _elsewhere(case, addresses)


def _place(version: str, generation: int) -> str:
    return f"{version} at generation {generation}"


def _embedded(case: Case) -> Iterator[Checked]:
    expected, subject = "active: the embedded engine answers", "engine"
    try:
        url = case.means.engine().base_url
    except LastgoodError as error:
        missing = isinstance(error, EngineMissing)
        found = f"not active: {error}" if missing else str(error)
        yield Checked("pointer", "fail" if missing else "unknown", expected, found, subject=subject)
        return
    answer = web.get(f"{url}/healthz", _SECONDS)
    if answer.status == 200:
        yield Checked("pointer", "pass", expected, "active", answer.elapsed_ms, subject)
    else:
        yield Checked("pointer", "fail", expected, f"not active: {answer.said}", answer.elapsed_ms, subject)


def _elsewhere(case: Case, addresses: list[str]) -> Iterator[Checked]:
    """A target of which nothing is known but where it is: whether anything answers there."""
    expected = f"active: the target {case.workflow.target} answers"
    if not addresses:
        yield Checked("pointer", "unknown", expected, "it has no address", subject=case.workflow.target)
    for address in addresses:
        answer = web.get(f"{address.removesuffix('/').removesuffix('/v1')}/v1/info", _SECONDS)
        place = web.shown(address)
        if answer.status is None or answer.status >= 500:
            yield Checked(
                "pointer", "fail", expected, f"not active: {place}: {answer.said}", answer.elapsed_ms, place
            )
        else:  # without an app key it says no more: 401 where the API is there
            yield Checked("pointer", "pass", expected, f"{place} answers", answer.elapsed_ms, place)
