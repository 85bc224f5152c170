"""Calls added up: how many, how they ended, how long they took, and which shapes were seen."""

from typing import Final, NamedTuple

from lastgood.db.runs import LATENCY_BUCKETS
from lastgood.gateway.observation import UNKNOWN, Observed
from lastgood.history.calls import OTHERS, Kind
from lastgood.history.latency import bucket
from lastgood.history.routes import Route

# Workflow, app key, user agent.
type Who = tuple[str, str, str]

MINUTE: Final = 60
# While the store cannot be written, rows wait in memory: at most so many, and as many again without their client.
_MOST_ROWS: Final = 5_000


class RateKey(NamedTuple):
    """Whose calls, to what, and in which minute."""

    workflow_id: str
    key_id: str
    user_agent: str
    channel: str
    version_id: str
    generation: int
    pins: bool
    at: int

    @property
    def who(self) -> Who:
        """Whose calls."""
        return self.workflow_id, self.key_id, self.user_agent


class ShapeKey(NamedTuple):
    """Who sent or got what."""

    workflow_id: str
    key_id: str
    user_agent: str
    kind: Kind
    shape: str

    @property
    def who(self) -> Who:
        """Whose shape."""
        return self.workflow_id, self.key_id, self.user_agent


class Rate:
    """The calls of one `RateKey`."""

    __slots__ = ("buckets", "errors", "last_at", "lost", "max_ms", "refused", "requests", "total_ms", "unseen")

    def __init__(self) -> None:
        self.requests = self.errors = self.refused = self.unseen = self.lost = 0
        self.total_ms = self.max_ms = self.last_at = 0.0
        self.buckets = [0] * LATENCY_BUCKETS


class Sighting:
    """How often a shape was seen, and when."""

    __slots__ = ("first_at", "last_at", "refused", "requests", "version_id")

    def __init__(self, at: float) -> None:
        self.requests = self.refused = 0
        self.version_id = ""
        self.first_at = self.last_at = at


class Tally:
    """Calls added up: `rates` and `shapes`. Empty it is false."""

    def __init__(self) -> None:
        self.rates: dict[RateKey, Rate] = {}
        self.shapes: dict[ShapeKey, Sighting] = {}

    def __bool__(self) -> bool:
        return bool(self.rates)

    def add(self, call: Observed, at: float) -> None:
        """Count a call that ended `at` (seconds since 1970)."""
        agent = call.user_agent if len(self.rates) < _MOST_ROWS else OTHERS
        # As `RateKey` names them.
        whose = (call.workflow_id, call.key_id, agent, call.channel, call.version_id, call.generation, call.pins)
        rate = self._rate(RateKey(*whose, int(at) // MINUTE * MINUTE))
        if rate is None:
            return
        rate.requests += 1
        rate.errors += call.outcome == "error"
        rate.refused += call.outcome == "refused"
        rate.unseen += call.outcome == "unseen"
        rate.total_ms += call.ms
        rate.max_ms = max(rate.max_ms, call.ms)
        rate.last_at = max(rate.last_at, at)
        rate.buckets[bucket(call.ms)] += 1
        self._see(call, "inputs", call.inputs, agent, at)
        if call.outputs:
            self._see(call, "outputs", call.outputs, agent, at)

    def lose(self, route: Route, count: int, at: float) -> None:
        """Count `count` calls of a route that nobody had time to look at."""
        key = RateKey(
            workflow_id=route.workflow_id,
            key_id=route.key_id,
            user_agent=OTHERS,
            at=int(at) // MINUTE * MINUTE,
            channel=route.channel,
            version_id=route.version_id or "",
            generation=route.generation,
            pins=False,
        )
        rate = self._rate(key)
        if rate is not None:
            rate.lost += count
            rate.last_at = max(rate.last_at, at)

    def _rate(self, key: RateKey) -> Rate | None:
        rate = self.rates.get(key)
        if rate is None and len(self.rates) < 2 * _MOST_ROWS:
            rate = self.rates[key] = Rate()
        return rate

    def _see(self, call: Observed, kind: Kind, shape: str, agent: str, at: float) -> None:
        if len(self.shapes) >= _MOST_ROWS:
            agent, shape = OTHERS, UNKNOWN
        key = ShapeKey(call.workflow_id, call.key_id, agent, kind, shape)
        seen = self.shapes.get(key)
        if seen is None:
            seen = self.shapes[key] = Sighting(at)
        seen.requests += 1
        seen.refused += call.outcome == "refused"
        seen.first_at = min(seen.first_at, at)
        if at >= seen.last_at:
            seen.last_at, seen.version_id = at, call.version_id
