"""Secrets meet in no comparison whose time tells how far they agree."""

import ast
import re
from pathlib import Path

import pytest

import lastgood
from lastgood.errors import InvalidSetting
from lastgood.settings import load

SOURCE = Path(lastgood.__file__).parent
SECRET = re.compile(r"token|secret|password|csrf|hash|digest|cookie|verifier|nonce|signature", re.IGNORECASE)
# Comparisons of what is public or not secret: names of kinds, digests of content, shapes of texts.
AREAS = ("access", "server", "db/ring.py", "gateway/webhook.py")


def test_secrets_are_compared_in_constant_time() -> None:
    """In the code of doors no two secrets meet in ``==``: they are looked up by keyed hash, or compared by `hmac`."""
    found = []
    files = [
        file
        for area in AREAS
        for file in ([SOURCE / area] if area.endswith(".py") else (SOURCE / area).rglob("*.py"))
    ]
    assert len(files) > 30
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                sides = [node.left, *node.comparators]
                constant = any(isinstance(side, ast.Constant) for side in sides)
                names = [side for side in sides if SECRET.search(_last_name(side))]
                if names and not constant and "select" not in ast.unparse(node):
                    found.append(f"{file.relative_to(SOURCE)}: {ast.unparse(node)}")
    expected = re.compile(r"\.c\.|bindparam|\.digest\b|digest ==|root|checkpoint|len\(|== hashes")
    assert [one for one in found if not expected.search(one)] == [
        "access/signin.py: found.password != person.password"
    ]
    for module, words in {"server/identity.py": "compare_digest", "access/sessions.py": "compare_digest"}.items():
        assert words in (SOURCE / module).read_text()


def test_settings_show_no_key_of_a_source(tmp_path: Path) -> None:
    text = '[grants.hr]\ntoken = "key-of-hr"\n[grants.hr.config]\n"sasl.password" = "word-of-hr"\n'
    file = tmp_path / "lastgood.toml"
    file.write_text(text)
    with pytest.raises(InvalidSetting, match=r"grants\.hr\.kind") as caught:
        load(home=tmp_path)
    file.write_text(text.replace("\n", '\nkind = "kafka"\n', 1))
    shown = str(caught.value) + str(caught.value.problem()) + repr(load(home=tmp_path))
    assert "of-hr" not in shown


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
