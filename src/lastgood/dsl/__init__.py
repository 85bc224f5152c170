"""Pure functions on Dify workflow documents; nothing here reads a file, a clock or a network."""

from lastgood.dsl.canonical import canonical, content_digest, semantic_digest
from lastgood.dsl.document import Document
from lastgood.dsl.export import to_json, to_yaml
from lastgood.dsl.graph import Finding, check, outline, require_sound
from lastgood.dsl.interface import InputField, check_inputs, fill_inputs, inputs, node_types, parameters
from lastgood.dsl.limits import Limits
from lastgood.dsl.reader import parse
from lastgood.dsl.secrets import put_secrets, secret_names, take_secrets

__all__ = [
    "Document",
    "Finding",
    "InputField",
    "Limits",
    "canonical",
    "check",
    "check_inputs",
    "content_digest",
    "fill_inputs",
    "inputs",
    "node_types",
    "outline",
    "parameters",
    "parse",
    "put_secrets",
    "require_sound",
    "secret_names",
    "semantic_digest",
    "take_secrets",
    "to_json",
    "to_yaml",
]
