"""What is known when a move is examined: plain values, gathered before any check looks at them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lastgood.dsl.shapes import Interface, Shape
from lastgood.history.calls import SeenShape
from lastgood.history.states import State
from lastgood.release.plan import Verdict
from lastgood.release.preflight.content import Content
from lastgood.release.preflight.toolcalls import ToolCall


@dataclass(frozen=True, slots=True)
class Unknown:
    """What could not be learnt, and why, as the end of a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Side:
    """A version as it is read: `held` are the secret variables that a value is kept of. `damaged` says that the
    stored content is not what was written. `why` tells what proved or condemned it."""

    version: str
    state: State
    content: Content | Unknown
    damaged: bool = False
    archived: bool = False
    held: frozenset[str] = frozenset()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a target is known to have of a kind of need. `without` are the kinds that it needs none of, and what
    stands in for them."""

    has: Mapping[str, frozenset[str]] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Engine:
    """What Dify's graph engine says of the version to go to: `foreign` is why the embedded engine cannot run it
    though it holds together, `broken` what does not hold together; `unseen` are the node types that it was not asked
    about."""

    foreign: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """Where the version would run. `embedded` is Lastgood's own engine; of others only what the inventory says is
    known, and the node types where the server tells them (`Unknown`: why not)."""

    name: str
    embedded: bool
    inventory: Inventory = Inventory()
    types: frozenset[str] | Unknown = Unknown("it cannot be asked for its own list")


@dataclass(frozen=True, slots=True)
class Callee:
    """A kept workflow that a tool call means. `certain`: the call names its id, not only its name. `interface` is
    that of the version that its live channel points to, None where there is none."""

    slug: str
    certain: bool
    version: str | None
    interface: Interface | None


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a workflow tool, and the kept workflows that it may mean."""

    call: ToolCall
    callees: tuple[Callee, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A queue, cache or database that the workflow needs: the versions that are good, the one that was found (``""``:
    none), and why none was. `asked` says whether it told the version itself."""

    name: str
    range: str
    version: str
    problem: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Conversations:
    """The conversations of the workflow that can be gone on with: how many, and how many of them hold each variable,
    by name and type."""

    total: int
    holding: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caller:
    """An app key and what its client calls itself; whether requests of it followed the channel that moves, and
    whether some named a version themselves."""

    key: str
    name: str
    user_agent: str
    follows: bool
    pins: bool


@dataclass(frozen=True, slots=True)
class Calls:
    """Who called, and the shapes of the last `limit` requests and answers."""

    callers: tuple[Caller, ...]
    shapes: tuple[SeenShape, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is kept that the version to go to may not understand: pieces of evidence on newer versions by kind, and
    smoke requests by id with the shape of what they send and the outputs that they name."""

    newer: Mapping[str, int] = field(default_factory=dict)
    smokes: Mapping[str, tuple[Shape | None, frozenset[str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the checks go by. `now` is the version in service (None: the channel points to nothing), `pointed` the
    one that the channel points to at this moment."""

    workflow: str
    channel: str
    pointed: str | None
    to: Side
    now: Side | None
    target: Target
    force: bool = False
    why: str = ""
    engine: Engine | Unknown = Unknown("it was not asked")
    secrets_changed: frozenset[str] = frozenset()
    called: tuple[Called, ...] | Unknown = ()
    services: tuple[Service, ...] | Unknown = ()
    conversations: Conversations | Unknown = Conversations(0)
    calls: Calls | Unknown = Unknown("nothing was asked")
    evidence: Evidence | Unknown = Evidence()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check finds. `about` is what within the move it is about, such as the name of a variable."""

    verdict: Verdict
    sentence: str
    about: str = ""


class Unlearnt(Exception):
    """A check asked for a fact that could not be learnt; its message is the reason."""


def known[T](fact: T | Unknown) -> T:
    """The fact. Raises `Unlearnt` with the reason where there is none."""
    if isinstance(fact, Unknown):
        raise Unlearnt(fact.reason)
    return fact


def in_service(facts: Facts) -> Content | None:
    """The content of the version in service, None where there is none or it cannot be read."""
    if facts.now is None or isinstance(facts.now.content, Unknown):
        return None
    return facts.now.content
