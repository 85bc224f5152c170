"""Routes for API tokens."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from lastgood.access import decisions, tokens
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.server.context import Served, may
from lastgood.server.state import moment_to_come

router = APIRouter(prefix="/v1")
_PATTERN = r"^[A-Za-z0-9._*?-]+$"


class NewToken(BaseModel):
    """An API token for a program or a person elsewhere."""

    name: str = Field(max_length=63, description="what the log calls it")
    role: str | None = Field(None, max_length=63, description="what it may do; nothing until it is granted a role")
    workflows: list[Annotated[str, Field(pattern=_PATTERN, max_length=200)]] = Field(
        [], max_length=50, description="slugs or patterns such as prod-*, which the role holds for; empty: everything"
    )
    expires: str | None = Field(None, max_length=40, description="an age such as 90d, or a time; null: never")


@router.get("/tokens", summary="API tokens: what they are granted, when they end, when they were last used")
def list_tokens(
    served: Served, who: Annotated[Principal, Depends(may("token:read", on="access:*"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        return {"items": tokens.listing(tx), "next": None}


@router.post("/tokens", status_code=201, summary="Make an API token; its value is shown this once")
def create_token(
    body: NewToken, served: Served, who: Annotated[Principal, Depends(may("token:create", on="access:*"))]
) -> dict[str, Any]:
    """With a role, who makes it must be allowed to grant roles too."""
    if body.role is not None:
        decisions.require(served.store, who, "access:admin", "access:*")
    expires_at = moment_to_come(body.expires) if body.expires is not None else None
    resources = [f"workflow:{one}" for one in body.workflows] or ["*"]

    def work(tx: Tx) -> str:
        return tokens.create(tx, who, body.name, expires_at=expires_at, role=body.role, resources=resources)

    value = served.store.write(work)
    with served.store.read() as tx:
        made = next(one for one in tokens.listing(tx) if one["name"] == body.name)
    return {**made, "token": value}


@router.delete("/tokens/{token}", status_code=204, summary="Revoke an API token: it is refused from now on")
def revoke_token(
    token: str, served: Served, who: Annotated[Principal, Depends(may("token:revoke", on="access:*"))]
) -> Response:
    served.store.write(lambda tx: tokens.revoke(tx, who, token))
    return Response(status_code=204)
