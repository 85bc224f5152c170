"""Conversations of a chatflow and the variables they remember."""

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

from dify_server.rows import Row

_TURNS = count()
_NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass
class Talk:
    """A conversation. Its variables outlive the version that brought them."""

    user: str
    name: str
    introduction: str
    created_at: int
    id: str = field(default_factory=lambda: str(uuid4()))
    updated_at: int = 0
    touched: int = field(default_factory=lambda: next(_TURNS))
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def values(self, row: Row) -> dict[str, Any]:
        """What a run of `row` reads; what it has and the conversation lacks begins at its default."""
        for one in row.conversation_variables:
            if one["name"] not in self.variables:
                kept = {
                    "id": one.get("id"), "name": one["name"], "value_type": one.get("value_type", "string"),
                    "value": deepcopy(one.get("value")), "description": one.get("description", ""),
                    "created_at": self.updated_at, "updated_at": self.updated_at,
                }  # fmt: skip
                self.variables[one["name"]] = kept
        return {name: one["value"] for name, one in self.variables.items()}

    def remember(self, name: str, value: Any, row: Row) -> None:
        self.values(row)
        if name in self.variables:
            self.variables[name]["value"] = value

    def say(self, message_id: str, query: str, answer: str, inputs: dict[str, Any], moment: int) -> None:
        self.updated_at, self.touched = moment, next(_TURNS)
        self.messages.append({
            "id": message_id, "conversation_id": self.id, "parent_message_id": _NOBODY,
            "inputs": inputs, "query": query, "answer": answer, "feedback": None, "retriever_resources": [],
            "created_at": moment, "agent_thoughts": [], "message_files": [], "status": "normal", "error": None,
            "extra_contents": [],
        })  # fmt: skip
