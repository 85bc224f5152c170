"""Against recorded exchanges with Dify servers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lastgood.dsl import Document, check_inputs, parameters, parse, semantic_digest

from .documents import recordings

_APP = re.compile(r"/console/api/apps/([0-9a-f-]{36})(/[^?]*)(\?.*)?")


def exchanges(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The exchanges that worked, as (app, what, exchange); `what` is `set`, `get` or `touch` for its draft."""
    for exchange in json.loads(path.read_text())["exchanges"]:
        url, method, sent = exchange.get("path", ""), exchange.get("method"), exchange.get("request_json")
        sent = sent if isinstance(sent, dict) else {}
        done = exchange.get("status") == 200
        match = _APP.fullmatch(url)
        if url.endswith("/apps/imports") and sent.get("yaml_content") and done:
            yield exchange["response_json"]["app_id"], "set", exchange
        elif match and match[2] == "/workflows/draft" and method == "POST" and done:
            yield match[1], "set" if "graph" in sent else "touch", exchange
        elif match and method == "GET":
            if done and match[2] in {"/workflows/draft", "/export"} and "workflow_id" not in (match[3] or ""):
                yield match[1], "get", exchange
        elif match and method not in {"PATCH", "DELETE"} and not match[2].endswith("/publish"):
            yield match[1], "touch", exchange


def document_of(what: str, exchange: dict[str, Any]) -> Document:
    body = exchange["request_json"] if what == "set" else exchange["response_json"]
    text = body.get("yaml_content") or body.get("data")
    return parse(text or json.dumps(body))


def test_what_was_sent_to_dify_reads_back_as_the_same_workflow() -> None:
    """As an export and as the API's answer, whichever way it was sent."""
    compared = 0
    for path in recordings():
        if path.stem == "14_difyctl":  # there a command line changes drafts, unrecorded
            continue
        drafts: dict[str, str] = {}
        for app, what, exchange in exchanges(path):
            if what == "touch":
                drafts.pop(app, None)
                continue
            digest = semantic_digest(document_of(what, exchange))
            if what == "get" and app in drafts:
                assert digest == drafts[app], f"{path.name}: {exchange['label']}"
                compared += 1
            drafts[app] = digest
    assert compared > 60


def test_parameters_are_those_that_dify_answers() -> None:
    compared = 0
    for path in recordings():
        document: Document | None = None
        for exchange in json.loads(path.read_text())["exchanges"]:
            sent = exchange.get("request_json")
            if isinstance(sent, dict) and ("yaml_content" in sent or "graph" in sent) and exchange["status"] == 200:
                document = document_of("set", exchange)
            if exchange.get("path", "").endswith("/parameters") and exchange["status"] == 200 and document:
                assert parameters(document) == exchange["response_json"], f"{path.name}: {exchange['label']}"
                compared += 1
    assert compared >= 5


def test_refused_inputs_are_refused_in_the_same_words() -> None:
    compared = 0
    for path in recordings():
        document: Document | None = None
        for exchange in json.loads(path.read_text())["exchanges"]:
            sent, answer = exchange.get("request_json"), exchange.get("response_json")
            if isinstance(sent, dict) and ("yaml_content" in sent or "graph" in sent) and exchange["status"] == 200:
                document = document_of("set", exchange)
            if not isinstance(answer, dict) or "in input form" not in str(answer.get("message")):
                continue
            if document is not None and path.stem.startswith(("05a", "16")):
                assert check_inputs(document, sent["inputs"]) == answer["message"], (
                    f"{path.name}: {exchange['label']}"
                )
                compared += 1
    assert compared >= 4
