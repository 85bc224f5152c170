"""What a server hands to the processes that it starts."""

from pathlib import Path

import pytest

from lastgood.server.children import environment
from lastgood.settings import Settings, load


def test_a_child_reads_the_settings_of_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings.model_validate(
        {
            "home": tmp_path,
            "lease_seconds": 5.5,
            "http_allow_private": True,
            "on_store_loss": "serve",
            "llm_model": "a model's name",
            "rules": {"model-changed": "breaking", "title-changed": "warning"},
            "services": {"orders": {"owner": "Zoë", "workflows": ["prod-*"]}},
            "hooks": {"tell": {"command": ["echo", "it's", '"so"'], "environment": {"A": "b=c"}}},
        }
    )
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert load() == given


def test_what_is_not_set_is_not_handed_down(tmp_path: Path) -> None:
    assert environment(Settings(home=tmp_path)) == {"LASTGOOD_HOME": str(tmp_path)}
