"""What is named like a secret, and what is one by its looks."""

import pytest

from lastgood.dsl.keys import known, redacted, secret_name

GIVEN = "sk-" + "a1B2c3D4" * 4


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "apiKey", "API-KEY", "apikey", "api key", "x-api-key", "Authorization", "Cookie", "cookies"),
        *("password", "PASSWD", "db_pwd", "passphrase", "client_secret", "secrets", "token", "accessToken", "bearer"),
        *("AK", "sk", "OSS_ACCESS_KEY", "access_key_id", "SECRET_ID", "signingKey", "subscription_key", "hook_key"),
        *("auth_key", "private-key", "credentials", " token "),
    ],
)
def test_a_name_of_a_secret(name: str) -> None:
    assert secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "max_tokens",
            "maxTokens",
            "token_count",
            "num_tokens",
            "token_limit",
            "tokenUrl",
            "nextPageToken",
            "usage",
        ),
        *("credential_id", "token_type", "secret_name", "password_label", "api_key_header", "key", "monkey", "ask"),
        *("task", "keyboard", "tokenizer", "secretary", "", "passwordless"),
    ],
)
def test_a_name_of_no_secret(name: str) -> None:
    assert not secret_name(name)


def test_a_sentence_does_not_hold_what_surely_is_a_key() -> None:
    assert known(f"say {GIVEN}") == "an OpenAI-like key"
    assert GIVEN not in redacted(f"say {GIVEN}")
    assert redacted("say sk-your-key-here") == "say sk-your-key-here"
