"""What values say of the world outside: models, hosts, knowledge bases."""

import re
from typing import Any, Final

from lastgood.dsl.compare import Change as Value
from lastgood.dsl.dependencies import plugin_of
from lastgood.dsl.index import id_of, mapping, text
from lastgood.dsl.rules.effect import at
from lastgood.dsl.rules.rule import listed, quoted

MODEL_KEYS: Final = frozenset(
    {"name", "provider", "model", "embedding_provider_name", "embedding_model_name", "embedding_model"}
    | {"embedding_model_provider", "reranking_provider_name", "reranking_model_name"}
)
_HOST: Final = re.compile(r"(?:[a-zA-Z][\w+.-]*://)?((?:\{\{#[^{}#\n]+#\}\}|[^/?#\s])*)")
# AES blocks in base64, as exports write the ids of knowledge bases.
_ENCRYPTED: Final = re.compile(r"[A-Za-z0-9+/]{42,}={0,2}")


def model_of(value: Any) -> tuple[str, ...]:
    """A model as it is told from others: the plugin and the name of its provider, and its own."""
    said = mapping(value)
    said = mapping(said.get("value")) or said
    provider = text(said.get("provider")) or text(said.get("embedding_provider_name"))
    provider = provider or text(said.get("embedding_model_provider")) or text(said.get("reranking_provider_name"))
    names = (
        said.get(key) for key in ("name", "model", "embeddingmodel_name", "embedding_model", "rerankingmodel_name")
    )
    name = next((item for item in names if isinstance(item, str)), "")
    return plugin_of(provider), provider.rpartition("/")[2], name


def model_name(model: tuple[str, ...]) -> str:
    _, provider, name = model
    return f"{quoted(name)} of {quoted(provider)}" if name or provider else "no model"


def address(value: Value) -> tuple[str, str]:
    """Another host, or another address of the same. Only hosts are told: addresses may hold keys."""
    before, after = (_host_of(text(side)) for side in (value.old, value.new))
    if before != after:
        return "host-changed", f"{quoted(after)} is called, {quoted(before)} before"
    return "request-address-changed", ""


def _host_of(url: str) -> str:
    found = _HOST.match(url.strip())
    return found[1].rpartition("@")[2].lower() if found else ""


def knowledge(value: Value, old: Any, new: Any, path: tuple[str, ...]) -> tuple[str, str]:
    lists = [at(root, path, side) for root, side in ((old, "old"), (new, "new"))]
    ids = [
        [id_of(mapping(mapping(item).get("dataset")).get("id")) or id_of(item) for item in found]
        if isinstance(found, list)
        else []
        for found in lists
    ]
    if (
        all(ids)
        and set(ids[0]) != set(ids[1])
        and any(_ENCRYPTED.fullmatch(item) for item in ids[0] + ids[1])
        and len(ids[0]) == len(ids[1])
    ):
        return "knowledge-unclear", "other ids, which are encrypted"
    if value.kind == "moved" or set(ids[0]) == set(ids[1]):
        return "retrieval-changed", ""
    gone, come = ([item for item in ids[i] if item not in ids[1 - i]] for i in (0, 1))
    if value.kind == "removed" or not come:
        return "knowledge-removed", f"{listed(gone)} is no longer searched"
    return "knowledge-added", f"{listed(come)} is searched" + (f", no longer {listed(gone)}" if gone else "")
