"""How the inputs of two documents differ to callers."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lastgood.dsl.index import Index, Node
from lastgood.dsl.interface import InputField
from lastgood.dsl.rules.case import Case, Side
from lastgood.dsl.rules.contract import endings, names, stated_schema, takes_calls
from lastgood.dsl.rules.rule import Witness, listed, quoted, shown
from lastgood.dsl.rules.witness import FILE_TYPES, WAYS, form_of

type _Form = tuple[InputField, Mapping[str, Any]]

TEXTS: Final = frozenset({"text-input", "paragraph"})
FILES: Final = frozenset({"file", "file-list"})
_WIDER: Final = frozenset(
    {("text-input", "paragraph"), ("paragraph", "text-input"), ("select", "text-input"), ("select", "paragraph")}
)


def judge_inputs(case: Case) -> None:
    """Tell what became of each input: those gone, those that changed, those new."""
    if not takes_calls(case.old.document) or not takes_calls(case.new.document):
        return
    before, after = form_of(case.old.document), form_of(case.new.document)
    for name, (field, _) in before.items():
        if name not in after:
            node, path = place(case.old, name)
            sentence = f"Input {quoted(name)} ({field.type or 'no type'}) is gone; what is sent for it is ignored."
            case.tell("input-removed", sentence, node=node, path=path, claim=("input", name, "*"))
    for name, form in after.items():
        if name in before:
            _Judge(case, name, before[name], form).judge()
        else:
            _added(case, name, form[0])


def place(side: Side, name: str) -> tuple[Node | None, str]:
    """Where an input stands: in which node, and its path."""
    document = side.document
    if not document.has_graph:
        return None, "model_config.user_input_form"
    start = next(Index(document).of_type("start"), None)
    variables = start.data.get("variables") if start else None
    for i, item in enumerate(variables if isinstance(variables, list) else ()):
        if start and isinstance(item, dict) and item.get("variable") == name:
            return start, f"{start.path}.data.variables[{i}]"
    return start, start.path if start else ""


def _added(case: Case, name: str, field: InputField) -> None:
    node, path = place(case.new, name)
    kind = f"New input {quoted(name)} ({field.type or 'no type'})"
    claim = ("input", name, "*")
    if field.required:
        witness = case.seeker.leaving_out(name)
        case.tell("input-added-required", f"{kind} is required.", node=node, path=path, witness=witness, claim=claim)
    else:
        case.tell("input-added", f"{kind} is optional.", node=node, path=path, claim=claim)


class _Judge:
    """One input that was there before and is there now."""

    def __init__(self, case: Case, name: str, old: _Form, new: _Form) -> None:
        self.case, self.name = case, name
        (self.old, self.old_form), (self.new, self.new_form) = old, new
        self.node, self.path = place(case.new, name)

    def tell(self, rule: str, sentence: str, key: str, witness: Witness | None = None) -> None:
        self.case.tell(
            rule,
            f"Input {quoted(self.name)} {sentence}",
            node=self.node,
            path=self.path,
            witness=witness,
            claim=("input", self.name, key),
        )

    def judge(self) -> None:
        old, new = self.old, self.new
        if new.required and not old.required:
            witness = self.case.seeker.leaving_out(self.name)
            self.tell("input-became-required", "is required now.", "required", witness)
        elif old.required and not new.required:
            self.tell("input-became-optional", "is optional now.", "required")
        if old.type != new.type:
            self._type()
        if old.type in TEXTS and new.type in TEXTS:
            self._length("input-length", "characters", lambda value: isinstance(value, str))
        if old.type == new.type == "select":
            self._options()
        if old.type in FILES and new.type in FILES:
            judge_files(self.old_form, self.new_form, self._files, self.tell)
        if old.type == new.type == "file-list":
            self._length("file-limit", "files", lambda value: isinstance(value, list))
        if old.type == new.type == "json_object":
            self._schema()
        self._default()
        if new.hidden != old.hidden:
            sentence = "no longer shows in the form." if new.hidden else "shows in the form now."
            self.tell("input-hidden" if new.hidden else "input-shown", sentence, "hide")

    def _type(self) -> None:
        old, new = self.old.type, self.new.type
        sentence = f"is of type {quoted(new)}, {quoted(old)} before."
        plain = {old, new} <= TEXTS
        witness = None if plain else self.case.seeker.sending(self.name)
        wider = witness is None and (old, new) in _WIDER
        self.tell(
            "input-type-widened" if wider else "input-type-changed", sentence, "type" if plain else "*", witness
        )

    def _length(self, rule: str, unit: str, counted: Callable[[Any], bool]) -> None:
        old, new = self.old.max_length, self.new.max_length
        if old == new:
            return
        widened = "raised" if rule == "file-limit" else "widened"
        narrowed = "lowered" if rule == "file-limit" else "narrowed"
        sentence = f"takes {_at_most(new)} {unit}, {_at_most(old)} before."
        if new is None or (old is not None and new > old):
            self.tell(f"{rule}-{widened}", sentence, "max_length")
        else:
            limit: int = new
            witness = self.case.seeker.sending(self.name, lambda value: counted(value) and len(value) > limit)
            self.tell(f"{rule}-{narrowed}", sentence, "max_length", witness)

    def _options(self) -> None:
        gone = [option for option in self.old.options if option not in self.new.options]
        come = [option for option in self.new.options if option not in self.old.options]
        if gone:
            witness = self.case.seeker.sending(self.name, lambda value: value in gone)
            self.tell("input-option-removed", f"no longer offers {listed(gone)}.", "options", witness)
        if come:
            self.tell("input-option-added", f"also offers {listed(come)}.", "options")

    def _files(self, which: Callable[[Mapping[str, Any]], bool]) -> Witness | None:
        """A request with one file for which `which` holds."""

        def fitting(value: Any) -> bool:
            return which(value[0] if isinstance(value, list) and value else value)

        return self.case.seeker.sending(self.name, fitting)

    def _schema(self) -> None:
        if stated_schema(self.old_form) == stated_schema(self.new_form):
            return
        witness = self.case.seeker.sending(self.name)
        if witness:
            self.tell("input-schema-narrowed", "must fit a stricter schema.", "json_schema", witness)
        else:
            self.tell("input-schema-changed", "has another schema.", "json_schema")

    def _default(self) -> None:
        old, new = (None if value in ("", []) else value for value in (self.old.default, self.new.default))
        # Whoever must give a value never gets the default.
        if self.old.required or self.new.required or (type(old), old) == (type(new), new):
            return
        if new is None:
            self.tell("input-default-removed", f"has no default, {shown(old)} before.", "default")
        else:
            self.tell("input-default-changed", f"is {shown(new)} by default, {shown(old)} before.", "default")


def judge_files(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    seek: Callable[[Callable[[Mapping[str, Any]], bool]], Witness | None],
    tell: Callable[[str, str, str, Witness | None], None],
) -> None:
    """Tell how two sets of rules on files differ: types, extensions, and ways to give a file."""
    types = [names(rules.get("allowed_file_types")) or list(FILE_TYPES) for rules in (old, new)]
    ways = [names(rules.get("allowed_file_upload_methods")) or list(WAYS) for rules in (old, new)]
    _judge_set("file-type", "allowed_file_types", "files of type", types, seek, tell, lambda file: file.get("type"))
    _judge_set(
        "upload-method",
        "allowed_file_upload_methods",
        "files by",
        ways,
        seek,
        tell,
        lambda file: file.get("transfer_method"),
    )
    if "custom" in types[0] and "custom" in types[1]:
        # No list means any extension, which no list of theirs can hold.
        lists = [endings(rules) or ["any"] for rules in (old, new)]

        def ending(file: Mapping[str, Any]) -> Any:
            found = "." + str(file.get("url", "")).rpartition(".")[2]
            return (found if found in lists[0] else "any") if file.get("type") == "custom" else None

        if lists[1] == ["any"]:
            if lists[0] != ["any"]:
                tell("file-extension-added", "takes files with any extension.", "allowed_file_extensions", None)
        else:
            key, about = "allowed_file_extensions", "files with extension"
            _judge_set("file-extension", key, about, lists, seek, tell, ending)


def _judge_set(
    rule: str,
    key: str,
    about: str,
    lists: list[list[str]],
    seek: Callable[[Callable[[Mapping[str, Any]], bool]], Witness | None],
    tell: Callable[[str, str, str, Witness | None], None],
    of: Callable[[Mapping[str, Any]], Any],
) -> None:
    old, new = lists
    gone, come = [item for item in old if item not in new], [item for item in new if item not in old]
    if gone:
        witness = seek(lambda file: of(file) in gone)
        tell(f"{rule}-removed", f"no longer takes {about} {listed(gone)}.", key, witness)
    if come and "any" not in old:
        tell(f"{rule}-added", f"also takes {about} {listed(come)}.", key, None)


def _at_most(limit: int | None) -> str:
    return "any number of" if limit is None else f"at most {limit}"
