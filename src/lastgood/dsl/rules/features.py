"""How two documents differ in what is promised beside inputs and outputs: the kind of app, and its features."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lastgood.dsl.index import mapping, text
from lastgood.dsl.rules.case import Case, Side
from lastgood.dsl.rules.contract import (
    AGENTS,
    CHATS,
    FEATURE_CALLS,
    LISTEN,
    SPEAK,
    SUGGESTED,
    call_of,
    enabled,
    features,
    file_upload,
    names,
    takes_calls,
)
from lastgood.dsl.rules.inputs import judge_files
from lastgood.dsl.rules.rule import Witness, listed, quoted, shown

_CALLED: Final = {
    SUGGESTED: ("follow-up-questions", "Questions suggested after an answer"),
    LISTEN: ("speech-to-text", "Turning speech into text"),
    SPEAK: ("text-to-speech", "Reading answers aloud"),
}
# What the features are called that only conversations have.
CHAT_ONLY: Final = frozenset(
    {"opening_statement", "suggested_questions", "suggested_questions_after_answer", "retriever_resource"}
)
CITED: Final = "metadata.retriever_resources"


def judge_mode(case: Case) -> None:
    """Tell whether the app is of another kind, and whether it can be called at all."""
    old, new = case.old.document, case.new.document
    witness = case.seeker.proven(case.seeker.call())
    if old.mode != new.mode:
        blocking = new.mode in AGENTS and old.mode not in AGENTS
        alike = call_of(old) == call_of(new) and not blocking
        if blocking and call_of(old) == call_of(new):
            witness = case.seeker.proven(case.seeker.call(response_mode="blocking"))
        sentence = f"The app is of kind {quoted(new.mode)}, {quoted(old.mode)} before."
        rule = "mode-changed-alike" if alike else "mode-changed"
        case.tell(rule, sentence, path="app.mode", witness=witness, claim=("mode", "", "*"))
    if takes_calls(old) and not takes_calls(new) and old.mode == new.mode:
        node = next(case.old.index.of_type("start"), None)
        case.tell("start-removed", "The start node is gone; the API runs it no more.", node=node, witness=witness)
    elif takes_calls(new) and not takes_calls(old):
        node = next(case.new.index.of_type("start"), None)
        case.tell("start-added", "The workflow can be run through the API now.", node=node)


def judge_features(case: Case) -> None:
    """Tell what became of each feature."""
    chat = case.old.document.mode in CHATS and case.new.document.mode in CHATS
    if chat:
        _opening(case)
        _suggestions(case)
        _citations(case)
    for call, (rule, name) in _CALLED.items():
        if chat or FEATURE_CALLS[call] not in CHAT_ONLY:
            witness = case.seeker.proven({"call": call, "body": {}})
            _switch(case, FEATURE_CALLS[call], rule, name, witness)
    _switch(case, "sensitive_word_avoidance", "moderation", "Checking for words")
    _files(case)


def _told(case: Case, rule: str, sentence: str, feature: str, key: str = "*", **more: Any) -> None:
    case.tell(rule, sentence, path=_path(case.new, feature), claim=("feature", feature, key), **more)


def _path(side: Side, feature: str) -> str:
    return f"workflow.features.{feature}" if side.document.has_graph else f"model_config.{feature}"


def _both(case: Case, feature: str) -> tuple[Any, Any]:
    return features(case.old.document).get(feature), features(case.new.document).get(feature)


def _switch(case: Case, feature: str, rule: str, name: str, witness: Witness | None = None) -> None:
    before, after = enabled(case.old.document, feature), enabled(case.new.document, feature)
    if before and not after:
        _told(case, f"{rule}-off", f"{name} is switched off.", feature, witness=witness)
    elif after and not before:
        _told(case, f"{rule}-on", f"{name} is switched on.", feature)


def _opening(case: Case) -> None:
    before, after = map(text, _both(case, "opening_statement"))
    if before.strip() and not after.strip():
        sentence = "A conversation begins without a word of welcome now."
        _told(case, "opening-statement-removed", sentence, "opening_statement")
    elif before != after:
        sentence = f"A conversation begins with {shown(after)} now, {shown(before)} before."
        _told(case, "opening-statement-changed", sentence, "opening_statement")


def _suggestions(case: Case) -> None:
    before, after = (names(value) for value in _both(case, "suggested_questions"))
    gone, come = [one for one in before if one not in after], [one for one in after if one not in before]
    if gone and not come:
        sentence = f"The beginning no longer suggests {listed(gone)}."
        _told(case, "suggested-questions-removed", sentence, "suggested_questions")
    elif come:
        sentence = f"The beginning now suggests {listed(come)}" + (f", no longer {listed(gone)}." if gone else ".")
        _told(case, "suggested-questions-changed", sentence, "suggested_questions")


def _citations(case: Case) -> None:
    """Whether answers name their sources; where nothing searched knowledge before, nobody misses them."""
    before, after = (enabled(side.document, "retriever_resource") for side in (case.old, case.new))
    if before and not after:
        sentence = "Answers no longer name the sources that they rest on."
        severity = None if _searches(case.old) else "info"
        witness = Witness(output=CITED)
        _told(case, "citations-off", sentence, "retriever_resource", severity=severity, witness=witness)
    elif after and not before:
        _told(case, "citations-on", "Answers name the sources that they rest on.", "retriever_resource")


def _searches(side: Side) -> bool:
    if side.document.has_graph:
        return any(side.running("knowledge-retrieval"))
    config = mapping(side.document.data.get("model_config"))
    return bool(mapping(mapping(config.get("dataset_configs")).get("datasets")).get("datasets"))


def _files(case: Case) -> None:
    """Files beside a message or the inputs."""
    old, new = file_upload(case.old.document), file_upload(case.new.document)
    if old and not new:
        sentence = "Files beside a message or the inputs are no longer taken."
        _told(case, "file-upload-off", sentence, "file_upload", witness=case.seeker.attaching())
        return
    if new and not old:
        _told(case, "file-upload-on", "Files beside a message or the inputs are taken now.", "file_upload")
        return
    if not old:
        return

    def seek(which: Callable[[Mapping[str, Any]], bool]) -> Witness | None:
        return case.seeker.attaching(lambda files: which(files[0]))

    def tell(rule: str, sentence: str, key: str, witness: Witness | None = None) -> None:
        _told(case, rule, f"File upload {sentence}", "file_upload", key, witness=witness)

    judge_files(old, new, seek, tell)
    before, after = (_limit(rules) for rules in (old, new))
    if before != after:
        sentence = f"takes {after or 'any number of'} files at once, {before or 'any number of'} before."
        lower = after is not None and (before is None or after < before)
        limit = after or 0
        witness = case.seeker.attaching(lambda files: len(files) > limit) if lower else None
        tell("file-limit-lowered" if lower else "file-limit-raised", sentence, "number_limits", witness)


def _limit(rules: Mapping[str, Any]) -> int | None:
    limit = rules.get("number_limits")
    return limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None
