"""What is sent, and the places that the settings name."""

import os
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from lastgood.access.log.notes import Checkpoint
from lastgood.catalogue import Audit
from lastgood.errors import CheckpointNotSent

SECONDS = 15.0  # that a place may take
_FROM_ENVIRONMENT = "env:"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A signed checkpoint on its way."""

    note: str
    at: str

    @property
    def checkpoint(self) -> Checkpoint:
        """What it says."""
        return Checkpoint.peek(self.note)


class Destination(Protocol):
    """A place. `name` is how people and the store call it, and holds no secret."""

    @property
    def name(self) -> str: ...

    def send(self, delivery: Delivery) -> None:
        """Put it there; once more does no harm. Raises `CheckpointNotSent`."""


def named(settings: Audit) -> list[Destination]:
    """The places that the settings name."""
    from lastgood.access.log.destinations.callback import Callback
    from lastgood.access.log.destinations.file import File
    from lastgood.access.log.destinations.git import Git
    from lastgood.access.log.destinations.s3 import S3

    found: list[Destination] = []
    if settings.file is not None:
        found.append(File(settings.file))
    if settings.git is not None:
        found.append(Git(settings.git, settings.git_push))
    if settings.s3 is not None:
        found.append(S3(settings.s3))
    if settings.callback:
        found.append(Callback(settings.callback, settings.callback_secret))
    return found


def given(value: str, destination: str) -> str:
    """`value`, or what the variable holds that it names as ``env:NAME``. Raises `CheckpointNotSent`."""
    if not value.startswith(_FROM_ENVIRONMENT):
        return value
    name = value.removeprefix(_FROM_ENVIRONMENT)
    found = os.environ.get(name, "")
    if not found:
        raise CheckpointNotSent(destination=destination, reason=f"the variable {name} is not set")
    return found


def host_of(url: str) -> str:
    """The scheme and host of a URL, whose path and query may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
