"""Signed notes and checkpoints, held to the published vectors of Go's sumdb and of C2SP."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.access.log import notes
from lastgood.access.log.notes import Checkpoint, Proven, Signer, Verifier
from lastgood.errors import InvalidCheckpoint

# golang.org/x/mod/sumdb/note, note_test.go: PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALV…
PETER = Signer("PeterNeumann", base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:])
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
NOTE = f"{TEXT}\n{PETER_LINE}"
PUBLISHED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
LOG = Signer("lastgood.test/log", b"7" * 32)


def test_the_published_key_signs_the_published_note() -> None:
    assert PETER.verifier.text == PETER_KEY
    assert PETER.sign(TEXT) == NOTE


def test_published_notes_open() -> None:
    peter, enoch = Verifier.parse(PETER_KEY), Verifier.parse(ENOCH_KEY)
    both = NOTE + ENOCH_LINE
    for note, known in ((NOTE, [peter]), (both, [peter]), (both, [enoch]), (both, [enoch, peter])):
        assert notes.open_note(note, known) == TEXT


def test_a_key_that_was_changed_is_none() -> None:
    for at in range(len(PETER_KEY)):
        wrong = PETER_KEY[:at] + chr(ord(PETER_KEY[at]) + 1) + PETER_KEY[at + 1 :]
        for text in (wrong, PETER_KEY[:at], PETER_KEY[at + 1 :]):
            with pytest.raises(InvalidCheckpoint):
                Verifier.parse(text)
    with pytest.raises(InvalidCheckpoint):  # of an unknown kind, with the right id
        Verifier.parse("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")


@pytest.mark.parametrize(
    "note",
    [
        TEXT,
        TEXT + "\n",
        NOTE[:-1],
        "\x01" + NOTE,
        NOTE + "Unexpected line.\n",
        f"{TEXT}\n\u2014 Bad Name {PETER_LINE.split()[2]}\n",
        f"{TEXT}\n{PETER_LINE[:60]}ABCD{PETER_LINE[60:]}",
        f"{TEXT}\n{PETER_LINE * 101}",
        f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'CarmenSandiego')}",
        f"{TEXT}\n{PETER_LINE.replace('x08g', 'xxxx')}",
        f"{TEXT}\n{ENOCH_LINE}",
        NOTE.replace("answer", "Answer"),
    ],
)
def test_what_is_no_note_of_a_trusted_key_is_refused(note: str) -> None:
    with pytest.raises(InvalidCheckpoint):
        notes.open_note(note, [Verifier.parse(PETER_KEY)])


def test_the_specifications_checkpoint_is_read() -> None:
    found = Checkpoint.peek(PUBLISHED)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert PUBLISHED.startswith(found.text + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "a\n01\n" + "A" * 43 + "=\n",
        "a\n-1\n" + "A" * 43 + "=\n",
        "\n1\n" + "A" * 43 + "=\n",
        "a\n1\nAAAA\n",
        "a\n1\n",
        "",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidCheckpoint):
        Checkpoint.parse(text)


@given(size=st.integers(0, 2**62), root=st.binary(min_size=32, max_size=32), at=st.integers(0, 10**6))
def test_a_checkpoint_comes_back_and_no_changed_one_does(size: int, root: bytes, at: int) -> None:
    made = Checkpoint(LOG.name, size, root)
    note = LOG.sign(made.text)
    assert Checkpoint.parse(notes.open_note(note, [LOG.verifier])) == made
    at %= len(note)
    for wrong in (note[:at] + note[at + 1 :], note[:at] + ("x" if note[at] != "x" else "y") + note[at + 1 :]):
        with pytest.raises(InvalidCheckpoint):
            Checkpoint.parse(notes.open_note(wrong, [LOG.verifier]))


def test_checkpoints_in_a_row_are_read_with_their_proofs() -> None:
    made = [
        Proven(LOG.sign(Checkpoint(LOG.name, 3, b"a" * 32).text)),
        Proven(LOG.sign(Checkpoint(LOG.name, 9, b"b" * 32).text), 3, (b"p" * 32, b"q" * 32)),
        Proven(LOG.sign(Checkpoint(LOG.name, 9, b"b" * 32).text), 9, ()),
    ]
    assert notes.read_all("\n".join(one.text for one in made)) == made
    assert notes.read_all(made[1].text.replace("\n", "\r\n")) == [made[1]]
    for wrong in ("", "\n\n", made[0].text[:-120], "old 3\nAAA=\n\n" + made[0].text, "hello\n\nthere\n"):
        with pytest.raises(InvalidCheckpoint):
            notes.read_all(wrong)
