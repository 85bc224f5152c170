"""Ids of knowledge bases as Dify writes them into exports: encrypted with a key made of the workspace's id.

A server takes a plain UUID as it is. What it cannot decrypt with its own workspace's key it leaves out silently,
so an id is only ever carried on after it was read."""

import base64
import binascii
import hashlib
import re
from typing import Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK: Final = 16
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# AES blocks in base64: a UUID makes three of them.
_ENCRYPTED: Final = re.compile(r"[A-Za-z0-9+/]{64}")


def is_plain(text: str) -> bool:
    """Whether `text` is an id as Dify's API has it."""
    return _UUID.fullmatch(text) is not None


def is_encrypted(text: str) -> bool:
    """Whether `text` has the form of an encrypted id; whose it is, only `decrypted` tells."""
    return _ENCRYPTED.fullmatch(text) is not None


def encrypted(dataset: str, workspace: str) -> str:
    """The id `dataset` as an export of the workspace with the id `workspace` has it."""
    padder = padding.PKCS7(_BLOCK * 8).padder()
    worker = _cipher(workspace).encryptor()
    padded = padder.update(dataset.encode()) + padder.finalize()
    return base64.b64encode(worker.update(padded) + worker.finalize()).decode()


def decrypted(text: str, workspace: str) -> str | None:
    """The plain id in `text`, an encrypted one or plain already; None where it is neither, or another workspace's."""
    if is_plain(text):
        return text
    try:
        sealed = base64.b64decode(text, validate=True)
        worker, unpadder = _cipher(workspace).decryptor(), padding.PKCS7(_BLOCK * 8).unpadder()
        padded = worker.update(sealed) + worker.finalize()
        plain = (unpadder.update(padded) + unpadder.finalize()).decode()
    except (binascii.Error, ValueError):  # of a wrong key too: its padding is almost never right
        return None
    return plain if is_plain(plain) else None


def _cipher(workspace: str) -> Cipher[modes.CBC]:
    key = hashlib.sha256(workspace.encode()).digest()
    # Dify's own format: the same id always reads the same.
    return Cipher(algorithms.AES(key), modes.CBC(key[:_BLOCK]))
