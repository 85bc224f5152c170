"""What callers notice, as a table."""

import pytest

from dsl.documents import edge, graph, node
from lastgood.dsl.rules import judge

from .small import Case, case, chat, config, field_of, gives, hooked, takes, with_node

F = field_of
IMAGES = {"allowed_file_types": ["image"]}
BOTH = {"allowed_file_types": ["image", "document"]}
CSV = {"allowed_file_types": ["custom"], "allowed_file_extensions": [".csv"]}
CSV_TXT = {"allowed_file_types": ["custom"], "allowed_file_extensions": ["CSV", ".txt"]}
URL = {"allowed_file_upload_methods": ["remote_url"]}
URL_UPLOAD = {"allowed_file_upload_methods": ["remote_url", "local_file"]}
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}, "required": ["a"]}
STRICTER = {**OBJECT, "required": ["a", "b"]}
UPLOAD = {"enabled": True, "number_limits": 3, **BOTH, **URL_UPLOAD}


def ends(second: list[tuple[str, str]], certain: bool = True) -> object:
    """Two ends behind a branch; the first gives `a`, the second what is said."""
    outputs = [{"variable": name, "value_selector": ["s", key]} for name, key in second]
    source = ["s", "q"] if certain else ["t", "output"]
    return graph(
        node("s", "start", variables=[F("q")]),
        node("i", "if-else", cases=[{"case_id": "true", "conditions": []}]),
        node("t", "template-transform", template="x"),
        node("e1", "end", outputs=[{"variable": "a", "value_selector": source}]),
        node("e2", "end", outputs=outputs),
        edge("s", "i"),
        edge("i", "t", sourceHandle="true"),
        edge("t", "e1"),
        edge("i", "e2", sourceHandle="false"),
    )


