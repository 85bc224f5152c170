"""The management API's /metrics: how permissions are kept in step, in the text format of Prometheus."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from lastgood.access.sync import overview
from lastgood.db.audit import Principal
from lastgood.db.tx import parse_time
from lastgood.gateway.metrics import Family, Sample, render
from lastgood.server.context import Credentials, Served, may

router = APIRouter()

ACTION: Final = "cluster:read"
_NEAR: Final = frozenset({"127.0.0.1", "::1"})
_PASSED_ON: Final = ("x-forwarded-for", "forwarded", "x-real-ip", "via")
_OF_SOURCE: Final = ("source",)

FAMILIES: Final[Mapping[str, Family]] = {
    "lastgood_access_grants": Family("gauge", _OF_SOURCE, "Grants that a source gives."),
    "lastgood_access_events_total": Family(
        "counter", ("source", "outcome"), "Events taken in: applied, same, late, or malformed."
    ),
    "lastgood_access_dead_events": Family("gauge", _OF_SOURCE, "Events that could not be taken in and are kept."),
    "lastgood_access_lag_events": Family("gauge", _OF_SOURCE, "Events that are known to wait."),
    "lastgood_access_lost_events_total": Family(
        "counter", _OF_SOURCE, "Events that Kafka no longer had when they were to be read."
    ),
    "lastgood_access_read_timestamp_seconds": Family("gauge", _OF_SOURCE, "When something was last taken in."),
    "lastgood_access_check_timestamp_seconds": Family(
        "gauge", ("source", "kind"), "When a source was last compared, in full or by digests."
    ),
    "lastgood_access_in_step": Family(
        "gauge", _OF_SOURCE, "1 where the last check found nothing that still differs."
    ),
    "lastgood_access_differences": Family("gauge", ("source", "kind"), "What the last check found missing or extra."),
    "lastgood_access_problem": Family("gauge", _OF_SOURCE, "1 while a source cannot be read."),
    "lastgood_access_feed_waiting": Family("gauge", ("feed",), "Changes that a topic of ours does not have yet."),
    "lastgood_access_feed_problem": Family("gauge", ("feed",), "1 while a topic of ours cannot be written."),
}


def _may_read(request: Request, shown: Credentials) -> Principal | None:
    """This machine may read it, when it asks for nobody else; everybody else needs a token."""
    near = request.client is not None and request.client.host in _NEAR
    if near and not any(name in request.headers for name in _PASSED_ON):
        return None
    return may(ACTION)(request, shown)


_may_read.action = ACTION  # type: ignore[attr-defined]  # read by the test that every route asks


@router.get("/metrics", summary="Metrics in the text format of Prometheus; from this machine without a token")
def read_metrics(served: Served, who: Annotated[Principal | None, Depends(_may_read)]) -> Response:
    settings = served.store.settings
    with served.store.read() as tx:
        standings, feeds = overview.standings(tx, settings), overview.feeds(tx, settings)
    samples: dict[str, list[Sample]] = {name: [] for name in FAMILIES}

    def add(name: str, labels: tuple[str, ...], value: float | None) -> None:
        if value is not None:
            samples[f"lastgood_access_{name}"].append((labels, value))

    for one in standings:
        of = (one.name,)
        add("grants", of, one.grants)
        for outcome, number in sorted(one.counts.items()):
            add("events_total", (one.name, outcome), number)
        add("dead_events", of, one.dead)
        add("lag_events", of, one.lag)
        add("lost_events_total", of, one.lost)
        add("read_timestamp_seconds", of, _seconds(one.read_at))
        add("check_timestamp_seconds", (one.name, "full"), _seconds(one.full_at))
        add("check_timestamp_seconds", (one.name, "incremental"), _seconds(one.incremental_at))
        add("in_step", of, None if one.in_step is None else int(one.in_step))
        for kind in ("missing", "extra") if one.last else ():
            add("differences", (one.name, kind), (one.last or {}).get(kind))
        add("problem", of, int(bool(one.problem)))
    for feed in feeds:
        add("feed_waiting", (feed["name"],), feed["waiting"])
        add("feed_problem", (feed["name"],), int(bool(feed["problem"])))
    return Response(render(FAMILIES, samples), media_type="text/plain; version=0.0.4; charset=utf-8")


def _seconds(at: str | None) -> float | None:
    return None if at is None else int(parse_time(at).timestamp())
