"""A document for one workspace becomes one for another: everything mapped, or refused by name."""

from typing import Any

import pytest

from lastgood import dsl
from lastgood.dsl import Document, datasets
from lastgood.dsl.identities import identities
from lastgood.dsl.index import Index
from lastgood.errors import InvalidMapping
from lastgood.release.promotion import mapping
from lastgood.release.promotion.carrying import Carried, carry
from lastgood.release.promotion.deciding import Place
from lastgood.release.promotion.environment import Standing
from lastgood.release.promotion.mapping import Map
from lastgood.release.promotion.record import unmapped

from .documents import GITHUB, GITHUB_NEW, HERE, MAPPED, THERE, places, uid, whole

BLIND = Place("dev", HERE), Place("prod", THERE)


def carried(document: Document, pair: tuple[Place, Place], values: Any = None) -> Carried:
    return carry(document, *pair, map=Map(values or {}), overlay={}, standing=Standing("live", "staging"))


def values(document: Document, *kinds: str) -> list[str]:
    return [one.value for one in identities(document).identities if one.kind in kinds]


def test_every_place_that_holds_an_id_is_found() -> None:
    found = identities(whole())
    assert [(one.kind, one.node, one.place) for one in found.identities] == [
        ("knowledge_bases", "find", "dataset_ids[0]"),
        ("knowledge_bases", "find", "dataset_ids[1]"),
        ("models", "find", "multiple_retrieval_config.reranking_model"),
        ("models", "write", "model"),
        ("plugins", "open", "plugin_unique_identifier"),
        ("credentials", "open", "credential_id"),
        ("tools", "sub", "provider_id"),
        ("models", "act", "agent_parameters.model.value"),
        ("tools", "act", "agent_parameters.tools.value[0].provider_name"),
        ("plugins", "act", "agent_parameters.tools.value[1].plugin_unique_identifier"),
        ("credentials", "act", "agent_parameters.tools.value[1].credential_id"),
        ("members", "ask", "delivery_methods[0].config.recipients.items[0].user_id"),
        ("members", "ask", "delivery_methods[0].config.recipients.items[2].user_id"),
        ("extensions", "", "features.sensitive_word_avoidance.config.api_based_extension_id"),
        ("plugins", "", "dependencies[0]"),
    ]
    assert [(one.node, one.place) for one in found.unsure] == [("odd", "brain_id")]


def test_unmapped_ids_refuse_one_sentence_each_with_node_and_place() -> None:
    done = carried(whole(), BLIND)
    assert len(done.refusals) == 9
    for one in done.refusals:
        assert "is not mapped: prod could not be asked" in one.sentence
    first = done.refusals[0].sentence
    assert first.startswith("Node 'The find' (find), dataset_ids[0]: the knowledge base") and uid("prices") in first
    told = [one.sentence for one in done.findings if one.verdict == "warn"]
    assert sum("stays; whether prod has it is unknown" in one for one in told) == 6  # plugins and models
    assert sum("looks like an id of dev" in one for one in told) == 1


def test_by_name_everything_is_found_and_the_rest_of_the_document_is_the_same() -> None:
    source = whole()
    done = carried(source, places())
    assert done.refusals == ()
    assert values(done.document, *MAPPED) == _in_order(source)
    back = unmapped(done.document, source, done.changes, ())
    assert back.data == source.data


def _in_order(source: Document) -> list[str]:
    there = {old: new for entries in MAPPED.values() for old, new in entries.items()}
    return [there[value] for value in values(source, *MAPPED)]


@pytest.mark.parametrize("kind", MAPPED)
def test_what_one_kind_lacks_is_refused_and_the_file_mends_it(kind: str) -> None:
    less = {name: entries for name, entries in MAPPED.items() if name != kind}
    refused = carried(whole(), BLIND, less).refusals
    assert {one.sentence.rpartition("under ")[2] for one in refused} == {f"{kind}."}
    assert carried(whole(), BLIND, MAPPED).refusals == ()


def test_the_same_workspace_keeps_every_id() -> None:
    for pair in ((BLIND[0], Place("dev", HERE)), (Place("engine"), Place("engine")), (BLIND[0], Place("x", HERE))):
        done = carried(whole(), pair)
        assert done.refusals == () and done.changes == () and done.document.data == whole().data
        assert any("ids stay as they are" in one.sentence for one in done.findings)


def test_between_two_apps_of_one_workspace_the_file_may_still_say_otherwise() -> None:
    done = carried(whole(), (BLIND[0], BLIND[0]), {"knowledge_bases": {uid("prices"): uid("other")}})
    assert values(done.document, "knowledge_bases") == [uid("other"), uid("rules")] and done.refusals == ()


