"""The description of the API: valid, whole, and true."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from support.stores import on_sqlite

from .conftest import Api
from .test_doors import HEALTH, methods_of, routes

pytestmark = on_sqlite


@pytest.fixture
def described(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.client.get("/openapi.json").json()
    return found


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from walk(item)


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def test_it_is_an_openapi_document(described: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d", described["openapi"])
    assert described["info"]["title"] == "Lastgood"
    OpenAPI.model_validate(described)
    for part in walk(described):
        if isinstance(part.get("$ref"), str):
            target: Any = described
            for key in part["$ref"].removeprefix("#/").split("/"):
                target = target[key]


def test_every_schema_is_a_json_schema(described: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = described["components"]["schemas"]
    assert {"Push", "Publish", "Rollback"} <= schemas.keys()
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_it_names_every_route_and_no_other(api: Api, described: dict[str, Any]) -> None:
    told = {(path, method) for path, method, _ in operations(described)}
    assert told == {(route.path_format, method) for route in routes(api.app) for method in methods_of(route)}


def test_every_operation_says_what_it_does_and_has_a_name_of_its_own(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(described):
        assert len(operation["summary"]) > 5, (method, path)
        in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), (method, path)


def test_it_says_that_a_move_wants_the_generation(described: dict[str, Any]) -> None:
    for kind in ("publish", "rollback"):
        operation = described["paths"][f"/v1/workflows/{{workflow}}/channels/{{channel}}/{kind}"]["post"]
        assert "if-match" in {p["name"] for p in operation["parameters"] if p["in"] == "header"}


def test_it_says_how_to_show_a_token(described: dict[str, Any]) -> None:
    schemes = described["components"]["securitySchemes"]
    assert [(scheme["type"], scheme["scheme"]) for scheme in schemes.values()] == [("http", "bearer")]
    (name,) = schemes
    for path, method, operation in operations(described):
        strangers = path in HEALTH or path.startswith("/v1/session/oidc") or (method, path) == ("POST", "/v1/session")
        strangers |= path == "/v1/access/events"  # it wants a signature
        assert operation.get("security", []) == ([] if strangers else [{name: []}]), (method, path)
