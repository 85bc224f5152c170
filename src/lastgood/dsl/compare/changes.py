"""What a comparison of two documents finds: a `Difference`, made of small frozen values.

    Difference
    ├── nodes          NodeChange, … entries first, then ends and answers, then the others along the graph
    │   └── fields     Change, … inside one node
    ├── edges          EdgeChange, …
    ├── environment    VariableChange, …
    ├── conversation   VariableChange, …
    │   └── fields     Change, … inside one variable
    ├── features       Change, … the path begins with the feature's name
    ├── settings       Change, … all else the semantic digest sees: the whole of an app without a graph
    │                  (``model_config``, …), a pipeline's variables, unknown keys of a graph
    ├── secrets        names of the secret variables whose value changed (never a value)
    ├── app            Change, … mode, name, icon, description, format version: what only an export says
    └── dependencies   Change, … the export's list of plugins

The first six are what the semantic digest sees: `Difference.same` holds exactly when the digests are equal. Secret
values, the app's facts and the list of dependencies stand beside.

Values are those of `canonical.meaning` as `folded` writes them (layout, caches and the like are out, 3.0 reads 3).
They may hold literal keys that somebody wrote into a node: `repr` leaves all values out, and everything in
`compare.render` and its neighbours hides keys. Do not print a value by other means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lastgood.dsl.compare.settling import Meant
from lastgood.dsl.document import node_data, node_type
from lastgood.dsl.index import id_of

type Kind = Literal["added", "removed", "changed"]
type Step = str | Item
type Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A step of a path into a list: `key` names the item to a person (``system``, ``query``, ``#2``); `old` and `new`
    are its places in the two lists, from 0, None where it does not stand."""

    key: str
    old: int | None
    new: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """One value that is not the same. `path` leads to it from the root of the part (of a node: ``data`` is the first
    step); a str is a key of a mapping, an `Item` a place in a list.

    - ``added``: the value was not there; `new` is it, `old` is None.
    - ``removed``: the value is gone; `old` is it, `new` is None.
    - ``changed``: both were there (null is a value). Never two mappings or two lists, which are compared inside,
      except selectors (``["node", "output"]``), which are one value.
    - ``moved``: the item that the path ends with stands elsewhere among those that stayed; `old` and `new` are None,
      its places are in the `Item`. Changes inside it are changes of their own."""

    path: Path
    kind: Literal["added", "removed", "changed", "moved"]
    old: Any = field(default=None, repr=False)
    new: Any = field(default=None, repr=False)

    @property
    def where(self) -> str:
        """The path to a person: ``prompt_template[system].text``; a node's leading ``data`` is left out."""
        return path_text(self.path)


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node that was added, removed or changed. `old` and `new` are the node's meaning before and after (``id``,
    ``parentId`` and ``data``), None where there is none.

    A changed node may have got another id (`renamed`): it was recognised by its title, content and neighbours. The
    references to it then count as unchanged, and `fields` compares with them rewritten; `old` is as it was. `fields`
    is empty for a node that was only renamed, and for one that was added or removed.

    `copy` tells nodes of the old document apart that share one id (0, 1, …), which only broken documents have.
    `before` and `after` are `old` and `new`, not yet settled."""

    kind: Kind
    before: Meant | None = field(repr=False)
    after: Meant | None = field(repr=False)
    fields: tuple[Change, ...] = ()
    copy: int = 0

    @property
    def old(self) -> dict[str, Any] | None:
        return None if self.before is None else self.before.settled

    @property
    def new(self) -> dict[str, Any] | None:
        return None if self.after is None else self.after.settled

    @property
    def node(self) -> dict[str, Any]:
        """The node as it is now; a removed one as it was."""
        return self.new if self.new is not None else self.old or {}

    @property
    def id(self) -> str:
        return id_of(self._present.id)

    @property
    def old_id(self) -> str:
        """The id before; the present one for a node that was added."""
        return id_of((self.before or self._present).id)

    @property
    def type(self) -> str:
        return node_type(self._present.raw)

    @property
    def title(self) -> str:
        """The node's title, ``""`` for none."""
        title = node_data(self._present.raw).get("title")
        return title.strip() if isinstance(title, str) else ""

    @property
    def renamed(self) -> bool:
        return self.before is not None and self.after is not None and self.before.id != self.after.id

    @property
    def _present(self) -> Meant:
        return self.after or self.before or Meant({})


@dataclass(frozen=True, slots=True)
class EdgeChange:
    """An edge that was added or removed, told by (source, handle, target); ``changed`` when it is there before and
    after and its other keys differ. Ids are the present ones: the edges of a renamed node did not change. `branch`
    names the handle to a person (``case 2``, ``else``, a class's name, ``on failure``), ``""`` for the usual one;
    `source_title` and `target_title` the nodes."""

    kind: Kind
    old: dict[str, Any] | None = field(repr=False)
    new: dict[str, Any] | None = field(repr=False)
    branch: str = ""
    source_title: str = ""
    target_title: str = ""

    @property
    def edge(self) -> dict[str, Any]:
        return self.new if self.new is not None else self.old or {}

    @property
    def source(self) -> str:
        return id_of(self.edge.get("source"))

    @property
    def handle(self) -> str:
        return id_of(self.edge.get("sourceHandle"))

    @property
    def target(self) -> str:
        return id_of(self.edge.get("target"))


@dataclass(frozen=True, slots=True)
class VariableChange:
    """An environment or conversation variable that was added, removed or changed (by name; `copy` as for nodes). The
    values of secrets are ``""`` on both sides."""

    kind: Kind
    old: dict[str, Any] | None = field(repr=False)
    new: dict[str, Any] | None = field(repr=False)
    fields: tuple[Change, ...] = ()
    copy: int = 0

    @property
    def name(self) -> str:
        return id_of((self.new if self.new is not None else self.old or {}).get("name"))

    @property
    def secret(self) -> bool:
        """Whether the variable is or was a secret."""
        return any((side or {}).get("value_type") == "secret" for side in (self.old, self.new))


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs between two documents; the module says what stands where. `old_titles` and `new_titles` name
    nodes by their present id, for showing the references in old and in new values: a node of both documents has its
    present title in both."""

    nodes: tuple[NodeChange, ...] = ()
    edges: tuple[EdgeChange, ...] = ()
    environment: tuple[VariableChange, ...] = ()
    conversation: tuple[VariableChange, ...] = ()
    features: tuple[Change, ...] = ()
    settings: tuple[Change, ...] = ()
    secrets: tuple[str, ...] = ()
    app: tuple[Change, ...] = ()
    dependencies: tuple[Change, ...] = ()
    old_titles: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    new_titles: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def same(self) -> bool:
        """Whether both documents do the same, exactly as their semantic digests say."""
        return not (
            self.nodes or self.edges or self.environment or self.conversation or self.features or self.settings
        )

    def __bool__(self) -> bool:
        """Whether there is anything to tell: also a secret, a name or a dependency."""
        return not self.same or bool(self.secrets or self.app or self.dependencies)

    @property
    def renames(self) -> dict[str | float, str | float]:
        """The ids that nodes of the old document have now, where they are others."""
        return {node.before.id: node.after.id for node in self.nodes if node.renamed and node.before and node.after}


def path_text(path: Path) -> str:
    """`path` as one writes it, a node's leading ``data`` left out."""
    steps = path[1:] if len(path) > 1 and path[0] == "data" else path
    text = ""
    for step in steps:
        text += f"[{step.key}]" if isinstance(step, Item) else f".{step}" if text else step
    return text
