"""Which workflows use a workflow as a tool, and which use those in turn."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lastgood.dsl import Document
from lastgood.dsl.dependencies import tools
from lastgood.history.workflows import Workflow
from lastgood.ids import slugify


@dataclass(frozen=True, slots=True)
class Tool:
    """A workflow tool as a document names it: Dify's id of its provider, what that is called, and the tool's name."""

    provider: str
    provider_name: str
    name: str


@dataclass(frozen=True, slots=True)
class Dependant:
    """A workflow that comes to use the changed one in `steps`: `through` are the slugs of the workflows from the
    changed one's direct user to this one."""

    id: str
    slug: str
    steps: int
    through: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {"workflow_id": self.id, "workflow": self.slug, "steps": self.steps, "through": list(self.through)}


def tools_of(document: Document) -> tuple[Tool, ...]:
    """The workflow tools that `document` uses, in nodes of their own and in agents."""
    found = (tool for tool in tools(document) if tool["provider_type"] == "workflow")
    return tuple(dict.fromkeys(Tool(tool["provider"], tool["provider_name"], tool["tool"]) for tool in found))


class Names:
    """Finds the kept workflows that a tool may stand for.

    Dify names the tool's provider by an id of its own, which no document tells more about; so a workflow is known
    by its id, else by its slug or name, as the tool or its provider is called. Several of one name are all taken."""

    def __init__(self, workflows: Iterable[Workflow]) -> None:
        self._ids: dict[str, list[Workflow]] = defaultdict(list)
        self._names: dict[str, list[Workflow]] = defaultdict(list)
        for workflow in workflows:
            self._ids[workflow.id].append(workflow)
            for name in _forms(workflow.slug) | _forms(workflow.name):
                self._names[name].append(workflow)

    def find(self, tool: Tool) -> tuple[Workflow, ...]:
        """The workflows that `tool` may stand for, none where nothing kept here is called so."""
        named = (tool.provider, tool.name, tool.provider_name)
        for name in named:
            if name in self._ids:
                return tuple(self._ids[name])
        for name in named:
            if found := self._named(name):
                return found
        return ()

    def _named(self, name: str) -> tuple[Workflow, ...]:
        found = {one.id: one for form in sorted(_forms(name)) for one in self._names.get(form, ())}
        return tuple(found.values())


def dependants(origin: str, users: Mapping[str, Iterable[Workflow]]) -> tuple[Dependant, ...]:
    """The workflows that use `origin` (an id) as a tool, nearest first, each once on its shortest way. `users` gives
    the direct users of each workflow id; circles end."""
    seen = {origin}
    found: list[Dependant] = []
    waiting: deque[tuple[str, tuple[str, ...]]] = deque([(origin, ())])
    while waiting:
        used, through = waiting.popleft()
        for user in sorted(users.get(used, ()), key=lambda one: one.slug):
            if user.id not in seen:
                seen.add(user.id)
                way = (*through, user.slug)
                found.append(Dependant(user.id, user.slug, len(way), way))
                waiting.append((user.id, way))
    return tuple(found)


def _forms(name: str) -> set[str]:
    """How a name may be written elsewhere: as it is, in whatever case, and as a slug."""
    return {name.strip().casefold(), slugify(name)} - {""}
