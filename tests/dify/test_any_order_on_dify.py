"""Whatever editors do in Dify, and wherever our processes die: nothing that was read is lost, drafts are put back,
and what is live is what the channel says, or the status says otherwise.

`LASTGOOD_EXAMPLES=100 LASTGOOD_STEPS=30 pytest tests/dify/test_any_order_on_dify.py` looks for longer, and for every
planted fault (`-k nothing` without them)."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import Phase

from dify.ground import Ground, ground
from lastgood.history import drafts, placements, versions
from lastgood.release import steps as all_steps
from lastgood.release.doing import Doing, Result
from lastgood.release.placing import place, putback, steps
from lastgood.targets.dify.bodies import Body, same, same_draft
from lastgood.targets.dify.console import Console

from .office import Eyes, play

EXAMPLES, STEPS = int(os.environ.get("LASTGOOD_EXAMPLES", "4")), int(os.environ.get("LASTGOOD_STEPS", "8"))
LONG = "LASTGOOD_EXAMPLES" in os.environ
VERSIONS = ("1.13.0", "1.14.2")


@pytest.fixture(scope="module")
def grounds(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], tuple[Ground, Any]]]:
    """A ground of each version and its beginning, made once."""
    with ExitStack() as stack:
        made: dict[str, Any] = {}

        def of(version: str) -> tuple[Ground, Any]:
            if version not in made:
                home = tmp_path_factory.mktemp("office") / "home"
                here = stack.enter_context(ground(version, sqlite_template, home))
                made[version] = here, {"start": here.moment(), "eyes": Eyes(here)}
            found: tuple[Ground, Any] = made[version]
            return found

        yield of


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_lost_and_nothing_is_said_that_is_not_so(version: str, grounds: Any) -> None:
    here, more = grounds(version)
    play(here, EXAMPLES, STEPS, **more)


# What the model must find.


def take_every_draft_for_ours(patch: pytest.MonkeyPatch) -> None:
    for module in (place, steps, putback):
        patch.setattr(module, "is_ours", lambda *_: True)


def forget_secrets_when_comparing(patch: pytest.MonkeyPatch) -> None:
    def as_kept(at: Any, kept: Any, now: Any) -> bool:
        if kept is None or now is None:
            return kept is None and now is None
        return same_draft(place.document_kept(at.doing, kept), now.row)

    for module in (place, steps, putback):
        patch.setattr(module, "is_as_kept", as_kept)
        patch.setattr(module, "is_ours", lambda at, kept, now: same(at.document, now.row))


def keep_no_draft(patch: pytest.MonkeyPatch) -> None:
    def keep(at: place.Place, held: Any) -> drafts.Draft:
        with at.doing.means.store.read() as tx:
            found = drafts.latest(tx, at.app)
        assert found is not None
        return found

    patch.setattr(place.Place, "keep", keep)
    patch.setattr(steps, "is_as_kept", lambda *_: True)


def leave_our_draft(patch: pytest.MonkeyPatch) -> None:
    def nothing(doing: Doing) -> Result:
        return Result("done", {})

    for name in ("put-draft-back", "undo-put-draft-back"):
        patch.setitem(all_steps.ACTIONS, name, nothing)


def leave_variables_out(patch: pytest.MonkeyPatch) -> None:
    sync = Console.sync_draft
    patch.setattr(
        Console, "sync_draft", lambda *given, **more: sync(*given, **{**more, "conversation_variables": []})
    )


def leave_secret_ones_out(patch: pytest.MonkeyPatch) -> None:
    sync = Console.sync_draft

    def without(*given: Any, environment_variables: Any, **more: Any) -> Any:
        plain = [one for one in environment_variables if one["value_type"] != "secret"]
        return sync(*given, environment_variables=plain, **more)

    patch.setattr(Console, "sync_draft", without)


def believe_what_was_published(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(steps, "_differs", lambda *_: "")


def send_masks(patch: pytest.MonkeyPatch) -> None:
    for module in (place, putback):
        make = module.body_of

        def masked(*given: Any, make: Any = make, **more: Any) -> Body:
            body: Body = make(*given, **more)
            sent = tuple(
                {**one, "value": "[__HIDDEN__]"} if one["value_type"] == "secret" else one
                for one in body.environment_variables
            )
            return replace(body, environment_variables=sent)

        patch.setattr(module, "body_of", masked)


def send_asterisks(patch: pytest.MonkeyPatch) -> None:
    for module in (place, putback):
        make = module.body_of

        def masked(*given: Any, make: Any = make, **more: Any) -> Body:
            body: Body = make(*given, **more)
            sent = tuple(
                {**one, "value": "*" * 20} if one["value_type"] == "secret" else one
                for one in body.environment_variables
            )
            return replace(body, environment_variables=sent)

        patch.setattr(module, "body_of", masked)


def write_without_another_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(steps, "is_as_kept", lambda *_: True)


def take_whatever_hash_there_is(patch: pytest.MonkeyPatch) -> None:
    sync = Console.sync_draft

    def blindly(self: Console, app: str, **more: Any) -> Any:
        draft = self.draft(app)
        return sync(self, app, **{**more, "hash": draft.hash if draft else None})

    patch.setattr(Console, "sync_draft", blindly)


def record_no_row(patch: pytest.MonkeyPatch) -> None:
    known = SimpleNamespace(**{**vars(placements), "add": lambda *_, **__: None})
    patch.setattr(steps, "placements", known)


def hold_for_ever(patch: pytest.MonkeyPatch) -> None:
    for name in ("release", "undo-release"):
        patch.setitem(all_steps.EFFECTS, name, lambda doing, tx: Result("done", {}))


def publish_another_version(patch: pytest.MonkeyPatch) -> None:
    whole = place.place_of

    def another(doing: Doing) -> place.Place:
        found = whole(doing)
        with doing.means.store.read() as tx:
            first = versions.page(tx, found.workflow, limit=500)[-1]
            document, secrets = versions.document_of(tx, first), versions.secrets_of(tx, first)
        return replace(found, document=document, secrets=secrets)

    for module in (steps, putback):
        patch.setattr(module, "place_of", another)


def forget_what_was_begun(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Doing, "again", property(lambda _: False))


def move_without_a_look(patch: pytest.MonkeyPatch) -> None:
    def believed(doing: Doing) -> Result:
        published = doing.detail("undo-publish" if doing.undoing else "publish")
        return Result("done", {"row": published["row"], "label": "", "hash": "", "name": "", "comment": "",
                               "author": "", "at": None})  # fmt: skip

    for name in ("read-back", "undo-read-back"):
        patch.setitem(all_steps.ACTIONS, name, believed)


# Those that are found within a second or two; the others are looked for by the long run.
QUICK: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (take_every_draft_for_ours, "1.13.0"),
    (record_no_row, "1.14.2"),
]
SLOW: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (write_without_another_look, "1.13.0"),
    (keep_no_draft, "1.13.0"),
    (publish_another_version, "1.13.0"),
    (leave_our_draft, "1.14.2"),
    (forget_secrets_when_comparing, "1.14.2"),
    (leave_variables_out, "1.13.0"),
    (leave_secret_ones_out, "1.14.2"),
    (believe_what_was_published, "1.13.0"),
    (send_masks, "1.13.0"),
    (send_asterisks, "1.13.0"),
    (take_whatever_hash_there_is, "1.13.0"),
    (hold_for_ever, "1.14.2"),
    (move_without_a_look, "1.13.0"),
    (forget_what_was_begun, "1.14.2"),
]


@pytest.mark.parametrize(("plant", "version"), QUICK + (SLOW if LONG else []))
def test_the_model_finds_what_breaks_a_rule(
    plant: Callable[[pytest.MonkeyPatch], None], version: str, grounds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, more = grounds(version)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        play(here, max(20, EXAMPLES), max(10, STEPS), **more, phases=[Phase.generate], report_multiple_bugs=False)
