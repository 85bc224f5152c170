"""Routes for people: who can sign in."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from lastgood.access import decisions, grants, passwords, people
from lastgood.access.people import Person
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.server.context import Context, Served, may
from lastgood.server.documents import Limit

router = APIRouter(prefix="/v1")
NAME = Field(min_length=1, max_length=255)
PASSWORD = Field(max_length=1024, repr=False)


class NewPerson(BaseModel):
    """A person who is to sign in; without a password, one who cannot yet."""

    name: str = NAME
    password: str | None = Field(None, max_length=1024, repr=False)
    display: str = Field("", max_length=255, description="what people call them")
    email: str = Field("", max_length=255)


class NewPassword(BaseModel):
    """Another password."""

    password: str = PASSWORD


@router.get("/people", summary="Who can sign in, and how")
def list_people(
    served: Served,
    who: Annotated[Principal, Depends(may("person:read", on="access:*"))],
    before: Annotated[str, Query(max_length=255, description="the `next` of the page before")] = "",
    limit: Limit = 200,
) -> dict[str, Any]:
    with served.store.read() as tx:
        found = people.listing(tx, after=before, limit=limit + 1)
    more = found[limit - 1].name if len(found) > limit else None
    return {"items": [one.public() for one in found[:limit]], "next": more}


@router.post("/people", status_code=201, summary="Add a person")
def add_person(
    body: NewPerson, served: Served, who: Annotated[Principal, Depends(may("person:admin", on="access:*"))]
) -> dict[str, Any]:
    name = people.check_name(body.name)
    hashed = None
    if body.password is not None:
        _require_to_open(served, who, name)
        passwords.check_new(body.password, name)
        hashed = passwords.hashed(body.password)

    def work(tx: Tx) -> Person:
        return people.create(tx, who, name, password=hashed, display=body.display, email=body.email)

    return served.store.write(work).public()


@router.post("/people/{person}/password", summary="Give a person another password; their sessions end")
def set_password(
    person: str,
    body: NewPassword,
    served: Served,
    who: Annotated[Principal, Depends(may("person:admin", on="access:*"))],
) -> dict[str, Any]:
    with served.store.read() as tx:
        found = people.find(tx, person)
    _require_to_open(served, who, found.name)
    passwords.check_new(body.password, found.name)
    hashed = passwords.hashed(body.password)
    served.store.write(lambda tx: people.set_password(tx, who, found, hashed))
    with served.store.read() as tx:
        return people.find(tx, person).public()


@router.post("/people/{person}/disable", summary="Shut a person out; their sessions end")
def disable_person(
    person: str, served: Served, who: Annotated[Principal, Depends(may("person:admin", on="access:*"))]
) -> dict[str, Any]:
    return served.store.write(lambda tx: people.set_disabled(tx, who, people.find(tx, person), True)).public()


@router.post("/people/{person}/enable", summary="Let a person in again")
def enable_person(
    person: str, served: Served, who: Annotated[Principal, Depends(may("person:admin", on="access:*"))]
) -> dict[str, Any]:
    return served.store.write(lambda tx: people.set_disabled(tx, who, people.find(tx, person), False)).public()


def _require_to_open(served: Context, who: Principal, name: str) -> None:
    """Let `who` pass who gives a person a password: it lets them come in as that person, so where something is
    granted to the name they must be allowed to grant it. Raises `Denied`."""
    with served.store.read() as tx:
        held = grants.listing(tx, name, limit=1)
    if held:
        decisions.require(served.store, who, "access:admin", "access:*")
