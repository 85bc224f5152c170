"""Routes for roles and grants: who may do what, changing it, and asking."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lastgood.access import actions, decisions, grants, roles
from lastgood.access.grants import Grant
from lastgood.access.roles import Role
from lastgood.access.rules import check_resource
from lastgood.access.subjects import check_subject, principal_of
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, UnknownGrant
from lastgood.server.asking import Thing, slugs_of
from lastgood.server.context import Context, Credentials, Served, context_of, may, signed_in
from lastgood.server.documents import Limit
from lastgood.server.state import moment_to_come

router = APIRouter(prefix="/v1")

Reader = Annotated[Principal, Depends(may("access:read"))]
Admin = Annotated[Principal, Depends(may("access:admin"))]


class NewRule(BaseModel):
    """What a role allows or denies."""

    model_config = ConfigDict(extra="forbid")
    effect: Literal["allow", "deny"] = "allow"
    actions: list[str] = Field(min_length=1, max_length=100, description="names or patterns, such as workflow:*")
    resources: list[str] = Field(
        ["*"], min_length=1, max_length=100, description="patterns, such as workflow:prod-*; all by default"
    )


class NewRole(BaseModel):
    """A role of one's own. What denies wins, also over other roles."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=63)
    description: str = Field("", max_length=2000)
    rules: list[NewRule] = Field(min_length=1, max_length=100)
    replace: bool = Field(False, description="put it in the place of the role of that name")


class NewGrant(BaseModel):
    """A role for a subject, on what a pattern stands for."""

    model_config = ConfigDict(extra="forbid")
    subject: str = Field(max_length=255, description="a person's name, token:NAME, service:NAME or local")
    role: str = Field(max_length=63)
    on: str = Field("*", max_length=255, description="a pattern, such as workflow:prod-*")
    expires: str | None = Field(None, max_length=40, description="an age such as 90d, or a time; null: never")


def may_ask(request: Request, shown: Credentials) -> Principal:
    """A dependency that lets everybody ask what they themselves may do, and of others who may read that. Raises
    `Unauthenticated`, `Denied`."""
    who = signed_in(request, shown)
    subject = request.query_params.get("subject", who.subject)
    if subject != who.subject:
        decisions.require(context_of(request).store, who, may_ask.action, "access:*")  # type: ignore[attr-defined]
    return who


may_ask.action = "access:read"  # type: ignore[attr-defined]  # read by the test that every route asks


@router.get("/roles", summary="All roles with their rules: the built-in ones, and one's own")
def list_roles(served: Served, who: Reader) -> dict[str, Any]:
    with served.store.read() as tx:
        return {"items": [role.public() for role in roles.listing(tx)], "next": None}


@router.get("/roles/{role}", summary="A role with its rules")
def read_role(role: str, served: Served, who: Reader) -> dict[str, Any]:
    with served.store.read() as tx:
        return roles.find(tx, role).public()


@router.post("/roles", status_code=201, summary="Make a role, or put it in the place of the one of that name")
def create_role(body: NewRole, served: Served, who: Admin) -> dict[str, Any]:
    rules = roles.rules_of([rule.model_dump() for rule in body.rules])
    role = Role(body.name, body.description, rules)
    return served.store.write(lambda tx: roles.create(tx, who, role, replace=body.replace)).public()


@router.delete("/roles/{role}", status_code=204, summary="Take a role away that nobody holds")
def remove_role(role: str, served: Served, who: Admin) -> Response:
    served.store.write(lambda tx: roles.remove(tx, who, role))
    return Response(status_code=204)


@router.get("/grants", summary="Who has which role on what, in the order in which it was granted")
def list_grants(
    served: Served,
    who: Reader,
    subject: str | None = None,
    role: str | None = None,
    source: str | None = None,
    limit: Limit = 500,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="go on after this number")] = None,
) -> dict[str, Any]:
    with served.store.read() as tx:
        found = grants.listing(tx, subject, source, role=role, after=before or 0, limit=limit)
    return {"items": [one.public() for one in found], "next": found[-1].pk if len(found) == limit else None}


@router.post("/grants", summary="Grant a role; granted again, it takes the new end")
def create_grant(body: NewGrant, served: Served, who: Admin) -> dict[str, Any]:
    expires_at = moment_to_come(body.expires) if body.expires is not None else None
    grant = Grant(check_subject(body.subject), body.role, check_resource(body.on, "on"), expires_at=expires_at)

    def work(tx: Tx) -> str:
        roles.find(tx, grant.role)
        return grants.give(tx, who, grant)

    outcome = served.store.write(work)
    return {
        "subject": grant.subject,
        "role": grant.role,
        "on": grant.resource,
        "expires_at": expires_at,
        "changed": outcome == "changed",
    }


@router.delete("/grants", status_code=204, summary="Revoke a grant: it holds nowhere from now on")
def revoke_grant(served: Served, who: Admin, subject: str, role: str, on: str = "*") -> Response:
    named = check_subject(subject)

    def work(tx: Tx) -> None:
        if grants.revoke(tx, who, Grant(named, role, on)) != "changed":
            held = ", ".join(one.sentence for one in grants.listing(tx, named)) or "nothing"
            raise UnknownGrant(subject=named, role=role, on=on, held=held)

    served.store.write(work)
    return Response(status_code=204)


@router.get("/can", summary="Whether a subject may do something, and the rule that says so")
def read_decision(
    served: Served,
    who: Annotated[Principal, Depends(may_ask)],
    action: Annotated[str, Query(max_length=127, description="whole, or short: rollback for workflow:rollback")],
    resource: Annotated[str, Query(max_length=255, description="such as workflow:prod-invoice")],
    subject: Annotated[str | None, Query(max_length=255, description="the caller when left out")] = None,
) -> dict[str, Any]:
    if "*" in resource or "?" in resource:
        raise InvalidRequest(where="resource", reason="name one thing, such as workflow:prod-invoice, not a pattern")
    asked = actions.full_name(action)
    principal = who if subject in (None, who.subject) else principal_of(check_subject(str(subject)))
    named = _named(served, who, check_resource(resource, "resource"))
    found = decisions.check_permission(served.store, principal, asked, named)
    return {
        "subject": principal.subject,
        "action": asked,
        "resource": named,
        "allowed": found.allowed,
        "reason": found.reason,
    }


def _named(served: Context, who: Principal, resource: str) -> str:
    """`resource` by its slug, where it names a workflow by its id and `who` may know of that."""
    kind, _, ref = resource.partition(":")
    if kind != "workflow":
        return resource
    with served.store.read() as tx:
        slugs = slugs_of(tx, Thing("workflow", ref))
    named = f"workflow:{slugs[0]}" if slugs else resource
    known = decisions.check_permission(served.store, who, "workflow:read", named).allowed
    return named if known else resource
