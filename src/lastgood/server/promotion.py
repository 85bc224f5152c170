"""Routes for promotions: what one would do, and doing it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lastgood.access.actions import FORCE
from lastgood.db.audit import Principal
from lastgood.history import channels
from lastgood.release.plan import Plan
from lastgood.release.planning import Wanted as Publish
from lastgood.release.promotion import promoting
from lastgood.release.promotion.overlay import Given
from lastgood.release.promotion.promoting import Wanted
from lastgood.server import asking
from lastgood.server.asking import Thing
from lastgood.server.context import Expected, Served, may, record_read
from lastgood.server.operations import Key
from lastgood.server.pointers import SEMVER, do
from lastgood.targets import engine

router = APIRouter(prefix="/v1")


class Carry(BaseModel):
    """What to promote: the version that `from` points to, to the channel `to`. `mapping` is a mapping file's text.
    Values of variables there: `environment` as they are, `secrets` of secret ones, `keep` the names of those that
    take the promoted version's own."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    origin: str = Field(alias="from", description="the channel that the version comes from")
    to: str = channels.LIVE
    mapping: str | None = Field(None, max_length=2**20)
    mapping_name: str = Field("the mapping", max_length=255, description="what messages call the mapping")
    environment: dict[str, Any] = {}
    secrets: dict[str, SecretStr] = {}
    keep: list[str] = []

    def wanted(self, workflow: str) -> Wanted:
        """The same as the rule takes it."""
        overlay = {name: Given("written", value) for name, value in self.environment.items()}
        overlay |= {name: Given("referred", value.get_secret_value()) for name, value in self.secrets.items()}
        overlay |= {name: Given("source") for name in self.keep}
        return Wanted(workflow, self.origin, self.to, self.mapping, self.mapping_name, overlay)


class Promotion(Carry):
    """What to promote, and how to publish it. `shown` is the digest of the preview that was seen."""

    shown: str | None = Field(None, max_length=64)
    reason: str = Field("", max_length=2000)
    semver: str | None = Field(None, pattern=SEMVER, max_length=64)
    force: bool = Field(False, description="also a failed version; needs a reason")
    verify: bool = Field(True, description="run the verification checklist afterwards")
    on_verification_failure: Literal["undo", "keep", "ask"] = "keep"


@router.post("/workflows/{workflow}/promotions/preview", summary="What a promotion would do; changes nothing")
def preview(
    workflow: str, body: Carry, served: Served, who: Annotated[Principal, Depends(may("workflow:promote"))]
) -> dict[str, Any]:
    # What is found tells of definitions on both sides.
    record_read(served, who, "workflow:promote", f"workflow/{workflow}")
    return promoting.prepare(served.means(), body.wanted(workflow)).as_data()


@router.post("/workflows/{workflow}/promotions", summary="Carry what a channel serves to another channel")
def promote(
    workflow: str,
    body: Promotion,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:promote"))],
    expected: Expected,
    key: Key = None,
) -> dict[str, Any]:
    actions = [asking.moving(body.to), *([FORCE] if body.force else [])]
    asking.require(served.store, who, Thing("workflow", workflow), *actions)
    engine.warm()
    means = served.means()
    ready = promoting.prepare(means, body.wanted(workflow))
    with served.store.read() as tx:  # a stale caller must not leave a version behind
        channels.expect(tx, ready.workflow, channels.present(tx, ready.workflow, body.to), expected)
    version = promoting.keep(means, who, ready, shown=body.shown)
    draft = Plan(
        "publish",
        (),
        reason=body.reason or f"promoted from {ready.origin}",
        force=body.force,
        semver=body.semver,
        verify=body.verify,
        on_verification_failure=body.on_verification_failure,
        promoted_from=ready.origin,
    )
    done = do(served, who, Publish(workflow, body.to, version.id, expected), draft, key)
    return {**done, "promotion": ready.as_data()}
