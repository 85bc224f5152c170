"""The impact of a move by the API: its forms, and what is not there."""

from typing import Any

import pytest
import yaml

from support.stores import on_sqlite

from .conftest import Api

pytestmark = on_sqlite
PATH = "/v1/workflows/greet/impact"


@pytest.fixture
def good(api: Api) -> str:
    """Two versions: the one given is proven, the other one live; and a key."""
    good = api.push("hello")
    api.move("publish", 0, version=good)
    api.post(f"/v1/versions/{good}/mark", {"state": "stable", "reason": "seen"})
    api.move("publish", 1, version=api.push("good day"))
    api.post("/v1/workflows/greet/keys", {"name": "web"}, status=201)
    return good


def test_the_last_good_version_is_meant_unless_one_is_named(api: Api, good: str) -> None:
    found: dict[str, Any] = api.get(PATH)
    assert [one["to"] for one in found["moves"]] == [good]
    assert found["services_affected"] == ["web"]
    assert found == api.get(PATH, params={"to": good, "channel": "live"})


def test_in_other_forms(api: Api, good: str) -> None:
    told = api.ask("GET", PATH, params={"format": "yaml"})
    assert told.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(told.text) == api.get(PATH)
    told = api.ask("GET", PATH, params={"format": "markdown"})
    assert told.headers["content-type"].startswith("text/markdown")
    assert "| module | affected services | risk | reason | responsible |" in told.text


@pytest.mark.parametrize(
    ("path", "asked", "status", "problem"),
    [
        (PATH, {"to": "v-20200101-01"}, 404, "unknown-version"),
        (PATH, {"channel": "staging"}, 404, "unknown-channel"),
        (PATH, {"format": "xml"}, 400, "invalid-request"),
        ("/v1/workflows/nope/impact", {}, 404, "unknown-workflow"),
    ],
)
def test_what_is_not_there_is_a_problem(
    api: Api, good: str, path: str, asked: dict[str, str], status: int, problem: str
) -> None:
    answer = api.ask("GET", path, params=asked)
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:lastgood:problem:{problem}"
