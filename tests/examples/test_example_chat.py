"""The support chat, run on the engine with a stand-in for the model that answers with what it was asked."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

HISTORY = yaml.safe_load((Path(__file__).parents[2] / "examples" / "support-chat" / "history.yml").read_text())
STEMS = [Path(entry["file"]).stem for entry in HISTORY["versions"]]
MESSAGES = HISTORY["samples"]


@pytest.mark.parametrize("stem", STEMS)
def test_a_conversation_remembers_its_order(engine: httpx.Client, stem: str) -> None:
    conversation = ""
    for turn, message in enumerate(MESSAGES, 1):
        answer = say(engine, stem, message["query"], conversation)
        conversation = answer["conversation_id"]
        prompt = json.loads(answer["answer"])
        assert f"Order: {message['order']}\n" in prompt[0][1]
        assert ("Message number" in prompt[0][1]) is (stem == STEMS[1])
        assert [text for role, text in prompt if role == "user"] == [sent["query"] for sent in MESSAGES[:turn]]
        kept = {"order": message["order"], "turns": turn} if stem == STEMS[1] else {"order": message["order"]}
        assert variables(engine, stem, conversation) == {name: str(value) for name, value in kept.items()}


def test_conversations_do_not_share_their_order(engine: httpx.Client) -> None:
    first = say(engine, STEMS[0], "It is ORD-11111", "")
    second = say(engine, STEMS[0], "Hello", "")
    assert variables(engine, STEMS[0], first["conversation_id"]) == {"order": "ORD-11111"}
    assert variables(engine, STEMS[0], second["conversation_id"]) == {"order": ""}


def test_the_second_version_greets(engine: httpx.Client) -> None:
    openings = [
        engine.get("/parameters", headers={"Authorization": f"Bearer app-{stem}"}).json()["opening_statement"]
        for stem in STEMS
    ]
    assert openings == ["", "Hello! Which order is it about? Its number looks like ORD-12345."]


def say(engine: httpx.Client, stem: str, query: str, conversation: str) -> dict[str, Any]:
    body = {"query": query, "inputs": {}, "user": "u1", "response_mode": "blocking", "conversation_id": conversation}
    answer = engine.post("/chat-messages", json=body, headers={"Authorization": f"Bearer app-{stem}"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def variables(engine: httpx.Client, stem: str, conversation: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer app-{stem}"}
    answer = engine.get(f"/conversations/{conversation}/variables", params={"user": "u1"}, headers=headers)
    assert answer.status_code == 200, answer.text
    return {item["name"]: str(item["value"]) for item in answer.json()["data"]}