@pytest.mark.parametrize(
    ("pair", "written", "outcome"),
    [
        (places(), HERE, [uid("prices there")]),
        ((BLIND[0], BLIND[0]), HERE, [uid("prices")]),
        (places(), THERE, "it is encrypted, and not with the key of the workspace of dev"),
        ((BLIND[0], BLIND[0]), THERE, "is encrypted with the key of another workspace"),
        ((Place("dev"), BLIND[1]), HERE, "it is encrypted, and the workspace of dev is not known"),
    ],
)
def test_encrypted_ids_are_read_or_refused_never_dropped(
    pair: tuple[Place, Place], written: str, outcome: list[str] | str
) -> None:
    source = whole([datasets.encrypted(uid("prices"), written)])
    done = carried(source, pair, {kind: new for kind, new in MAPPED.items() if kind != "knowledge_bases"})
    if isinstance(outcome, list):
        assert values(done.document, "knowledge_bases") == outcome and done.refusals == ()
        assert unmapped(done.document, source, done.changes, ()).data == source.data
    else:
        assert [outcome in one.sentence for one in done.refusals] == [True]


def test_an_encrypted_id_in_the_file_is_read_with_the_targets_key() -> None:
    sealed = {"knowledge_bases": {uid("prices"): datasets.encrypted(uid("a"), THERE), uid("rules"): uid("b")}}
    assert values(carried(whole(), places(), sealed).document, "knowledge_bases") == [uid("a"), uid("b")]
    wrong = {"knowledge_bases": {uid("prices"): datasets.encrypted(uid("a"), HERE)}}
    assert "no id of a knowledge base there" in carried(whole(), places(), wrong).refusals[0].sentence


def test_what_is_dropped_is_told_and_comes_back() -> None:
    drops = {
        "knowledge_bases": {uid("prices"): "drop"},
        "members": {uid("alice"): "drop", uid("bob"): "drop"},
        "credentials": {uid("credential"): "drop"},
    }
    source = whole()
    done = carried(source, places(), drops)
    assert (
        done.refusals == () and sum("is left out, as the mapping says" in one.sentence for one in done.findings) == 4
    )
    assert values(done.document, "knowledge_bases", "members") == [uid("rules there")]
    assert "credential_id" not in Index(done.document).nodes["open"].data
    assert unmapped(done.document, source, done.changes, ()).data == source.data


def test_plugins_and_models_are_renamed_everywhere_where_the_file_says_so() -> None:
    renamed = {
        "plugins": {GITHUB: GITHUB_NEW},
        "models": {"langgenius/openai/openai gpt-4o": "langgenius/azure/azure 4o"},
    }
    source = whole()
    done = carried(source, places(), renamed)
    assert values(done.document, "plugins") == [GITHUB_NEW] * 3
    assert done.document.data["dependencies"][0]["value"]["version"] == "1.2.0"
    assert values(done.document, "models")[1:] == ["langgenius/azure/azure 4o"] * 2
    assert Index(done.document).nodes["write"].data["model"]["mode"] == "chat"
    back = unmapped(done.document, source, done.changes, ())
    assert dsl.semantic_digest(back) == dsl.semantic_digest(source) != dsl.semantic_digest(done.document)


def test_two_things_of_one_name_are_nobodys_guess() -> None:
    done = carried(whole(), places(knowledge_bases={"prices": "prices", "more": "prices", "rules": "rules"}))
    assert [one.sentence.partition(": ")[2][:60] for one in done.refusals] == [
        f"the knowledge base {uid('prices')} (prices) is not mapped"[:60]
    ]


def test_a_member_that_the_target_does_not_have_is_refused_since_its_list_is_sure() -> None:
    done = carried(whole(), places(), {"members": {uid("alice"): uid("nobody")}})
    assert "which prod does not have" in done.refusals[0].sentence


# mapping files


def test_the_draft_of_a_mapping_file_is_one_once_its_blanks_are_filled() -> None:
    done = carried(whole(), BLIND)
    text = mapping.draft("dev", "prod", done.uses, done.mapped, done.names)
    blank = mapping.read(text, source="m.yaml", origin="dev", target="prod")
    assert not blank.values["knowledge_bases"] and blank.get("plugins", GITHUB) == GITHUB
    assert "The find" in text
    filled = mapping.draft("dev", "prod", done.uses, {(k, o): n for k, e in MAPPED.items() for o, n in e.items()}, {})
    read = mapping.read(filled, source="m.yaml", origin="dev", target="prod")
    assert carried(whole(), BLIND, read.values).refusals == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "not a mapping of kinds"),
        ("from: a\nto: prod\n", "it is for a to prod, and this goes from dev to prod"),
        ("knowledge: {}", "knowledge: no such kind"),
        ("tools: [a]", "tools: it is not a mapping"),
        ("tools: {a: [b]}", "tools, a: what stands for it is no text"),
        ("tools: {a: drop}", "none can be left out"),
        ("pairs: 1", "not a list"),
        ("pairs: [{from: a, to: b}]", "none of them is for dev to prod"),
    ],
)
def test_a_bad_mapping_file_says_where(text: str, said: str) -> None:
    with pytest.raises(InvalidMapping, match=r"m\.yaml") as raised:
        mapping.read(text, source="m.yaml", origin="dev", target="prod")
    assert said in str(raised.value)


def test_a_file_for_several_pairs() -> None:
    text = (
        "pairs:\n- {from: a, to: b, tools: {x: '1'}}\n- {from: dev, to: prod, tools: {x: 2, y: null, z: {to: w}}}\n"
    )
    read = mapping.read(text, source="m.yaml", origin="dev", target="prod")
    assert read.values == {"tools": {"x": "2", "z": "w"}} and read.digest != Map().digest
