"""`lastgood audit follow` outlives its server."""

import time
from collections.abc import Iterator
from contextlib import nullcontext

import httpx
import pytest

from lastgood.cli import audit as command
from lastgood.cli.client import Client, Given


def test_following_goes_on_where_it_stopped_when_the_server_is_there_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows come whole, whatever line ends Unicode knows: a name must not end whoever watches."""
    asked: list[str] = []
    starts: Iterator[list[str] | Exception | httpx.Response] = iter(
        [
            ['{"place":7,"reason":"a\u2028b', '\x85"}\n{"place":9}\n{"pla'],
            httpx.ConnectError("gone"),
            httpx.Response(502, text="a proxy"),
            ['{"place":12}\n'],
        ]
    )
    here: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/span"):
            asked.append(request.url.params["after"])
            return httpx.Response(200, content=(part.encode() for part in here))
        match next(starts):
            case list() as parts:
                here[:] = parts
                return httpx.Response(200, json={"size": 7})
            case httpx.Response() as other:
                return other
            case error:
                raise error

    pauses = iter([None, None, None])
    monkeypatch.setattr(time, "sleep", lambda _: next(pauses))
    monkeypatch.setattr(command, "is_served", lambda _: True)
    client = Client(httpx.Client(transport=httpx.MockTransport(answer), base_url="http://api"), "http://api")
    monkeypatch.setattr(command, "connect", lambda _: nullcontext(client))
    found = []
    with pytest.raises(RuntimeError, match="StopIteration"):
        for row in command._followed(Given(), None, {"result": "denied"}):
            found.append(row["place"])
    assert found == [7, 9, 12]
    assert asked == ["7", "10"]
    assert capsys.readouterr().err.count("The server went") == 2, "each time once"
