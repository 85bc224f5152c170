"""Signed notes (C2SP signed-note, Ed25519) and the checkpoints made of them (C2SP tlog-checkpoint)."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lastgood.access.log.merkle import HASH
from lastgood.errors import InvalidCheckpoint

_ED25519 = b"\x01"
_MARK = "\u2014 "
_MOST_SIGNATURES = 100
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key and the name that it signs under."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature line names it."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """As other tools read it: ``name+1a2b3c4d+base64``."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """The key that `text` writes. Raises `InvalidCheckpoint`."""
        name, _, rest = text.partition("+")
        key_id, _, data = rest.partition("+")
        key = _decoded(data)
        if is_name(name) and key is not None and len(key) == HASH + 1 and key[:1] == _ED25519:
            found = cls(name, key[1:])
            if found.key_id.hex() == key_id:
                return found
        raise InvalidCheckpoint(reason=f"{text[:80]!r} is not a public key of the form name+id+base64")


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key (Ed25519 seed) and the name that it signs under."""

    name: str
    seed: bytes

    @property
    def verifier(self) -> Verifier:
        """Its public half."""
        return Verifier(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """`text`, which ends in a newline, as a signed note."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        encoded = base64.b64encode(self.verifier.key_id + signature).decode()
        return f"{text}\n{_MARK}{self.name} {encoded}\n"


def is_name(name: str) -> bool:
    """Whether a key can have this name: neither spaces nor plus signs."""
    return bool(name) and "+" not in name and not any(c.isspace() or not c.isprintable() for c in name)


def open_note(note: str, known: Sequence[Verifier]) -> str:
    """The text of a signed `note`, which one of the `known` keys signed, and none of them wrongly.

    Raises `InvalidCheckpoint`."""
    text, lines = _parted(note)
    verified = False
    for line in lines:
        name, key_id, signature = _signature(line)
        for key in known:
            if (key.name, key.key_id) != (name, key_id):
                continue
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
            except (InvalidSignature, ValueError):
                raise InvalidCheckpoint(
                    reason=f"the signature of {name} is wrong: it was changed, or made up"
                ) from None
            verified = True
    if not verified:
        names = ", ".join(sorted({_signature(line)[0] for line in lines}))
        raise InvalidCheckpoint(reason=f"it is signed by {names[:200]}, and by none of the keys that are trusted")
    return text


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: that its first `size` rows have the tree hash `root`."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint that a note's text writes. Raises `InvalidCheckpoint`."""
        lines = text.split("\n")
        if len(lines) >= 4 and lines[0] and _SIZE.fullmatch(lines[1]) and text.endswith("\n"):
            root = _decoded(lines[2])
            if root is not None and len(root) == HASH and all(lines[3:-1]):
                return cls(lines[0], int(lines[1]), root)
        raise InvalidCheckpoint(reason="its text is not an origin, a size and a root, a line each")

    @classmethod
    def peek(cls, note: str) -> "Checkpoint":
        """What `note` says, whoever signed it. Raises `InvalidCheckpoint`."""
        return cls.parse(_parted(note)[0])


@dataclass(frozen=True, slots=True)
class Proven:
    """A signed checkpoint as it is handed around. With `proof`, what shows that it extends the tree of the size
    `old`, in the form that C2SP tlog-witness asks for: ``old 123``, a hash a line, an empty line, the checkpoint."""

    note: str
    old: int | None = None
    proof: tuple[bytes, ...] = ()

    @property
    def text(self) -> str:
        """As it is written."""
        if self.old is None:
            return self.note
        return "\n".join([f"old {self.old}", *(base64.b64encode(one).decode() for one in self.proof), "", self.note])


def read_all(text: str) -> list[Proven]:
    """Every checkpoint in `text`, one after the other, as a file of exported ones holds them.

    Raises `InvalidCheckpoint` when there is none, or something else between them."""
    blocks = [block for block in re.split(r"\n{2,}", text.replace("\r\n", "\n").strip("\n")) if block]
    found: list[Proven] = []
    old: int | None = None
    proof: tuple[bytes, ...] = ()
    at = 0
    while at < len(blocks):
        lines = blocks[at].split("\n")
        if begin := _OLD.fullmatch(lines[0]):
            hashes = [_decoded(line) for line in lines[1:]]
            if any(one is None or len(one) != HASH for one in hashes):
                raise InvalidCheckpoint(reason="a line of the proof before it is not the base64 of a hash")
            old, proof, at = int(begin[1]), tuple(one for one in hashes if one), at + 1
        if at + 1 >= len(blocks):
            raise InvalidCheckpoint(reason="it ends before its signatures: it was cut, or is something else")
        note = f"{blocks[at]}\n\n{blocks[at + 1]}\n"
        Checkpoint.peek(note)
        found.append(Proven(note, old, proof))
        old, proof, at = None, (), at + 2
    if not found:
        raise InvalidCheckpoint(reason="there is none in it")
    return found


def _parted(note: str) -> tuple[str, list[str]]:
    """The text of a note and its signature lines."""
    text, gap, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    good = gap and lines.pop() == "" and 0 < len(lines) <= _MOST_SIGNATURES and not _CONTROL.search(note)
    if not good or not text or not all(line.startswith(_MARK) for line in lines):
        raise InvalidCheckpoint(reason="it is not a text, an empty line and signature lines that begin with a dash")
    return text + "\n", lines


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_MARK).partition(" ")
    data = _decoded(encoded)
    if not is_name(name) or data is None or len(data) < 5:
        raise InvalidCheckpoint(reason=f"{line[:80]!r} is not a signature line")
    return name, data[:4], data[4:]


def _decoded(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None
