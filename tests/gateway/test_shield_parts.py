"""The parts of the shield by themselves: events, breaker, places, assembled answers, metrics."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lastgood.gateway.assembly import Assembly, TooLarge
from lastgood.gateway.breaker import Breaker
from lastgood.gateway.events import Event, Scanner
from lastgood.gateway.metrics import FAMILIES, Metrics
from lastgood.gateway.slots import NoSlot, Slots
from lastgood.settings import Settings

STREAM = (
    b'event: ping\n\n: comment\n\ndata: {"event":"workflow_started","data":{"event":"error"}}\n\n'
    b'data: {"task_id": "t", "event": "node_finished"}\n\ndata: {"outputs":{"event":"error"}}\n\n'
    b'data: {"event":"workflow_finished","x":"\\"event\\": \\"error\\""}\n\n'
)
NAMES = [b"ping", b"workflow_started", b"node_finished", b"", b"workflow_finished"]


@pytest.mark.parametrize("crlf", [False, True])
def test_events_are_the_same_wherever_the_stream_is_cut(crlf: bool) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    whole = Scanner().feed(stream)
    assert [event.name for event in whole] == NAMES
    assert whole[-1].stop == len(stream)
    for at in range(1, len(stream)):
        scanner = Scanner()
        found = scanner.feed(stream[:at]) + scanner.feed(stream[at:])
        assert [(event.name, event.data) for event in found] == [(event.name, event.data) for event in whole], at
    scanner = Scanner()
    found = [event for at in range(len(stream)) for event in scanner.feed(stream[at : at + 1])]
    assert [event.name for event in found] == NAMES


def test_a_huge_event_keeps_its_name_and_not_its_content() -> None:
    scanner = Scanner(limit=1000)
    found = []
    for part in (b'data: {"event":"workflow_finished","x":"', b"x" * 5000, b"x" * 5000, b'"}\n', b"\n", STREAM):
        found += scanner.feed(part)
        assert len(scanner._held) <= 1000
    assert [event.name for event in found] == [b"workflow_finished", *NAMES]
    assert [event.whole for event in found] == [False, True, True, True, True, True]
    assert found[0].read() == {}


@pytest.mark.parametrize(
    ("parts", "moved"),
    [
        ([b"event: ping\n\n"], [False]),
        ([b"event: pi", b"ng\n", b"\n"], [False, False, False]),
        ([b'data: {"event":"ping"}\n\n'], [True]),  # it looks like something until it is read
        ([b'data: {"event":"message"', b'"answer":1', b"}\n\n"], [True, True, True]),
        ([b": nothing\n\n"], [False]),
    ],
)
def test_pings_and_comments_are_no_progress(parts: list[bytes], moved: list[bool]) -> None:
    scanner = Scanner()
    seen = []
    for part in parts:
        scanner.feed(part)
        seen.append(scanner.moved)
    assert seen[1:] == moved[1:]
    if parts[0] != b'data: {"event":"ping"}\n\n':
        assert seen == moved


def test_the_breaker_opens_probes_and_closes() -> None:
    breaker = Breaker(2, 10.0)
    assert breaker.admit(0) == (0, False)
    breaker.failed(0, probe=False)
    breaker.succeeded(probe=False)
    breaker.failed(1, probe=False)
    assert breaker.state(1) == "closed"  # not two in a row
    breaker.failed(2, probe=False)
    assert (breaker.state(2), breaker.admit(5), breaker.opened) == ("open", (7.0, False), 1)
    breaker.failed(5, probe=False)  # one that was under way: it does not begin anew
    breaker.succeeded(probe=False)
    assert breaker.admit(11.5) == (0.5, False)
    assert breaker.state(12) == "half-open"
    assert breaker.admit(12) == (0.0, True)
    assert breaker.admit(12)[0] > 0  # one alone
    breaker.withdrawn(probe=True)
    assert breaker.admit(12.5) == (0.0, True)
    breaker.failed(13, probe=True)
    assert (breaker.state(22), breaker.opened) == ("open", 2)
    assert breaker.admit(23) == (0.0, True)
    breaker.succeeded(probe=True)
    assert (breaker.state(23), breaker.admit(23)) == ("closed", (0.0, False))


def test_a_breaker_of_no_failures_never_opens() -> None:
    breaker = Breaker(0, 10.0)
    for _ in range(100):
        breaker.failed(0, probe=False)
    assert breaker.state(0) == "closed"


def test_places_go_round_between_the_keys() -> None:
    async def run() -> list[str]:
        slots, served = Slots(1, 10, 5.0), []
        await slots.take("first")

        async def call(key: str) -> None:
            await slots.take(key)
            served.append(key)
            slots.free()

        tasks = [asyncio.create_task(call(key)) for key in ("a", "a", "a", "b", "c")]
        await asyncio.sleep(0)
        assert slots.queued == 5
        slots.free()
        await asyncio.gather(*tasks)
        assert (slots.taken, slots.queued) == (0, 0)
        return served

    assert asyncio.run(run()) == ["a", "b", "c", "a", "a"]


def test_a_full_queue_makes_room_for_who_holds_less() -> None:
    async def run() -> None:
        slots = Slots(1, 3, 5.0)
        await slots.take("x")
        greedy = [asyncio.create_task(slots.take("a")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(NoSlot, match="full"):
            await slots.take("a")
        other = asyncio.create_task(slots.take("b"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(NoSlot):
            await greedy[2]  # the last of the greediest
        with pytest.raises(NoSlot, match="full"):
            await slots.take("b")  # two and one: nobody holds two more than it
        for _ in range(3):
            slots.free()
            await asyncio.sleep(0)
        await asyncio.gather(*greedy[:2], other)
        assert (slots.taken, slots.queued) == (1, 0)

    asyncio.run(run())


def test_who_leaves_or_waits_too_long_takes_no_place() -> None:
    async def run() -> None:
        slots = Slots(1, 5, 0.05)
        await slots.take("x")
        with pytest.raises(NoSlot, match="late"):
            await slots.take("a")
        leaving = asyncio.create_task(slots.take("a"))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert (slots.taken, slots.queued) == (1, 0)
        granted = asyncio.create_task(slots.take("a"))
        await asyncio.sleep(0)
        slots.free()  # it is its turn, and it leaves before it learns of it
        granted.cancel()
        await asyncio.gather(granted, return_exceptions=True)
        assert (slots.taken, slots.queued) == (0, 0)

    asyncio.run(run())


HEAD = {"conversation_id": "c", "message_id": "m", "created_at": 5, "task_id": "t"}
SAID = [("message", {"answer": "A "}), ("message", {"answer": "q"})]
DONE = ("workflow_finished", {"data": {"status": "succeeded", "outputs": {"answer": "whole"}}})


def told(name: str, content: dict[str, Any], *, whole: bool = True) -> Event:
    return Event(name.encode(), json.dumps({"event": name, **HEAD, **content}).encode(), whole, 0)


@pytest.mark.parametrize(
    ("events", "status", "expected"),
    [
        (
            [*SAID, DONE, ("message_end", {"metadata": {"usage": 1}})],
            200,
            {"answer": "A q", "metadata": {"usage": 1}},
        ),
        ([*SAID, DONE], 200, {"answer": "A q", "id": "m", "conversation_id": "c", "mode": "advanced-chat"}),
        ([DONE], 200, {"answer": "whole", "created_at": 5, "task_id": "t", "event": "message"}),
        ([*SAID, ("message_replace", {"answer": "mild"}), DONE], 200, {"answer": "mild"}),
        (
            [("workflow_finished", {"data": {"status": "failed", "error": "no model"}})],
            400,
            {"code": "invalid_param", "message": "Run failed: no model", "status": 400},
        ),
        (
            [("error", {"code": "invalid_param", "status": 400, "message": "m"})],
            400,
            {"code": "invalid_param", "message": "m", "status": 400},
        ),
        (
            [("error", {"status": 500, "message": "city is required in input form"})],
            400,
            {"code": "invalid_param", "message": "city is required in input form", "status": 400},
        ),
        ([("error", {"message": "?", "status": "x"})], 500, {"code": "internal_server_error", "status": 500}),
    ],
)
def test_a_blocking_answer_is_put_together(
    events: list[tuple[str, dict[str, Any]]], status: int, expected: dict[str, Any]
) -> None:
    assembly = Assembly("advanced-chat")
    for name, content in events:
        assembly.take(told(name, content))
    answer = assembly.answer()
    assert answer.status == status
    said = json.loads(answer.body)
    assert {name: said[name] for name in expected} == expected


def test_what_is_too_large_is_not_put_together() -> None:
    with pytest.raises(TooLarge):
        Assembly("advanced-chat").take(told("message", {"answer": "x"}, whole=False))


def test_every_metric_is_written_and_escaped() -> None:
    metrics = Metrics()
    metrics.count("refused", 'up"\n\\', "queue-full")
    text = metrics.render({"lastgood_gateway_calls_queued": [(("dify",), 3)]}).decode()
    assert r'refused_total{upstream="up\"\n\\",reason="queue-full"} 1' in text
    assert 'lastgood_gateway_calls_queued{upstream="dify"} 3' in text
    for name, family in FAMILIES.items():
        assert f"# TYPE {name} {family.kind}\n" in text


SHIELD_SETTINGS = (
    "shield_inputs",
    "assemble_chats",
    "stream_idle_seconds",
    "hang_seconds",
    "upstream_calls",
    "queue_calls",
    "queue_seconds",
    "breaker_failures",
    "breaker_seconds",
    "conversations",
    "metrics_from",
)


def test_the_page_on_the_gateway_names_every_setting_and_metric() -> None:
    page = (Path(__file__).parents[2] / "docs/gateway.md").read_text()
    for name in SHIELD_SETTINGS:
        info = Settings.model_fields[name]
        assert info.description
        assert (
            f"| `{name}` | {info.default if not isinstance(info.default, bool) else str(info.default).lower()} |"
            in page
        )
    named = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `lastgood_gateway_")}
    assert named == set(FAMILIES)
    for name, family in FAMILIES.items():
        assert family.help in page, name
