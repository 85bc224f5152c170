"""What operations, checks and listeners work with: the store, the target, the settings, and what they are told of a
move."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Engine

from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import UnknownServer
from lastgood.release.verification import Upstream
from lastgood.settings import Settings
from lastgood.targets.dify import Client

Direction = Literal["forward", "undo"]


def _no_server(name: str) -> Client:
    raise UnknownServer(server=name)


@dataclass(slots=True)
class Means:
    """The surroundings of an operation. `engine` gives the embedded engine's address and token (or raises why not);
    `runs` opens the store of runs and calls, None where there is none; `dify` gives the client of a connected Dify
    server by its name; `facts` are the server's own addresses;
    `stopping` is set when this process must end. `fence`, called in a transaction, raises when another process has
    taken the operation over, and this one may write nothing more."""

    store: Store
    engine: Callable[[], Upstream]
    runs: Callable[[], Engine | None] = lambda: None
    dify: Callable[[str], Client] = _no_server
    facts: Mapping[str, Any] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    fence: Callable[[Tx], None] = lambda _: None

    @property
    def settings(self) -> Settings:
        """The settings in force, `lastgood.toml` included."""
        return self.store.settings


@dataclass(frozen=True, slots=True)
class Notice:
    """What a hook, a listener or the alert webhook is told of one channel's move. `key` is the same however often it
    is told, so that its effect can be made to happen once."""

    operation: str
    key: str
    kind: str
    direction: Direction
    workflow_id: str
    workflow: str
    channel: str
    from_version: str | None
    to_version: str
    generation: int
    actor: str
    reason: str
    others: tuple["Notice", ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Its JSON form, as hooks read it on standard input; `others` are the other moves of the same operation."""
        more = {"others": [one.as_data() for one in self.others]} if self.others else {}
        return {
            "operation": self.operation,
            "idempotency_key": self.key,
            "kind": self.kind,
            "direction": self.direction,
            "workflow_id": self.workflow_id,
            "workflow": self.workflow,
            "channel": self.channel,
            "from": self.from_version,
            "to": self.to_version,
            "generation": self.generation,
            "actor": self.actor,
            "reason": self.reason,
            **more,
        }

    def environment(self) -> dict[str, str]:
        """The same as variables: ``LASTGOOD_WORKFLOW``, ``LASTGOOD_TO``, …; an absent value is empty."""
        return {
            f"LASTGOOD_{name.upper()}": "" if value is None else str(value)
            for name, value in self.as_data().items()
            if name != "others"
        }


@dataclass(frozen=True, slots=True)
class Told:
    """How a listener answered. `skipped`: it is not for this move, or a former attempt had reached it."""

    name: str
    outcome: Literal["acknowledged", "failed", "timed out", "skipped"]
    detail: str
    elapsed_ms: float
    required: bool = True

    @property
    def good(self) -> bool:
        """Whether the move may stand as far as this listener goes."""
        return self.outcome in ("acknowledged", "skipped") or not self.required
