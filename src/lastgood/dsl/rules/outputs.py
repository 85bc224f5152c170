"""How the outputs of two workflows differ to callers."""

from dataclasses import dataclass, field
from typing import Any, Final

from lastgood.dsl.index import Node, mapping, text
from lastgood.dsl.outputs import value_of
from lastgood.dsl.rules.case import Case, Side
from lastgood.dsl.rules.contract import takes_calls
from lastgood.dsl.rules.rule import Severity, Witness, listed, quoted

_SPEAKING: Final = frozenset({"llm", "agent"})


@dataclass(slots=True)
class _Output:
    """One output over all end nodes: the types that are known of it, where it comes from (renamed to present ids),
    and whether every run gives it."""

    node: Node
    path: str
    types: set[str] = field(default_factory=set)
    sources: set[tuple[str, ...]] = field(default_factory=set)
    certain: bool = True
    ends: int = 0


def judge_outputs(case: Case) -> None:
    """Tell what became of each output of a workflow. Nobody reads the outputs of one that only triggers start, so
    that nothing breaks there."""
    if case.old.document.mode != "workflow" or case.new.document.mode != "workflow":
        return
    before, after = _outputs(case.old, case.renames), _outputs(case.new, {})
    read = takes_calls(case.old.document) and takes_calls(case.new.document)
    loud: Severity | None = None if read else "info"
    gone = [name for name in before if name not in after]
    come = [name for name in after if name not in before]
    renamed = _renames(before, after, gone, come)
    for name in gone:
        new_name = renamed.get(name)
        if new_name is None:
            where, rule, sentence = before[name], "output-removed", f"Output {quoted(name)} is gone."
        else:
            where, rule = after[new_name], "output-renamed"
            sentence = f"Output {quoted(name)} is called {quoted(new_name)} now."
            case.claims.setdefault(("output", new_name, "*"), rule)
        case.tell(
            rule,
            sentence,
            node=where.node,
            path=where.path,
            severity=loud,
            witness=Witness(output=name),
            claim=("output", name, "*"),
        )
    for name in come:
        if name not in renamed.values():
            new = after[name]
            sentence = f"New output {quoted(name)}{_of_type(new)}."
            case.tell("output-added", sentence, node=new.node, path=new.path, claim=("output", name, "*"))
    for name, old in before.items():
        if name in after:
            _judge(case, name, old, after[name], loud)


def _judge(case: Case, name: str, old: _Output, new: _Output, loud: Severity | None) -> None:
    called, claim = f"Output {quoted(name)}", ("output", name, "*")
    if old.types and new.types and not new.types <= old.types and not _maybe_same(old.types, new.types):
        sentence = f"{called} is of type {_names(new.types)}, {_names(old.types)} before."
        witness = Witness(output=name)
        case.tell(
            "output-type-changed",
            sentence,
            node=new.node,
            path=new.path,
            severity=loud,
            witness=witness,
            claim=claim,
        )
    elif old.sources != new.sources:
        sentence = f"{called} comes from {_sources(case, new)}, {_sources(case, old)} before."
        case.tell("output-source-changed", sentence, node=new.node, path=new.path, claim=claim)
    if old.certain and not new.certain:
        sentence = f"{called}, given by every run before, is now missing or empty in some."
        case.tell("output-less-certain", sentence, node=new.node, path=new.path, severity=loud, claim=claim)
    elif new.certain and not old.certain:
        sentence = f"{called}, missing or empty in some runs before, is now given by all."
        case.tell("output-more-certain", sentence, node=new.node, path=new.path, claim=claim)


def judge_streaming(case: Case) -> None:
    """Tell whether callers still get text while a model writes it, and whether a person holds runs up."""
    if not (takes_calls(case.old.document) and takes_calls(case.new.document)):
        return
    if case.old.document.has_graph and case.new.document.has_graph:
        before, after = _streams(case.old), _streams(case.new)
        if before and not after:
            case.tell("streaming-lost", "No text of a model is streamed to callers any more.")
        elif after and not before:
            case.tell("streaming-gained", "Text of a model is streamed to callers now.", node=after)
    people = [list(side.running("human-input")) for side in (case.old, case.new)]
    if people[1] and not people[0]:
        step = people[1][0]
        case.tell("human-step-added", f"Runs wait for a person at {quoted(step.title)}.", node=step)
    elif people[0] and not people[1]:
        step = people[0][0]
        case.tell("human-step-removed", f"Runs no longer wait for a person at {quoted(step.title)}.", node=step)


def _streams(side: Side) -> Node | None:
    """A node whose answer or output streams what a model writes."""
    for found in side.references.all:
        node = side.index.nodes[found.node]
        source = side.index.nodes.get(found.selector[0]) if found.selector else None
        if (
            found.active
            and node.type in ("end", "answer")
            and source is not None
            and source.type in _SPEAKING
            and found.selector[1:2] == ("text",)
            and node.id in side.flow.reachable
        ):
            return node
    return None


def _outputs(side: Side, renames: dict[str, str]) -> dict[str, _Output]:
    # In a graph that no run begins every end counts, so that a broken one does not read as without outputs.
    ends = list(side.running("end")) or list(side.index.of_type("end"))
    found: dict[str, _Output] = {}
    for end in ends:
        uses = {use.path: use for use in side.references.used_by(end.id)}
        items = end.data.get("outputs")
        seen = set()
        for i, item in enumerate(items if isinstance(items, list) else ()):
            name = text(mapping(item).get("variable"))
            if not name:
                continue
            path = f"{end.path}.data.outputs[{i}]"
            output = found.setdefault(name, _Output(end, path))
            use = uses.get(f"{path}.value_selector")
            known = use.value.type if use and use.value else ""
            kind = known or value_of(mapping(item).get("value_type")).type
            output.types |= {kind} - {"", "any"}
            output.sources.add(_source(mapping(item), renames))
            output.certain &= (
                use is not None and use.value is not None and side.flow.arrival(use).certainty == "always"
            )
            if name not in seen:
                output.ends += 1
                seen.add(name)
    for output in found.values():
        output.certain &= output.ends == len(ends)
    return found


def _source(item: Any, renames: dict[str, str]) -> tuple[str, ...]:
    selector = item.get("value_selector")
    if not isinstance(selector, list) or not selector:
        return (repr(item.get("value_selector")),)
    parts = [str(part) for part in selector]
    return (renames.get(parts[0], parts[0]), *parts[1:])


def _renames(
    before: dict[str, _Output], after: dict[str, _Output], gone: list[str], come: list[str]
) -> dict[str, str]:
    """Which outputs are still there under another name: fed by the same, where nothing else is."""
    renamed: dict[str, str] = {}
    for name in gone:
        same = [other for other in come if after[other].sources == before[name].sources]
        twins = [other for other in gone if before[other].sources == before[name].sources]
        if len(same) == len(twins) == 1:
            renamed[name] = same[0]
    return renamed


def _maybe_same(old: set[str], new: set[str]) -> bool:
    """Whether the types may be the same, one of them being said less exactly."""
    loose = {"array", "array[any]"}
    arrays = all(kind.startswith("array") for kind in old | new)
    return arrays and bool((old | new) & loose)


def _of_type(output: _Output) -> str:
    return f" ({_names(output.types)})" if output.types else ""


def _names(types: set[str]) -> str:
    return " or ".join(sorted(types))


def _sources(case: Case, output: _Output) -> str:
    titles = case.titles
    named = ((titles.get(source[0], source[0]), *source[1:]) for source in sorted(output.sources))
    return listed(".".join(parts) for parts in named)
