"""What one move or several reach: the value, and its forms as tables, JSON and YAML."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import yaml

from lastgood.release.impact.dependants import Dependant, Tool
from lastgood.release.impact.reached import Caller, Edge
from lastgood.release.impact.risk import RISKS, Effect, Risk, worst
from lastgood.release.impact.touched import How, Touched
from lastgood.release.plan import Service

_MARKS: Final = re.compile(r"([\\`*_{}\[\]<>|#~])")
_HOWS: Final[dict[How, str]] = {"changed": "changed", "fed": "fed by a changed node", "any": "not known"}
_LONGEST: Final = 600  # of a cell


@dataclass(frozen=True, slots=True)
class Part:
    """One channel's move, and what is known around it. `effect` says what it means to callers, `sentence`
    tells it, and `why` names the weightiest change.
    `to_version` is None where no version to go to is known: then any change is meant."""

    workflow: str
    channel: str
    from_version: str | None
    to_version: str | None
    effect: Effect
    sentence: str
    why: str
    counted: bool
    callers: tuple[Caller, ...] = ()
    dependants: tuple[Dependant, ...] = ()
    touched: tuple[Touched, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What moves where, in a few words."""
        path = f"{self.from_version or 'nothing'} → {self.to_version or 'any other'}"
        return f"{self.channel} of {self.workflow}: {path}"

    def as_data(self) -> dict[str, Any]:
        """Its JSON form. Requests are None where nobody counts them."""
        return {
            "workflow": self.workflow,
            "channel": self.channel,
            "from": self.from_version,
            "to": self.to_version,
            "effect": self.effect,
            "sentence": self.sentence,
            "requests_counted": self.counted,
            "callers": [one.as_data() for one in self.callers],
            "dependants": [one.as_data() for one in self.dependants],
            "touches": [one.as_data() for one in self.touched],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Module:
    """A part of the business, the services of it that are reached, and the worst risk among them with its reason."""

    module: str
    services: tuple[str, ...]
    risk: Risk
    reason: str
    responsible: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """Who and what is affected: a `Part` for each move, the services with their risk (highest first), and the graph
    of dependants as lines between names."""

    parts: tuple[Part, ...]
    services: tuple[Service, ...]
    edges: tuple[Edge, ...] = ()

    @property
    def risk(self) -> Risk:
        """The highest risk of all, low for none."""
        return worst(_risk(one) for one in self.services)

    @property
    def modules(self) -> tuple[Module, ...]:
        """The services by module, the highest risk first."""
        groups: dict[str, list[Service]] = {}
        for one in self.services:
            groups.setdefault(one.module, []).append(one)
        return tuple(_module(name, group) for name, group in groups.items())

    def as_data(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "risk": self.risk,
            "services_affected": [one.name for one in self.services],
            "modules": [
                {**asdict(one), "services": list(one.services), "responsible": list(one.responsible)}
                for one in self.modules
            ],
            "services": [asdict(one) for one in self.services],
            "moves": [one.as_data() for one in self.parts],
            "graph": [{"from": one.source, "relation": one.relation, "to": one.target} for one in self.edges],
        }

    def yaml(self) -> str:
        """The same as YAML."""
        text: str = yaml.dump(self.as_data(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        return text

    def markdown(self) -> str:
        """The same as Markdown (GitHub's), without the graph. Names from outside mark nothing up."""
        parts = [_moves(self.parts), *_tables(self)]
        for one in self.parts:
            parts += _around(one, len(self.parts) > 1)
        return "\n\n".join(parts) + "\n"


def merged(parts: Sequence[Part], services: Iterable[Service], edges: Iterable[Edge]) -> Impact:
    """One impact of all: of a service that is reached in several ways the worst counts."""
    found: dict[str, Service] = {}
    for one in services:
        known = found.get(one.name)
        if known is None or RISKS.index(_risk(one)) > RISKS.index(_risk(known)):
            found[one.name] = one
    ordered = sorted(found.values(), key=lambda one: (-RISKS.index(_risk(one)), one.name))
    return Impact(tuple(parts), tuple(ordered), tuple(dict.fromkeys(edges)))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _risk(one: Service) -> Risk:
    return next(risk for risk in RISKS if risk == one.risk)


def _module(name: str, group: Sequence[Service]) -> Module:
    first = group[0]  # services come worst first
    people = tuple(dict.fromkeys(one.responsible for one in group))
    reason = first.reason if len(group) == 1 else f"{first.name}: {first.reason}"
    return Module(name, tuple(one.name for one in group), _risk(first), reason, people)


def _moves(parts: Sequence[Part]) -> str:
    return "\n".join(f"- {_cell(one.title)}. {_cell(one.sentence)}" for one in parts)


def _tables(impact: Impact) -> list[str]:
    if not impact.services:
        return ["No service is known to be affected."]
    modules = [
        (one.module, ", ".join(one.services), one.risk, one.reason, ", ".join(one.responsible))
        for one in impact.modules
    ]
    found = [_table(("module", "affected services", "risk", "reason", "responsible"), modules)]
    if any(len(one.services) > 1 for one in impact.modules):
        rows = [(one.name, one.module, one.risk, one.reason, one.responsible) for one in impact.services]
        found.append(_table(("service", "module", "risk", "reason", "responsible"), rows))
    return found


def _around(part: Part, several: bool) -> list[str]:
    found = [f"### {_cell(part.workflow)}"] if several else []
    if part.callers:
        rows = [
            (
                _named(one),
                one.user_agent or "-",
                one.workflow,
                _number(one.day),
                _number(one.week),
                one.last_at or "-",
                ", ".join(one.services) or "-",
            )
            for one in part.callers
        ]
        found += [
            "Who calls:",
            _table(
                ("key", "user agent", "workflow", "24 h", "7 d", "last", "part of"),
                rows,
                ("-", "-", "-", "-:", "-:", "-", "-"),
            ),
        ]
    if part.dependants:
        rows2 = [(one.slug, str(one.steps), " → ".join(reversed(one.through))) for one in part.dependants]
        found += ["Workflows that use it as a tool:", _table(("workflow", "steps", "over"), rows2)]
    if part.touched:
        rows3 = [
            (one.kind, one.name, ", ".join(one.nodes), _HOWS[one.how], one.side, ", ".join(one.services) or "-")
            for one in part.touched
        ]
        found += [
            "What its changed nodes touch:",
            _table(("kind", "what", "nodes", "how", "in version", "part of"), rows3),
        ]
    if part.notes:
        found.append("\n".join(f"- {_cell(note)}" for note in part.notes))
    return found


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], rule: Sequence[str] = ()) -> str:
    lines = [headers, rule or ["-"] * len(headers), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """`text` on one line, in which nothing marks up."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _MARKS.sub(r"\\\1", flat if len(flat) <= _LONGEST else f"{flat[: _LONGEST - 1]}…")


def _named(one: Caller) -> str:
    more = ["revoked"] * one.revoked + [f"asks for {', '.join(one.pinned)} itself"] * bool(one.pinned)
    return one.name + (f" ({'; '.join(more)})" if more else "")


def _number(requests: int | None) -> str:
    return "not counted" if requests is None else str(requests)


def tool_note(slug: str, tool: Tool) -> str:
    """That `slug` uses a workflow tool that no kept workflow is known to be."""
    name = tool.provider_name or tool.name or tool.provider
    return f"{slug} uses the workflow tool “{name}”, which no workflow kept here is called after."
