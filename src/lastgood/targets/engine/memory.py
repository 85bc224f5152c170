"""What a conversation's model nodes remember: its last messages."""

from collections.abc import Sequence
from dataclasses import dataclass

from graphon.model_runtime.entities.message_entities import AssistantPromptMessage, PromptMessage, UserPromptMessage

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Memory:
    """The (question, answer) pairs of a conversation so far, oldest first."""

    turns: Sequence[tuple[str, str]]

    def get_history_prompt_messages(
        self, max_token_limit: int = 2000, message_limit: int | None = None
    ) -> Sequence[PromptMessage]:
        """The newest messages that fit into both limits, oldest first, a question before its answer."""
        room, kept = max_token_limit * _BYTES_PER_TOKEN, []
        turns = self.turns[-message_limit:] if message_limit else self.turns
        for question, answer in reversed(turns):
            room -= len(question.encode()) + len(answer.encode())
            if room < 0:
                break
            kept.append((question, answer))
        return [
            message
            for question, answer in reversed(kept)
            for message in (UserPromptMessage(content=question), AssistantPromptMessage(content=answer))
        ]