INPUTS = [
    case("nothing", takes(F("a")), takes(F("a")), "", "none"),
    case("new required", takes(), takes(F("a", required=True)), "input-added-required", "major"),
    case(
        "new required number",
        takes(F("b")),
        takes(F("b"), F("a", "number", required=True)),
        "input-added-required",
        "major",
    ),
    case("new required file", takes(), takes(F("a", "file", required=True)), "input-added-required", "major"),
    case(
        "new required with a default",
        takes(),
        takes(F("a", required=True, default="x")),
        "input-added-required",
        "major",
    ),
    case("new optional", takes(), takes(F("a")), "input-added", "minor"),
    case("new optional list", takes(), takes(F("a", "file-list")), "input-added", "minor"),
    case("removed", takes(F("a")), takes(), "input-removed", "minor"),
    case("removed required", takes(F("a", required=True)), takes(), "input-removed", "minor"),
    case("optional to required", takes(F("a")), takes(F("a", required=True)), "input-became-required", "major"),
    case("required to optional", takes(F("a", required=True)), takes(F("a")), "input-became-optional", "minor"),
    case("required said by null", takes(F("a", required=None)), takes(F("a")), "no-effect", "patch"),
    case(
        "renamed",
        takes(F("a", required=True)),
        takes(F("b", required=True)),
        "input-removed input-added-required",
        "major",
    ),
    case("text to number", takes(F("a")), takes(F("a", "number")), "input-type-changed", "major"),
    case("number to text", takes(F("a", "number")), takes(F("a")), "input-type-changed", "major"),
    case("text to select", takes(F("a")), takes(F("a", "select", options=["x"])), "input-type-changed", "major"),
    case("select to text", takes(F("a", "select", options=["x"])), takes(F("a")), "input-type-widened", "minor"),
    case(
        "select to a text too short",
        takes(F("a", "select", options=["long", "x"])),
        takes(F("a", max_length=2)),
        "input-type-changed",
        "major",
    ),
    case("text to paragraph", takes(F("a")), takes(F("a", "paragraph")), "input-type-widened", "minor"),
    case("paragraph to text", takes(F("a", "paragraph")), takes(F("a")), "input-type-widened", "minor"),
    case(
        "paragraph to shorter text",
        takes(F("a", "paragraph", max_length=90)),
        takes(F("a", max_length=9)),
        "input-type-widened input-length-narrowed",
        "major",
    ),
    case("text to object", takes(F("a")), takes(F("a", "json_object")), "input-type-changed", "major"),
    case("file to files", takes(F("a", "file")), takes(F("a", "file-list")), "input-type-changed", "major"),
    case("files to file", takes(F("a", "file-list")), takes(F("a", "file")), "input-type-changed", "major"),
    case("to a type nobody knows", takes(F("a")), takes(F("a", "colour")), "input-type-changed", "minor"),
    case("shorter", takes(F("a", max_length=200)), takes(F("a", max_length=100)), "input-length-narrowed", "major"),
    case("limited", takes(F("a")), takes(F("a", max_length=100)), "input-length-narrowed", "major"),
    case(
        "shorter and required",
        takes(F("a", max_length=9)),
        takes(F("a", max_length=4, required=True)),
        "input-length-narrowed input-became-required",
        "major",
    ),
    case("longer", takes(F("a", max_length=100)), takes(F("a", max_length=200)), "input-length-widened", "minor"),
    case("unlimited", takes(F("a", max_length=100)), takes(F("a")), "input-length-widened", "minor"),
    case("zero is no limit", takes(F("a", max_length=0)), takes(F("a")), "no-effect", "patch"),
    case(
        "length of a number",
        takes(F("a", "number", max_length=9)),
        takes(F("a", "number", max_length=4)),
        "no-effect",
        "patch",
    ),
    case(
        "length of a choice",
        takes(F("a", "select", options=["x"], max_length=9)),
        takes(F("a", "select", options=["x"], max_length=4)),
        "no-effect",
        "patch",
    ),
    case(
        "option lost",
        takes(F("a", "select", options=["x", "y"])),
        takes(F("a", "select", options=["x"])),
        "input-option-removed",
        "major",
    ),
    case(
        "option new",
        takes(F("a", "select", options=["x"])),
        takes(F("a", "select", options=["x", "y"])),
        "input-option-added",
        "minor",
    ),
    case(
        "option renamed",
        takes(F("a", "select", options=["x"])),
        takes(F("a", "select", options=["y"])),
        "input-option-removed input-option-added",
        "major",
    ),
    case(
        "options ordered",
        takes(F("a", "select", options=["x", "y"])),
        takes(F("a", "select", options=["y", "x"])),
        "choice-order-changed",
        "patch",
    ),
    case(
        "options of a text", takes(F("a", options=["x"])), takes(F("a", options=[])), "choice-order-changed", "patch"
    ),
    case(
        "stricter schema",
        takes(F("a", "json_object", json_schema=OBJECT)),
        takes(F("a", "json_object", json_schema=STRICTER)),
        "input-schema-narrowed",
        "major",
    ),
    case(
        "looser schema",
        takes(F("a", "json_object", json_schema=STRICTER)),
        takes(F("a", "json_object", json_schema=OBJECT)),
        "input-schema-changed",
        "minor",
    ),
    case("default gone", takes(F("a", default="x")), takes(F("a")), "input-default-removed", "minor"),
    case("default new", takes(F("a")), takes(F("a", default="x")), "input-default-changed", "minor"),
    case("default other", takes(F("a", default="x")), takes(F("a", default="y")), "input-default-changed", "minor"),
    case("default empty", takes(F("a", default="")), takes(F("a")), "no-effect", "patch"),
    case(
        "default of a required one",
        takes(F("a", required=True, default="x")),
        takes(F("a", required=True)),
        "input-wording-changed",
        "patch",
    ),
    case("hidden", takes(F("a")), takes(F("a", hide=True)), "input-hidden", "minor"),
    case("shown", takes(F("a", hide=True)), takes(F("a")), "input-shown", "minor"),
    case("hide false", takes(F("a", hide=False)), takes(F("a")), "no-effect", "patch"),
    case("label", takes(F("a")), takes(F("a", label="Amount")), "input-wording-changed", "patch"),
    case("hint", takes(F("a")), takes(F("a", hint="EUR")), "input-wording-changed", "patch"),
    case("order", takes(F("a"), F("b")), takes(F("b"), F("a")), "order-changed", "patch"),
    case(
        "file type lost", takes(F("a", "file", **BOTH)), takes(F("a", "file", **IMAGES)), "file-type-removed", "major"
    ),
    case("file type new", takes(F("a", "file", **IMAGES)), takes(F("a", "file", **BOTH)), "file-type-added", "minor"),
    case(
        "file types of a list",
        takes(F("a", "file-list", **BOTH)),
        takes(F("a", "file-list", **IMAGES)),
        "file-type-removed",
        "major",
    ),
    case("any file to images", takes(F("a", "file")), takes(F("a", "file", **IMAGES)), "file-type-removed", "major"),
    case(
        "extension lost",
        takes(F("a", "file", **CSV_TXT)),
        takes(F("a", "file", **CSV)),
        "file-extension-removed",
        "major",
    ),
    case(
        "extension new",
        takes(F("a", "file", **CSV)),
        takes(F("a", "file", **CSV_TXT)),
        "file-extension-added",
        "minor",
    ),
    case(
        "extension in capitals",
        takes(F("a", "file", **CSV)),
        takes(F("a", "file", **{**CSV, "allowed_file_extensions": ["CSV"]})),
        "no-effect",
        "patch",
    ),
    case(
        "extensions of images",
        takes(F("a", "file", **IMAGES, allowed_file_extensions=[".a"])),
        takes(F("a", "file", **IMAGES, allowed_file_extensions=[".b"])),
        "no-effect",
        "patch",
    ),
    case(
        "upload closed",
        takes(F("a", "file", **URL_UPLOAD)),
        takes(F("a", "file", **URL)),
        "upload-method-removed",
        "major",
    ),
    case(
        "upload opened",
        takes(F("a", "file", **URL)),
        takes(F("a", "file", **URL_UPLOAD)),
        "upload-method-added",
        "minor",
    ),
    case(
        "fewer files",
        takes(F("a", "file-list", max_length=5)),
        takes(F("a", "file-list", max_length=3)),
        "file-limit-lowered",
        "major",
    ),
    case(
        "more files",
        takes(F("a", "file-list", max_length=3)),
        takes(F("a", "file-list", max_length=5)),
        "file-limit-raised",
        "minor",
    ),
    case(
        "two at once",
        takes(F("a"), F("b", max_length=9)),
        takes(F("a", required=True), F("b", max_length=4)),
        "input-became-required input-length-narrowed",
        "major",
    ),
    case(
        "a form without a graph",
        config(user_input_form=[{"text-input": F("a")}]),
        config(user_input_form=[{"text-input": F("a", required=True)}]),
        "input-became-required",
        "major",
    ),
    case(
        "a longer form field",
        config(user_input_form=[{"paragraph": F("a", max_length=5)}]),
        config(user_input_form=[{"paragraph": F("a", max_length=50)}]),
        "input-length-widened",
        "minor",
    ),
    case(
        "a form field new",
        config(user_input_form=[]),
        config(user_input_form=[{"text-input": F("a")}]),
        "input-added",
        "minor",
    ),
]
OUTPUTS = [
    case(
        "removed",
        gives(("a", "c", "text"), ("b", "c", "total")),
        gives(("a", "c", "text")),
        "output-removed",
        "major",
    ),
    case("all removed", gives(("a", "c", "text")), gives(), "output-removed", "major"),
    case("renamed", gives(("a", "c", "text")), gives(("b", "c", "text")), "output-renamed", "major"),
    case("replaced", gives(("a", "c", "text")), gives(("b", "c", "total")), "output-removed output-added", "major"),
    case("new", gives(("a", "c", "text")), gives(("a", "c", "text"), ("b", "c", "total")), "output-added", "minor"),
    case("another type", gives(("a", "c", "text")), gives(("a", "c", "total")), "output-type-changed", "major"),
    case("a list of it", gives(("a", "c", "text")), gives(("a", "c", "items")), "output-type-changed", "major"),
    case(
        "another source",
        gives(("a", "c", "text")),
        gives(("a", "s", "sys.user_id")),
        "output-source-changed",
        "patch",
    ),
    case(
        "a source nobody knows",
        gives(("a", "c", "text")),
        gives(("a", "c", "gone")),
        "output-source-changed output-less-certain",
        "minor",
    ),
    case(
        "ordered",
        gives(("a", "c", "text"), ("b", "c", "total")),
        gives(("b", "c", "total"), ("a", "c", "text")),
        "order-changed",
        "patch",
    ),
    case("only by some runs", ends([("a", "q")]), ends([]), "output-less-certain", "minor"),  # type: ignore[arg-type]
    case("by all runs", ends([]), ends([("a", "q")]), "output-more-certain", "minor"),  # type: ignore[arg-type]
    case(
        "streamed no more",
        gives(("a", "m", "text")),
        gives(("a", "c", "text")),
        "output-source-changed streaming-lost",
        "minor",
    ),
    case(
        "streamed now",
        gives(("a", "c", "text")),
        gives(("a", "m", "text")),
        "output-source-changed streaming-gained",
        "minor",
    ),
    case(
        "a person in between",
        with_node("code", {"code": "x"}),
        with_node("human-input", {"form_content": "x"}),
        "human-step-added node-removed node-added",
        "minor",
    ),
    case(
        "nobody reads a schedule's outputs",
        graph(
            node("t", "trigger-schedule"),
            node("e", "end", outputs=[{"variable": "a", "value_selector": ["t", "x"]}]),
            edge("t", "e"),
        ),
        graph(node("t", "trigger-schedule"), node("e", "end", outputs=[]), edge("t", "e")),
        "output-removed",
        "minor",
    ),
]
START = graph(node("s", "start", variables=[]), node("e", "end", outputs=[]), edge("s", "e"))
SCHEDULED = graph(node("t", "trigger-schedule"), node("e", "end", outputs=[]), edge("t", "e"))
MODES = [
    case("workflow to chatflow", takes(), takes(mode="advanced-chat"), "mode-changed", "major"),
    case("chat to chatflow", config(), graph(mode="advanced-chat"), "mode-changed-alike", "minor"),
    case("start to schedule", START, SCHEDULED, "start-removed schedule-added node-removed", "major"),
    case("schedule to start", SCHEDULED, START, "start-added schedule-removed node-added", "minor"),
]
FEATURES = [
    case("welcome gone", chat({"opening_statement": "Hi"}), chat(), "opening-statement-removed", "minor"),
    case("welcome new", chat(), chat({"opening_statement": "Hi"}), "opening-statement-changed", "minor"),
    case(
        "welcome other",
        chat({"opening_statement": "Hi"}),
        chat({"opening_statement": "Ho"}),
        "opening-statement-changed",
        "minor",
    ),
    case(
        "suggestion gone",
        chat({"suggested_questions": ["a?", "b?"]}),
        chat({"suggested_questions": ["a?"]}),
        "suggested-questions-removed",
        "minor",
    ),
    case("suggestion new", chat(), chat({"suggested_questions": ["a?"]}), "suggested-questions-changed", "minor"),
    case(
        "suggestions ordered",
        chat({"suggested_questions": ["a?", "b?"]}),
        chat({"suggested_questions": ["b?", "a?"]}),
        "order-changed",
        "patch",
    ),
    case(
        "follow-ups off",
        chat({"suggested_questions_after_answer": {"enabled": True}}),
        chat(),
        "follow-up-questions-off",
        "major",
    ),
    case(
        "follow-ups on",
        chat(),
        chat({"suggested_questions_after_answer": {"enabled": True}}),
        "follow-up-questions-on",
        "minor",
    ),
    case(
        "speech off",
        chat({"speech_to_text": {"enabled": True}}),
        chat({"speech_to_text": {"enabled": False}}),
        "speech-to-text-off",
        "major",
    ),
    case("speech on", chat(), chat({"speech_to_text": {"enabled": True}}), "speech-to-text-on", "minor"),
    case(
        "voice off", chat({"text_to_speech": {"enabled": True, "voice": "a"}}), chat(), "text-to-speech-off", "major"
    ),
    case("voice on", chat(), chat({"text_to_speech": {"enabled": True}}), "text-to-speech-on", "minor"),
    case(
        "voice other",
        chat({"text_to_speech": {"enabled": True, "voice": "a"}}),
        chat({"text_to_speech": {"enabled": True, "voice": "b"}}),
        "voice-changed",
        "minor",
    ),
    case(
        "sources off",
        chat({"retriever_resource": {"enabled": True}}, searches=True),
        chat(searches=True),
        "citations-off",
        "major",
    ),
    case(
        "sources off where nothing is searched",
        chat({"retriever_resource": {"enabled": True}}),
        chat(),
        "citations-off",
        "minor",
    ),
    case("sources on", chat(), chat({"retriever_resource": {"enabled": True}}), "citations-on", "minor"),
    case("moderation on", chat(), chat({"sensitive_word_avoidance": {"enabled": True}}), "moderation-on", "minor"),
    case("moderation off", chat({"sensitive_word_avoidance": {"enabled": True}}), chat(), "moderation-off", "minor"),
    case(
        "moderation other",
        chat({"sensitive_word_avoidance": {"enabled": True, "type": "keywords"}}),
        chat({"sensitive_word_avoidance": {"enabled": True, "type": "api"}}),
        "moderation-changed",
        "minor",
    ),
    case("files off", chat({"file_upload": UPLOAD}), chat(), "file-upload-off", "major"),
    case("files on", chat(), chat({"file_upload": UPLOAD}), "file-upload-on", "minor"),
    case("files of old on", chat(), chat({"file_upload": {"image": {"enabled": True}}}), "file-upload-on", "minor"),
    case(
        "fewer files",
        chat({"file_upload": UPLOAD}),
        chat({"file_upload": {**UPLOAD, "number_limits": 1}}),
        "file-limit-lowered",
        "major",
    ),
    case(
        "more files",
        chat({"file_upload": UPLOAD}),
        chat({"file_upload": {**UPLOAD, "number_limits": 9}}),
        "file-limit-raised",
        "minor",
    ),
    case(
        "fewer types",
        chat({"file_upload": UPLOAD}),
        chat({"file_upload": {**UPLOAD, **IMAGES}}),
        "file-type-removed",
        "major",
    ),
    case(
        "fewer ways",
        chat({"file_upload": UPLOAD}),
        chat({"file_upload": {**UPLOAD, **URL}}),
        "upload-method-removed",
        "major",
    ),
    case(
        "ways ordered",
        chat({"file_upload": UPLOAD}),
        chat({"file_upload": {**UPLOAD, "allowed_file_upload_methods": ["local_file", "remote_url"]}}),
        "order-changed",
        "patch",
    ),
    case(
        "cached limits",
        chat({"file_upload": UPLOAD}),
        chat({"file_upload": {**UPLOAD, "fileUploadConfig": {"a": 1}}}),
        "no-effect",
        "patch",
    ),
    case("prepared answers", chat(), chat({"annotation_reply": {"enabled": True}}), "annotation-changed", "patch"),
    case("a feature nobody knows", chat(), chat({"holograms": {"enabled": True}}), "caller-setting-changed", "minor"),
    case(
        "a workflow's welcome",
        takes(),
        takes(features={"opening_statement": "Hi"}),
        "unused-feature-changed",
        "patch",
    ),
    case(
        "a chat app's welcome",
        config(opening_statement="Hi"),
        config(opening_statement=""),
        "opening-statement-removed",
        "minor",
    ),
]
ORDER = {"name": "order", "type": "string", "required": False}
WEBHOOKS = [
    case("gone", hooked(), START, "webhook-removed start-added node-added", "major"),
    case("new", START, hooked(), "webhook-added start-removed node-removed", "major"),
    case("moved", hooked("h1", desc="x"), hooked("h2", desc="x"), "webhook-moved", "major"),
    case("method", hooked(), hooked(method="PUT"), "webhook-method-changed", "major"),
    case("method in small letters", hooked(), hooked(method="post"), "no-effect", "patch"),
    case("content", hooked(), hooked(content_type="text/plain"), "webhook-content-type-changed", "major"),
    case(
        "field new and required",
        hooked(),
        hooked(body=[{**ORDER, "required": True}]),
        "webhook-parameter-required",
        "major",
    ),
    case(
        "field became required",
        hooked(body=[ORDER]),
        hooked(body=[{**ORDER, "required": True}]),
        "webhook-parameter-required",
        "major",
    ),
    case(
        "header required",
        hooked(),
        hooked(headers=[{"name": "X-Key", "required": True}]),
        "webhook-parameter-required",
        "major",
    ),
    case(
        "parameter required",
        hooked(params=[ORDER]),
        hooked(params=[{**ORDER, "required": True}]),
        "webhook-parameter-required",
        "major",
    ),
    case(
        "field became optional",
        hooked(body=[{**ORDER, "required": True}]),
        hooked(body=[ORDER]),
        "webhook-parameter-optional",
        "minor",
    ),
    case("field new and optional", hooked(), hooked(body=[ORDER]), "webhook-parameter-added", "minor"),
    case("field gone", hooked(body=[ORDER]), hooked(), "webhook-parameter-removed", "minor"),
    case(
        "field of another type",
        hooked(body=[ORDER]),
        hooked(body=[{**ORDER, "type": "number"}]),
        "webhook-parameter-type-changed",
        "major",
    ),
    case(
        "status among successes", hooked(status_code=200), hooked(status_code=202), "webhook-status-changed", "minor"
    ),
    case("status of a failure", hooked(status_code=200), hooked(status_code=500), "webhook-status-changed", "major"),
    case("default status written out", hooked(), hooked(status_code=200), "no-effect", "patch"),
    case("answer", hooked(response_body="ok"), hooked(response_body="done"), "webhook-response-changed", "minor"),
    case("address", hooked(), hooked(webhook_url="https://example.com/x"), "", "none"),
]
ALL = INPUTS + OUTPUTS + MODES + FEATURES + WEBHOOKS


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_table(each: Case) -> None:
    each.check()


def test_sentences_name_what_changed() -> None:
    (shorter,) = judge(takes(F("a", max_length=200)), takes(F("a", max_length=100)))
    assert shorter.sentence == "Input “a” takes at most 100 characters, at most 200 before."
    assert (shorter.node, shorter.title, shorter.path) == ("s", "Start", "workflow.graph.nodes[0].data.variables[0]")
    (renamed,) = judge(gives(("a", "c", "text")), gives(("b", "c", "text")))
    assert renamed.sentence == "Output “a” is called “b” now."
    assert renamed.witness is not None and renamed.witness.output == "a"
