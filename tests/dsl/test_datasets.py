"""Encrypted ids of knowledge bases, against vectors made here by hand."""

import base64
import hashlib
from uuid import NAMESPACE_DNS, uuid5

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from lastgood.dsl import datasets

HERE, ELSEWHERE = "6a7b1f0e-2c1d-4d5e-9f00-000000000001", "6a7b1f0e-2c1d-4d5e-9f00-000000000002"
DATASET = "0d5b6a2c-90f1-4c39-8d7e-3f1c2b4a5d6e"
# By openssl: `printf %s DATASET | openssl enc -aes-256-cbc -K <sha256 of HERE> -iv <its first 16 bytes> -a -A`.
BY_OPENSSL = "Nbo8OuiC5GCgQiC6XxoEuoooQ/ZWx9Oqm0D4GtT2cyVfpr5/kozQuWRKgcyoqNGr"


def by_hand(text: str, workspace: str) -> str:
    """The same by the description of the format alone."""
    key = hashlib.sha256(workspace.encode()).digest()
    missing = 16 - len(text) % 16
    padded = text.encode() + bytes([missing]) * missing
    worker = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(worker.update(padded) + worker.finalize()).decode()


@pytest.mark.parametrize("number", range(20))
def test_what_is_written_is_what_the_format_says_and_reads_back(number: int) -> None:
    dataset, workspace = str(uuid5(NAMESPACE_DNS, f"d{number}")), str(uuid5(NAMESPACE_DNS, f"w{number}"))
    written = datasets.encrypted(dataset, workspace)
    assert written == by_hand(dataset, workspace) and datasets.is_encrypted(written)
    assert datasets.decrypted(written, workspace) == dataset


def test_a_vector_of_another_tool() -> None:
    assert datasets.encrypted(DATASET, HERE) == BY_OPENSSL
    assert datasets.decrypted(BY_OPENSSL, HERE) == DATASET


@pytest.mark.parametrize("number", range(300))
def test_another_workspaces_key_never_gives_an_id(number: int) -> None:
    """Now and then its padding is right by chance; then what is read is no id."""
    other = str(uuid5(NAMESPACE_DNS, f"other{number}"))
    assert datasets.decrypted(datasets.encrypted(DATASET, HERE), other) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (DATASET, DATASET),
        (DATASET.upper(), DATASET.upper()),
        ("", None),
        ("short", None),
        ("ünicode" * 10, None),
        ("A" * 64, None),
        (by_hand("no id at all, and as long as one is.", HERE), None),
        (by_hand(DATASET, HERE)[:-4], None),
        (f" {by_hand(DATASET, HERE)}", None),
    ],
)
def test_what_is_no_id_is_none(text: str, read: str | None) -> None:
    assert datasets.decrypted(text, HERE) == read
