"""What the gateway counts, in the text format of Prometheus."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from lastgood.gateway.observation import Observed

type Labels = tuple[str, ...]
type Sample = tuple[Labels, float]


class Family(NamedTuple):
    """One metric: its kind, the names of its labels, and what it says."""

    kind: Literal["counter", "gauge"]
    labels: Labels
    help: str


FAMILIES: Final[Mapping[str, Family]] = {
    "lastgood_gateway_requests_total": Family(
        "counter", ("workflow", "version", "outcome"), "Runs that are over (where calls are recorded), by outcome."
    ),
    "lastgood_gateway_calls_in_flight": Family(
        "gauge", ("upstream",), "Calls that hold a place on the upstream, left and hanging ones included."
    ),
    "lastgood_gateway_calls_left": Family(
        "gauge", ("upstream",), "Calls among them whose client has its answer, or has gone."
    ),
    "lastgood_gateway_calls_queued": Family("gauge", ("upstream",), "Calls that wait for a place."),
    "lastgood_gateway_refused_total": Family(
        "counter", ("upstream", "reason"), "Calls refused: queue-full, queue-late, or breaker-open."
    ),
    "lastgood_gateway_breaker_state": Family("gauge", ("upstream",), "0 closed, 1 half-open, 2 open."),
    "lastgood_gateway_breaker_opened_total": Family("counter", ("upstream",), "How often the breaker opened."),
    "lastgood_gateway_idle_cutoffs_total": Family(
        "counter", ("upstream",), "Streams given up because they made no progress."
    ),
    "lastgood_gateway_assembled_chats_total": Family(
        "counter", ("upstream",), "Blocking chatflow answers put together from a stream."
    ),
    "lastgood_gateway_refused_inputs_total": Family(
        "counter", ("upstream",), "Calls whose inputs do not fit the version, refused before Dify saw them."
    ),
    "lastgood_gateway_deleted_versions_total": Family(
        "counter", ("upstream",), "Answers of Dify that it has no such version any more."
    ),
    "lastgood_gateway_conversations_moved_total": Family(
        "counter", ("reason",), "Conversations moved to the version in service: rollback, or gone."
    ),
    "lastgood_gateway_conversations_unkept_total": Family(
        "counter", (), "Conversations whose version could not be read or written."
    ),
}

_MOST_SERIES: Final = 5_000
_OTHER: Final = "other"


class Metrics:
    """The counters of one worker. The gauges are read when they are asked for."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[Labels]] = {
            name: Counter() for name, family in FAMILIES.items() if family.kind == "counter"
        }

    def count(self, name: str, *labels: str) -> None:
        """One more."""
        self._counts[f"lastgood_gateway_{name}_total"][labels] += 1

    def observed(self, call: Observed) -> None:
        """A run that is over. For the thread that counts calls, and for that one alone."""
        counts = self._counts["lastgood_gateway_requests_total"]
        labels = (call.workflow_id, call.version_id, call.outcome)
        if labels not in counts and len(counts) >= _MOST_SERIES:
            labels = (_OTHER, _OTHER, call.outcome)
        counts[labels] += 1

    def render(self, gauges: Mapping[str, Iterable[Sample]]) -> bytes:
        """All of it, with the `gauges` by name."""
        # Copied at once: another thread may be counting.
        counted = {name: sorted(counts.copy().items()) for name, counts in self._counts.items()}
        return render(FAMILIES, {**gauges, **counted})


def render(families: Mapping[str, Family], samples: Mapping[str, Iterable[Sample]]) -> bytes:
    """The text of `families` with their `samples` by name."""
    lines = []
    for name, family in families.items():
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
        lines += [
            f"{name}{_labels(family.labels, labels)} {_number(value)}" for labels, value in samples.get(name, ())
        ]
    return ("\n".join(lines) + "\n").encode()


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"  # {:g} would round what is over a million


def _labels(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
