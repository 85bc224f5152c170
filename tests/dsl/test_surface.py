from types import ModuleType

from lastgood import dsl


def test_the_public_names_are_exactly_these() -> None:
    assert dsl.__all__ == [
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
    public = {name for name, value in vars(dsl).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public == set(dsl.__all__)
