"""Asking the console: a call, and what is made of its answer."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from lastgood.errors import DifyMissing, InvalidRequest
from lastgood.targets.dify.caller import Caller
from lastgood.targets.dify.fields import Fields, Misshapen
from lastgood.targets.dify.forms import Page
from lastgood.targets.dify.wire import Call

API = "/console/api"
MOST_PER_PAGE = 100


class Asker:
    """What the parts of the console's API share."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def get[T](
        self, path: str, what: str, read: Callable[[Any], T], params: Mapping[str, str | int] | None = None
    ) -> T:
        """What `read` makes of the answer to a GET below the console's path."""
        return self.read(Call("GET", f"{API}{path}", what, params or {}), read)

    def read[T](self, call: Call, read: Callable[[Any], T]) -> T:
        """What `read` makes of the answer to `call`. Raises `DifyError`."""
        try:
            return read(self.caller.ask(call))
        except Misshapen as error:
            raise self.caller.misshapen(call, error) from None

    def maybe[T](self, call: Call, read: Callable[[Any], T]) -> T | None:
        """As `read`; None where there is no such thing, though there is the app."""
        try:
            return self.read(call, read)
        except DifyMissing as error:
            if error.data.get("code") == "app_not_found":
                raise
            return None

    def page[T](self, path: str, what: str, name: str, read: Callable[[Any], T], **params: str | int) -> Page[T]:
        """A page whose items stand under `name`."""
        return self.get(path, what, lambda data: Page.read(data, name, read), params)


def uuid(value: str) -> str:
    """`value`, where it is a UUID: Dify answers 500 for anything else. Raises `InvalidRequest`."""
    try:
        return str(UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise InvalidRequest(where="an id of Dify", reason="it is not a UUID") from None


def list_of[T](name: str, read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """A reader of the list that stands under `name`."""
    return lambda data: Fields(data, "the list").each(name, read)


def mappings_of(name: str) -> Callable[[Any], tuple[Mapping[str, Any], ...]]:
    """A reader of the list of objects that stands under `name`."""
    return lambda data: Fields(data, "the list").mappings(name)


def words(error: ValueError) -> str:
    """What is wrong with an answer that could not be read."""
    return str(error) if isinstance(error, Misshapen) else "it is not JSON"
